//! Relays: their link, what members are told of them, and their tokens; over real HTTPS.

use std::time::{Duration, Instant};

use crate::support::{Code, Device, Relay, Request, TestServer, until};
use lanrage_control::relays::OwnRelay;
use lanrage_control::tls::ServerIdentity;
use lanrage_relay::config::LimitsSection;
use lanrage_relay::relay::{RelayServer, RelaySettings};
use lanrage_shared::api::error::ErrorCode;
use lanrage_shared::api::party::Party;
use lanrage_shared::api::relay::{ListedRelay, RELAY_STALE_S, RELAY_TOKEN_LIFETIME_S, RelayMessage, RelayTokens};
use lanrage_shared::ids::{MemberId, PartyId};
use lanrage_shared::stream::ServerMessage;
use lanrage_shared::token::{RelayClaims, TokenError, TokenVerifier};
use tokio_util::sync::CancellationToken;

/// Anna hosts, Ben has joined.
async fn pair(server: &TestServer) -> (Device, Device, PartyId, MemberId) {
    let (anna, ben) = (Device::new(server, 1).await, Device::new(server, 2).await);
    let code = Code::new(1);
    let id = anna.host(&code, None).await.party.id;
    let me = ben.join(&code, "Ben").await.me;
    (anna, ben, id, me)
}

fn names(relays: &[lanrage_shared::api::relay::Relay]) -> Vec<(String, u8)> {
    relays.iter().map(|relay| (relay.id.to_string(), relay.load)).collect()
}

#[tokio::test]
async fn members_hear_of_a_relay_that_comes_fills_up_drains_and_vanishes() {
    let server = TestServer::start().await;
    let (anna, _, id, _) = pair(&server).await;
    let mut at_anna = anna.stream(id, None).await;
    at_anna.welcome().await;
    at_anna.snapshot().await;
    let (mut fra, _, _) = Relay::start(&server, "fra-1", 0).await;
    let told = at_anna.relays().await;
    assert_eq!(names(&told), [("fra-1".into(), 0)]);
    assert_eq!((told[0].region.as_str(), told[0].port), ("eu-west", 4443));
    assert_eq!(told[0].host.as_deref(), Some("relay.example"));
    fra.report(5).await;
    fra.report(30).await;
    assert_eq!(names(&at_anna.relays().await), [("fra-1".into(), 30)]);
    let (_lon, _, _) = Relay::start(&server, "lon-1", 0).await;
    assert_eq!(at_anna.relays().await.len(), 2);

    // Who comes now hears it at once.
    let code = Code::new(2);
    let hosted = Device::new(&server, 3).await.host(&code, None).await;
    assert_eq!(hosted.services.relays.len(), 2);
    let mut again = anna.stream(id, None).await;
    let ServerMessage::Welcome { services, .. } = again.next().await else {
        panic!("not a welcome");
    };
    assert_eq!(services.relays.len(), 2);

    fra.say(&RelayMessage::Draining).await;
    assert_eq!(names(&again.relays().await), [("lon-1".into(), 0)]);
    server.clock.advance(Duration::from_secs(RELAY_STALE_S + 1));
    assert!(again.relays().await.is_empty());
}

#[tokio::test]
async fn every_device_sees_how_the_relays_are_and_nobody_else_does() {
    let server = TestServer::start().await;
    let anna = Device::new(&server, 1).await;
    let (mut fra, _, _) = Relay::start(&server, "fra-1", 0).await;
    let (mut lon, _, _) = Relay::start(&server, "lon-1", 0).await;
    fra.report(5).await;
    lon.say(&RelayMessage::Draining).await;
    let id = lon.id.clone();
    lon.say(&RelayMessage::Applied { seq: 9 }).await;
    until("it was heard", || server.app.relays.applied(&id) == Some(9)).await;
    until("the load is known", || server.app.relays.list(0)[0].health.load == 5).await;
    server.clock.advance(Duration::from_secs(3));
    let listed: Vec<ListedRelay> = anna.get("/v1/relays").await.ok();
    let seen: Vec<_> = listed
        .iter()
        .map(|relay| (relay.id.as_str(), relay.draining, relay.seen_s))
        .collect();
    assert_eq!(seen, [("fra-1", false, 3), ("lon-1", true, 3)]);
    assert_eq!(
        (listed[0].region.as_str(), listed[1].health.capacity),
        ("eu-west", 1000)
    );
    server.clock.advance(Duration::from_secs(RELAY_STALE_S));
    server.app.relays.forget_silent(server.app.clock.uptime_ms());
    let listed: Vec<ListedRelay> = anna.get("/v1/relays").await.ok();
    assert!(listed.is_empty(), "{listed:?}");
    let stranger = server.request(Request::new("GET", "/v1/relays")).await;
    stranger.refused(401, ErrorCode::Unauthorized);
}

#[tokio::test]
async fn the_relay_in_the_same_process_is_offered_and_told_who_is_out() {
    let server = TestServer::start().await;
    let (anna, ben, id, me) = pair(&server).await;
    let code = Code::new(3);
    let invites = format!("/v1/parties/{id}/invites");
    anna.send(Request::new("POST", invites).json(&code.invite(None))).await;
    let guest = Device::new(&server, 3).await;
    guest.join(&code, "Guest").await;
    guest.leave(id).await;
    let dir = tempfile::tempdir().unwrap();
    let identity = ServerIdentity::open(dir.path()).unwrap();
    let settings = RelaySettings {
        id: "main".parse().unwrap(),
        listen_addresses: vec!["127.0.0.1".parse().unwrap()],
        port: 0,
        limits: (&LimitsSection::default()).into(),
    };
    let relay = RelayServer::bind(settings, &identity).unwrap();
    let (handle, port) = (relay.handle(), relay.port());
    let own = OwnRelay::register(server.app.clone(), relay, "home".into(), identity.pin)
        .await
        .unwrap();
    assert_eq!(handle.known().seq, 1, "what was revoked before it came");
    let stop = CancellationToken::new();
    let running = tokio::spawn(own.run(stop.clone()));

    let mut at_anna = anna.stream(id, None).await;
    let ServerMessage::Welcome { services, .. } = at_anna.next().await else {
        panic!("not a welcome");
    };
    let offered = &services.relays[0];
    assert_eq!((offered.host.as_deref(), offered.port), (None, port));
    assert_eq!((offered.region.as_str(), offered.pin), ("home", identity.pin));
    assert_eq!(ben.relay_tokens(id).await.ok::<RelayTokens>().tokens.len(), 1);
    server.clock.advance(Duration::from_secs(RELAY_STALE_S + 1));
    let party = anna.party(id).await;
    let _: Party = anna.remove(&party, me, false).await.ok();
    until("it is told", || handle.known().seq == 2).await;

    let token = server.app.register_token.read().unwrap();
    let mut twin = Relay::connect(&server, "main", &token).await.unwrap();
    let registration = twin.registration("eu-west", 0);
    twin.say(&registration).await;
    assert_eq!(twin.bye().await, ErrorCode::Forbidden);
    assert_eq!(server.app.relays.services().relays.len(), 1);
    stop.cancel();
    assert!(at_anna.relays().await.is_empty());
    running.await.unwrap();
}

#[tokio::test]
async fn a_link_that_breaks_and_comes_back_is_no_news() {
    let server = TestServer::start().await;
    let (first, _, _) = Relay::start(&server, "fra-1", 0).await;
    let mut news = server.app.relays.watch_services();
    news.mark_unchanged();
    drop(first);
    let (mut second, _, _) = Relay::start(&server, "fra-1", 0).await;
    second.report(3).await;
    let heard = || server.app.relays.list(0).iter().any(|relay| relay.health.load == 3);
    until("the second is there", heard).await;
    let (mut third, _, _) = Relay::start(&server, "fra-1", 0).await;
    assert_eq!(second.bye().await, ErrorCode::Superseded);
    third.report(3).await;
    third.say(&RelayMessage::Applied { seq: 9 }).await;
    let id = third.id.clone();
    until("it was heard", || server.app.relays.applied(&id) == Some(9)).await;
    assert!(!news.has_changed().unwrap());
}

#[tokio::test]
async fn only_the_operators_relays_register_and_only_with_the_token_as_it_is_now() {
    let server = TestServer::start().await;
    let (anna, _, _, _) = pair(&server).await;
    let token = server.app.register_token.read().unwrap();
    for wrong in ["", "x", &token[1..], &anna.token] {
        assert_eq!(
            Relay::connect(&server, "fra-1", wrong).await.err(),
            Some(401),
            "{wrong}"
        );
    }
    let plain = Request::new("GET", "/v1/relay-link");
    server.request(plain).await.refused(401, ErrorCode::Unauthorized);
    let plain = Request::new("GET", "/v1/relay-link").token(&token);
    server.request(plain).await.refused(400, ErrorCode::BadRequest);

    let (mut fra, _, _) = Relay::start(&server, "fra-1", 0).await;
    server.app.register_token.renew().unwrap();
    assert_eq!(Relay::connect(&server, "lon-1", &token).await.err(), Some(401));
    fra.report(0).await;
    assert_eq!(fra.bye().await, ErrorCode::Unauthorized);
    Relay::start(&server, "fra-1", 0).await;
}

#[tokio::test]
async fn what_is_not_a_relays_message_ends_the_link() {
    let server = TestServer::start().await;
    let token = server.app.register_token.read().unwrap();
    for first in [
        "",
        "{}",
        r#"{"type":"applied","seq":1}"#,
        r#"{"type":"register","id":"X"}"#,
    ] {
        let mut relay = Relay::connect(&server, "fra-1", &token).await.unwrap();
        relay.say_text(first).await;
        assert_eq!(relay.bye().await, ErrorCode::BadRequest, "{first}");
    }
    let mut relay = Relay::connect(&server, "fra-1", &token).await.unwrap();
    let unsound = relay.registration("eu west\u{1b}[2J", 0);
    relay.say(&unsound).await;
    assert_eq!(relay.bye().await, ErrorCode::BadRequest);
    assert!(server.app.relays.services().relays.is_empty());
    let (mut relay, _, _) = Relay::start(&server, "fra-1", 0).await;
    let again = relay.registration("eu-west", 0);
    relay.say(&again).await;
    assert_eq!(relay.bye().await, ErrorCode::BadRequest);
}

#[tokio::test]
async fn a_member_gets_a_token_for_each_relay_that_is_there() {
    let server = TestServer::start().await;
    let (anna, ben, id, me) = pair(&server).await;
    assert!(ben.relay_tokens(id).await.ok::<RelayTokens>().tokens.is_empty());
    let (mut fra, key, _) = Relay::start(&server, "fra-1", 0).await;
    let (_lon, _, _) = Relay::start(&server, "lon-1", 0).await;
    let answer: RelayTokens = ben.relay_tokens(id).await.ok();
    let now = 1_700_000_000;
    assert_eq!(answer.expires_at, now + RELAY_TOKEN_LIFETIME_S);
    let verifier = TokenVerifier::from_public_key(&key.0);
    let claims: Vec<RelayClaims> = answer
        .tokens
        .iter()
        .map(|token| verifier.verify(&token.token, now).unwrap())
        .collect();
    assert_eq!(
        claims.iter().map(|claims| claims.relay.as_str()).collect::<Vec<_>>(),
        ["fra-1", "lon-1"]
    );
    let expected = RelayClaims {
        aud: "lanrage-relay".into(),
        relay: "fra-1".parse().unwrap(),
        party: id,
        member: me,
        identity_key: ben.identity.public(),
        device_key: ben.secret.public(),
        epoch: 1,
        iat: now,
        exp: answer.expires_at,
    };
    assert_eq!(claims[0], expected);
    let late = verifier.verify::<RelayClaims>(&answer.tokens[0].token, answer.expires_at);
    assert_eq!(late, Err(TokenError::Expired));
    // A relay token is not an access token.
    let request = Request::new("GET", "/v1/parties").token(&answer.tokens[0].token);
    server.request(request).await.refused(401, ErrorCode::Unauthorized);

    let eve = Device::new(&server, 9).await;
    eve.relay_tokens(id).await.refused(404, ErrorCode::NotFound);
    fra.say(&RelayMessage::Draining).await;
    until("it drains", || server.app.relays.services().relays.len() == 1).await;
    let party = anna.party(id).await;
    let _: Party = anna.remove(&party, me, false).await.ok();
    ben.relay_tokens(id).await.refused(404, ErrorCode::NotFound);
    let answer: RelayTokens = anna.relay_tokens(id).await.ok();
    let claims: RelayClaims = verifier.verify(&answer.tokens[0].token, now).unwrap();
    assert_eq!((answer.tokens.len(), claims.epoch), (1, 2), "of the new epoch");
}

#[tokio::test]
async fn a_removal_is_pushed_to_every_relay_at_once_and_acknowledged() {
    let server = TestServer::start().await;
    let (anna, ben, id, me) = pair(&server).await;
    let (mut fra, _, last) = Relay::start(&server, "fra-1", 0).await;
    let (mut lon, _, _) = Relay::start(&server, "lon-1", 0).await;
    assert_eq!(last, 0);
    let party = anna.party(id).await;
    let asked = Instant::now();
    let _: Party = anna.remove(&party, me, true).await.ok();
    for relay in [&mut fra, &mut lon] {
        let revocation = relay.revoked().await;
        assert_eq!((revocation.seq, revocation.party, revocation.epoch), (1, id, 2));
        assert_eq!(revocation.removed, [ben.identity.public()]);
    }
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    fra.say(&RelayMessage::Applied { seq: 1 }).await;
    let (fra_id, lon_id) = (fra.id.clone(), lon.id.clone());
    until("it is acknowledged", || server.app.relays.applied(&fra_id) == Some(1)).await;
    assert_eq!(server.app.relays.applied(&lon_id), Some(0));

    anna.send(Request::new("DELETE", format!("/v1/parties/{id}"))).await;
    let revocation = fra.revoked().await;
    assert_eq!((revocation.seq, revocation.epoch), (2, 3));
    assert_eq!(revocation.removed, [anna.identity.public()], "the party is over");
}

#[tokio::test]
async fn a_relay_that_was_away_is_told_what_it_missed_in_order() {
    let server = TestServer::start().await;
    let (anna, _, id, _) = pair(&server).await;
    let code = Code::new(3);
    let invites = format!("/v1/parties/{id}/invites");
    anna.send(Request::new("POST", invites).json(&code.invite(None))).await;
    let mut gone = Vec::new();
    for n in 10..15 {
        let guest = Device::new(&server, n).await;
        guest.join(&code, "Guest").await;
        guest.leave(id).await;
        gone.push(guest.identity.public());
    }
    let (mut fra, _, last) = Relay::start(&server, "fra-1", 2).await;
    assert_eq!(last, 5);
    for (seq, key) in (3..).zip(&gone[2..]) {
        let revocation = fra.revoked().await;
        assert_eq!((revocation.seq, revocation.removed), (seq, vec![*key]));
    }
    // One that knows of more than there ever was knew another server.
    let (mut lon, _, _) = Relay::start(&server, "lon-1", 99).await;
    assert_eq!(lon.revoked().await.seq, 1);
    // What no token can outlive is not kept.
    server
        .clock
        .advance(Duration::from_secs(2 * RELAY_TOKEN_LIFETIME_S + 1));
    lanrage_control::upkeep::once(&server.app).await.unwrap();
    let (mut par, _, last) = Relay::start(&server, "par-1", 0).await;
    assert_eq!(last, 5);
    let mut anna = anna;
    anna.sign_in().await;
    assert_eq!(anna.leave(id).await.status, 204);
    assert_eq!(par.revoked().await.seq, 6);
}
