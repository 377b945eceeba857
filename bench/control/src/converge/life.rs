//! What the members of a party do, each on its own and by chance: they say things, come from one server to the other while the former
//! does not know, join and leave, and rename the party, sometimes at both servers at once.

use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::join_all;
use futures_util::stream::SplitSink;
use futures_util::{SinkExt, StreamExt};
use hyper::{Method, StatusCode};
use lanrage_shared::api::party::{Party, UpdateParty};
use lanrage_shared::api::presence::Presence;
use lanrage_shared::ids::{DeviceId, PartyId};
use lanrage_shared::invite::InviteCode;
use lanrage_shared::stream::ClientMessage;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Message;

use crate::agent::Agent;
use crate::http::{Connection, Refusal, Socket, Target};

/// How often each member does something.
const ACTS: u32 = 8;
/// Longest rest between two of them.
const REST: Duration = Duration::from_millis(600);
/// Devices of a party: its host, a guest, and one that comes and goes.
const DEVICES: u32 = 3;

/// A party with its host at the first server and its guest at the second.
pub struct Gathered {
    number: u32,
    host: Agent,
    guest: Agent,
    third: Agent,
    code: InviteCode,
    lines: [Line; 2],
}

pub async fn gather(number: u32, [one, two]: &[Target; 2]) -> Result<Gathered> {
    let [mut host, mut guest, mut third] = [0, 1, 2].map(|at| Agent::new(number * DEVICES + at));
    let mut connection = one.connect(host.source()).await?;
    host.sign_in(&mut connection, one.pin).await?;
    let code = host.found(&mut connection).await?;
    let mut connection = two.connect(guest.source()).await?;
    guest.sign_in(&mut connection, two.pin).await?;
    guest.join(&mut connection, &code).await?;
    third.sign_in(&mut connection, two.pin).await?;
    let lines = [
        Line::new(host.open_stream(one).await?),
        Line::new(guest.open_stream(two).await?),
    ];
    Ok(Gathered {
        number,
        host,
        guest,
        third,
        code,
        lines,
    })
}

/// A party after all that, and what was acknowledged of it.
pub struct Lived {
    pub host: Agent,
    pub id: PartyId,
    /// Who is in it.
    pub members: Vec<DeviceId>,
    /// Who is not.
    pub left: Vec<DeviceId>,
    /// The latest of the names that were acknowledged, by the version it made.
    pub name: Option<(u64, String)>,
    /// Changes of its members and its name that were acknowledged.
    pub acknowledged: usize,
    /// Such that a busy server did not do.
    pub refused: usize,
    /// Kept open, so that everybody stays online.
    _lines: [Vec<Line>; 2],
}

pub async fn live(gathered: Gathered, targets: &[Target; 2], seed: u64) -> Result<Lived> {
    let Gathered {
        number,
        host,
        guest,
        third,
        code,
        lines: [at_one, at_two],
    } = gathered;
    let id = host.party().context("a host has a party")?;
    let random = |at| StdRng::seed_from_u64(seed.wrapping_add(u64::from(number * DEVICES + at)));
    let mut host = Talking::new(host, at_one, targets, random(0));
    let mut guest = Talking::new(guest, at_two, targets, random(1));
    let mut third = Passing {
        agent: third,
        code,
        id,
        is_in: false,
        targets,
        random: random(2),
    };
    let (mut of_host, mut of_third) = (Tally::default(), Tally::default());
    tokio::try_join!(
        host.lead(id, &mut of_host),
        guest.talk(),
        third.come_and_go(&mut of_third)
    )?;
    let (mut members, mut left) = (vec![host.agent.device(), guest.agent.device()], Vec::new());
    if third.is_in { &mut members } else { &mut left }.push(third.agent.device());
    Ok(Lived {
        host: host.agent,
        id,
        members,
        left,
        name: of_host.name,
        acknowledged: 2 + of_host.acknowledged + of_third.acknowledged,
        refused: of_host.refused + of_third.refused,
        _lines: [host.lines, guest.lines],
    })
}

/// What came of one member's changes.
#[derive(Default)]
struct Tally {
    acknowledged: usize,
    refused: usize,
    name: Option<(u64, String)>,
}

impl Tally {
    /// Counts a change, and gives what came of it if it was done.
    fn count<T>(&mut self, outcome: Result<T>) -> Result<Option<T>> {
        let done = unless_busy(outcome)?;
        match done {
            Some(_) => self.acknowledged += 1,
            None => self.refused += 1,
        }
        Ok(done)
    }
}

/// None: the server was busy and did nothing. Whatever else went wrong is an error: it may have been done, and nobody could judge.
fn unless_busy<T>(outcome: Result<T>) -> Result<Option<T>> {
    match outcome {
        Ok(done) => Ok(Some(done)),
        Err(error) => match error.downcast_ref() {
            Some(Refusal::Status(StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE, _)) => Ok(None),
            _ => Err(error),
        },
    }
}

/// A member with streams.
struct Talking<'a> {
    agent: Agent,
    /// One for each time it came to a server. All but the last are of servers that may not know yet.
    lines: Vec<Line>,
    said: u32,
    targets: &'a [Target; 2],
    random: StdRng,
}

impl<'a> Talking<'a> {
    fn new(agent: Agent, line: Line, targets: &'a [Target; 2], random: StdRng) -> Self {
        Self {
            agent,
            lines: vec![line],
            said: 0,
            targets,
            random,
        }
    }

    async fn talk(&mut self) -> Result<()> {
        for _ in 0..ACTS {
            rest(&mut self.random).await;
            match self.random.random_range(0..5) {
                0 => self.come_anew().await?,
                _ => self.say().await,
            }
        }
        Ok(())
    }

    async fn lead(&mut self, id: PartyId, tally: &mut Tally) -> Result<()> {
        for _ in 0..ACTS {
            rest(&mut self.random).await;
            match self.random.random_range(0..10) {
                0 => self.come_anew().await?,
                1 => {
                    let (target, name) = (pick(self.targets, &mut self.random), self.next("once"));
                    let outcome = rename(target, &self.agent, id, name).await;
                    tally.name = tally.name.take().max(tally.count(outcome)?);
                }
                2 => {
                    // One of the two has to look again.
                    let [one, two] = self.targets;
                    let (here, there) = (self.next("here"), self.next("there"));
                    let (here, there) =
                        tokio::join!(rename(one, &self.agent, id, here), rename(two, &self.agent, id, there));
                    tally.name = tally.name.take().max(tally.count(here)?).max(tally.count(there)?);
                }
                _ => self.say().await,
            }
        }
        Ok(())
    }

    /// Opens a stream at a server, which may be the same, while those it has are still there.
    async fn come_anew(&mut self) -> Result<()> {
        let target = pick(self.targets, &mut self.random);
        if let Some(socket) = unless_busy(self.agent.open_stream(target).await)? {
            self.lines.push(Line::new(socket));
        }
        self.say().await;
        Ok(())
    }

    /// Says something on every stream at once, on each something else.
    async fn say(&mut self) {
        let texts: Vec<String> = (0..self.lines.len()).map(|_| self.next("said")).collect();
        join_all(self.lines.iter_mut().zip(texts).map(|(line, text)| line.say(text))).await;
    }

    /// What nobody of the party said before.
    fn next(&mut self, what: &str) -> String {
        self.said += 1;
        format!("{what} {}", self.said)
    }
}

/// A device that joins and leaves.
struct Passing<'a> {
    agent: Agent,
    code: InviteCode,
    id: PartyId,
    is_in: bool,
    targets: &'a [Target; 2],
    random: StdRng,
}

impl Passing<'_> {
    async fn come_and_go(&mut self, tally: &mut Tally) -> Result<()> {
        for _ in 0..ACTS {
            rest(&mut self.random).await;
            // Most of the time it stays where it is.
            if self.random.random_ratio(2, 3) {
                continue;
            }
            let mut connection = pick(self.targets, &mut self.random)
                .connect(self.agent.source())
                .await?;
            let outcome = if self.is_in {
                self.leave(&mut connection).await
            } else {
                self.agent.join(&mut connection, &self.code).await
            };
            if tally.count(outcome)?.is_some() {
                self.is_in = !self.is_in;
            }
        }
        Ok(())
    }

    async fn leave(&self, connection: &mut Connection) -> Result<()> {
        let path = format!("/v1/parties/{}/members/me", self.id);
        connection
            .ask(Method::DELETE, &path, &self.agent.token, Default::default())
            .await?;
        Ok(())
    }
}

/// A member's stream, kept alive.
struct Line {
    sink: SplitSink<Socket, Message>,
    listening: JoinHandle<()>,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Line {
    fn new(socket: Socket) -> Self {
        let (sink, mut source) = socket.split();
        // Pings are answered by whoever reads.
        let listening = tokio::spawn(async move { while let Some(Ok(_)) = source.next().await {} });
        Self { sink, listening }
    }

    async fn say(&mut self, what: String) {
        let presence = Presence {
            agent_version: what,
            ..Presence::default()
        };
        let text = ClientMessage::Presence { presence }.to_text();
        // A member that came to the other server has no stream here any more.
        let _ = self.sink.send(Message::text(text)).await;
    }
}

async fn rest(random: &mut StdRng) {
    sleep(REST.mul_f64(random.random())).await;
}

fn pick<'a>(targets: &'a [Target; 2], random: &mut StdRng) -> &'a Target {
    let [one, two] = targets;
    if random.random() { one } else { two }
}

/// The version that the acknowledged change made, and the name.
async fn rename(target: &Target, host: &Agent, id: PartyId, name: String) -> Result<(u64, String)> {
    let mut connection = target.connect(host.source()).await?;
    let update = UpdateParty {
        name: Some(name.parse()?),
        ..UpdateParty::default()
    };
    loop {
        let version = party(&mut connection, host, id).await?.version;
        match connection
            .update(&format!("/v1/parties/{id}"), &host.token, version, &update)
            .await
        {
            Ok(party) => return Ok((party.version, name)),
            Err(Refusal::Status(StatusCode::CONFLICT, _)) => {}
            Err(refusal) => return Err(refusal.into()),
        }
    }
}

/// What this server says of the party.
pub async fn party(connection: &mut Connection, agent: &Agent, id: PartyId) -> Result<Party> {
    let path = format!("/v1/parties/{id}");
    let answer = connection
        .ask(Method::GET, &path, &agent.token, Default::default())
        .await?;
    Ok(serde_json::from_slice(&answer)?)
}
