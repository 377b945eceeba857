//! One trace from an agent's request through the real control server to its database, told to a collector that this test is.
#![expect(clippy::unwrap_used, reason = "helpers of a test: a panic is a failed test")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lanrage::io::control::ControlClient;
use lanrage_observe::traces::{OtlpEndpoint, Traces};
use lanrage_shared::invite::ServerLink;
use lanrage_shared::keys::{DeviceSecret, IdentitySecret};
use lanrage_tests::lab::bins;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message;
use tracing_subscriber::layer::SubscriberExt;

/// Longest anything here may take.
const LIMIT: Duration = Duration::from_secs(20);

/// A span as the collector heard of it.
#[derive(Debug, Clone)]
struct Told {
    service: String,
    name: String,
    trace: Vec<u8>,
    id: Vec<u8>,
    parent: Vec<u8>,
    attributes: Vec<(String, String)>,
}

impl Told {
    fn attribute(&self, name: &str) -> &str {
        let found = self.attributes.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value)
    }
}

/// Takes OTLP over HTTP.
#[derive(Clone)]
struct Collector {
    address: SocketAddr,
    told: Arc<Mutex<Vec<Told>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let collector = Self {
            address: listener.local_addr().unwrap(),
            told: Arc::default(),
        };
        let told = Arc::clone(&collector.told);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let told = Arc::clone(&told);
                std::thread::spawn(move || take(stream.unwrap(), &told));
            }
        });
        collector
    }

    fn endpoint(&self) -> OtlpEndpoint {
        format!("http://{}", self.address).parse().unwrap()
    }

    fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }
}

/// One connection: batches until it ends.
fn take(stream: TcpStream, told: &Mutex<Vec<Told>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut head, mut line) = (String::new(), String::new());
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            head += &line.to_ascii_lowercase();
        }
        assert!(head.starts_with("post /v1/traces "), "{head}");
        let (_, length) = head.split_once("content-length: ").unwrap();
        let mut body = vec![0; length.split_whitespace().next().unwrap().parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        told.lock().unwrap().extend(spans(&body));
        let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";
        reader.get_mut().write_all(answer.as_bytes()).unwrap();
    }
}

fn spans(body: &[u8]) -> Vec<Told> {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let mut all = Vec::new();
    for of_service in request.resource_spans {
        let resource = texts(of_service.resource.unwrap_or_default().attributes);
        let service = resource.into_iter().find(|(key, _)| key == "service.name").unwrap().1;
        let spans = of_service.scope_spans.into_iter().flat_map(|scope| scope.spans);
        all.extend(spans.map(|span| Told {
            service: service.clone(),
            name: span.name,
            trace: span.trace_id,
            id: span.span_id,
            parent: span.parent_span_id,
            attributes: texts(span.attributes),
        }));
    }
    all
}

fn texts(attributes: Vec<opentelemetry_proto::tonic::common::v1::KeyValue>) -> Vec<(String, String)> {
    let text = |value| match value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        _ => String::new(),
    };
    let pairs = attributes.into_iter();
    pairs
        .map(|pair| (pair.key, text(pair.value.and_then(|value| value.value))))
        .collect()
}

/// The real control server, stopped when the test ends early.
struct Control {
    child: Child,
    link: ServerLink,
}

impl Control {
    fn start(dir: &Path, collector: &OtlpEndpoint) -> Self {
        let mut child = Command::new(bins::find("lanrage-control").unwrap())
            .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .args([
                "--public-address",
                "127.0.0.1:1",
                "--otlp-endpoint",
                &collector.to_string(),
            ])
            .arg("--data-dir")
            .arg(dir)
            .env_remove("LANRAGE_LOG")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = lines
            .find_map(|line| line.ok().filter(|line| line.contains("listening on")))
            .unwrap();
        // What it logs from here on goes nowhere.
        std::thread::spawn(move || lines.for_each(drop));
        let (_, address) = line.split_once("listening on ").unwrap();
        let address: SocketAddr = address.split_once(',').unwrap().0.parse().unwrap();
        let (_, link) = line.split_once("server link: ").unwrap();
        let mut link: ServerLink = link.trim().parse().unwrap();
        link.port = address.port();
        Self { child, link }
    }

    /// Has it end as a service manager does, and tells how long that took.
    fn terminate(mut self) -> Duration {
        let began = Instant::now();
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        self.child.wait().unwrap();
        began.elapsed()
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn client(link: &ServerLink) -> ControlClient {
    let (identity, device) = (IdentitySecret::from_bytes([7; 32]), DeviceSecret::from_bytes([8; 32]));
    ControlClient::new(link.clone(), Arc::new(identity), device.public())
}

/// Asks something that the server needs its database for.
async fn ask(client: &ControlClient) {
    let party = "00000000-0000-7000-8000-000000000001".parse().unwrap();
    let answer = client.party(lanrage_shared::ids::PartyId(party)).await;
    assert!(answer.is_err(), "there is no such party");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_one_trace_from_the_agent_to_the_database() {
    let (collector, dir) = (Collector::start(), tempfile::tempdir().unwrap());
    let control = Control::start(dir.path(), &collector.endpoint());
    let traces = Traces::start(&collector.endpoint(), "lanrage").unwrap();
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(traces.layer())).unwrap();
    let client = client(&control.link);
    ask(&client).await;
    let device = IdentitySecret::from_bytes([7; 32]).device_id().to_string();
    // Both send what is left when they end.
    assert!(control.terminate() < Duration::from_secs(10));
    tokio::task::spawn_blocking(move || drop(traces)).await.unwrap();

    let told = collector.told();
    let is_party = |span: &&Told| span.name == "request" && span.attribute("http.route") == "/v1/parties/{id}";
    let request = told.iter().find(is_party).unwrap_or_else(|| panic!("{told:#?}"));
    let asked = told.iter().find(|span| span.id == request.parent).unwrap();
    let database: Vec<_> = told.iter().filter(|span| span.parent == request.id).collect();
    assert_eq!((asked.service.as_str(), asked.name.as_str()), ("lanrage", "ask"));
    assert!(asked.parent.is_empty());
    assert_eq!(asked.attribute("request"), request.attribute("request"));
    assert_eq!(request.service, "lanrage-control");
    assert_eq!(
        (asked.attribute("device"), request.attribute("device")),
        (&*device, &*device)
    );
    assert_eq!(request.attribute("http.response.status_code"), "404");
    assert!(!database.is_empty(), "{told:#?}");
    for operation in database {
        assert_eq!(
            (operation.trace.as_slice(), asked.trace.as_slice()),
            (&*request.trace, &*request.trace)
        );
        assert_eq!(operation.attribute("db.system.name"), "sqlite");
        assert_eq!(operation.attribute("db.operation.name"), operation.name);
    }
    // Nobody's address, and no secret.
    let all = format!("{told:?}");
    assert!(!all.contains("127.0.0.1") && !all.contains("Bearer"), "{all}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_never_answers_delays_neither_requests_nor_the_end() {
    // Takes connections and says nothing.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let control = Control::start(dir.path(), &endpoint.parse().unwrap());
    let client = client(&control.link);
    ask(&client).await;
    let began = Instant::now();
    for _ in 0..20 {
        ask(&client).await;
    }
    assert!(
        began.elapsed() < LIMIT / 4,
        "twenty requests took {:?}",
        began.elapsed()
    );
    let took = control.terminate();
    assert!(took < Duration::from_secs(10), "it took {took:?} to end");
}
