//! Who gets a token, over real HTTPS.

use std::time::Duration;

use crate::support::{Device, Request, Target, TestServer, connect};
use lanrage_shared::api::error::ErrorCode;
use lanrage_shared::api::party::Party;
use lanrage_shared::ids::Pin;
use lanrage_shared::keys::{IdentitySecret, token_proof};
use lanrage_shared::token::TOLERATED_S;

#[tokio::test]
async fn the_server_shows_the_pinned_key() {
    let server = TestServer::start().await;
    assert!(connect(server.target()).await.is_ok());
    let other = Target {
        pin: Pin([0; 32]),
        ..server.target()
    };
    assert!(connect(other).await.is_err());
}

#[tokio::test]
async fn a_signed_challenge_gives_a_token_that_ends() {
    let server = TestServer::start().await;
    let mut anna = Device::new(&server, 1).await;
    assert!(anna.get("/v1/parties").await.ok::<Vec<Party>>().is_empty());
    server.clock.advance(Duration::from_secs(15 * 60 + 1));
    anna.get("/v1/parties").await.refused(401, ErrorCode::TokenExpired);
    anna.sign_in().await;
    assert!(anna.get("/v1/parties").await.ok::<Vec<Party>>().is_empty());
}

#[tokio::test]
async fn proofs_that_prove_nothing_are_refused() {
    let server = TestServer::start().await;
    let anna = Device::new(&server, 1).await;
    let ben = Device::new(&server, 2).await;
    let nonce = anna.challenge().await.nonce;
    let refused = async |request: Request<'_>| {
        request
            .send(server.target())
            .await
            .refused(401, ErrorCode::Unauthorized)
    };

    refused(ben.prove(&nonce)).await;
    refused(anna.prove("")).await;
    refused(anna.prove("bm90IG91cnM")).await;

    let mut forged = anna.proof(&nonce);
    forged.signature = IdentitySecret::from_bytes([9; 32]).sign(nonce.as_bytes());
    refused(Request::new("POST", "/v1/auth/token").json(&forged)).await;

    let mut swapped = anna.proof(&nonce);
    swapped.device_key = ben.secret.public();
    refused(Request::new("POST", "/v1/auth/token").json(&swapped)).await;

    let mut meant_for_another = anna.proof(&nonce);
    let proof = token_proof(&Pin([1; 32]), &nonce, &anna.secret.public());
    meant_for_another.signature = anna.identity.sign(&proof);
    refused(Request::new("POST", "/v1/auth/token").json(&meant_for_another)).await;

    // A replica may have made it whose clock is behind.
    server.clock.advance(Duration::from_secs(61 + TOLERATED_S));
    refused(anna.prove(&nonce)).await;
}

#[tokio::test]
async fn a_token_of_another_server_is_refused() {
    let server = TestServer::start().await;
    let other = TestServer::start().await;
    let stranger = Device::new(&other, 1).await;
    let request = Request::new("GET", "/v1/parties").token(&stranger.token);
    server.request(request).await.refused(401, ErrorCode::Unauthorized);
    for header in ["", "Bearer", "Bearer x", "Basic dXNlcjpwYXNz", "Bearer ..."] {
        let request = Request::new("GET", "/v1/parties").header("authorization", header);
        server.request(request).await.refused(401, ErrorCode::Unauthorized);
    }
    server
        .request(Request::new("GET", "/v1/parties"))
        .await
        .refused(401, ErrorCode::Unauthorized);
}

#[tokio::test]
async fn bad_requests_are_refused_in_one_shape() {
    let server = TestServer::start().await;
    let challenge = || Request::new("POST", "/v1/auth/challenge");
    let malformed = [
        "",
        "{",
        "[]",
        "{\"identity_key\": 3}",
        "{\"identity_key\": \"short\"}",
        "\u{0}",
    ];
    for body in malformed {
        let answer = server.request(challenge().raw_json(body)).await;
        answer.refused(400, ErrorCode::BadRequest);
    }
    let large = format!("{{\"identity_key\": \"{}\"}}", "A".repeat(70 * 1024));
    server
        .request(challenge().raw_json(large))
        .await
        .refused(413, ErrorCode::TooLarge);
    server.request(challenge()).await.refused(415, ErrorCode::BadRequest);
    server
        .request(Request::new("GET", "/v1/auth/challenge"))
        .await
        .refused(405, ErrorCode::BadRequest);
    server
        .request(Request::new("GET", "/v2/anything"))
        .await
        .refused(404, ErrorCode::NotFound);
}

#[tokio::test]
async fn health_and_readiness_need_no_token() {
    let server = TestServer::start().await;
    assert_eq!(server.request(Request::new("GET", "/healthz")).await.status, 200);
    assert_eq!(server.request(Request::new("GET", "/readyz")).await.status, 200);
    server.app.store.close().await;
    assert_eq!(server.request(Request::new("GET", "/healthz")).await.status, 200);
    let answer = server.request(Request::new("GET", "/readyz")).await;
    assert!(answer.headers.contains_key("retry-after"));
    answer.refused(503, ErrorCode::Unavailable);
}
