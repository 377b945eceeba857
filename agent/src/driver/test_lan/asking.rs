//! The agent that was asked to test, and what it makes of the answers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use lanrage_agent_core::games::{GameLibrary, GameProfile, Method};
use lanrage_shared::ids::MemberId;
use tokio::time::{Instant, timeout_at};

use super::wire::{MOST_WAYS, Message, Target, Told};
use super::words::{Part, instead, reason};
use super::{Participant, Test, listening};
use crate::api::{Failure, HeardReport, TestLanReport, TestWayReport};
use crate::driver::command::{Command, Commands};

/// How long members have to answer, and how often they are asked again.
const PATIENCE: Duration = Duration::from_secs(3);
const AGAIN: Duration = Duration::from_millis(300);
/// How long what was sent may be on its way to whoever is farthest.
const ON_ITS_WAY: Duration = Duration::from_millis(1500);
/// Servers named of one game.
const MOST_SERVERS: usize = 32;

/// What is tried when no game is named: a broadcast and a multicast, as Quake and Minecraft send them.
const USUAL: [(Option<[u8; 4]>, u16); 2] = [(None, 27960), (Some([224, 0, 2, 60]), 4445)];

/// Whom an asked game's servers answer.
struct Way {
    target: Target,
    probe: Option<Vec<u8>>,
}

/// Tests as `game` looks for servers, or as most do.
pub async fn run(
    commands: &Commands,
    games: &GameLibrary,
    game: Option<&str>,
    progress: impl Fn(String),
) -> Result<TestLanReport, Failure> {
    let game = game.map(|text| choose(games, text)).transpose()?;
    let ways = ways(game)?;
    let targets: Vec<Target> = ways.iter().map(|way| way.target).collect();
    let mut test = commands.ask(Command::BeginTest).await??;
    progress(format!("Asking {} others to listen …", test.others.len()));
    let begin = Message::Begin {
        test: test.id,
        targets: targets.clone(),
    };
    let ready = gather(commands, &mut test, &begin, None).await?;
    progress("Sending as the game does …".to_owned());
    let taking_part: BTreeSet<MemberId> = ready.keys().copied().collect();
    for member in &taking_part {
        say(commands, *member, Message::Send { test: test.id }).await?;
    }
    let servers = find_servers(&ways, test.tun).await;
    progress("Asking what was heard …".to_owned());
    let ask = Message::Ask { test: test.id };
    let told = gather(commands, &mut test, &ask, Some(&taking_part)).await?;
    for member in &taking_part {
        say(commands, *member, Message::End { test: test.id }).await?;
    }
    Ok(TestLanReport {
        game: game.map(|game| game.name.clone()),
        ways: report(&test, &targets, &ready, &told, servers),
    })
}

fn choose<'a>(games: &'a GameLibrary, text: &str) -> Result<&'a GameProfile, Failure> {
    let text = text.trim().to_lowercase();
    let all = || games.games().map(|game| &**game);
    let is_it = |game: &&GameProfile| game.id.as_str() == text || game.name.as_str().to_lowercase() == text;
    if let Some(game) = all().find(is_it) {
        return Ok(game);
    }
    let similar: Vec<&GameProfile> = all()
        .filter(|game| game.name.as_str().to_lowercase().contains(&text) || game.id.as_str().contains(&text))
        .collect();
    match similar[..] {
        [game] => Ok(game),
        [] => Err(Failure::new(
            "no_such_game",
            format!("no game called {text:?} is known; `lanrage games --all` lists them"),
        )),
        _ => {
            let names: Vec<&str> = similar.iter().take(8).map(|game| game.id.as_str()).collect();
            let sentence = format!("{text:?} may be any of {} games: {}", similar.len(), names.join(", "));
            Err(Failure::new("ambiguous_game", sentence))
        }
    }
}

fn ways(game: Option<&GameProfile>) -> Result<Vec<Way>, Failure> {
    let Some(game) = game else {
        let usual = USUAL.into_iter().filter_map(|(group, port)| {
            let target = Target::new(group.map(Into::into), port).ok()?;
            Some(Way { target, probe: None })
        });
        return Ok(usual.collect());
    };
    let mut ways: Vec<Way> = Vec::new();
    for discovery in &game.discovery {
        let group = match discovery.method {
            Method::Multicast(group) => Some(group),
            Method::Broadcast => None,
        };
        let Ok(target) = Target::new(group, *discovery.ports.start()) else {
            continue;
        };
        if ways.len() < MOST_WAYS && ways.iter().all(|way| way.target != target) {
            let probe = discovery.probe.clone();
            ways.push(Way { target, probe });
        }
    }
    if ways.is_empty() {
        return Err(Failure::new(
            "no_discovery",
            format!(
                "how {} looks for servers in a LAN is not known; without a game, `lanrage test-lan` tries what most do",
                game.name
            ),
        ));
    }
    Ok(ways)
}

async fn say(commands: &Commands, to: MemberId, message: Message) -> Result<(), Failure> {
    commands.ask(|reply| Command::SayInTest { to, message, reply }).await
}

/// Says the same to everybody (of `whom`) until all have answered or time is over.
async fn gather(
    commands: &Commands,
    test: &mut Test,
    message: &Message,
    whom: Option<&BTreeSet<MemberId>>,
) -> Result<BTreeMap<MemberId, Message>, Failure> {
    let everybody = std::iter::once(&test.me).chain(&test.others);
    let mut missing: BTreeSet<MemberId> = everybody
        .filter(|one| one.absent.is_none() && whom.is_none_or(|whom| whom.contains(&one.member)))
        .map(|one| one.member)
        .collect();
    let (deadline, mut answers) = (Instant::now() + PATIENCE, BTreeMap::new());
    while !missing.is_empty() && Instant::now() < deadline {
        for member in &missing {
            say(commands, *member, message.clone()).await?;
        }
        let again = (Instant::now() + AGAIN).min(deadline);
        while let Ok(received) = timeout_at(again, test.answers.recv()).await {
            let Some((from, answer)) = received else {
                return Err(Failure::new(
                    "test_over",
                    "the test is over: another one has begun on this PC, or it left the party",
                ));
            };
            let is_answer = matches!(
                (message, &answer),
                (Message::Begin { .. }, Message::Ready { .. }) | (Message::Ask { .. }, Message::Told { .. })
            );
            if is_answer && missing.remove(&from) {
                answers.insert(from, answer);
            }
            if missing.is_empty() {
                break;
            }
        }
    }
    Ok(answers)
}

/// While marked packets are on their way, the game's own question goes out, and who answers is a server of that game.
async fn find_servers(ways: &[Way], tun: u32) -> Vec<Vec<SocketAddr>> {
    let until = Instant::now() + ON_ITS_WAY;
    let asking = ways.iter().map(|way| async move {
        let mut servers = BTreeSet::new();
        let Some(probe) = &way.probe else { return servers };
        let opened = listening::asker(&way.target).and_then(|socket| {
            listening::send(&socket, &way.target, tun, probe)?;
            socket.set_nonblocking(true)?;
            tokio::net::UdpSocket::from_std(socket)
        });
        let Ok(socket) = opened else { return servers };
        let mut buffer = [0; 2048];
        while let Ok(Ok((_, from))) = timeout_at(until, socket.recv_from(&mut buffer)).await {
            if servers.len() < MOST_SERVERS {
                servers.insert(from);
            }
        }
        servers
    });
    let found = futures_util::future::join_all(asking).await;
    tokio::time::sleep_until(until).await;
    found.into_iter().map(|servers| servers.into_iter().collect()).collect()
}

fn report(
    test: &Test,
    targets: &[Target],
    ready: &BTreeMap<MemberId, Message>,
    told: &BTreeMap<MemberId, Message>,
    servers: Vec<Vec<SocketAddr>>,
) -> Vec<TestWayReport> {
    let everybody: Vec<&Participant> = std::iter::once(&test.me).chain(&test.others).collect();
    let silent = |one: &Participant| {
        format!(
            "{}'s agent does not answer: it may be older than this one, restarting, or in too many tests at once",
            one.name
        )
    };
    let absent: BTreeMap<MemberId, String> = everybody
        .iter()
        .filter(|one| !ready.contains_key(&one.member))
        .map(|one| (one.member, one.absent.clone().unwrap_or_else(|| silent(one))))
        .collect();
    let results = |member: &MemberId, way: usize| -> Option<&Told> {
        match told.get(member) {
            Some(Message::Told { results, .. }) => results.get(way),
            _ => None,
        }
    };
    let ways = targets.iter().zip(servers).enumerate();
    ways.map(|(way, (target, servers))| {
        let parts: Vec<(&Participant, Part<'_>)> = everybody
            .iter()
            .map(|one| {
                let is_taken =
                    |ready: &Message| matches!(ready, Message::Ready { taken, .. } if taken.contains(&(way as u8)));
                let part = Part {
                    name: one.name.as_str(),
                    absent: absent.get(&one.member).map(String::as_str),
                    taken: ready.get(&one.member).is_some_and(is_taken),
                    told: results(&one.member, way),
                };
                (*one, part)
            })
            .collect();
        let mut heard = Vec::new();
        for (from, sender) in &parts {
            for (to, hearer) in parts.iter().filter(|(to, _)| to.member != from.member) {
                let is_heard = hearer.told.is_some_and(|told| told.heard.0.contains(&from.member));
                let arrived = hearer.told.is_some_and(|told| told.arrived.0.contains(&from.member));
                let to_a_program = !is_heard && arrived && hearer.taken;
                heard.push(HeardReport {
                    from: from.name.clone(),
                    to: to.name.clone(),
                    heard: is_heard || to_a_program,
                    reason: match (is_heard, to_a_program) {
                        (true, _) => None,
                        (_, true) => Some(instead(hearer, target)),
                        _ => Some(reason(sender, hearer, target, arrived)),
                    },
                });
            }
        }
        TestWayReport {
            method: if target.group().is_some() {
                "multicast"
            } else {
                "broadcast"
            }
            .to_owned(),
            group: target.group(),
            port: target.port(),
            results: heard,
            servers,
        }
    })
    .collect()
}
