//! What `deploy/` says of our programs, held against the programs: dashboards and alerts ask for numbers that exist.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lanrage_control::healthcheck::get;
use lanrage_control::tls::ServerIdentity;
use serde_json::Value;

use super::program::Serving;

/// Longest a number may take to be there.
const PATIENCE: Duration = Duration::from_secs(20);

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(file)
}

fn dashboards() -> Vec<(String, Value)> {
    let files = std::fs::read_dir(deploy("grafana/dashboards")).unwrap();
    let mut all: Vec<_> = files
        .map(|file| file.unwrap().path())
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            let json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            (name, json)
        })
        .collect();
    all.sort_by(|one, other| one.0.cmp(&other.0));
    assert!(all.len() >= 2);
    all
}

/// Every word of `text` that is a name of one of our numbers, or of the process's.
fn numbers_in(text: &str) -> BTreeSet<String> {
    text.split(|char: char| !char.is_ascii_alphanumeric() && char != '_')
        .filter(|word| word.starts_with("lanrage_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

/// What is at `/metrics` of `address`; also written into the directory `LANRAGE_METRICS_DIR`, for scripts/check-deploy.
fn scrape(address: SocketAddr, program: &str) -> String {
    let mut scraper = TcpStream::connect(address).unwrap();
    scraper
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    scraper.read_to_string(&mut answer).unwrap();
    let (_, text) = answer.split_once("\r\n\r\n").unwrap();
    if let Ok(dir) = std::env::var("LANRAGE_METRICS_DIR") {
        std::fs::write(Path::new(&dir).join(program), text).unwrap();
    }
    text.to_owned()
}

/// The names of its numbers, as Prometheus keeps them.
fn names(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(numbers_in)
        .collect()
}

/// An address nobody listens on just now.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn dashboards_and_alerts_ask_for_numbers_that_exist() {
    let dir = tempfile::tempdir().unwrap();
    let relay = free_address();
    let listen = format!("--relay-metrics-listen={relay}");
    let ports = ["--relay-port=0", "--stun-port=0", "--stun-second-port=0"];
    // A certificate that is kept, so that nobody is asked for one: its number is there when one of an authority is shown.
    ServerIdentity::open(dir.path()).unwrap();
    let kept = dir.path().join("certificate-lan.example.pem");
    std::fs::copy(dir.path().join("identity.pem"), kept).unwrap();
    let config = dir.path().join("control.toml");
    std::fs::write(
        &config,
        "[acme]\ndomain = \"lan.example\"\nhttp_listen = \"127.0.0.1:0\"\n",
    )
    .unwrap();
    let config = ["--config", config.to_str().unwrap(), "--with-relay", &listen];
    let serving = Serving::start(dir.path(), &[config.as_slice(), &ports].concat());
    let (_, rest) = serving.before.split_once("the admin API are at http://").unwrap();
    let admin = rest.split_whitespace().next().unwrap().parse().unwrap();
    // Numbers of requests are there once there was one, and those of refusals once one was refused.
    let pin = ServerIdentity::read(dir.path()).unwrap().pin;
    let refused = get(serving.address().parse().unwrap(), pin, "/v1/parties").unwrap();
    assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");
    // An agent needs a TUN device; its own tests hold this file against it.
    let agent = std::fs::read_to_string(deploy("prometheus/agent-metrics.txt")).unwrap();
    // The certificate is looked at beside everything else.
    let began = Instant::now();
    let mut control = scrape(admin, "control");
    while !control.contains("certificate_expires") && began.elapsed() < PATIENCE {
        control = scrape(admin, "control");
    }
    let all = [scrape(relay, "relay"), control, agent];
    let exist: BTreeSet<_> = all.iter().flat_map(|text| names(text)).collect();
    serving.terminate();
    assert!(exist.contains("lanrage_relay_forwarded_frames_total"), "{exist:?}");

    let texts = ["prometheus/alerts.yml", "prometheus/alerts.test.yml"].map(|file| (file.to_owned(), deploy(file)));
    let boards = dashboards().into_iter().map(|(name, _)| {
        let path = deploy("grafana/dashboards").join(&name);
        (name, path)
    });
    for (name, path) in texts.into_iter().chain(boards) {
        let asked = numbers_in(&std::fs::read_to_string(path).unwrap());
        let unknown: Vec<_> = asked.difference(&exist).collect();
        assert!(!asked.is_empty() && unknown.is_empty(), "{name} asks for {unknown:?}");
    }
}

#[test]
fn dashboards_are_told_apart_and_ask_the_source_that_is_provisioned() {
    let sources = std::fs::read_to_string(deploy("grafana/provisioning/datasources/prometheus.yml")).unwrap();
    assert!(sources.contains("uid: prometheus\n"));
    let mut names = BTreeMap::new();
    for (file, board) in dashboards() {
        let uid = board["uid"].as_str().unwrap().to_owned();
        assert!(uid.len() <= 40, "{file}: Grafana takes 40 characters");
        assert_eq!(names.insert(uid, file.clone()), None, "{file}");
        assert!(board["id"].is_null(), "{file}: Grafana gives the number");
        let panels = board["panels"].as_array().unwrap();
        let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
        assert_eq!(ids.len(), panels.len(), "{file}");
        for panel in panels {
            let title = panel["title"].as_str().unwrap();
            let place = |name: &str| panel["gridPos"][name].as_u64().unwrap();
            assert!(place("x") + place("w") <= 24, "{file}: {title}");
            let targets = panel["targets"].as_array().unwrap();
            assert!(!targets.is_empty(), "{file}: {title}");
            for asked in targets.iter().chain([panel]) {
                assert_eq!(asked["datasource"]["uid"], "prometheus", "{file}: {title}");
            }
        }
    }
}

#[test]
fn what_setup_writes_are_settings() {
    // Its here-documents with something in place of what the shell fills in.
    let setup = std::fs::read_to_string(deploy("setup")).unwrap();
    let written = |name: &str| {
        let (_, rest) = setup.split_once(&format!("{name} <<END\n")).unwrap();
        let (text, _) = rest.split_once("\nEND\n").unwrap();
        text.replace("$data", "/data").replace("$LANRAGE_EGRESS_MBIT", "1000")
    };
    let control: lanrage_control::config::Config = toml_of(&written("control.toml"));
    assert!(control.database.url.is_some());
    assert_eq!(control.services.stun.len(), 1);
    let relay = lanrage_relay::config::RelayConfig::from_toml(&written("relay.toml")).unwrap();
    assert_eq!(relay.limits.egress_mbit_per_s, 1000);
}

fn toml_of<T: serde::de::DeserializeOwned>(text: &str) -> T {
    toml::from_str(text).unwrap_or_else(|error| panic!("{error}"))
}
