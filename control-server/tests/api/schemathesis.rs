//! What the server does against what its document says, as a tool finds it that makes requests up from the document.

use std::process::Command;

use crate::support::{Code, Device, TestServer};

/// No answer but those that are documented, of the documented shape; no 5xx; no token, no answer.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
    response_schema_conformance,ignored_auth,unsupported_method";
/// Requests a second: a device may make ten.
const RATE: &str = "9/s";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs schemathesis, which scripts/test brings: LANRAGE_SCHEMATHESIS names it"]
async fn the_server_does_what_its_document_says() {
    let program = std::env::var_os("LANRAGE_SCHEMATHESIS").expect("LANRAGE_SCHEMATHESIS names the program");
    let server = TestServer::start().await;
    let anna = Device::new(&server, 1).await;
    let party = anna.host(&Code::new(1), None).await.party.id;
    let dir = tempfile::tempdir().unwrap();
    let config = format!(
        "headers = {{ Authorization = \"Bearer ${{LANRAGE_TOKEN}}\" }}\n\
         rate-limit = \"{RATE}\"\n\
         tls-verify = false\n\
         [parameters]\n\
         \"path.id\" = \"{party}\"\n"
    );
    std::fs::write(dir.path().join("schemathesis.toml"), config).unwrap();
    let mut command = Command::new(program);
    command
        .current_dir(dir.path())
        .env("LANRAGE_TOKEN", &anna.token)
        .arg("run")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json"))
        .args(["--url", &format!("https://{}", server.address)])
        .args(["--checks", CHECKS])
        // The same requests every time, and about a minute of them.
        .args(["--seed", "1", "--phases", "fuzzing", "--max-examples", "20"])
        .args(["--generation-database", "none", "--no-color"])
        // They are WebSockets.
        .args(["--exclude-path", "/v1/stream", "--exclude-path", "/v1/relay-link"])
        // It would end the party that all others need.
        .args([
            "--exclude-operation-id",
            "parties_delete",
            "--exclude-operation-id",
            "members_leave",
        ]);
    let status = tokio::task::spawn_blocking(move || command.status());
    assert!(status.await.unwrap().unwrap().success(), "what differs is above");
}
