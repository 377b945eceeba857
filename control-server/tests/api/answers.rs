//! What every answer has in common: a request's name, one shape of refusals, lists in pages.

use lanrage_shared::api::error::ErrorCode;
use lanrage_shared::api::party::Party;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Answer, Code, Device, Request, TestServer, connect};

fn id_of(answer: &Answer) -> String {
    answer.headers["x-request-id"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn every_answer_names_its_request() {
    let server = TestServer::start().await;
    let ask = async |id: &str| {
        let request = Request::new("GET", "/v1/parties").header("x-request-id", id);
        server.request(request).await
    };
    let named = ask("mine-1").await;
    assert_eq!(id_of(&named), "mine-1");
    named.refused(401, ErrorCode::Unauthorized);
    let unsound = id_of(&ask("not mine").await);
    assert!(unsound.len() == 32 && unsound != id_of(&ask("").await), "{unsound}");
    for path in ["/healthz", "/nothing", "/v1/auth/challenge"] {
        let answer = server.request(Request::new("GET", path)).await;
        assert_eq!(id_of(&answer).len(), 32, "{path}");
    }
}

#[tokio::test]
async fn of_a_body_without_an_end_little_is_taken_and_it_is_refused() {
    const CHUNK: usize = 64 * 1024;
    // What the kernel holds of a connection, both ends together, is a few MiB.
    const MOST: usize = 64 * 1024 * 1024;
    let server = TestServer::start().await;
    let anna = Device::new(&server, 1).await;
    let (mut answers, mut sink) = tokio::io::split(connect(server.target()).await.unwrap());
    let head = format!(
        "POST /v1/parties HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         transfer-encoding: chunked\r\n\r\n",
        anna.token
    );
    let chunk = format!("{CHUNK:x}\r\n{}\r\n", " ".repeat(CHUNK));
    let sending = async {
        let mut taken = 0;
        sink.write_all(head.as_bytes()).await.unwrap();
        while taken < MOST && sink.write_all(chunk.as_bytes()).await.is_ok() {
            taken += CHUNK;
        }
        taken
    };
    let answering = async {
        let mut answer = [0; 12];
        answers.read_exact(&mut answer).await.unwrap();
        answer
    };
    let (taken, answer) = tokio::join!(sending, answering);
    assert_eq!(&answer, b"HTTP/1.1 413");
    assert!(taken < MOST, "{taken}");
}

#[tokio::test]
async fn refusals_have_one_shape_whoever_refuses() {
    let server = TestServer::start().await;
    let anna = Device::new(&server, 1).await;
    let party = anna.host(&Code::new(1), None).await.party;
    let path = format!("/v1/parties/{}", party.id);
    let body = |body: &str| Request::new("PATCH", &path).header("if-match", "\"1\"").raw_json(body);
    let xml = Request::new("POST", "/v1/parties").header("content-type", "text/xml");
    let large = "x".repeat(70 * 1024);
    for (request, status, code) in [
        (body("{"), 400, ErrorCode::BadRequest),
        (body("{\"nmae\": \"x\"}"), 400, ErrorCode::BadRequest),
        (body(&large), 413, ErrorCode::TooLarge),
        (xml, 415, ErrorCode::BadRequest),
        (Request::new("GET", "/v1/parties/x"), 400, ErrorCode::BadRequest),
        (Request::new("GET", "/v1/parties/%ff"), 400, ErrorCode::BadRequest),
        (Request::new("GET", "/v1/parties?limit=x"), 400, ErrorCode::BadRequest),
        (Request::new("GET", "/v1/parties?limit=0"), 400, ErrorCode::BadRequest),
        (Request::new("GET", "/v1/parties?cursor=x"), 400, ErrorCode::BadRequest),
        (Request::new("GET", "/nothing"), 404, ErrorCode::NotFound),
        (Request::new("POST", "/v1/relays"), 405, ErrorCode::BadRequest),
        (
            Request::new("PATCH", &path).json(&serde_json::json!({})),
            428,
            ErrorCode::BadRequest,
        ),
    ] {
        anna.send(request).await.refused(status, code);
    }
}

#[tokio::test]
async fn lists_come_in_pages_and_only_when_they_changed() {
    let server = TestServer::start().await;
    let anna = Device::new(&server, 1).await;
    for n in 1..=5 {
        anna.host(&Code::new(n), None).await;
    }
    let all = anna.get("/v1/parties").await;
    let tag = all.headers["etag"].to_str().unwrap().to_owned();
    assert!(!all.headers.contains_key("link"));
    let all: Vec<Party> = all.ok();
    let (mut seen, mut path) = (Vec::new(), "/v1/parties?limit=2".to_owned());
    for _ in 0..3 {
        let answer = anna.get(&path).await;
        let link = answer.headers.get("link").map(|link| link.to_str().unwrap().to_owned());
        seen.extend(answer.ok::<Vec<Party>>());
        let Some(link) = link else { break };
        let (next, _) = link.trim_start_matches('<').split_once('>').unwrap();
        next.clone_into(&mut path);
    }
    assert_eq!(seen, all);
    let again = async || {
        let request = Request::new("GET", "/v1/parties").header("if-none-match", &tag);
        anna.send(request).await
    };
    let unchanged = again().await;
    assert_eq!((unchanged.status.as_u16(), unchanged.body.len()), (304, 0));
    anna.host(&Code::new(6), None).await;
    assert_eq!(again().await.ok::<Vec<Party>>().len(), 6);
}
