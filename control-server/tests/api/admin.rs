//! The operator's listener over real HTTP.

use std::os::unix::fs::PermissionsExt;

use lanrage_control::admin::document;
use lanrage_control::operator_token::{OperatorToken, Purpose};
use lanrage_shared::api::party::Party;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Code, Device, Stream, Target, TestServer, until};

/// An answer's status and what follows, as text.
pub async fn ask(server: &TestServer, method: &str, path: &str, token: Option<&str>) -> (u16, String) {
    let (status, body) = ask_for_bytes(server, method, path, token).await;
    (status, String::from_utf8_lossy(&body).into_owned())
}

async fn ask_for_bytes(server: &TestServer, method: &str, path: &str, token: Option<&str>) -> (u16, Vec<u8>) {
    ask_by_name("localhost", server, method, path, token).await
}

async fn ask_by_name(host: &str, server: &TestServer, method: &str, path: &str, token: Option<&str>) -> (u16, Vec<u8>) {
    let mut tcp = TcpStream::connect(server.admin).await.unwrap();
    let token = token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
    // Of version 1.0, so that a body is not in chunks.
    let request = format!("{method} {path} HTTP/1.0\r\nHost: {host}\r\n{token}\r\n");
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer).await.unwrap();
    let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
    (status, answer.split_off(head + 4))
}

fn token(server: &TestServer) -> String {
    OperatorToken::of_server(server.data_dir(), Purpose::Admin)
        .read()
        .unwrap()
}

async fn read(server: &TestServer, path: &str) -> Value {
    let (status, body) = ask(server, "GET", path, Some(&token(server))).await;
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

#[tokio::test]
async fn all_but_metrics_takes_the_operators_token() {
    let server = TestServer::start().await;
    let relays = server.app.register_token.read().unwrap();
    let anna = Device::new(&server, 1).await;
    let document = document();
    let mut open = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, description) in item.as_object().unwrap() {
            let method = method.to_uppercase();
            if description["security"] == json!([]) {
                open.push(path.as_str());
                assert_eq!(ask(&server, &method, path, None).await.0, 200, "{path}");
                continue;
            }
            let filled = path
                .replace("{id}", "018bcfe5-6800-7fb0-947b-f23aeb4c0bfe")
                .replace("{number}", "1");
            for token in [
                None,
                Some(""),
                Some("x"),
                Some(relays.as_str()),
                Some(anna.token.as_str()),
            ] {
                let (status, body) = ask(&server, &method, &filled, token).await;
                assert!(
                    status == 401 && body.contains("unauthorized"),
                    "{path}: {status} {body}"
                );
            }
        }
    }
    assert_eq!(open, ["/metrics"]);
}

#[tokio::test]
async fn on_loopback_a_page_of_a_browser_learns_nothing() {
    let server = TestServer::start().await;
    let token = token(&server);
    for path in ["/metrics", "/admin/v1/stats"] {
        for (host, status) in [("evil.example", 403), ("localhost:9127", 200), ("127.0.0.1:9127", 200)] {
            let answer = ask_by_name(host, &server, "GET", path, Some(&token)).await;
            assert_eq!(answer.0, status, "{path} at {host}");
        }
    }
}

#[tokio::test]
async fn the_operator_sees_parties_and_members_and_removes_them() {
    let server = TestServer::start().await;
    let (anna, ben) = (Device::new(&server, 1).await, Device::new(&server, 2).await);
    let code = Code::new(1);
    let party = anna.host(&code, None).await.party;
    let member = ben.join(&code, "Ben").await.me;
    let _stream = Stream::open(&ben, party.id, None, 1).await;
    until("Ben is online", || !server.app.roster.here().is_empty()).await;
    let parties = read(&server, "/admin/v1/parties?limit=1").await;
    assert_eq!((&parties[0]["members"], &parties[0]["online"]), (&json!(2), &json!(1)));
    let path = format!("/admin/v1/parties/{}/members", party.id);
    let members = read(&server, &path).await;
    assert_eq!(members.as_array().unwrap().len(), 2);
    let stats = read(&server, "/admin/v1/stats").await;
    assert_eq!((&stats["parties"], &stats["members_online"]), (&json!(1), &json!(1)));
    assert_eq!(read(&server, "/admin/v1/relays").await, json!([]));
    let kick = format!("{path}/{member}/remove");
    assert_eq!(ask(&server, "POST", &kick, Some(&token(&server))).await.0, 204);
    assert_eq!(ask(&server, "POST", &kick, Some(&token(&server))).await.0, 404);
    ben.get(format!("/v1/parties/{}", party.id))
        .await
        .refused(404, lanrage_shared::api::error::ErrorCode::NotFound);
}

#[tokio::test]
async fn metrics_name_what_is_done_and_nobody_who_does_it() {
    let server = TestServer::start().await;
    let anna = Device::new(&server, 1).await;
    let party = anna.host(&Code::new(1), None).await.party;
    anna.get(format!("/v1/parties/{}", party.id)).await;
    anna.get("/made-up/by-a-stranger").await;
    let (status, text) = ask(&server, "GET", "/metrics", None).await;
    assert_eq!(status, 200);
    for line in [
        "lanrage_control_parties 1",
        "lanrage_control_members 1",
        "lanrage_control_http_request_duration_seconds_count{method=\"GET\",route=\"/v1/parties/{id}\",status=\"2xx\"} 1",
        "lanrage_control_http_refusals_total{reason=\"not_found\"} 1",
        "lanrage_control_database_operation_duration_seconds_count{operation=\"create_party\",ending=\"committed\"} 1",
        "# TYPE process_resident_memory_bytes gauge",
        "# TYPE lanrage_control_signals_total counter",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    for secret in [
        party.id.to_string(),
        anna.id().to_string(),
        "made-up".into(),
        "Friday".into(),
    ] {
        assert!(!text.contains(&secret), "{secret}");
    }
}

#[tokio::test]
async fn a_backup_taken_at_work_is_the_same_server_again() {
    let server = TestServer::start().await;
    let anna = Device::new(&server, 1).await;
    let party = anna.host(&Code::new(1), None).await.party;
    let writers: Vec<_> = (2..6)
        .map(|n| {
            let target = server.target();
            tokio::spawn(async move {
                let device = Device::at(target, n).await;
                for round in 0..8 {
                    let code = u8::try_from(n * 10 + round).unwrap();
                    device.host(&Code::new(code), None).await;
                }
            })
        })
        .collect();
    let (status, archive) = ask_for_bytes(&server, "POST", "/admin/v1/backup", Some(&token(&server))).await;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&archive));
    for writer in writers {
        writer.await.unwrap();
    }
    let left: Vec<_> = std::fs::read_dir(server.data_dir())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(
        !left.iter().any(|name| name.to_string_lossy().starts_with("backup")),
        "{left:?}"
    );
    server.stop().await;

    let restored = tempfile::tempdir().unwrap();
    tar::Archive::new(archive.as_slice()).unpack(restored.path()).unwrap();
    for name in ["identity.pem", "relay-token", "control.sqlite3"] {
        let mode = std::fs::metadata(restored.path().join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "{name} is its owner's only");
    }
    let server = TestServer::start_in(restored).await;
    // The same device with the token, the key and the party it had.
    let anna = Device {
        target: Target {
            address: server.address,
            ..anna.target
        },
        ..anna
    };
    let again: Party = anna.get(format!("/v1/parties/{}", party.id)).await.ok();
    assert_eq!((again.name, again.members.len()), (party.name, 1));
    Device::new(&server, 9).await.join(&Code::new(1), "Late").await;
}
