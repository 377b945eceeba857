//! Do replicas agree in the end? Parties are changed at two servers at once, whose clocks are ten minutes apart (by libfaketime) and
//! whose Redis is frozen meanwhile. Two seconds after it thaws, what the public API says of every party must be the same at both,
//! and have in it every change that was acknowledged.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::stream::SplitSink;
use futures_util::{SinkExt, StreamExt, TryStreamExt, stream};
use hyper::{Method, StatusCode};
use lanrage_shared::api::party::{Party, UpdateParty};
use lanrage_shared::api::presence::Presence;
use lanrage_shared::ids::{DeviceId, PartyId};
use lanrage_shared::stream::ClientMessage;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep};
use tokio_tungstenite::tungstenite::Message;

use crate::agent::Agent;
use crate::databases::Databases;
use crate::http::{Connection, Refusal, Socket, Target};
use crate::report::Goals;
use crate::server::{ControlServer, Setup};

/// How far each server's clock is from the true time, in opposite directions.
const SKEW_S: i64 = 300;
/// How long replicas may take to agree once nothing is in their way.
const AGREE: Duration = Duration::from_secs(2);
/// What every member says and every fourth host names its party, one after the other.
const ROUNDS: u32 = 5;
/// Parties that are made at a time.
const AT_ONCE: usize = 16;
/// Devices of a party: host, guest, and a third that comes to some.
const DEVICES: u32 = 3;

#[derive(Debug, Clone, clap::Args)]
pub struct ConvergeArgs {
    /// Parties that are changed at once
    #[arg(long, default_value_t = 1000)]
    parties: u32,
}

pub async fn run(args: &ConvergeArgs, goals: &mut Goals) -> Result<()> {
    let databases = Databases::default();
    let (database, redis) = (databases.postgres(), databases.redis());
    let setup = |skew_s| Setup {
        database: Some(database.clone()),
        redis: Some(redis.clone()),
        limits: vec![format!("connections = {}", args.parties * 6 + 1000)],
        skew_s,
    };
    let one = ControlServer::start(setup(SKEW_S)).await?;
    let two = one.replica_with(setup(-SKEW_S)).await?;
    let targets = [one.target.clone(), two.target.clone()];

    let parties: Vec<_> = stream::iter((0..args.parties).map(|n| gather(n, &targets)))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    databases.freeze_redis();
    let began = Instant::now();
    let mut changing = JoinSet::new();
    for party in parties {
        let targets = targets.clone();
        changing.spawn(async move { change(party, &targets).await });
    }
    let mut changed = Vec::new();
    while let Some(party) = changing.join_next().await {
        changed.push(party??);
    }
    let took_s = began.elapsed().as_secs_f64();
    databases.thaw_redis();
    sleep(AGREE).await;

    let verdicts: Vec<Verdict> = stream::iter(changed.iter().map(|party| judge(party, &targets)))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let count = |what: fn(&Verdict) -> usize| verdicts.iter().map(what).sum::<usize>();
    let (agree, lost) = (count(|verdict| verdict.agrees.into()), count(|verdict| verdict.lost));
    let (acknowledged, conflicts) = (
        count(|verdict| verdict.acknowledged),
        count(|verdict| verdict.conflicts),
    );
    println!(
        "| parties | changed for s | membership changes acknowledged | lost | conflicting writes | agree after 2 s |"
    );
    println!(
        "| ------: | ------------: | ------------------------------: | ---: | -----------------: | --------------: |"
    );
    let all = verdicts.len();
    println!("| {all} | {took_s:.1} | {acknowledged} | {lost} | {conflicts} | {agree} |");
    goals.is(
        agree == all,
        "every party is the same at both servers two seconds later",
    );
    goals.is(lost == 0, "no acknowledged change of a membership is lost");
    goals.is(conflicts > 0, "there are conflicts to resolve");
    Ok(())
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

/// A party with its host at the first server and its guest at the second.
struct Gathered {
    number: u32,
    host: Agent,
    guest: Agent,
    third: Agent,
    code: lanrage_shared::invite::InviteCode,
    lines: [Line; 2],
}

async fn gather(number: u32, [one, two]: &[Target; 2]) -> Result<Gathered> {
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

/// A party that was changed, and what was acknowledged.
struct Changed {
    host: Agent,
    id: PartyId,
    joined: Vec<DeviceId>,
    left: Option<DeviceId>,
    /// The latest of the names that were acknowledged, by the version it made.
    name: Option<(u64, String)>,
    /// Kept open, so that everybody stays online.
    _lines: Vec<Line>,
}

async fn change(gathered: Gathered, [one, two]: &[Target; 2]) -> Result<Changed> {
    let Gathered {
        number,
        mut host,
        guest,
        mut third,
        code,
        lines: [mut at_one, mut at_two],
    } = gathered;
    let id = host.party().context("a host has a party")?;
    let mut joined = vec![host.device(), guest.device()];
    let (mut left, mut name) = (None, None);
    for round in 0..ROUNDS {
        tokio::join!(
            at_one.say(format!("{number}.{round}.host")),
            at_two.say(format!("{number}.{round}.guest"))
        );
        if round == 1 && number.is_multiple_of(3) {
            let mut connection = two.connect(third.source()).await?;
            third.join(&mut connection, &code).await?;
            if number.is_multiple_of(6) {
                let path = format!("/v1/parties/{id}/members/me");
                let mut connection = one.connect(third.source()).await?;
                connection
                    .ask(Method::DELETE, &path, &third.token, Default::default())
                    .await?;
                left = Some(third.device());
            } else {
                joined.push(third.device());
            }
        }
        if number.is_multiple_of(4) {
            // At both servers at once: one of the two has to look again.
            let names = tokio::try_join!(
                rename(one, &host, id, format!("One {round}")),
                rename(two, &host, id, format!("Two {round}"))
            )?;
            name = name.max(Some(names.0)).max(Some(names.1));
        }
    }
    let mut lines = Vec::new();
    if number.is_multiple_of(2) {
        // The host's agent comes to the other server, while its stream at this one does not know of it yet.
        let mut moved = Line::new(host.open_stream(two).await?);
        tokio::join!(
            moved.say(format!("{number}.moved")),
            at_one.say(format!("{number}.stayed"))
        );
        lines.push(moved);
    }
    lines.extend([at_one, at_two]);
    Ok(Changed {
        host,
        id,
        joined,
        left,
        name,
        _lines: lines,
    })
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

async fn party(connection: &mut Connection, agent: &Agent, id: PartyId) -> Result<Party> {
    let path = format!("/v1/parties/{id}");
    let answer = connection
        .ask(Method::GET, &path, &agent.token, Default::default())
        .await?;
    Ok(serde_json::from_slice(&answer)?)
}

struct Verdict {
    agrees: bool,
    acknowledged: usize,
    lost: usize,
    conflicts: usize,
}

async fn judge(changed: &Changed, targets: &[Target; 2]) -> Result<Verdict> {
    let mut seen = Vec::new();
    let mut conflicts = 0;
    for target in targets {
        let mut connection = target.connect(changed.host.source()).await?;
        let mut party = party(&mut connection, &changed.host, changed.id).await?;
        // By the clock of whichever server saw it last.
        party.members.iter_mut().for_each(|member| member.last_seen_ms = 0);
        seen.push(party);
        let path = format!("/v1/parties/{}/conflicts", changed.id);
        let answer = connection
            .ask(Method::GET, &path, &changed.host.token, Default::default())
            .await?;
        conflicts += serde_json::from_slice::<Vec<serde_json::Value>>(&answer)?.len();
    }
    let [here, there] = seen.as_slice() else {
        anyhow::bail!("there are two servers");
    };
    let is_member = |device: &DeviceId| here.members.iter().any(|member| member.device == *device);
    let mut lost = changed.joined.iter().filter(|device| !is_member(device)).count();
    lost += usize::from(changed.left.as_ref().is_some_and(is_member));
    let is_name = |(_, name): &(u64, String)| here.name.as_str() == name;
    lost += usize::from(changed.name.as_ref().is_some_and(|name| !is_name(name)));
    ensure!(here.id == changed.id, "the party is the one that was asked for");
    Ok(Verdict {
        agrees: here == there,
        acknowledged: changed.joined.len()
            + usize::from(changed.left.is_some()) * 2
            + changed.name.iter().count() * 2 * ROUNDS as usize,
        lost,
        conflicts,
    })
}
