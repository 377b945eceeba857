//! The dependency rules of ARCHITECTURE.md, read off `cargo metadata` and `cargo tree`: a pure crate cannot reach a socket by accident.
#![expect(clippy::expect_used, reason = "helpers of a test: a panic is a failed test")]

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
            // Only to keep the STUN codec from logging what strangers send.
            "tracing",
            // Only for the server that shows an OpenAPI document (feature `openapi`).
            "utoipa",
            "uuid",
            "x25519-dalek",
            "zerocopy",
            "zeroize",
        ],
        reason: "shared is what two programs agree on: data, encodings and cryptography, no IO",
    },
    Only {
        package: "lanrage-tls",
        allowed: &[
            "lanrage-shared",
            "rcgen",
            "rustls",
            "rustls-pki-types",
            "tempfile",
            "thiserror",
        ],
        reason: "who a server is and how its peers know it; connecting is the programs' own",
    },
    Only {
        package: "lanrage-relay-core",
        allowed: &[
            "bytes",
            "lanrage-shared",
            "parking_lot",
            "rand",
            "serde",
            "stun-types",
            "thiserror",
            "tracing",
        ],
        reason: "the relay's rules take time and randomness as parameters and never see a socket",
    },
    Only {
        package: "lanrage-agent-core",
        allowed: &[
            "arc-swap",
            "bytes",
            "gotatun",
            // Puts the game profiles into the program.
            "include_dir",
            "ipnet",
            "lanrage-shared",
            "parking_lot",
            "rand",
            "serde",
            "strsim",
            "stun-types",
            "thiserror",
            "toml",
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
        package: "lanrage-tls",
        forbidden: &["tokio", "socket2", "mio", "ring"],
        reason: "keys and certificates need no runtime, and TLS has one crypto provider",
    },
    Never {
        package: "lanrage-observe",
        forbidden: &[
            "lanrage-relay",
            "lanrage-control",
            "lanrage-store",
            "sqlx",
            "axum",
            "ring",
        ],
        reason: "all three programs take it, the agent too",
    },
    Never {
        package: "lanrage-relay-client",
        forbidden: &[
            "lanrage-relay",
            "lanrage-relay-core",
            "lanrage-control",
            "lanrage-store",
            "ring",
        ],
        reason: "the agent takes the client without the server",
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
        forbidden: &[
            "lanrage-control",
            "lanrage-store",
            "lanrage-relay",
            "lanrage-relay-core",
            "sqlx",
            "axum",
            "utoipa",
        ],
        reason: "the agent runs on gaming PCs: no server, no database",
    },
    Never {
        package: "lanrage-relay",
        forbidden: &["lanrage-control", "lanrage-store", "sqlx"],
        reason: "a relay trusts tokens, not a database",
    },
];

/// What `cargo` says with these arguments about this workspace.
fn cargo(arguments: &[&str]) -> String {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .args(["--locked", "--manifest-path", manifest])
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo prints UTF-8")
}

/// The packages each package of the workspace names itself, those of tests and build scripts aside.
fn direct_dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let metadata: Value =
        serde_json::from_str(&cargo(&["metadata", "--format-version", "1", "--no-deps"])).expect("JSON");
    let name = |value: &Value| value["name"].as_str().expect("a name").to_owned();
    let list = |value: &Value| value.as_array().expect("an array").clone();
    list(&metadata["packages"])
        .iter()
        .map(|package| {
            let dependencies = list(&package["dependencies"]);
            let normal = dependencies.iter().filter(|dependency| dependency["kind"].is_null());
            (name(package), normal.map(name).collect())
        })
        .collect()
}

/// A way from `package` to each package its own build contains. Cargo resolves features for this package alone, so what
/// another member of the workspace switches on in a common library does not count.
fn ways_from(package: &str) -> BTreeMap<String, Vec<String>> {
    let tree = cargo(&[
        "tree",
        "--package",
        package,
        "--edges",
        "normal",
        "--target",
        "x86_64-unknown-linux-gnu",
        "--prefix",
        "depth",
        "--format",
        " {p}",
    ]);
    let mut ways = BTreeMap::new();
    let mut way: Vec<String> = Vec::new();
    for line in tree.lines() {
        let mut words = line.split_whitespace();
        let depth: usize = words.next().and_then(|depth| depth.parse().ok()).expect("a depth");
        way.truncate(depth);
        way.push(words.next().expect("a package").to_owned());
        ways.entry(way[depth].clone()).or_insert_with(|| way.clone());
    }
    ways
}

#[test]
fn pure_crates_depend_on_nothing_but_what_is_listed() {
    let dependencies = direct_dependencies();
    for rule in ONLY {
        let direct = dependencies
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
    for rule in NEVER {
        let ways = ways_from(rule.package);
        for forbidden in rule.forbidden {
            let way = ways.get(*forbidden);
            assert!(
                way.is_none(),
                "{}: {}",
                way.cloned().unwrap_or_default().join(" -> "),
                rule.reason
            );
        }
    }
}

#[test]
fn a_forbidden_edge_would_be_found() {
    let ways = ways_from("lanrage");
    let way = ways.get("mio").expect("the agent uses mio, through tokio");
    assert_eq!(way.first().map(String::as_str), Some("lanrage"));
    assert_eq!(way.last().map(String::as_str), Some("mio"));
}
