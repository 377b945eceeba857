//! What becomes of everybody's parties when the database hangs, restarts, crashes or is away, and when a server dies: changes are
//! refused within a second, reads are answered, and whatever was acknowledged is there afterwards.
//!
//! `LANRAGE_DOWN_S` says for how many seconds the database is away, 3 by default.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lanrage_shared::api::error::{ApiError, ErrorCode};
use lanrage_shared::api::party::{Member, Party};
use lanrage_shared::invite::ServerLink;
use lanrage_shared::stream::PartyEvent;
use tokio::task::JoinHandle;

use super::postgres::program::{Serving, printed};
use crate::support::postgres::PostgresServer;
use crate::support::{Code, Device, Request, Stream, Target, TestServer, Writer, Written, until};

/// Longest wait for a refusal.
const REFUSED: Duration = Duration::from_secs(1);
/// Longest a server takes to be ready once its database is back.
const READY: Duration = Duration::from_secs(5);
const WRITERS: u32 = 3;

/// Hosts that write all the time.
pub struct Writers {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    running: Vec<JoinHandle<Written>>,
}

impl Writers {
    pub async fn begin(targets: &[Target]) -> Self {
        Self::numbered(0..WRITERS, targets).await
    }

    /// These of the writers there may be of one database.
    pub async fn numbered(numbers: Range<u32>, targets: &[Target]) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut running = Vec::new();
        for n in numbers {
            let writer = Writer::begin(n, targets.to_vec()).await;
            running.push(tokio::spawn(writer.run(Arc::clone(&stop), Arc::clone(&done))));
        }
        let writers = Self { stop, done, running };
        writers.get_on().await;
        writers
    }

    /// Waits for some more acknowledged changes.
    pub async fn get_on(&self) {
        let enough = self.done.load(Ordering::Relaxed) + 60;
        until("changes are made", || self.done.load(Ordering::Relaxed) >= enough).await;
    }

    /// Stops them, and looks at a server for what they were told is done. Gives the longest wait for a refusal, and how many there
    /// were.
    pub async fn check(self, target: Target) -> (Duration, usize) {
        self.get_on().await;
        self.stop.store(true, Ordering::Relaxed);
        let (mut acknowledged, mut refused, mut longest) = (0, 0, Duration::ZERO);
        for writer in self.running {
            let written = writer.await.unwrap();
            written.check(target).await;
            acknowledged += written.acknowledged;
            refused += written.refused;
            longest = longest.max(written.longest);
        }
        println!("{acknowledged} changes acknowledged, all there; {refused} refused, the slowest after {longest:?}");
        (longest, refused)
    }
}

async fn readiness(target: Target) -> (u16, Vec<String>) {
    let answer = Request::new("GET", "/readyz").send(target).await;
    let status = answer.status.as_u16();
    let error: Option<ApiError> = serde_json::from_slice(&answer.body).ok();
    let failed = error.and_then(|error| error.details).map(|details| details.failed);
    let failed = failed.into_iter().flatten().map(|check| check.check);
    (status, failed.collect())
}

pub async fn until_ready(target: Target) -> Duration {
    let began = Instant::now();
    while readiness(target).await.0 != 200 {
        assert!(
            began.elapsed() < READY,
            "not ready {READY:?} after the database came back"
        );
    }
    began.elapsed()
}

/// Anna hosts, Ben is a guest with a stream.
pub struct Watched {
    anna: Device,
    ben: Device,
    party: Party,
    stream: Stream,
    seq: u64,
    code: Code,
}

impl Watched {
    pub async fn begin(server: &TestServer) -> Self {
        let (anna, ben) = (Device::new(server, 1).await, Device::new(server, 2).await);
        let code = Code::new(1);
        anna.host(&code, None).await;
        let party = ben.join(&code, "Ben").await.party;
        let listed: Vec<Party> = ben.get("/v1/parties").await.ok();
        assert_eq!(listed.len(), 1);
        let mut stream = ben.stream(party.id, None).await;
        stream.welcome().await;
        let (seq, _) = stream.snapshot().await;
        Self {
            anna,
            ben,
            party,
            stream,
            seq,
            code,
        }
    }

    /// What still works while the database is away.
    pub async fn goes_on(&mut self, server: &TestServer) {
        let path = format!("/v1/parties/{}", self.party.id);
        let answer = self.ben.get(&path).await;
        let age: u64 = answer.headers["age"].to_str().unwrap().parse().unwrap();
        assert!(age < 600);
        assert_eq!(answer.ok::<Party>().members.len(), 2);
        let members = self.anna.get(format!("{path}/members")).await;
        assert!(members.headers.contains_key("age"));
        assert_eq!(members.ok::<Vec<Member>>().len(), 2);
        assert_eq!(self.ben.get("/v1/parties").await.ok::<Vec<Party>>().len(), 1);
        assert_eq!(self.ben.relay_tokens(self.party.id).await.status, 200);
        // Who signs in needs no database, and a stranger learns nothing.
        let stranger = Device::new(server, 9).await;
        let refused = stranger.get(&path).await;
        refused.refused(503, ErrorCode::Unavailable);

        // The stream is open: a second one takes its place, and resumes where it was.
        let mut again = self.ben.stream(self.party.id, Some(self.seq)).await;
        again.welcome().await;
        assert_eq!(self.stream.bye().await, (ErrorCode::Superseded, false));
        self.stream = again;
    }

    /// Nothing is lost once it is back.
    pub async fn catches_up(mut self, server: &TestServer) {
        let cleo = Device::new(server, 3).await;
        cleo.join(&self.code, "Cleo").await;
        let (seq, event) = self.stream.event().await;
        assert_eq!(seq, self.seq + 1);
        assert!(matches!(event, PartyEvent::MemberJoined { .. }));
        let answer = self.ben.get(format!("/v1/parties/{}", self.party.id)).await;
        assert!(!answer.headers.contains_key("age"));
    }
}

/// Has the database go away and come back while everybody writes.
async fn outage(name: &str, away: impl FnOnce(&PostgresServer), lasting: Duration, back: impl FnOnce(&PostgresServer)) {
    let postgres = PostgresServer::start();
    let url = postgres.fresh_database(name);
    let server = TestServer::replica(&url, "one", None, None).await.unwrap();
    let mut watched = Watched::begin(&server).await;
    let writers = Writers::begin(&[server.target()]).await;
    until_ready(server.target()).await;

    away(&postgres);
    let began = Instant::now();
    let (status, failed) = readiness(server.target()).await;
    assert_eq!(status, 503);
    assert!(failed.contains(&"database".to_owned()), "{failed:?}");
    watched.goes_on(&server).await;
    while began.elapsed() < lasting {
        assert_eq!(readiness(server.target()).await.0, 503);
        watched.stream.stay(Duration::from_millis(100)).await;
    }
    watched.goes_on(&server).await;
    back(&postgres);
    let ready = until_ready(server.target()).await;
    println!("ready {ready:?} after the database came back");

    watched.catches_up(&server).await;
    let (longest, _) = writers.check(server.target()).await;
    assert!(longest <= REFUSED, "a refusal took {longest:?}");
    server.stop().await;
}

fn down() -> Duration {
    let seconds = std::env::var("LANRAGE_DOWN_S").map_or(3, |seconds| seconds.parse().unwrap());
    Duration::from_secs(seconds)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_hangs_costs_no_acknowledged_change() {
    outage("hangs", PostgresServer::freeze, down(), PostgresServer::thaw).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_down_costs_no_acknowledged_change() {
    outage("down", |postgres| postgres.end("fast"), down(), PostgresServer::begin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_crashes_costs_no_acknowledged_change() {
    let crash = |postgres: &PostgresServer| postgres.end("immediate");
    outage("crashes", crash, Duration::ZERO, PostgresServer::begin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_restarts_costs_no_acknowledged_change() {
    let postgres = PostgresServer::start();
    let url = postgres.fresh_database("restarts");
    let server = TestServer::replica(&url, "one", None, None).await.unwrap();
    let writers = Writers::begin(&[server.target()]).await;
    for how in ["fast", "immediate"] {
        postgres.end(how);
        postgres.begin();
        until_ready(server.target()).await;
        writers.get_on().await;
    }
    let (longest, _) = writers.check(server.target()).await;
    assert!(longest <= REFUSED, "a refusal took {longest:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_removed_does_not_read_what_was_while_the_database_is_away() {
    let postgres = PostgresServer::start();
    let replicas = crate::support::Replicas::start(&postgres, "removed").await;
    let watched = Watched::begin(&replicas.two).await;
    let Watched {
        anna,
        ben,
        party,
        mut stream,
        ..
    } = watched;
    let elsewhere = Device {
        target: replicas.one.target(),
        ..anna.clone()
    };
    let guest = party
        .members
        .iter()
        .find(|member| member.device == ben.id())
        .unwrap()
        .id;
    elsewhere.remove(&party, guest, false).await.ok::<Party>();
    assert_eq!(stream.bye().await, (ErrorCode::NotAMember, false));
    postgres.end("fast");
    for target in [replicas.one.target(), replicas.two.target()] {
        let path = format!("/v1/parties/{}", party.id);
        let ben = Device { target, ..ben.clone() };
        ben.get(&path).await.refused(503, ErrorCode::Unavailable);
        let list = ben.get("/v1/parties").await;
        assert!(list.status == 503 || list.ok::<Vec<Party>>().is_empty());
    }
    let members: Vec<Member> = elsewhere.get(format!("/v1/parties/{}/members", party.id)).await.ok();
    assert_eq!(members.len(), 1);
    postgres.begin();
    replicas.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_while_it_writes_loses_nothing_it_acknowledged() {
    let postgres = PostgresServer::start();
    let url = postgres.fresh_database("killed");
    let (first_dir, second_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let config = "[server]\nreplica_name = \"two\"\n[limits]\nrequests_per_second = 1000000\nrequest_burst = 1000000\nparties_per_hour = 1000000\nconnections_per_address = 4096\n";
    let configured = |dir: &tempfile::TempDir, name: &str| {
        let file = dir.path().join("control.toml");
        std::fs::write(&file, config.replace("two", name)).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let arguments = |file: &str| {
        [
            "--public-address",
            "vps.example:443",
            "--database-url",
            &url,
            "--config",
            file,
        ]
        .map(str::to_owned)
    };
    let start = |dir: &tempfile::TempDir, name: &str| {
        let arguments = arguments(&configured(dir, name));
        Serving::start(dir.path(), &arguments.each_ref().map(String::as_str))
    };
    let mut first = start(&first_dir, "one");
    std::fs::copy(
        first_dir.path().join("identity.pem"),
        second_dir.path().join("identity.pem"),
    )
    .unwrap();
    let second = start(&second_dir, "two");
    let link: ServerLink = printed(&["link", "--data-dir", first_dir.path().to_str().unwrap()])
        .parse()
        .unwrap();
    let targets = [&first, &second].map(|serving| Target {
        address: serving.address().parse().unwrap(),
        pin: link.pin,
    });
    let writers = Writers::begin(&targets).await;
    first.kill();
    writers.get_on().await;
    writers.check(targets[1]).await;
    assert_eq!(second.terminate().code(), Some(0));
}
