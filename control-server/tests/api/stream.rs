//! The control stream, over real WebSockets.

use crate::support::{Code, Device, Request, Stream, TestServer, connect, until};
use lanrage_shared::api::error::ErrorCode;
use lanrage_shared::api::game::{Playing, Wording};
use lanrage_shared::api::presence::{Mapping, NatSummary, Presence};
use lanrage_shared::ids::{MemberId, PartyId};
use lanrage_shared::signal::MAX_SIGNAL_TEXT;
use lanrage_shared::stream::{ClientMessage, PartyEvent, ServerMessage};
use lanrage_store::{SoftKey, Store};
use lanrage_store_sqlite::SqliteDatabase;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Anna hosts, Ben has joined.
async fn pair(server: &TestServer) -> (Device, Device, PartyId, MemberId, MemberId) {
    let (anna, ben) = (Device::new(server, 1).await, Device::new(server, 2).await);
    let code = Code::new(1);
    let hosted = anna.host(&code, None).await;
    let joined = ben.join(&code, "Ben").await;
    (anna, ben, hosted.party.id, hosted.me, joined.me)
}

#[tokio::test]
async fn a_newcomer_gets_the_whole_party_and_then_every_change() {
    let server = TestServer::start().await;
    let (anna, code) = (Device::new(&server, 1).await, Code::new(1));
    let hosted = anna.host(&code, None).await;
    let mut stream = anna.stream(hosted.party.id, None).await;
    match stream.next().await {
        ServerMessage::Welcome {
            me,
            services,
            server_time_ms,
        } => {
            assert_eq!(
                (me, services, server_time_ms),
                (hosted.me, hosted.services, 1_700_000_000_000)
            );
        }
        other => panic!("not a welcome: {other:?}"),
    }
    let (seq, party) = stream.snapshot().await;
    assert_eq!(seq, hosted.seq);
    assert!(party.members[0].online);

    let ben = Device::new(&server, 2).await;
    let joined = ben.join(&code, "Ben").await;
    let (seq, event) = stream.event().await;
    let PartyEvent::MemberJoined { member } = event else {
        panic!("somebody joined: {event:?}");
    };
    assert_eq!((seq, member.id, member.device), (1, joined.me, ben.id()));
    let (seq, event) = stream.event().await;
    let PartyEvent::Updated { party } = event else {
        panic!("the version changed: {event:?}");
    };
    assert_eq!((seq, party.version), (joined.seq, joined.party.version));

    ben.leave(hosted.party.id).await;
    assert_eq!(
        stream.event().await,
        (
            3,
            PartyEvent::MemberLeft {
                member: joined.me,
                how: lanrage_shared::stream::Departure::Left
            }
        )
    );
}

#[tokio::test]
async fn who_comes_back_gets_what_it_missed() {
    let server = TestServer::start().await;
    let (anna, ben, party, host, guest) = pair(&server).await;
    let mut stream = anna.stream(party, Some(0)).await;
    assert_eq!(stream.welcome().await, host);
    assert_eq!((stream.event().await.0, stream.event().await.0), (1, 2));
    assert!(!stream.presence_of(guest).await);

    let mut current = ben.stream(party, Some(2)).await;
    current.welcome().await;
    assert!(
        current.presence_of(host).await,
        "presence is sent whole, without an event before it"
    );
    assert_eq!(current.heard.len(), 2);

    let mut ahead = anna.stream(party, Some(99)).await;
    ahead.welcome().await;
    assert_eq!(ahead.snapshot().await.0, 2);
}

#[tokio::test]
async fn members_see_each_other_come_speak_and_go() {
    let server = TestServer::start().await;
    let (anna, ben, party, host, guest) = pair(&server).await;
    let mut at_anna = anna.stream(party, None).await;
    at_anna.welcome().await;
    at_anna.snapshot().await;
    let mut at_ben = ben.stream(party, None).await;
    at_ben.welcome().await;
    at_ben.snapshot().await;
    assert!(at_anna.presence_of(guest).await);

    let said = Presence {
        nat: NatSummary {
            mapping: Mapping::EndpointIndependent,
            ..NatSummary::default()
        },
        relays: vec![],
        agent_version: "0.1.0".into(),
        game: Some(Box::new(Playing {
            id: "quake".parse().unwrap(),
            name: "Quake".parse().unwrap(),
            wording: Wording::Probably,
        })),
    };
    at_anna.say(&ClientMessage::Presence { presence: said.clone() }).await;
    let heard = at_ben
        .find(|message| match message {
            ServerMessage::Presence { member, presence, .. } if member == host && presence.is_some() => presence,
            _ => None,
        })
        .await;
    assert_eq!(heard, said);
    let seen: lanrage_shared::api::party::Party = ben.get(format!("/v1/parties/{party}")).await.ok();
    let anna_seen = seen.members.iter().find(|member| member.id == host).unwrap();
    assert_eq!((anna_seen.online, anna_seen.presence.as_ref()), (true, Some(&said)));

    drop(at_anna);
    while at_ben.presence_of(host).await {}
}

#[tokio::test]
async fn signals_arrive_in_order_and_only_at_their_member() {
    let server = TestServer::start().await;
    let (anna, ben, party, host, guest) = pair(&server).await;
    let mut at_anna = anna.stream(party, None).await;
    at_anna.welcome().await;
    let mut at_ben = ben.stream(party, None).await;
    at_ben.welcome().await;
    at_ben.snapshot().await;
    for n in 0..150 {
        at_anna.signal(guest, &format!("a{n}")).await;
        at_ben.signal(host, &format!("b{n}")).await;
    }
    for n in 0..150 {
        assert_eq!(at_ben.incoming_signal().await, (host, format!("a{n}")));
        assert_eq!(at_anna.incoming_signal().await, (guest, format!("b{n}")));
    }
}

#[tokio::test]
async fn what_cannot_be_passed_on_is_refused_and_the_stream_goes_on() {
    let server = TestServer::start().await;
    let (anna, ben, party, host, guest) = pair(&server).await;
    let mut at_anna = anna.stream(party, None).await;
    at_anna.welcome().await;
    let mut at_ben = ben.stream(party, None).await;
    at_ben.welcome().await;
    at_ben.snapshot().await;
    at_anna.signal(guest, &"x".repeat(MAX_SIGNAL_TEXT + 1)).await;
    assert_eq!(at_anna.refusal().await, ErrorCode::TooLarge);
    at_anna.signal(host, "x").await;
    assert_eq!(at_anna.refusal().await, ErrorCode::BadRequest);
    for text in ["", "{}", "[1]", r#"{"type":"hello","party":"x"}"#, r#"{"type":"bye"}"#] {
        at_anna.say_text(text).await;
        assert_eq!(at_anna.refusal().await, ErrorCode::BadRequest);
    }
    at_anna
        .say(&ClientMessage::Hello {
            party,
            since: None,
            secret_epoch: 1,
        })
        .await;
    assert_eq!(at_anna.refusal().await, ErrorCode::BadRequest);
    // To nobody: out of date before anybody could come.
    at_anna.signal(MemberId(250), "lost").await;
    at_anna.signal(guest, &"y".repeat(MAX_SIGNAL_TEXT)).await;
    assert_eq!(at_ben.incoming_signal().await.1.len(), MAX_SIGNAL_TEXT);
}

#[tokio::test]
async fn a_member_that_floods_is_refused() {
    let server = TestServer::start().await;
    let (anna, ben, party, _, guest) = pair(&server).await;
    let mut stream = anna.stream(party, None).await;
    stream.welcome().await;
    for _ in 0..280 {
        stream.signal(guest, "x").await;
    }
    assert_eq!(stream.refusal().await, ErrorCode::RateLimited);

    let mut pinging = ben.stream(party, None).await;
    pinging.welcome().await;
    for _ in 0..280 {
        pinging.ping().await;
    }
    assert_eq!(pinging.refusal().await, ErrorCode::RateLimited);
}

#[tokio::test]
async fn who_is_refused_again_and_again_is_parted_with() {
    let server = TestServer::start().await;
    let (anna, _, party, _, _) = pair(&server).await;
    let mut stream = anna.stream(party, None).await;
    stream.welcome().await;
    stream.snapshot().await;
    for _ in 0..100 {
        stream.say_text("nonsense").await;
        assert_eq!(stream.refusal().await, ErrorCode::BadRequest);
    }
    // A few are forgiven with time.
    let mut parted = None;
    for _ in 0..40 {
        stream.say_text("nonsense").await;
        match stream.next().await {
            ServerMessage::Refused { .. } => {}
            ServerMessage::Bye { error, retry } => {
                parted = Some((error.code, retry));
                break;
            }
            other => panic!("neither refused nor parted with: {other:?}"),
        }
    }
    assert_eq!(parted, Some((ErrorCode::RateLimited, true)));
    assert_eq!(stream.try_next().await, None);
}

#[tokio::test]
async fn a_second_stream_of_a_device_takes_the_place_of_the_first() {
    let server = TestServer::start().await;
    let (anna, ben, party, host, guest) = pair(&server).await;
    let mut first = anna.stream(party, None).await;
    first.welcome().await;
    let mut second = anna.stream(party, None).await;
    second.welcome().await;
    assert_eq!(first.bye().await, (ErrorCode::Superseded, false));
    let mut at_ben = ben.stream(party, None).await;
    at_ben.welcome().await;
    let (_, seen) = at_ben.snapshot().await;
    assert!(seen.members.iter().all(|member| member.online));
    at_ben.signal(host, "hello").await;
    assert_eq!(second.incoming_signal().await, (guest, "hello".into()));
}

#[tokio::test]
async fn who_is_no_longer_a_member_is_told_and_parted_with() {
    let server = TestServer::start().await;
    let (anna, ben, party, _, _) = pair(&server).await;
    let mut at_ben = ben.stream(party, None).await;
    at_ben.welcome().await;
    assert_eq!(ben.leave(party).await.status, 204);
    assert_eq!(at_ben.bye().await, (ErrorCode::NotAMember, false));
    let mut again = ben.stream(party, None).await;
    assert_eq!(again.bye().await, (ErrorCode::NotAMember, false));

    let mut at_anna = anna.stream(party, None).await;
    at_anna.welcome().await;
    at_anna.snapshot().await;
    anna.send(Request::new("DELETE", format!("/v1/parties/{party}"))).await;
    assert_eq!(at_anna.event().await.1, PartyEvent::Deleted);
    assert_eq!(at_anna.bye().await, (ErrorCode::NotAMember, false));
}

#[tokio::test]
async fn a_stream_that_does_not_begin_with_hello_is_closed() {
    let server = TestServer::start().await;
    let (anna, _, _, _, guest) = pair(&server).await;
    let mut stream = Stream::connect(&anna).await;
    stream.signal(guest, "x").await;
    assert_eq!(stream.bye().await, (ErrorCode::BadRequest, false));
    let plain = anna.get("/v1/stream").await;
    plain.refused(400, ErrorCode::BadRequest);
    let nobody = Request::new("GET", "/v1/stream");
    server.request(nobody).await.refused(401, ErrorCode::Unauthorized);
}

#[tokio::test]
async fn many_changes_at_once_arrive_without_gaps() {
    let server = TestServer::start().await;
    let (anna, code) = (Device::new(&server, 1).await, Code::new(1));
    let hosted = anna.host(&code, None).await;
    let mut stream = anna.stream(hosted.party.id, None).await;
    stream.welcome().await;
    stream.snapshot().await;
    let mut joining = Vec::new();
    for n in 0..30 {
        let (device, code) = (Device::new(&server, 100 + n).await, code.clone());
        joining.push(tokio::spawn(async move { device.join(&code, "Guest").await }));
    }
    for expected in 1..=60 {
        assert_eq!(stream.event().await.0, expected);
    }
    for guest in joining {
        guest.await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_stops_parts_with_everybody_and_keeps_everything() {
    let server = TestServer::start().await;
    let (anna, ben, party, _, _) = pair(&server).await;
    let mut at_anna = anna.stream(party, None).await;
    at_anna.welcome().await;
    let mut silent = Stream::connect(&ben).await;
    let app = server.app.clone();
    until("both streams are open", || app.streams.len() == 2).await;
    let started = std::time::Instant::now();
    let stopping = tokio::spawn(server.stop());
    assert_eq!(at_anna.bye().await, (ErrorCode::Unavailable, true));
    assert_eq!(silent.bye().await, (ErrorCode::Unavailable, true));
    let dir = stopping.await.unwrap();
    assert!(started.elapsed().as_secs() < 5);
    assert!(tokio::net::TcpStream::connect(anna.target.address).await.is_err());
    let file = dir.path().join("control.sqlite3");
    let store = Store::new(SqliteDatabase::open(&file).await.unwrap());
    assert_eq!(store.parties_of(ben.id()).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn presence_that_the_database_does_not_take_waits_and_does_not_pile_up() {
    let server = TestServer::start().await;
    let (anna, ben, party, host, _) = pair(&server).await;
    let mut at_anna = anna.stream(party, None).await;
    at_anna.welcome().await;
    let mut at_ben = ben.stream(party, None).await;
    at_ben.welcome().await;
    at_ben.snapshot().await;
    let write_behind = &server.app.write_behind;
    // Also what is on its way.
    write_behind.flush(&server.app.store).await.unwrap();
    server.app.store.close().await;
    for n in 0..100 {
        let presence = Presence {
            agent_version: n.to_string(),
            ..Presence::default()
        };
        at_anna.say(&ClientMessage::Presence { presence }).await;
    }
    at_ben
        .find(|message| match message {
            ServerMessage::Presence { member, presence, .. } => {
                (member == host && presence?.agent_version == "99").then_some(())
            }
            _ => None,
        })
        .await;
    let failed = || {
        write_behind
            .counters()
            .failed
            .load(std::sync::atomic::Ordering::Relaxed)
            > 0
    };
    until("the database does not take it", failed).await;
    assert_eq!(write_behind.waiting(), 1, "one write a member");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_saves_what_waits_though_a_request_drags_on() {
    let server = TestServer::start().await;
    let (anna, _, party, host, _) = pair(&server).await;
    let mut at_anna = anna.stream(party, None).await;
    at_anna.welcome().await;
    let mut slow = connect(server.target()).await.unwrap();
    let head = "POST /v1/auth/challenge HTTP/1.1\r\nhost: server\r\ncontent-type: application/json\r\n\
                content-length: 100\r\nexpect: 100-continue\r\n\r\n";
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    slow.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100", "the server waits for the body");
    let dir = server.stop().await;
    let database = SqliteDatabase::open(&dir.path().join("control.sqlite3")).await.unwrap();
    let writes = Store::new(database).soft_writes_of(party).await.unwrap();
    let of_anna = writes.iter().find(|write| write.key == SoftKey::Member(party, host));
    assert!(
        of_anna.is_some_and(|write| write.gone),
        "that she went is saved: {writes:?}"
    );
}
