//! The dependency rules of ARCHITECTURE.md, read off `cargo metadata`: a pure crate cannot reach a socket by accident.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "helpers of a test: a panic is a failed test"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Direct dependencies a crate may have; anything else fails with this reason.
struct Only {
    package: &'static str,
    allowed: &'static [&'static str],
    reason: &'static str,
}

/// Packages that must not be reachable from a crate, however far down.
struct Never {
    package: &'static str,
    forbidden: &'static [&'static str],
    reason: &'static str,
}

const ONLY: &[Only] = &[
    Only {
        package: "lanrage-shared",
        allowed: &[
            "chacha20poly1305",
            "data-encoding",
            "ed25519-dalek",
            "hkdf",
            "ipnet",
            "jsonwebtoken",
            "serde",
            "serde_json",
            "sha2",
            "stun-types",
            "thiserror",
            "uuid",
            "x25519-dalek",
            "zerocopy",
            "zeroize",
        ],
        reason: "shared is what two programs agree on: data, encodings and cryptography, no IO",
    },
    Only {
        package: "lanrage-relay-core",
        allowed: &["lanrage-shared", "rand", "stun-types", "thiserror", "tracing"],
        reason: "the relay's rules take time and randomness as parameters and never see a socket",
    },
    Only {
        package: "lanrage-agent-core",
        allowed: &[
            "arc-swap",
            "bytes",
            "gotatun",
            "ipnet",
            "lanrage-shared",
            "parking_lot",
            "rand",
            "serde",
            "stun-types",
            "thiserror",
            "tracing",
        ],
        reason: "the agent's rules take time and randomness as parameters and never see a socket",
    },
];

const NEVER: &[Never] = &[
    Never {
        package: "lanrage-shared",
        forbidden: &["tokio", "sqlx", "axum", "clap", "socket2", "mio"],
        reason: "shared has no IO",
    },
    Never {
        package: "lanrage-relay-core",
        forbidden: &["tokio", "socket2", "mio", "quinn"],
        reason: "the relay's rules have no IO; relay-server drives them",
    },
    Never {
        package: "lanrage-store",
        forbidden: &["sqlx", "axum", "libsqlite3-sys"],
        reason: "store says what is kept, its two drivers say how",
    },
    Never {
        package: "lanrage-store-sqlite",
        forbidden: &["axum", "lanrage-store-postgres", "sqlx-postgres"],
        reason: "a store knows its own database and no web server",
    },
    Never {
        package: "lanrage-store-postgres",
        forbidden: &["axum", "lanrage-store-sqlite", "libsqlite3-sys"],
        reason: "a store knows its own database and no web server",
    },
    Never {
        package: "lanrage",
        forbidden: &["lanrage-control", "lanrage-store", "sqlx", "axum"],
        reason: "the agent runs on gaming PCs: no server, no database",
    },
    Never {
        package: "lanrage-relay",
        forbidden: &["lanrage-control", "lanrage-store", "sqlx"],
        reason: "a relay trusts tokens, not a database",
    },
];

/// Normal (not dev, not build) dependencies: resolved package ids per id, and names per id.
struct Graph {
    edges: BTreeMap<String, Vec<String>>,
    names: BTreeMap<String, String>,
    direct: BTreeMap<String, BTreeSet<String>>,
}

fn graph() -> Graph {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
            "--manifest-path",
            manifest,
        ])
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let list = |value: &Value| value.as_array().unwrap().clone();
    let mut graph = Graph {
        edges: BTreeMap::new(),
        names: BTreeMap::new(),
        direct: BTreeMap::new(),
    };
    for package in list(&metadata["packages"]) {
        let name = text(&package["name"]);
        let normal = list(&package["dependencies"])
            .into_iter()
            .filter(|dependency| dependency["kind"].is_null());
        graph.direct.insert(
            name.clone(),
            normal.map(|dependency| text(&dependency["name"])).collect(),
        );
        graph.names.insert(text(&package["id"]), name);
    }
    for node in list(&metadata["resolve"]["nodes"]) {
        let normal = list(&node["deps"])
            .into_iter()
            .filter(|dep| list(&dep["dep_kinds"]).iter().any(|kind| kind["kind"].is_null()));
        graph
            .edges
            .insert(text(&node["id"]), normal.map(|dep| text(&dep["pkg"])).collect());
    }
    graph
}

impl Graph {
    /// The shortest way from `from` to a package called `to`, by names.
    fn way(&self, from: &str, to: &str) -> Option<Vec<String>> {
        let start = self.names.iter().find(|(_, name)| *name == from)?.0.clone();
        let mut queue = std::collections::VecDeque::from([vec![start.clone()]]);
        let mut seen = BTreeSet::from([start]);
        while let Some(way) = queue.pop_front() {
            for next in &self.edges[way.last()?] {
                let mut longer = way.clone();
                longer.push(next.clone());
                if self.names[next] == to {
                    return Some(longer.iter().map(|id| self.names[id].clone()).collect());
                }
                if seen.insert(next.clone()) {
                    queue.push_back(longer);
                }
            }
        }
        None
    }
}

#[test]
fn pure_crates_depend_on_nothing_but_what_is_listed() {
    let graph = graph();
    for rule in ONLY {
        let direct = graph
            .direct
            .get(rule.package)
            .unwrap_or_else(|| panic!("no crate {}", rule.package));
        let extra: Vec<&String> = direct
            .iter()
            .filter(|name| !rule.allowed.contains(&name.as_str()))
            .collect();
        assert!(
            extra.is_empty(),
            "{} depends on {extra:?}: {}",
            rule.package,
            rule.reason
        );
    }
}

#[test]
fn nobody_reaches_what_it_must_not() {
    let graph = graph();
    for rule in NEVER {
        assert!(graph.direct.contains_key(rule.package), "no crate {}", rule.package);
        for forbidden in rule.forbidden {
            let way = graph.way(rule.package, forbidden);
            assert!(
                way.is_none(),
                "{}: {}",
                way.unwrap_or_default().join(" -> "),
                rule.reason
            );
        }
    }
}

#[test]
fn a_forbidden_edge_would_be_found() {
    let way = graph().way("lanrage", "tokio").expect("the agent does use tokio");
    assert_eq!(way.first().map(String::as_str), Some("lanrage"));
}
