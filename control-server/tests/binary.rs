//! The program itself: its link, its first line, its end, and what it says when it cannot start.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests are tests too"
)]

mod acme;
mod deploy;
mod program;

use std::io::{Read, Write};
use std::process::Command;
use std::time::{Duration, Instant};

use lanrage_control::healthcheck::get;
use lanrage_control::tls::ServerIdentity;
use program::{Serving, printed, run};

/// The one sentence of a command that must fail.
fn complaint(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(!output.status.success(), "{arguments:?} should fail");
    let sentence = String::from_utf8(output.stderr).unwrap().trim().to_owned();
    assert!(!sentence.contains('\n'), "{sentence}");
    sentence
}

#[test]
fn the_link_is_the_same_while_and_after_serving() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("data");
    let data = dir.to_str().unwrap();
    let serving = Serving::start(&dir, &[]);
    assert!(complaint(&["link", "--data-dir", data]).contains("--public-address HOST:PORT"));
    let told = printed(&["link", "--data-dir", data, "--public-address", "vps.example:443"]);
    serving.terminate();
    let serving = Serving::start(&dir, &["--public-address", "vps.example:443"]);
    assert!(serving.first_line.contains(&told), "{}", serving.first_line);
    assert!(serving.first_line.contains("SQLite") && serving.first_line.contains(data));
    assert_eq!(printed(&["link", "--data-dir", data]), told);
    let other = parent.path().join("other");
    let taken = complaint(&[
        "serve",
        "--data-dir",
        other.to_str().unwrap(),
        "--listen",
        serving.address(),
    ]);
    assert!(taken.contains("in use"), "{taken}");
    let asked = Instant::now();
    assert_eq!(serving.terminate().code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(5));
    assert_eq!(printed(&["link", "--data-dir", data]), told);
}

#[test]
fn the_relay_token_is_drawn_at_the_first_start_and_renewed_on_request() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    assert!(complaint(&["relay-token", "--data-dir", data]).contains("no server has run"));
    let serving = Serving::start(dir.path(), &[]);
    let first = printed(&["relay-token", "--data-dir", data]);
    assert_eq!(first.len(), 43);
    assert!(!serving.first_line.contains(&first) && !serving.before.contains(&first));
    assert_eq!(printed(&["relay-token", "--data-dir", data]), first);
    let second = printed(&["relay-token", "--renew", "--data-dir", data]);
    assert_ne!(second, first);
    serving.terminate();
    Serving::start(dir.path(), &[]).terminate();
    assert_eq!(printed(&["relay-token", "--data-dir", data]), second);
}

#[test]
fn what_is_prepared_is_what_the_server_starts_with() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("data");
    let data = dir.to_str().unwrap();
    assert_eq!(printed(&["prepare", "--data-dir", data]), "");
    let token = printed(&["relay-token", "--data-dir", data]);
    let link = printed(&["prepare", "--data-dir", data, "--public-address", "vps.example:443"]);
    let serving = Serving::start(&dir, &["--public-address", "vps.example:443"]);
    assert!(serving.first_line.contains(&link), "{}", serving.first_line);
    assert_eq!(printed(&["relay-token", "--data-dir", data]), token);
    // Also beside a server that runs.
    assert_eq!(printed(&["prepare", "--data-dir", data]), link);
}

#[test]
fn a_healthcheck_says_whether_this_server_is_ready() {
    let parent = tempfile::tempdir().unwrap();
    let [dir, other] = ["data", "other"].map(|name| parent.path().join(name));
    let [data, another] = [&dir, &other].map(|dir| dir.to_str().unwrap());
    assert!(complaint(&["healthcheck", "--data-dir", data]).contains("no server has run"));
    let serving = Serving::start(&dir, &[]);
    let address = serving.address().to_owned();
    let asked = |data| ["healthcheck", "--data-dir", data, "--listen", &address].map(str::to_owned);
    printed(&asked(data).each_ref().map(String::as_str));
    printed(&["prepare", "--data-dir", another]);
    let wrong = complaint(&asked(another).each_ref().map(String::as_str));
    assert!(wrong.contains("another key"), "{wrong}");
    serving.terminate();
    let gone = complaint(&asked(data).each_ref().map(String::as_str));
    assert!(gone.contains("no lanrage-control answers"), "{gone}");
}

#[test]
fn the_example_configuration_is_printed_as_shipped() {
    assert_eq!(printed(&["example-config"]), lanrage_control::config::EXAMPLE.trim());
}

#[test]
fn a_link_is_only_looked_up() {
    let parent = tempfile::tempdir().unwrap();
    let typo = parent.path().join("tpyo");
    let asked = complaint(&["link", "--data-dir", typo.to_str().unwrap()]);
    assert!(asked.contains("no server has run"), "{asked}");
    assert!(!typo.exists());
}

#[test]
fn a_link_that_cannot_be_written_is_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    Serving::start(dir.path(), &["--public-address", "vps.example:443"]).terminate();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_lanrage-control"))
        .args(["link", "--data-dir", data])
        .stdout(full)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .and_then(std::process::Child::wait_with_output)
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let sentence = String::from_utf8(output.stderr).unwrap();
    assert!(sentence.contains("cannot be written"), "{sentence}");
}

#[test]
fn traces_are_not_turned_on_by_what_is_meant_for_other_programs() {
    // No data directory can be there, so it ends at once.
    let serve = |variable: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_lanrage-control"))
            .args(["serve", "--data-dir", "/dev/null/data"])
            .env(variable, "https://collector.example:4318")
            .output()
            .unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    let ours = serve("LANRAGE_OTLP_ENDPOINT");
    assert!(ours.contains("by plain HTTP"), "{ours}");
    let others = serve("OTEL_EXPORTER_OTLP_ENDPOINT");
    assert!(others.contains("data directory /dev/null/data"), "{others}");
}

#[test]
fn a_data_directory_has_one_server_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let mut first = Serving::start(dir.path(), &[]);
    let second = complaint(&["serve", "--data-dir", data, "--listen", "127.0.0.1:0"]);
    assert!(second.contains("another lanrage-control"), "{second}");
    first.kill();
    Serving::start(dir.path(), &[]).terminate();
}

#[test]
fn the_relay_inside_has_ports_of_its_own_and_their_absence_is_noted() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let arguments = [
        "serve",
        "--data-dir",
        dir.path().to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
        "--with-relay",
        "--stun-second-port",
        "0",
        "--stun-port",
    ];
    let refused = complaint(&[arguments.as_slice(), &[&port]].concat());
    assert!(
        refused.contains(&port) && refused.contains("--stun-port and --stun-second-port"),
        "{refused}"
    );
    let relay = [
        "--with-relay",
        "--stun-port",
        "0",
        "--stun-second-port",
        "0",
        "--relay-port",
    ];
    let tcp = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = tcp.local_addr().unwrap().port().to_string();
    let serve = [
        "serve",
        "--data-dir",
        dir.path().to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
    ];
    let refused = complaint(&[serve.as_slice(), &relay, &[&port]].concat());
    assert!(
        refused.contains(&port) && refused.ends_with("--relay-port"),
        "{refused}"
    );
    let with_relay = Serving::start(dir.path(), &[relay.as_slice(), &["0"]].concat());
    assert!(!with_relay.before.contains("STUN server"), "{}", with_relay.before);
    with_relay.terminate();
    let without = Serving::start(dir.path(), &[]);
    assert!(without.before.contains("--with-relay"), "{}", without.before);
}

#[test]
fn the_relay_inside_has_metrics_where_the_operator_wants_them() {
    let dir = tempfile::tempdir().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let metrics = format!("--relay-metrics-listen={address}");
    let data = dir.path().to_str().unwrap();
    let alone = complaint(&["serve", "--data-dir", data, "--listen", "127.0.0.1:0", &metrics]);
    assert!(alone.contains("--with-relay"), "{alone}");
    let ports = ["--relay-port=0", "--stun-port=0", "--stun-second-port=0"];
    let serving = Serving::start(dir.path(), &[&["--with-relay", &metrics], ports.as_slice()].concat());
    assert!(!serving.before.contains("everybody"), "{}", serving.before);
    let mut scraper = std::net::TcpStream::connect(address).unwrap();
    scraper
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    scraper.read_to_string(&mut answer).unwrap();
    assert!(
        answer.contains("lanrage_relay_sessions 0") && answer.contains("lanrage_stun_answered"),
        "{answer}"
    );
    serving.terminate();
    let everywhere = ["--with-relay", "--relay-metrics-listen=0.0.0.0:0"];
    let serving = Serving::start(dir.path(), &[everywhere.as_slice(), &ports].concat());
    assert!(serving.before.contains("everybody who reaches"), "{}", serving.before);
}

#[test]
fn what_prevents_a_start_is_said_in_one_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let serve =
        |extra: &[&str]| complaint(&[&["serve", "--data-dir", data, "--listen", "127.0.0.1:0"], extra].concat());
    assert!(serve(&["--public-address", "not an address"]).contains("HOST:PORT"));
    let with_scheme = serve(&["--public-address", "https://foo:8443/"]);
    assert!(
        with_scheme.contains("without https://") && with_scheme.ends_with("--public-address foo:8443"),
        "{with_scheme}"
    );
    assert!(serve(&["--database-url", "mysql://u:hunter2@h/d"]).contains("postgres://"));
    let unreachable = serve(&["--database-url", "postgres://u:hunter2@127.0.0.1:1/d"]);
    assert!(
        unreachable.contains("cannot be reached") && !unreachable.contains("hunter2"),
        "{unreachable}"
    );
    assert!(complaint(&["serve", "--data-dir", "/proc/nowhere"]).contains("--data-dir"));
    let file = dir.path().join("control.toml");
    std::fs::write(&file, "[server]\nlisen = 1\n").unwrap();
    let wrong = serve(&["--config", file.to_str().unwrap()]);
    assert!(wrong.contains("control.toml, line 2"), "{wrong}");
    std::fs::write(dir.path().join("identity.pem"), "torn").unwrap();
    assert!(serve(&[]).contains("backup"));
}

#[test]
fn words_that_are_not_understood_end_with_code_2_and_one_sentence() {
    for (arguments, part) in [
        (["serve", "--frobnicate"].as_slice(), "--frobnicate"),
        (&["srve"], "srve"),
        (&["link", "now"], "now"),
        (&["serve", "--listen", "8443"], "like 0.0.0.0:8443"),
        (&["serve", "--config"], "--config"),
        (&[], "a command is missing"),
    ] {
        let sentence = complaint(arguments);
        assert!(
            sentence.starts_with("lanrage-control: ") && sentence.contains(part),
            "{arguments:?}: {sentence}"
        );
        assert_eq!(run(arguments).status.code(), Some(2), "{arguments:?}");
    }
    assert!(printed(&["--help"]).contains("relay-token"));
}

#[test]
fn the_operator_asks_the_running_server_with_nothing_but_its_data_directory() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    assert!(complaint(&["admin", "parties", "--data-dir", data]).contains("no server has run"));
    let serving = Serving::start(dir.path(), &[]);
    assert_eq!(printed(&["admin", "parties", "--json", "--data-dir", data]), "[]");
    assert!(printed(&["admin", "parties", "--data-dir", data]).starts_with("id"));
    assert!(printed(&["admin", "stats", "--data-dir", data]).contains("parties: 0"));
    assert_eq!(printed(&["admin", "relays", "--json", "--data-dir", data]), "[]");
    assert!(complaint(&["admin", "kick", "Friday", "1", "--data-dir", data]).contains("no party is called"));
    let file = dir.path().join("backup.tar");
    let said = printed(&["admin", "backup", file.to_str().unwrap(), "--data-dir", data]);
    assert!(said.contains("backup.tar"), "{said}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let url = "postgres://u:hunter2@db/d";
    let postgres = ["admin", "backup", "x", "--data-dir", data, "--database-url", url];
    let postgres = complaint(&postgres);
    assert!(
        postgres.contains("pg_dump") && postgres.contains("postgres://u@db/d"),
        "{postgres}"
    );
    assert!(!postgres.contains("hunter2"));
    let (_, address) = serving.before.split_once("http://").unwrap();
    let taken = [
        "serve",
        "--data-dir",
        &format!("{data}-2"),
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        address.split_whitespace().next().unwrap(),
    ];
    let taken = complaint(&taken);
    assert!(taken.contains("in use") && taken.contains("--admin-listen"), "{taken}");
    std::fs::remove_dir_all(format!("{data}-2")).unwrap();
    serving.terminate();
    assert!(complaint(&["admin", "stats", "--data-dir", data]).contains("does not answer"));
}

#[test]
fn swagger_ui_is_there_when_it_is_wanted_and_loads_nothing_from_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("control.toml");
    std::fs::write(&config, "[server]\nswagger_ui = true\n").unwrap();
    for arguments in [[].as_slice(), &["--config", config.to_str().unwrap()]] {
        let serving = Serving::start(dir.path(), arguments);
        let pin = ServerIdentity::read(dir.path()).unwrap().pin;
        let ask = |path| get(serving.address().parse().unwrap(), pin, path).unwrap();
        let pages = [
            "/docs",
            "/docs/",
            "/docs/swagger-initializer.js",
            "/docs/swagger-ui-bundle.js",
            "/docs/none",
        ]
        .map(ask);
        serving.terminate();
        let statuses = pages.each_ref().map(|page| &page[9..12]);
        if arguments.is_empty() {
            assert_eq!(statuses, ["404"; 5]);
            continue;
        }
        assert_eq!(statuses, ["308", "200", "200", "200", "404"]);
        assert!(
            pages[1]
                .to_ascii_lowercase()
                .contains("content-security-policy: default-src 'none'")
        );
        for attribute in ["src=\"", "href=\""] {
            let mut named = pages[1].split(attribute).skip(1);
            assert!(
                named.all(|url| url.starts_with("./") || url.starts_with("index.css")),
                "{}",
                pages[1]
            );
        }
        assert!(pages[2].contains("/v1/openapi.json"), "{}", pages[2]);
    }
}
