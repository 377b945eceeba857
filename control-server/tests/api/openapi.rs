//! Every endpoint of the OpenAPI document against whoever may not use it. Nothing here names endpoints, but for those that are
//! open to everybody: a new one is tried with the others, or fails the first test.

use std::collections::BTreeSet;

use lanrage_control::openapi::document;
use lanrage_shared::api::error::ApiError;
use serde_json::{Map, Value, json};

use crate::support::{Answer, Code, Device, Request, TestServer};

/// Everything a stranger may ask.
const OPEN: [&str; 5] = [
    "GET /healthz",
    "GET /readyz",
    "GET /v1/openapi.json",
    "POST /v1/auth/challenge",
    "POST /v1/auth/token",
];
/// Asked with the operator's token for relays instead of a device's.
const FOR_RELAYS: [&str; 1] = ["GET /v1/relay-link"];

/// An endpoint as it is described.
struct Endpoint {
    method: String,
    path: String,
    description: Value,
}

fn endpoints() -> Vec<Endpoint> {
    let document = document();
    let paths = document["paths"].as_object().unwrap();
    let of_path = |(path, item): (&String, &Value)| {
        let methods = item.as_object().unwrap().iter();
        let endpoint = |(method, description): (&String, &Value)| Endpoint {
            method: method.to_uppercase(),
            path: path.clone(),
            description: description.clone(),
        };
        methods.map(endpoint).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).collect()
}

impl Endpoint {
    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    fn is_open(&self) -> bool {
        self.description["security"] == json!([])
    }

    /// A request that is right in all but who sends it.
    fn request(&self, party: &str, device: &str) -> Request<'_> {
        let path = self.path.replace("{id}", party).replace("{number}", "1");
        let path = path.replace("{device}", device).replace("{invite}", party);
        assert!(!path.contains('{'), "{path}: say what to put in here");
        let request = Request::new(&self.method, path).header("if-match", "\"1\"");
        let schema = &self.description["requestBody"]["content"]["application/json"]["schema"];
        match schema {
            Value::Null => request,
            schema => request.json(&sample(schema, &document())),
        }
    }

    /// Refuses an answer that the document does not speak of.
    fn check(&self, answer: &Answer) {
        let status = answer.status.as_u16().to_string();
        let name = self.name();
        assert!(
            !self.description["responses"][&status].is_null(),
            "{name}: {status} is not documented"
        );
        assert!(answer.headers.contains_key("x-request-id"), "{name}");
        if answer.status.is_client_error() {
            let error: ApiError = serde_json::from_slice(&answer.body).unwrap();
            assert!(!error.message.is_empty(), "{name}");
        }
    }
}

/// The smallest value of a schema.
fn sample(schema: &Value, document: &Value) -> Value {
    if let Some(reference) = schema["$ref"].as_str() {
        return sample(document.pointer(reference.trim_start_matches('#')).unwrap(), document);
    }
    if let Some(first) = schema["oneOf"].get(0) {
        return sample(first, document);
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => &kinds[0],
        kind => kind,
    };
    match kind.as_str() {
        Some("object") => {
            let required = schema["required"].as_array().into_iter().flatten();
            let fields = required.map(|name| {
                let name = name.as_str().unwrap();
                (name.to_owned(), sample(&schema["properties"][name], document))
            });
            Value::Object(fields.collect::<Map<_, _>>())
        }
        Some("array") => json!([]),
        Some("integer") => json!(schema["minimum"].as_u64().unwrap_or(0).max(1)),
        Some("boolean") => json!(false),
        // Of binary values: as many characters as the pattern wants, of zeros.
        Some("string") => match schema["pattern"].as_str() {
            Some(pattern) => {
                let count = pattern.split(['{', '}']).nth(1).unwrap_or("1").parse().unwrap_or(1);
                let last = if pattern.matches('[').count() > 1 { "A" } else { "" };
                json!("A".repeat(count) + last)
            }
            None => json!("x"),
        },
        other => panic!("a sample of {other:?}: {schema}"),
    }
}

#[test]
fn what_needs_no_token_is_known_by_name() {
    let open: BTreeSet<String> = endpoints()
        .iter()
        .filter(|one| one.is_open())
        .map(Endpoint::name)
        .collect();
    assert_eq!(open, OPEN.map(str::to_owned).into());
    let of_relays = |one: &&Endpoint| one.description["security"] == json!([{"relay": []}]);
    let of_relays: BTreeSet<String> = endpoints().iter().filter(of_relays).map(Endpoint::name).collect();
    assert_eq!(of_relays, FOR_RELAYS.map(str::to_owned).into());
}

#[tokio::test]
async fn without_a_good_token_nothing_is_answered() {
    let server = TestServer::start().await;
    let anna = Device::new(&server, 1).await;
    let party = anna.host(&Code::new(1), None).await.party.id.to_string();
    let other = TestServer::start().await;
    let foreign = Device::new(&other, 1).await.token;
    let device = anna.id().to_string();
    for endpoint in endpoints().iter().filter(|one| !one.is_open()) {
        let broken = &anna.token[..anna.token.len() - 4];
        for token in [None, Some("x.y.z"), Some(broken), Some(foreign.as_str())] {
            let request = endpoint.request(&party, &device);
            let request = token.into_iter().fold(request, Request::token);
            let answer = server.request(request).await;
            assert_eq!(answer.status, 401, "{} with {token:?}", endpoint.name());
            endpoint.check(&answer);
        }
    }
    assert!(
        anna.get(format!("/v1/parties/{party}")).await.status.is_success(),
        "the party is as it was"
    );
}

#[tokio::test]
async fn who_is_in_no_party_changes_none_and_sees_none() {
    let server = TestServer::start().await;
    let (anna, eve) = (Device::new(&server, 1).await, Device::new(&server, 2).await);
    let before = anna.host(&Code::new(1), None).await.party;
    for endpoint in &endpoints() {
        let request = endpoint.request(&before.id.to_string(), &anna.id().to_string());
        let answer = eve.send(request).await;
        endpoint.check(&answer);
        let status = answer.status.as_u16();
        if endpoint.path.contains("{id}") {
            assert!(matches!(status, 403 | 404), "{}: {status}", endpoint.name());
            let text = String::from_utf8_lossy(&answer.body);
            assert!(!text.contains("Friday"), "{}: {text}", endpoint.name());
        }
        if FOR_RELAYS.contains(&endpoint.name().as_str()) {
            assert_eq!(status, 401);
        }
    }
    assert_eq!(
        anna.get(format!("/v1/parties/{}", before.id)).await.ok::<Value>()["version"],
        before.version
    );
}
