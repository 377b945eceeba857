//! What `--json` prints is a contract with scripts: these are its names, the reports have them and no others, and the
//! README tells of every one.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy knows test functions, but not their helpers"
)]

use std::collections::BTreeSet;

use lanrage::api::{
    BansReport, BridgeReport, DoctorReport, DownReport, EndedReport, GamesReport, InviteReport, InvitesReport,
    JoinedReport, KnownGamesReport, LatenciesReport, LeftReport, PeersReport, PingReport, RefreshReport, RelaysReport,
    RemovedReport, SettingsReport, StatusReport, TestLanReport,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn party() -> Value {
    json!({
        "id": "00000000-0000-7000-8000-000000000001", "name": "Friday", "member": 2, "member_name": "Ben",
        "is_host": false, "host": "Anna", "members": 2, "epoch": 1,
    })
}

fn path() -> Value {
    json!({
        "kind": "relay", "address": "203.0.113.1:4000", "relay": "fra-1", "rtt_ms": 12.5, "since": 9,
        "quality": {"score": 90, "jitter_ms": 0.5, "loss_percent": 1.5, "trend": "stable"},
    })
}

fn status() -> Value {
    json!({
        "state": "connected", "version": "0.1.0",
        "device": {"id": "00000000000000000000000000000000", "tun": "lanrage0", "port": 4000},
        "party": party(), "virtual_ip": "10.64.0.2", "virtual_ip6": "fd00::2",
        "nat": {
            "mapping": "endpoint-independent", "filtering": "address-and-port-dependent", "kind": "port-restricted",
            "public_address": "203.0.113.2:4000", "port_mapping": "203.0.113.2:4001",
        },
        "server": {"address": "vps.example:8443", "reachable": false, "since": 3, "reason": "it hung up"},
        "keepalive": {
            "pause_s": 15, "sent": 2, "lost": 1,
            // By the kind of NAT; any name will do.
            "by_nat": {"kind": {"sent": 2, "lost": 1, "fixed_25_s": 3}},
        },
        "lan": {
            "repairs": {
                "adapter_down": 1, "mtu": 1, "multicast_flag": 1, "address": 1, "route_subnet": 1,
                "route_subnet_broadcast": 1, "route_broadcast": 1, "route_multicast": 1, "route_subnet6": 1,
                "route_multicast6": 1, "metric": 2, "network_category": 1,
            },
            "last_repair": {"kind": "metric", "since": 5},
        },
        "drops": {
            "spoofed_source": 1, "no_path": 2, "relay_gone": 3, "queue_full": 4, "relay_no_room": 5, "relay_displaced": 6,
            "loop_busy": 7,
        },
        "warnings": ["the disk is full"],
    })
}

fn peers() -> Value {
    json!({"party": "Friday", "peers": [{
        "name": "Anna", "member": 1, "virtual_ip": "10.64.0.1", "virtual_ip6": "fd00::1", "online": true, "path": path(),
        "rx_bytes": 1, "tx_bytes": 2, "last_handshake_s": 3, "reason": "her router lets nobody in",
        "game": {"name": "Quake", "wording": "probably"},
    }]})
}

fn relays() -> Value {
    json!({"party": "Friday", "relays": [{
        "id": "fra-1", "region": "eu-west", "load": 20, "connected": true, "home": true, "rtt_ms": 9.5, "peers": 1,
        "why": "the nearest",
    }]})
}

fn games() -> Value {
    json!({
        "games": [{
            "id": "quake", "name": "Quake", "wording": "definitely", "confidence": 0.96, "pid": 7, "process": "quake", "since": 9,
            "evidence": ["it listens on UDP port 26000"],
        }],
        "recent": [{"id": "chess", "name": "Chess", "wording": "perhaps", "played_s": 60, "ended_s": 5}],
        "profiles": 200, "user_profiles": 1, "problems": [{"file": "mine.toml", "line": 3, "reason": "what is this"}],
        "window_titles": false, "note": "window titles are not seen",
    })
}

fn known_games() -> Value {
    json!({"known": [{
        "id": "quake", "name": "Quake", "latency_class": "fast",
        "discovery": [{
            "method": "multicast", "group": "224.0.2.60", "ports": "27960-27963", "sender": "client", "source": "https://…",
        }],
    }]})
}

fn joined() -> Value {
    json!({"party": party(), "virtual_ip": "10.64.0.2", "virtual_ip6": "fd00::2", "invite": "lanrage://…"})
}

fn ping() -> Value {
    json!({"peer": "Anna", "virtual_ip": "10.64.0.1", "rtt_ms": 12.5, "path": path(), "reason": "she is offline"})
}

fn latencies() -> Value {
    json!({"servers": [{
        "server": "play.example.net:25565", "rtt_ms": 20.5, "jitter_ms": 0.5, "loss_percent": 1.5, "trend": "stable",
        "measured_by": "icmp", "interval_s": 60, "reason": "it is gone",
    }]})
}

fn test_lan() -> Value {
    json!({"game": "OpenArena", "ways": [{
        "method": "broadcast", "group": "224.0.2.60", "port": 27960,
        "results": [{"from": "Anna", "to": "Ben", "heard": false, "reason": "a firewall"}],
        "servers": ["10.64.0.1:27960"],
    }]})
}

fn bridge() -> Value {
    json!({
        "mode": "games", "games": 246, "ports": ["4445"], "services": ["mdns"], "sent": 1, "received": 2,
        "not_sent": {
            "malformed": 1, "not_udp": 1, "not_for_all": 1, "never_bridged": 1, "not_opted_in": 1, "port_not_allowed": 1,
            "duplicate": 1, "rate_limited": 1, "orphan_fragment": 1,
        },
        "not_received": {},
    })
}

fn invites() -> Value {
    let id = "00000000-0000-4000-8000-000000000001";
    json!({"revoked": id, "invites": [{"id": id, "expires_in_s": 60, "max_uses": 3, "uses": 1}]})
}

fn settings() -> Value {
    json!({
        "party": "Friday", "host": "Anna", "is_host": false, "locked": true, "persistent": true, "members": 2,
        "max_members": 64, "network": "10.64.3.0/24",
    })
}

fn ended() -> Value {
    json!({"party": "Friday"})
}

fn doctor() -> Value {
    json!({"checks": [{
        "id": "mtu", "verdict": "ok", "what": "its MTU was changed", "fix": "set it again", "fixed": true,
    }]})
}

/// What the other commands print.
fn small() -> [Value; 6] {
    [
        json!({"invite": "lanrage://…", "expires_in_s": 60, "max_uses": 3}),
        json!({"party": "Friday", "server_told": true}),
        json!({"name": "Ben", "banned": true, "invite_ended": true}),
        json!({"lifted": "Ben", "banned": ["Cleo"]}),
        json!({"party": "Friday"}),
        json!({"pid": 4}),
    ]
}

/// The report reads the example and prints it again, name for name.
fn check<T: Serialize + DeserializeOwned>(example: &Value) {
    let report: T = serde_json::from_value(example.clone()).unwrap_or_else(|error| panic!("{error}: {example}"));
    assert_eq!(&serde_json::to_value(report).unwrap(), example);
}

#[test]
fn reports_have_the_names_of_the_contract_and_no_others() {
    check::<StatusReport>(&status());
    check::<PeersReport>(&peers());
    check::<RelaysReport>(&relays());
    check::<GamesReport>(&games());
    check::<KnownGamesReport>(&known_games());
    check::<JoinedReport>(&joined());
    check::<PingReport>(&ping());
    check::<BridgeReport>(&bridge());
    check::<TestLanReport>(&test_lan());
    check::<LatenciesReport>(&latencies());
    check::<DoctorReport>(&doctor());
    check::<InvitesReport>(&invites());
    check::<SettingsReport>(&settings());
    check::<EndedReport>(&ended());
    let [invite, left, removed, bans, refreshed, down] = small();
    check::<InviteReport>(&invite);
    check::<LeftReport>(&left);
    check::<RemovedReport>(&removed);
    check::<BansReport>(&bans);
    check::<RefreshReport>(&refreshed);
    check::<DownReport>(&down);
}

/// Every name in a value, however deep.
fn names(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                into.insert(name.clone());
                names(value, into);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| names(value, into)),
        _ => {}
    }
}

#[test]
fn the_readme_tells_of_every_name_and_of_no_other() {
    const NO_NAMES: [&str; 19] = [
        "ban", "doctor", "down", "end", "host", "invite", "join", "kick", "latency", "leave", "lock", "null", "peers",
        "ping", "refresh", "status", "transfer", "unban", "unlock",
    ];
    let readme = include_str!("../../README.md");
    let (_, section) = readme.split_once("### JSON for scripts").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    // Every second piece between backticks is quoted; `"a", "b"` quotes two.
    let quoted = section.split('`').skip(1).step_by(2);
    let words: BTreeSet<&str> = quoted.clone().collect();

    let mut all = BTreeSet::new();
    let large = [
        status(),
        peers(),
        relays(),
        games(),
        known_games(),
        joined(),
        ping(),
        bridge(),
        test_lan(),
        latencies(),
        doctor(),
        invites(),
        settings(),
        ended(),
    ];
    for example in large.iter().chain(&small()) {
        names(example, &mut all);
    }
    for name in &all {
        let in_an_object = format!("\"{name}\"");
        assert!(
            words.contains(name.as_str()) || quoted.clone().any(|text| text.contains(&in_an_object)),
            "the README does not tell of {name}"
        );
    }
    let like_a_name = |word: &&&str| {
        !word.is_empty()
            && word
                .chars()
                .all(|letter| letter.is_ascii_lowercase() || letter == '_' || letter.is_ascii_digit())
    };
    for word in words.iter().filter(like_a_name) {
        assert!(
            all.contains(*word) || NO_NAMES.contains(word),
            "the README tells of {word}, which no report has"
        );
    }
}
