//! What a stranger can write into the operator's log: nothing.

use std::io::Write;
use std::sync::{Arc, Mutex};

use crate::admin::ask;
use crate::support::postgres::PostgresServer;
use crate::support::{Code, Device, PATIENCE, RedisServer, Request, Stream, TestServer, connect, until};
use lanrage_shared::api::presence::Presence;
use lanrage_shared::stream::ClientMessage;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tracing::Level;
use tracing::subscriber::DefaultGuard;

/// What was logged.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Write::write(&mut *self.0.lock().unwrap(), bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// Hears this thread from here on, from INFO up.
pub fn listen() -> (Log, DefaultGuard) {
    listen_to(Level::INFO)
}

fn listen_to(level: Level) -> (Log, DefaultGuard) {
    // A line that other tests come to first, without a subscriber, would be switched off for the whole process.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry());
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    (log, tracing::subscriber::set_default(subscriber))
}

#[tokio::test(flavor = "current_thread")]
async fn no_stranger_writes_into_the_log() {
    let (log, _guard) = listen();
    let server = TestServer::start().await;

    let (anna, ben) = (Device::new(&server, 1).await, Device::new(&server, 2).await);
    let code = Code::new(1);
    let id = anna.host(&code, None).await.party.id;
    ben.join(&code, "Ben").await;
    ben.join(&code, "Benjamin").await;
    ben.leave(id).await;
    anna.send(Request::new("DELETE", format!("/v1/parties/{id}"))).await;
    server.request(Request::new("GET", "/nothing")).await;
    let mut stream = Stream::connect(&ben).await;
    stream.say_text("nonsense").await;
    stream.bye().await;
    let mut not_tls = TcpStream::connect(server.address).await.unwrap();
    not_tls.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut not_http = connect(server.target()).await.unwrap();
    not_http.write_all(b"\0\0\0\0\r\n\r\n").await.unwrap();
    server.stop().await;

    assert_eq!(log.text(), "");
    tracing::info!("heard");
    assert!(log.text().contains("heard"));
}

#[tokio::test(flavor = "current_thread")]
async fn a_database_that_is_away_is_mentioned_once_a_second_however_many_ask() {
    let (log, _guard) = listen();
    let server = TestServer::start().await;
    server.app.store.close().await;
    let began = std::time::Instant::now();
    for _ in 0..30 {
        assert_eq!(server.request(Request::new("GET", "/readyz")).await.status, 503);
    }
    let lines = log.text().matches("the database cannot be reached").count();
    assert!(lines as u64 <= 2 + began.elapsed().as_secs(), "{}", log.text());
}

/// Has something away and back, twice, and waits for the lines about it. Between them it is tried again and again.
async fn twice(log: &Log, mut away: impl AsyncFnMut(bool), gone: &str, back: &str) {
    for times in 1..=2 {
        for (is_away, said) in [(true, gone), (false, back)] {
            away(is_away).await;
            let heard = async {
                while log.text().matches(said).count() < times {
                    tokio::task::yield_now().await;
                }
            };
            let heard = tokio::time::timeout(PATIENCE, heard).await;
            assert!(heard.is_ok(), "{times} times {said:?} in\n{}", log.text());
            assert_eq!(log.text().matches(said).count(), times, "{}", log.text());
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn each_time_that_redis_goes_and_comes_is_said_once() {
    let (postgres, redis) = (PostgresServer::start(), RedisServer::start());
    let url = postgres.fresh_database("redis_log");
    let (log, _guard) = listen();
    let server = TestServer::replica(&url, "one", None, Some(&redis)).await.unwrap();
    let away = async |away| {
        if away {
            redis.freeze();
            until("it is noticed", || server.app.replicas.lacks_redis()).await;
            let away = "lanrage_control_redis_away 1";
            assert!(ask(&server, "GET", "/metrics", None).await.1.contains(away));
        } else {
            redis.thaw();
        }
    };
    twice(&log, away, "Redis does not answer", "Redis answers again").await;
    let (_, text) = ask(&server, "GET", "/metrics", None).await;
    assert!(text.contains("lanrage_control_redis_away 0"), "{text}");
    server.stop().await;
}

#[tokio::test(flavor = "current_thread")]
async fn each_time_that_presence_is_not_saved_and_saved_again_is_said_once() {
    let postgres = PostgresServer::start();
    let url = postgres.fresh_database("presence_log");
    let (log, _guard) = listen();
    let server = TestServer::replica(&url, "one", None, None).await.unwrap();
    let anna = Device::new(&server, 1).await;
    let party = anna.host(&Code::new(1), None).await.party.id;
    let mut stream = anna.stream(party, None).await;
    stream.welcome().await;
    let mut said = 0;
    let away = async |away| {
        if away {
            postgres.freeze();
        } else {
            postgres.thaw();
        }
        said += 1;
        let presence = Presence {
            agent_version: said.to_string(),
            ..Presence::default()
        };
        stream.say(&ClientMessage::Presence { presence }).await;
    };
    twice(&log, away, "presence is not saved", "presence is saved again").await;
    server.stop().await;
}

#[tokio::test(flavor = "current_thread")]
async fn every_line_about_a_request_has_its_name_its_device_and_its_party() {
    let (log, _guard) = listen_to(Level::DEBUG);
    let server = TestServer::start().await;
    let anna = Device::new(&server, 1).await;
    let id = anna.host(&Code::new(1), None).await.party.id;
    let path = format!("/v1/parties/{id}");
    anna.send(Request::new("DELETE", path).header("x-request-id", "mine-7"))
        .await;
    server.stop().await;
    let text = log.text();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("mine-7")).collect();
    assert!(lines.iter().any(|line| line.contains("a party was deleted")), "{text}");
    assert!(
        lines
            .iter()
            .any(|line| line.contains("answered") && line.contains("204")),
        "{text}"
    );
    for line in lines {
        assert!(
            line.contains(&format!("device={}", anna.id())) && line.contains(&format!("party={id}")),
            "{line}"
        );
    }
    assert!(!text.contains(&anna.token), "a token is in the log");
}

#[tokio::test(flavor = "current_thread")]
async fn lines_in_json_have_it_too() {
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry());
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(Level::DEBUG)
        .with_writer(move || writer.clone())
        .json()
        .flatten_event(true)
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let server = TestServer::start().await;
    let anna = Device::new(&server, 1).await;
    let id = anna.host(&Code::new(1), None).await.party.id;
    let request = Request::new("GET", format!("/v1/parties/{id}")).header("x-request-id", "mine-8");
    anna.send(request).await;
    server.stop().await;
    let text = log.text();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let answered = lines
        .filter(|line| line["span"]["request"] == "mine-8")
        .find(|line| line["message"] == "answered")
        .unwrap_or_else(|| panic!("{text}"));
    assert_eq!(answered["span"]["device"], anna.id().to_string());
    assert_eq!(answered["span"]["party"], id.to_string());
}
