//! Tokens that the server's own key has signed, and that are no tokens all the same.

use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use ed25519_dalek::{Signer, SigningKey};
use hmac::{Hmac, Mac};
use lanrage_shared::api::error::ErrorCode;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::{Device, Request, TestServer};

/// What can be forged by whoever has the server's key.
struct Forge {
    key: SigningKey,
    /// Of a token that the server made.
    header: Value,
    claims: Value,
}

impl Forge {
    async fn new(server: &TestServer) -> Self {
        let seed = server.app.store.secret("token", &[]).await.unwrap();
        let token = Device::new(server, 1).await.token;
        let read = |part: usize| {
            let text = token.split('.').nth(part).unwrap();
            serde_json::from_slice(&BASE64URL_NOPAD.decode(text.as_bytes()).unwrap()).unwrap()
        };
        Self {
            key: SigningKey::from_bytes(&seed.try_into().unwrap()),
            header: read(0),
            claims: read(1),
        }
    }

    /// A token like the server's but for one field of its claims.
    fn claiming(&self, name: &str, value: Value) -> String {
        let mut claims = self.claims.clone();
        claims[name] = value;
        self.signed(&self.header, &claims)
    }

    fn without(&self, name: &str) -> String {
        let mut claims = self.claims.clone();
        claims.as_object_mut().unwrap().remove(name);
        self.signed(&self.header, &claims)
    }

    fn signed(&self, header: &Value, claims: &Value) -> String {
        sealed(header, claims, |text| self.key.sign(text).to_bytes().to_vec())
    }

    /// The number of a claim.
    fn number(&self, name: &str) -> u64 {
        self.claims[name].as_u64().unwrap()
    }
}

fn sealed(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let text = [header, claims].map(|part| BASE64URL_NOPAD.encode(part.to_string().as_bytes()));
    let text = text.join(".");
    let signature = sign(text.as_bytes());
    format!("{text}.{}", BASE64URL_NOPAD.encode(&signature))
}

#[tokio::test]
async fn a_token_must_be_right_in_every_part() {
    let server = TestServer::start().await;
    let forge = Forge::new(&server).await;
    let ask = async |token: &str| server.request(Request::new("GET", "/v1/parties").token(token)).await;

    let genuine = forge.signed(&forge.header, &forge.claims);
    assert_eq!(ask(&genuine).await.status, 200, "the forge works");

    let header = |name: &str, value: Value| {
        let mut header = forge.header.clone();
        header[name] = value;
        header
    };
    let public = forge.key.verifying_key().to_bytes();
    let hmac = |text: &[u8]| {
        let mac = Hmac::<Sha256>::new_from_slice(&public).unwrap();
        mac.chain_update(text).finalize().into_bytes().to_vec()
    };
    let (iat, exp) = (forge.number("iat"), forge.number("exp"));
    let parts: Vec<&str> = genuine.split('.').collect();
    let mut table = vec![
        (
            "no signature",
            sealed(&header("alg", json!("none")), &forge.claims, |_| Vec::new()),
        ),
        (
            "no algorithm, signed",
            forge.signed(&header("alg", json!("none")), &forge.claims),
        ),
        (
            "HS256 under the public key",
            sealed(&header("alg", json!("HS256")), &forge.claims, hmac),
        ),
        (
            "HS256, signed with the real key",
            forge.signed(&header("alg", json!("HS256")), &forge.claims),
        ),
        (
            "EdDSA, signed with the public key",
            sealed(&forge.header, &forge.claims, hmac),
        ),
        (
            "another key's id",
            forge.signed(&header("kid", json!("another")), &forge.claims),
        ),
        ("an end in text", forge.claiming("exp", json!(exp.to_string()))),
        ("an end that is no number", forge.claiming("exp", json!(-1))),
        ("made in the future", forge.claiming("iat", json!(iat + 901))),
        ("not valid yet", forge.claiming("nbf", json!(iat + 1))),
        ("for relays", forge.claiming("aud", json!("lanrage-relay"))),
        ("for nobody", forge.claiming("aud", json!([]))),
        ("of a device of another key", forge.claiming("sub", json!(1))),
        ("cut short", genuine[..genuine.len() - 1].to_owned()),
        ("without a signature", format!("{}.{}.", parts[0], parts[1])),
        ("of two parts", format!("{}.{}", parts[0], parts[1])),
        ("of four parts", format!("{genuine}.{}", parts[2])),
        (
            "of another's claims",
            format!("{}.{}.{}", parts[0], BASE64URL_NOPAD.encode(b"{}"), parts[2]),
        ),
        ("longer than any", forge.claiming("more", json!("x".repeat(4000)))),
    ];
    for claim in ["aud", "sub", "identity_key", "device_key", "iat", "exp"] {
        table.push((claim, forge.without(claim)));
    }
    for (what, token) in table {
        let answer = ask(&token).await;
        assert_eq!(answer.status, 401, "{what}");
        answer.refused(401, ErrorCode::Unauthorized);
    }
    let ended = forge.claiming("exp", json!(iat));
    ask(&ended).await.refused(401, ErrorCode::TokenExpired);
    server.clock.advance(Duration::from_secs(exp - iat));
    ask(&genuine).await.refused(401, ErrorCode::TokenExpired);
}
