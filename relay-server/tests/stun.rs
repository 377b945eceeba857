//! The STUN server over real UDP on the loopback addresses 127.0.0.1 and 127.0.0.2, as a library and as the program.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::Duration;

use lanrage_relay::stun::{BindError, StunConfig, StunServer};
use lanrage_relay_core::stun::DropReason;
use lanrage_shared::wire::stun::{self, ChangeRequest, OtherAddress, REQUEST_LEN, ResponseOrigin};
use stun_types::attribute::{ErrorCode, Software, XorMappedAddress};
use stun_types::message::{BINDING, Message, MessageWriteVec};
use stun_types::prelude::*;
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

const ONE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1));
const TWO: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const PATIENCE: Duration = Duration::from_secs(10);

fn on(addresses: &[IpAddr]) -> StunConfig {
    StunConfig {
        listen_addresses: addresses.to_vec(),
        port: 0,
        second_port: 0,
    }
}

fn request(change: ChangeRequest) -> Vec<u8> {
    let mut message = Message::builder_request(BINDING, MessageWriteVec::new());
    message.add_attribute(&change).unwrap();
    let room = REQUEST_LEN - message.data().len() - 4;
    message
        .add_attribute(&Software::new(&"x".repeat(room)).unwrap())
        .unwrap();
    message.finish()
}

/// Asks until an answer comes: loopback UDP may lose a datagram on a busy machine.
async fn ask(client: &UdpSocket, server: SocketAddr, change: ChangeRequest) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 1500];
    let asked = tokio::time::timeout(PATIENCE, async {
        loop {
            client.send_to(&request(change), server).await.unwrap();
            let answer = tokio::time::timeout(Duration::from_millis(500), client.recv_from(&mut buffer));
            if let Ok(answer) = answer.await {
                return answer.unwrap();
            }
        }
    });
    let (length, from) = asked.await.expect("the server answers");
    (buffer[..length].to_vec(), from)
}

struct Running {
    first: u16,
    second: u16,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

async fn start(config: &StunConfig) -> Running {
    let server = StunServer::bind(config).await.unwrap();
    let (first, second) = server.local_ports();
    let stop = CancellationToken::new();
    let task = tokio::spawn(server.run(stop.clone()));
    Running {
        first,
        second,
        stop,
        task,
    }
}

#[tokio::test]
async fn answers_come_from_the_address_and_port_asked_for() {
    let server = start(&on(&[ONE, TWO])).await;
    let client = UdpSocket::bind((ONE, 0)).await.unwrap();
    for (address, port) in [(false, false), (false, true), (true, false), (true, true)] {
        let (bytes, from) = ask(&client, (ONE, server.first).into(), ChangeRequest { address, port }).await;
        let ip = if address { TWO } else { ONE };
        let at = if port { server.second } else { server.first };
        assert_eq!(from, (ip, at).into());
        assert!(bytes.len() <= REQUEST_LEN);
        let answer = stun::read(&bytes).unwrap();
        let mapped = answer.attribute::<XorMappedAddress>().unwrap();
        assert_eq!(mapped.addr(answer.transaction_id()), client.local_addr().unwrap());
        assert_eq!(answer.attribute::<ResponseOrigin>().unwrap().address(), from);
        let other = answer.attribute::<OtherAddress>().unwrap().address();
        assert_eq!(other, (TWO, server.second).into());
    }
    server.stop.cancel();
    server.task.await.unwrap();
}

#[tokio::test]
async fn a_server_on_every_address_answers_from_the_one_it_was_asked_at() {
    let server = start(&on(&[Ipv4Addr::UNSPECIFIED.into()])).await;
    let client = UdpSocket::bind((ONE, 0)).await.unwrap();
    for ip in [ONE, TWO] {
        let (_, from) = ask(&client, (ip, server.first).into(), ChangeRequest::default()).await;
        assert_eq!(from, (ip, server.first).into());
        let only_port = ChangeRequest {
            address: false,
            port: true,
        };
        let (bytes, from) = ask(&client, (ip, server.first).into(), only_port).await;
        assert_eq!(from, (ip, server.second).into());
        assert_eq!(
            stun::read(&bytes)
                .unwrap()
                .attribute::<ResponseOrigin>()
                .unwrap()
                .address(),
            from
        );
        let both = ChangeRequest {
            address: true,
            port: true,
        };
        let (bytes, from) = ask(&client, (ip, server.first).into(), both).await;
        assert_eq!(from, (ip, server.first).into());
        assert_eq!(
            stun::read(&bytes).unwrap().attribute::<ErrorCode>().unwrap().code(),
            420
        );
    }
    server.stop.cancel();
    server.task.await.unwrap();
}

#[tokio::test]
async fn a_burst_is_answered_one_by_one_and_counted() {
    let server = StunServer::bind(&on(&[ONE])).await.unwrap();
    let counters = server.counters();
    let to = SocketAddr::from((ONE, server.local_ports().0));
    let stop = CancellationToken::new();
    let task = tokio::spawn(server.run(stop.clone()));
    let client = UdpSocket::bind((ONE, 0)).await.unwrap();
    client.send_to(b"not STUN", to).await.unwrap();
    for _ in 0..50 {
        client.send_to(&request(ChangeRequest::default()), to).await.unwrap();
    }
    let mut buffer = [0; 1500];
    for _ in 0..50 {
        let answer = tokio::time::timeout(PATIENCE, client.recv(&mut buffer));
        let length = answer.await.expect("every request of the burst is answered").unwrap();
        assert!(length <= REQUEST_LEN);
    }
    assert_eq!(counters.answered(), 50);
    assert_eq!(counters.dropped(DropReason::Malformed), 1);
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn a_taken_port_and_a_foreign_address_are_named() {
    let server = StunServer::bind(&on(&[ONE])).await.unwrap();
    let (port, second_port) = server.local_ports();
    let same = StunConfig {
        port,
        second_port,
        ..on(&[ONE])
    };
    assert!(matches!(StunServer::bind(&same).await, Err(BindError::PortTaken(_))));
    let foreign = on(&["203.0.113.77".parse().unwrap()]);
    assert!(matches!(
        StunServer::bind(&foreign).await,
        Err(BindError::NotOurAddress(_))
    ));
    drop(server);
    assert!(
        StunServer::bind(&same).await.is_ok(),
        "a failed or dropped server leaves nothing behind"
    );
}

#[test]
fn the_program_says_in_one_sentence_why_it_cannot_start() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "[stun]\nprot = 1\n").unwrap();
    let path = file.path().to_str().unwrap();
    for (arguments, expected) in [
        (
            &["serve", "--listen-address", "203.0.113.77"][..],
            "no address 203.0.113.77",
        ),
        (
            &["serve", "--stun-port", "5000", "--stun-second-port", "5000"],
            "two different ports",
        ),
        (&["serve", "--stun-port", "99999"], "not a UDP port from 0 to 65535"),
        (&["serve", "--config", "/does/not/exist.toml"], "cannot be read"),
        (&["serve", "--config", path], "prot"),
        (&["serve", "--log", "a=b=c"], "not a log level"),
        (&["serve", "--listen-addres", "::1"], "--listen-addres"),
        (&["dance"], "dance"),
        (&[], "command is missing"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_lanrage-relay"))
            .args(arguments)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        assert!(text.contains(expected), "{arguments:?}: {text}");
        assert_eq!(text.trim_end().lines().count(), 1, "{arguments:?}: {text}");
    }
}

#[tokio::test]
async fn a_healthcheck_says_whether_the_relay_answers() {
    let server = start(&on(&[ONE])).await;
    let check = |port: u16| {
        tokio::task::spawn_blocking(move || {
            Command::new(env!("CARGO_BIN_EXE_lanrage-relay"))
                .args(["healthcheck", "--listen-address", "127.0.0.1", "--stun-port"])
                .arg(port.to_string())
                .output()
                .unwrap()
        })
    };
    assert!(check(server.first).await.unwrap().status.success());
    server.stop.cancel();
    server.task.await.unwrap();
    let output = check(server.first).await.unwrap();
    let sentence = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(sentence.contains("no lanrage-relay answers STUN"), "{sentence}");
}

#[test]
fn the_example_configuration_is_printed_as_shipped() {
    let output = Command::new(env!("CARGO_BIN_EXE_lanrage-relay"))
        .arg("example-config")
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        lanrage_relay::config::EXAMPLE
    );
}

#[cfg(unix)]
#[test]
fn the_program_ends_cleanly_on_sigterm() {
    use std::io::{BufRead, BufReader};
    let mut program = Command::new(env!("CARGO_BIN_EXE_lanrage-relay"))
        .args([
            "serve",
            "--listen-address",
            "127.0.0.1",
            "--stun-port",
            "0",
            "--stun-second-port",
            "0",
        ])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(program.stderr.take().unwrap()).lines();
    assert!(
        log.by_ref()
            .map_while(Result::ok)
            .any(|line| line.contains("answering STUN"))
    );
    let pid = program.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert!(log.map_while(Result::ok).any(|line| line.contains("STUN stopped")));
    assert!(program.wait().unwrap().success());
}
