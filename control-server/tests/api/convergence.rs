//! Do replicas agree in the end? Parties are changed at two servers at once, whose clocks are ten minutes apart and whose Redis
//! is frozen meanwhile. Two seconds after it thaws, what the public API says of every party must be the same at both, and have in it
//! every membership change that was acknowledged.
//!
//! `LANRAGE_CONVERGENCE_PARTIES` says how many parties, 12 by default.

use std::sync::Arc;
use std::time::Duration;

use lanrage_shared::api::party::{Party, UpdateParty};
use lanrage_shared::api::presence::Presence;
use lanrage_shared::ids::DeviceId;
use lanrage_shared::names::PartyName;
use lanrage_shared::stream::ClientMessage;
use tokio::sync::Barrier;

use crate::support::postgres::PostgresServer;
use crate::support::{Code, Device, RedisServer, Replicas, Request, Stream, Target};

/// How long replicas may take to agree.
const AGREE: Duration = Duration::from_secs(2);
const ROUNDS: u32 = 5;

/// A party that was changed, and what was acknowledged.
struct Changed {
    host: Device,
    party: Party,
    /// The host, the guest, and who came third.
    joined: Vec<DeviceId>,
    name: PartyName,
    /// Kept open, so that everybody stays online.
    _streams: Vec<Stream>,
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_agree_two_seconds_after_a_partition() {
    let parties = std::env::var("LANRAGE_CONVERGENCE_PARTIES").map_or(12, |count| count.parse().unwrap());
    let (postgres, redis) = (PostgresServer::start(), RedisServer::start());
    let replicas = Replicas::start_with(&postgres, "convergence", Some(&redis)).await;
    let (one, two) = (replicas.one.target(), replicas.two.target());
    replicas.one.clock.advance(Duration::from_secs(600));

    let frozen = Arc::new(Barrier::new(usize::try_from(parties).unwrap() + 1));
    let changing: Vec<_> = (0..parties)
        .map(|n| tokio::spawn(change(n, one, two, Arc::clone(&frozen))))
        .collect();
    frozen.wait().await;
    redis.freeze();
    frozen.wait().await;
    let mut changed = Vec::new();
    for one in changing {
        changed.push(one.await.unwrap());
    }
    redis.thaw();
    tokio::time::sleep(AGREE).await;

    let mut conflicts = 0;
    for Changed {
        host,
        party,
        joined,
        name,
        ..
    } in &changed
    {
        let at = async |target| {
            let mut party: Party = Device { target, ..host.clone() }.party(party.id).await;
            party.members.iter_mut().for_each(|member| member.last_seen_ms = 0);
            party
        };
        let (here, there) = (at(one).await, at(two).await);
        assert_eq!(here, there);
        assert_eq!(here.name, *name);
        for (at, device) in joined.iter().enumerate() {
            let member = here.members.iter().find(|member| member.device == *device);
            // Who came third has no stream.
            assert_eq!(member.unwrap().online, at < 2);
        }
        let path = format!("/v1/parties/{}/conflicts", party.id);
        conflicts += host.get(path).await.ok::<Vec<serde_json::Value>>().len();
    }
    println!("{parties} parties agree; {conflicts} conflicts were seen at the first server");
    drop(changed);
    replicas.stop().await;
}

/// Makes a party and changes it at both servers once Redis is frozen.
async fn change(n: u32, one: Target, two: Target, frozen: Arc<Barrier>) -> Changed {
    let (host, guest) = (Device::at(one, 3 * n + 1).await, Device::at(two, 3 * n + 2).await);
    let code = Code::numbered(n);
    let party = host.host(&code, None).await.party;
    guest.join(&code, "Guest").await;
    let mut name = party.name.clone();
    let mut at_one = host.stream(party.id, None).await;
    let mut at_two = guest.stream(party.id, None).await;
    at_one.welcome().await;
    at_two.welcome().await;
    frozen.wait().await;
    frozen.wait().await;

    let mut joined = vec![host.id(), guest.id()];
    for round in 0..ROUNDS {
        tokio::join!(say(&mut at_one, n, round), say(&mut at_two, n, round));
        if n.is_multiple_of(3) && round == 1 {
            let third = Device::at(two, 3 * n + 3).await;
            third.join(&code, "Third").await;
            joined.push(third.id());
        }
        if n.is_multiple_of(4) {
            name = rename(&host, &party, &format!("Round {round}")).await;
        }
    }
    // The host's agent comes to the other server while its stream at this one goes on.
    let mut streams = vec![at_two];
    if n.is_multiple_of(2) {
        let elsewhere = Device {
            target: two,
            ..host.clone()
        };
        let mut moved = elsewhere.stream(party.id, None).await;
        tokio::join!(say(&mut moved, n, 100), say(&mut at_one, n, 101));
        streams.push(moved);
    }
    streams.push(at_one);
    Changed {
        host,
        party,
        joined,
        name,
        _streams: streams,
    }
}

async fn say(stream: &mut Stream, party: u32, round: u32) {
    let presence = Presence {
        agent_version: format!("{party}.{round}.{}", rand::random::<u16>()),
        ..Presence::default()
    };
    // It may have been superseded.
    stream.try_say(&ClientMessage::Presence { presence }).await;
}

async fn rename(host: &Device, party: &Party, name: &str) -> PartyName {
    let update = UpdateParty {
        name: Some(name.parse().unwrap()),
        ..UpdateParty::default()
    };
    loop {
        let now = host.party(party.id).await;
        let request = Request::new("PATCH", format!("/v1/parties/{}", party.id));
        let request = request.header("if-match", format!("\"{}\"", now.version)).json(&update);
        let answer = host.send(request).await;
        if answer.status == 409 {
            continue;
        }
        return answer.ok::<Party>().name;
    }
}
