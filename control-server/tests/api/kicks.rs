//! How long a removal takes to reach the other replica's members and relays.

use std::time::{Duration, Instant};

use lanrage_shared::api::party::Party;
use lanrage_shared::stream::{Departure, PartyEvent};

use crate::support::postgres::PostgresServer;
use crate::support::{Code, Device, RedisServer, Relay, Replicas, Stream};

/// Removals that are measured; as many as a host may ask for at once.
const KICKS: u32 = 50;
/// Longest any of them may take.
const LIMIT: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn fifty_removals_reach_the_other_replica_within_a_second() {
    let postgres = PostgresServer::start();
    let worst = worst_of_fifty(&postgres, "kicks", None).await;
    println!("the slowest of {KICKS} removals: {worst:?}");
    assert!(worst <= LIMIT, "{worst:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_removals_reach_the_other_replica_within_a_second_with_redis_also_when_it_is_frozen() {
    let (postgres, redis) = (PostgresServer::start(), RedisServer::start());
    let worst = worst_of_fifty(&postgres, "kicks", Some(&redis)).await;
    redis.freeze();
    let frozen = worst_of_fifty(&postgres, "frozen", Some(&redis)).await;
    println!("the slowest of {KICKS} removals: {worst:?}, with a frozen Redis {frozen:?}");
    assert!(worst <= LIMIT && frozen <= LIMIT, "{worst:?}, {frozen:?}");
}

async fn worst_of_fifty(postgres: &PostgresServer, name: &str, redis: Option<&RedisServer>) -> Duration {
    let replicas = Replicas::start_with(postgres, name, redis).await;
    let (one, two) = (&replicas.one, &replicas.two);
    let (host, watcher) = (Device::new(one, 1).await, Device::new(two, 2).await);
    let code = Code::new(1);
    host.host(&code, None).await;
    let id = watcher.join(&code, "Watcher").await.party.id;
    let mut guests = Vec::new();
    for n in 0..KICKS {
        let guest = Device::new(two, 100 + n).await;
        let joined = guest.join(&code, "Guest").await;
        let mut stream = guest.stream(id, None).await;
        stream.welcome().await;
        guests.push((joined.me, stream));
    }
    let mut at_two = watcher.stream(id, None).await;
    at_two.welcome().await;
    let (mut relay, ..) = Relay::start(two, "fra-1", 0).await;
    let mut party: Party = host.party(id).await;

    let mut worst = Duration::ZERO;
    for (member, mut stream) in guests {
        let began = Instant::now();
        let heard = async |stream: &mut Stream| {
            let how = stream.find(|message| match message {
                lanrage_shared::stream::ServerMessage::Event {
                    event: PartyEvent::MemberLeft { member: gone, how },
                    ..
                } => (gone == member).then_some(how),
                _ => None,
            });
            assert_eq!(how.await, Departure::Kicked);
            began.elapsed()
        };
        let told = async |relay: &mut Relay| {
            assert_eq!(relay.revoked().await.party, id);
            began.elapsed()
        };
        let (changed, by_peer, by_itself, by_relay) = tokio::join!(
            host.remove(&party, member, false),
            heard(&mut at_two),
            heard(&mut stream),
            told(&mut relay),
        );
        party = changed.ok();
        worst = worst.max(by_peer).max(by_itself).max(by_relay);
    }
    replicas.stop().await;
    worst
}
