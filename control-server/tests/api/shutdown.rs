//! What was only in memory when a server stops is in its database afterwards.

use std::time::Duration;

use lanrage_control::clock::Clock;
use lanrage_shared::ids::{MemberId, PartyId};
use lanrage_shared::stream::ClientMessage;
use lanrage_store::{SoftKey, Store};
use lanrage_store_postgres::PostgresDatabase;
use lanrage_store_sqlite::SqliteDatabase;

use crate::support::postgres::PostgresServer;
use crate::support::{Code, Device, Stream, TestServer};

const MINUTE: Duration = Duration::from_secs(60);

/// Who was connected when the server stopped, and when that was.
struct Last {
    device: Device,
    party: PartyId,
    member: MemberId,
    at_ms: u64,
    _stream: Stream,
}

async fn connected(server: &TestServer) -> Last {
    let anna = Device::new(server, 1).await;
    let hosted = anna.host(&Code::new(1), None).await;
    let mut stream = anna.stream(hosted.party.id, None).await;
    stream.welcome().await;
    stream.snapshot().await;
    let presence = Default::default();
    stream.say(&ClientMessage::Presence { presence }).await;
    // Nothing but the end of the stream is noted at this time.
    server.clock.advance(MINUTE);
    Last {
        device: anna,
        party: hosted.party.id,
        member: hosted.me,
        at_ms: server.clock.now_ms(),
        _stream: stream,
    }
}

impl Last {
    async fn is_kept_in(&self, store: &Store) {
        let state = store.party(self.party, self.device.id()).await.unwrap();
        assert_eq!(state.seats[0].last_seen_ms, self.at_ms);
        let writes = store.soft_writes_of(self.party).await.unwrap();
        let [parting] = writes.as_slice() else {
            panic!("not one write: {writes:?}");
        };
        assert_eq!(parting.key, SoftKey::Member(self.party, self.member));
        assert!(parting.gone && parting.stamp.ms() >= self.at_ms);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_queued_when_the_server_stops_is_in_sqlite() {
    let server = TestServer::start().await;
    let last = connected(&server).await;
    let dir = server.stop().await;
    let database = SqliteDatabase::open(&dir.path().join("control.sqlite3")).await.unwrap();
    last.is_kept_in(&Store::new(database)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_queued_when_the_server_stops_is_in_postgresql() {
    let postgres = PostgresServer::start();
    let url = postgres.fresh_database("stopped");
    let server = TestServer::replica(&url, "one", None, None).await.unwrap();
    let last = connected(&server).await;
    server.stop().await;
    last.is_kept_in(&Store::new(PostgresDatabase::connect(&url).await.unwrap()))
        .await;
}
