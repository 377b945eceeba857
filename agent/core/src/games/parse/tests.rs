use std::net::IpAddr;

use proptest::prelude::*;

use super::*;

const WHOLE: &str = r#"name = "Example Arena"
latency_class = "fast"
sources = ["https://example.net/ports"]
window_titles = ["Example Arena"]
hashes = ["00ff000000000000000000000000000000000000000000000000000000000001"]

[processes]
linux = ["arena.x86_64"]
windows = ["Arena.exe"]

[ports]
udp = [27960, "28000-28010"]
tcp = []

[[discovery]]
method = "broadcast"
port = "27960-27963"
sender = "client"
source = "https://example.net/lan"
probe = '\xff\xff\xff\xffgetinfo'

[[discovery]]
method = "multicast"
group = "224.0.2.60"
port = 4445
sender = "server"
source = "https://example.net/lan"

[tuning]
keepalive_s = 5
mtu = 1200
dscp = 46
"#;

/// The line and words of what is wrong with [`WHOLE`] when one piece is another.
fn wrong(from: &str, to: &str) -> (usize, String) {
    assert!(WHOLE.contains(from), "{from}");
    let error = parse("arena.toml", &WHOLE.replacen(from, to, 1)).unwrap_err();
    assert_eq!(error.file, "arena.toml");
    (error.line, error.reason)
}

#[test]
fn a_whole_profile_is_read() {
    let game = parse("arena.toml", WHOLE).unwrap();
    assert_eq!(game.id.as_str(), "arena");
    assert_eq!(game.ports.udp, [27960..=27960, 28000..=28010]);
    assert_eq!(game.hashes[0][1], 0xff);
    assert_eq!(
        game.discovery[0].probe.as_deref(),
        Some(&b"\xff\xff\xff\xffgetinfo"[..])
    );
    let group = IpAddr::from([224, 0, 2, 60]);
    assert_eq!(game.discovery[1].method, Method::Multicast(group));
    let tuning = Tuning {
        keepalive: Some(Duration::from_secs(5)),
        mtu: Some(1200),
        dscp: Some(46),
    };
    assert_eq!(game.tuning, tuning);
    assert_eq!(game.all_ports().count(), 4);
}

#[test]
fn a_profile_may_say_little() {
    let text = "name = \"Chess\"\nlatency_class = \"relaxed\"\nsources = [\"the box\"]\n";
    let game = parse("chess.toml", text).unwrap();
    assert!(game.processes.linux.is_empty() && game.discovery.is_empty());
    assert_eq!(game.tuning, Tuning::default());
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    for (from, to, line, word) in [
        ("\"fast\"", "\"quick\"", 2, "quick"),
        ("window_titles", "titles", 4, "titles"),
        ("[\"https://example.net/ports\"]", "[]", 3, "source"),
        ("27960,", "0,", 12, "1 to 65535"),
        ("28000-28010", "28010-28000", 12, "28010-28000"),
        ("\"client\"", "\"nobody\"", 18, "nobody"),
        ("source = \"https://example.net/lan\"\n", "", 15, "source"),
        ("\\xff\\xffgetinfo", "\\xfg", 20, "hexadecimal"),
        ("group = \"224.0.2.60\"\n", "", 22, "group"),
        ("224.0.2.60", "10.0.0.1", 24, "10.0.0.1"),
        ("\"multicast\"", "\"broadcast\"", 24, "group"),
        ("keepalive_s = 5", "keepalive_s = 61", 30, "1 to 60"),
        ("mtu = 1200", "mtu = 575", 31, "576 to 1280"),
        ("dscp = 46", "dscp = \"ef\"", 32, "string"),
        ("00ff", "ff", 5, "64"),
        ("00ff", "é0f", 5, "64"),
        ("[tuning]", "[tuning", 29, "]"),
    ] {
        let (at, reason) = wrong(from, to);
        assert_eq!(at, line, "{to}: {reason}");
        assert!(reason.contains(word) && !reason.contains('\n'), "{to}: {reason}");
    }
}

#[test]
fn a_file_that_could_not_be_a_game_is_refused_whole() {
    assert!(parse("My Game.toml", WHOLE).unwrap_err().reason.contains("lower-case"));
    assert!(
        parse("a.toml", &"#".repeat(MAX_PROFILE + 1))
            .unwrap_err()
            .reason
            .contains("64 KiB")
    );
}

proptest! {
    #[test]
    fn no_text_panics_and_every_line_named_is_there(text in "[\\PC\n]{0,300}") {
        if let Err(error) = parse("x.toml", &text) {
            prop_assert!(error.line >= 1 && error.line <= text.lines().count().max(1) + 1);
        }
    }

    #[test]
    fn no_change_to_a_profile_panics(at in 0usize..WHOLE.len(), bytes in 0usize..20, with in "\\PC{0,8}") {
        let mut text = WHOLE.to_owned();
        let end = (at + bytes).min(text.len());
        text.replace_range(at..end, &with);
        let _ = parse("x.toml", &text);
    }
}
