//! Two servers of one PostgreSQL: what happens at one reaches who is at the other.

use std::time::Duration;

use lanrage_shared::api::conflict::SoftConflict;
use lanrage_shared::api::error::ErrorCode;
use lanrage_shared::api::party::Party;
use lanrage_shared::api::presence::Presence;
use lanrage_shared::api::relay::{ListedRelay, RelayMessage, RelayTokens};
use lanrage_shared::ids::{MemberId, PartyId};
use lanrage_shared::stream::{ClientMessage, Departure, PartyEvent, ServerMessage};

use crate::support::postgres::PostgresServer;
use crate::support::{Code, Device, PATIENCE, RedisServer, Relay, Replicas, Stream, TestServer, until};

/// Longest anything may take to get from one replica to the other while all is well.
const QUICK: Duration = Duration::from_secs(1);
/// The same while something is broken.
const SLOW: Duration = Duration::from_secs(2);

/// Anna, who hosts, and Ben, both members, each at a server.
struct Pair {
    anna: Device,
    ben: Device,
    party: PartyId,
    host: MemberId,
    guest: MemberId,
    code: Code,
}

async fn pair(one: &TestServer, two: &TestServer) -> Pair {
    let (anna, ben) = (Device::new(one, 1).await, Device::new(two, 2).await);
    let code = Code::new(1);
    let hosted = anna.host(&code, None).await;
    let joined = ben.join(&code, "Ben").await;
    Pair {
        anna,
        ben,
        party: hosted.party.id,
        host: hosted.me,
        guest: joined.me,
        code,
    }
}

async fn begun(device: &Device, party: PartyId) -> (Stream, Party) {
    let mut stream = device.stream(party, None).await;
    stream.welcome().await;
    let (_, party) = stream.snapshot().await;
    (stream, party)
}

fn said(version: &str) -> Presence {
    Presence {
        agent_version: version.into(),
        ..Presence::default()
    }
}

async fn hear(stream: &mut Stream, of: MemberId, version: &str) {
    stream
        .find(|message| match message {
            ServerMessage::Presence {
                member,
                presence: Some(presence),
                ..
            } => (member == of && presence.agent_version == version).then_some(()),
            _ => None,
        })
        .await;
}

async fn within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(limit, future).await;
    outcome.unwrap_or_else(|_| panic!("not within {limit:?}: {what}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_at_one_replica_reaches_members_at_the_other() {
    let postgres = PostgresServer::start();
    let replicas = Replicas::start(&postgres, "across").await;
    let (one, two) = (&replicas.one, &replicas.two);
    let pair = pair(one, two).await;
    let (mut at_one, _) = begun(&pair.anna, pair.party).await;
    let (mut at_two, _) = begun(&pair.ben, pair.party).await;
    assert!(within(QUICK, "online", at_one.presence_of(pair.guest)).await);

    let presence = said("of ben");
    at_two.say(&ClientMessage::Presence { presence }).await;
    within(QUICK, "presence", hear(&mut at_one, pair.guest, "of ben")).await;
    for n in 0..20 {
        at_one.signal(pair.guest, &n.to_string()).await;
    }
    for n in 0..20 {
        let signal = within(QUICK, "signal", at_two.incoming_signal()).await;
        assert_eq!(signal, (pair.host, n.to_string()));
    }
    at_two.signal(pair.host, "back").await;
    assert_eq!(within(QUICK, "signal", at_one.incoming_signal()).await.1, "back");

    let cleo = Device::new(two, 3).await;
    cleo.join(&pair.code, "Cleo").await;
    let joined = within(QUICK, "join", at_one.event()).await;
    assert!(matches!(joined.1, PartyEvent::MemberJoined { .. }));

    let party: Party = pair.anna.party(pair.party).await;
    assert!(party.members.iter().filter(|member| member.online).count() == 2);
    pair.anna.remove(&party, pair.guest, false).await.ok::<Party>();
    let kicked = async {
        loop {
            if let (_, PartyEvent::MemberLeft { member, how }) = at_two.event().await {
                return (member, how);
            }
        }
    };
    assert_eq!(within(QUICK, "kick", kicked).await, (pair.guest, Departure::Kicked));
    assert_eq!(at_two.bye().await, (ErrorCode::NotAMember, false));
    assert!(!within(QUICK, "offline", at_one.presence_of(pair.guest)).await);
    replicas.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_goes_on_at_another_replica_with_what_it_has() {
    let postgres = PostgresServer::start();
    let replicas = Replicas::start(&postgres, "resume").await;
    let (one, two) = (&replicas.one, &replicas.two);
    let mut pair = pair(one, two).await;
    let mut before = pair.anna.stream(pair.party, None).await;
    before.welcome().await;
    let (seq, _) = before.snapshot().await;
    drop(before);
    let cleo = Device::new(one, 3).await;
    cleo.join(&pair.code, "Cleo").await;

    // With the token of the first server.
    pair.anna.target = two.target();
    let mut after = pair.anna.stream(pair.party, Some(seq)).await;
    after.welcome().await;
    assert_eq!(after.event().await.0, seq + 1);

    // A challenge of one is answered at the other.
    let challenge = cleo.challenge().await;
    let answer = cleo.prove(&challenge.nonce).send(two.target()).await;
    assert_eq!(answer.status, 200);
    replicas.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_later_of_two_streams_holds_wherever_it_is_and_however_clocks_differ() {
    let postgres = PostgresServer::start();
    let replicas = Replicas::start(&postgres, "superseded").await;
    let (one, two) = (&replicas.one, &replicas.two);
    one.clock.advance(Duration::from_secs(300));
    let pair = pair(one, two).await;
    let (mut watching, _) = begun(&pair.ben, pair.party).await;
    let (mut first, _) = begun(&pair.anna, pair.party).await;
    assert!(within(QUICK, "online", watching.presence_of(pair.host)).await);
    let mut moved = pair.anna.clone();
    moved.target = two.target();
    let (mut second, _) = begun(&moved, pair.party).await;
    assert_eq!(
        within(QUICK, "superseded", first.bye()).await,
        (ErrorCode::Superseded, false)
    );
    let presence = said("moved");
    second.say(&ClientMessage::Presence { presence }).await;
    within(QUICK, "presence", hear(&mut watching, pair.host, "moved")).await;
    let at_one: Party = pair.anna.party(pair.party).await;
    let anna = at_one.members.iter().find(|member| member.id == pair.host).unwrap();
    assert!(anna.online);
    let conflicts: Vec<SoftConflict> = moved.get(format!("/v1/parties/{}/conflicts", pair.party)).await.ok();
    assert_eq!(conflicts, []);
    let stranger = Device::new(one, 9).await;
    let refused = stranger.get(format!("/v1/parties/{}/conflicts", pair.party)).await;
    refused.refused(404, ErrorCode::NotFound);
    replicas.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_members_of_a_replica_that_died_are_offline_after_its_lease() {
    let postgres = PostgresServer::start();
    let replicas = Replicas::start(&postgres, "lease").await;
    let (one, two) = (&replicas.one, &replicas.two);
    let pair = pair(one, two).await;
    let (mut at_two, _) = begun(&pair.ben, pair.party).await;
    let (_at_one, _) = begun(&pair.anna, pair.party).await;
    assert!(within(QUICK, "online", at_two.presence_of(pair.host)).await);
    replicas.one.kill();
    assert!(!within(PATIENCE, "offline", at_two.presence_of(pair.host)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_do_not_hear_the_database_look_everything_up() {
    let postgres = PostgresServer::start();
    let replicas = Replicas::start(&postgres, "deaf").await;
    let (one, two) = (&replicas.one, &replicas.two);
    let pair = pair(one, two).await;
    let (_at_one, _) = begun(&pair.anna, pair.party).await;
    let (mut at_two, _) = begun(&pair.ben, pair.party).await;
    // Kills the connections that listen, again and again.
    let deafen = tokio::spawn({
        let url = replicas.url.clone();
        async move {
            loop {
                postgres_kill_listeners(&url);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    });
    for n in 10..13 {
        let guest = Device::new(one, n).await;
        guest.join(&pair.code, "Guest").await;
        within(SLOW, "join", at_two.event()).await;
    }
    deafen.abort();
    replicas.stop().await;

    fn postgres_kill_listeners(url: &str) {
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN %' AND pid <> pg_backend_pid()";
        let _ = std::process::Command::new("psql").args([url, "-qtc", sql]).output();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_another_key_is_refused() {
    let postgres = PostgresServer::start();
    let url = postgres.fresh_database("keys");
    let one = TestServer::replica(&url, "one", None, None).await.unwrap();
    let refused = TestServer::replica(&url, "two", None, None).await.map(drop);
    let sentence = refused.unwrap_err().to_string();
    assert!(
        sentence.contains("\"one\"") && sentence.contains("identity.pem"),
        "{sentence}"
    );
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_take_few_writes() {
    let postgres = PostgresServer::start();
    let replicas = Replicas::start(&postgres, "heartbeats").await;
    let one = &replicas.one;
    let pair = pair(one, one).await;
    let (mut at_one, _) = begun(&pair.anna, pair.party).await;
    let (mut watching, _) = begun(&pair.ben, pair.party).await;
    let counters = one.app.write_behind.counters();
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
    let before = count(&counters.written);
    for n in 0..150 {
        let presence = said(&(n / 2).to_string());
        at_one.say(&ClientMessage::Presence { presence }).await;
    }
    hear(&mut watching, pair.host, "74").await;
    let heard = one.app.metrics.presence_updates.get();
    assert!(heard >= 149);
    // The second's flush may be on its way.
    let written = count(&counters.written) - before;
    assert!(written <= 3, "{written} statements for {heard} heartbeats");
    replicas.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn relays_are_offered_at_every_replica_and_told_of_every_removal() {
    let postgres = PostgresServer::start();
    let replicas = Replicas::start(&postgres, "relays").await;
    let (one, two) = (&replicas.one, &replicas.two);
    let pair = pair(one, two).await;
    let (mut at_two, _) = begun(&pair.ben, pair.party).await;
    let (mut relay, ..) = Relay::start(one, "fra-1", 0).await;
    let offered = within(SLOW, "offer", at_two.relays()).await;
    assert_eq!(offered[0].id, relay.id);
    relay.report(40).await;
    assert_eq!(within(SLOW, "load", at_two.relays()).await[0].load, 40);
    let tokens: RelayTokens = pair.ben.relay_tokens(pair.party).await.ok();
    assert_eq!(tokens.tokens[0].relay, relay.id);
    let listed: Vec<ListedRelay> = pair.ben.get("/v1/relays").await.ok();
    assert_eq!((listed.len(), listed[0].health.load), (1, 40));

    // Ben leaves at the other replica than the relay's.
    assert_eq!(pair.ben.leave(pair.party).await.status, 204);
    assert_eq!(within(QUICK, "revocation", relay.revoked()).await.party, pair.party);

    // It comes back to the other replica: still one relay everywhere, and the first link is over.
    let (mut again, ..) = Relay::start(two, "fra-1", 0).await;
    assert_eq!(within(SLOW, "superseded", relay.bye()).await, ErrorCode::Superseded);
    again.report(70).await;
    let known = || {
        let relays = one.app.relays.services().relays;
        relays.len() == 1 && relays[0].load == 70
    };
    until("its new link speaks for it", known).await;
    again.say(&RelayMessage::Draining).await;
    until("nobody is sent there", || one.app.relays.services().relays.is_empty()).await;
    replicas.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_freezes_and_dies_costs_nothing_but_a_moment() {
    let (postgres, redis) = (PostgresServer::start(), RedisServer::start());
    let replicas = Replicas::start_with(&postgres, "redis", Some(&redis)).await;
    let pair = pair(&replicas.one, &replicas.two).await;
    let (mut at_one, _) = begun(&pair.anna, pair.party).await;
    let (mut at_two, _) = begun(&pair.ben, pair.party).await;
    let mut exchange = async |what: &str| {
        let sealed = |n: u32| format!("{}{n}", what.replace(' ', "/"));
        for n in 0..20 {
            at_one.signal(pair.guest, &sealed(n)).await;
        }
        let presence = said(what);
        at_two.say(&ClientMessage::Presence { presence }).await;
        within(SLOW, what, hear(&mut at_one, pair.guest, what)).await;
        for n in 0..20 {
            let (_, signal) = within(SLOW, what, at_two.incoming_signal()).await;
            assert_eq!(signal, sealed(n), "in order, and once");
        }
    };
    exchange("with Redis").await;
    redis.freeze();
    exchange("while it is frozen").await;
    redis.thaw();
    exchange("after it thawed").await;
    drop(redis);
    exchange("without Redis").await;
    replicas.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_whose_maker_was_not_told_of_it_is_heard_where_it_was_made() {
    let postgres = PostgresServer::start();
    let replicas = Replicas::start(&postgres, "untold").await;
    let one = &replicas.one;
    let pair = pair(one, one).await;
    let (mut at_one, _) = begun(&pair.anna, pair.party).await;
    // As when the answer to the commit is lost: nothing else happens at this replica.
    let left = one
        .app
        .store
        .leave_party(pair.party, pair.ben.id(), one.app.clock.now_ms());
    let changed = left.await.unwrap();
    let (seq, event) = within(SLOW, "departure", at_one.event()).await;
    assert_eq!((seq, event), changed.events[0]);
    let party: Party = pair.anna.party(pair.party).await;
    assert_eq!(party.members.len(), 1);
    replicas.stop().await;
}
