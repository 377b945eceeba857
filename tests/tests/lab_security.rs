//! What strangers can make a relay do to others: nothing. Netfilter counts what reaches a victim whose address is forged.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lanrage_relay_client::{Credentials, RelayEndpoint, Target};
use lanrage_shared::ids::Pin;
use lanrage_shared::keys::IdentitySecret;
use lanrage_tests::lab::address::SERVER2;
use lanrage_tests::lab::counter::{self, Counted};
use lanrage_tests::lab::relay::Relay;
use lanrage_tests::lab::scene::Scene;
use lanrage_tests::lab::spoof::Spoofer;
use lanrage_tests::lab::traffic::Stream;
use lanrage_tests::lab::{HomeSpec, LinkSpec, Nat, Netns, wait};

const HOP_MS: f64 = 5.0;
/// How far the control server, with the relay in it, is beyond that: the relay under attack is nearer.
const FAR_MS: f64 = 15.0;
const SETTLE: Duration = Duration::from_secs(60);
const PORT: u16 = 4443;
/// As [`Relay::start`] gives them out.
const STUN_PORTS: [u16; 2] = [PORT + 1000, PORT + 2000];
/// Forged datagrams of each sort, all within a second. Of STUN as many as are answered: what is more is not (it has a limit per
/// source).
const QUIC_FLOOD: u32 = 3000;
const STUN_FLOOD: u32 = 500;
/// Packets per second of the players who go on.
const RATE: u32 = 200;

/// Something to send in another's name.
struct Attack {
    name: &'static str,
    to: u16,
    per_second: u32,
    /// Bytes that may come out for each that goes in.
    allowed: f64,
    datagrams: Vec<Vec<u8>>,
}

/// First datagrams of QUIC clients that want to talk to a relay, each of another connection.
fn initials(count: usize) -> Result<Vec<Vec<u8>>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let target = Target {
            address: listener.local_addr()?,
            pin: Pin([0; 32]),
        };
        let credentials = Credentials {
            token: "none".into(),
            identity: Arc::new(IdentitySecret::from_bytes([1; 32])),
        };
        let mut initials = Vec::new();
        for _ in 0..count {
            let endpoint = RelayEndpoint::bind((Ipv4Addr::LOCALHOST, 0).into(), Duration::from_secs(5))?;
            let mut buffer = vec![0; 2048];
            tokio::select! {
                _ = endpoint.connect(target, &credentials) => anyhow::bail!("nobody answers, and yet it connected or gave up"),
                read = listener.recv(&mut buffer) => buffer.truncate(read?),
            }
            initials.push(buffer);
        }
        Ok(initials)
    })
}

/// A STUN binding request (RFC 8489) with this much padding (RFC 5780 §7.6), a multiple of four bytes.
fn binding_request(padding: u16) -> Vec<u8> {
    let attribute = if padding == 0 { 0 } else { padding + 4 };
    let mut request = vec![0, 1];
    request.extend(attribute.to_be_bytes());
    request.extend([0x21, 0x12, 0xa4, 0x42]);
    request.extend([7; 12]);
    if padding > 0 {
        request.extend([0, 0x26]);
        request.extend(padding.to_be_bytes());
        request.resize(request.len() + usize::from(padding), 0);
    }
    request
}

fn attacks() -> Result<Vec<Attack>> {
    let initials = initials(20)?;
    let changed = |change: fn(&mut Vec<u8>)| {
        let mut changed = initials.clone();
        changed.iter_mut().for_each(change);
        changed
    };
    let quic = |name, datagrams| Attack {
        name,
        to: PORT,
        per_second: QUIC_FLOOD,
        allowed: 3.0,
        datagrams,
    };
    let stun = |name, to, padding| Attack {
        name,
        to,
        per_second: STUN_FLOOD,
        allowed: 1.0,
        datagrams: vec![binding_request(padding)],
    };
    Ok(vec![
        quic("QUIC initials", initials.clone()),
        quic(
            "of another version",
            changed(|initial| initial[1..5].copy_from_slice(&[0x1a; 4])),
        ),
        quic("cut short", changed(|initial| initial.truncate(600))),
        quic("with a bit turned", changed(|initial| initial[100] ^= 1)),
        // A short header (RFC 9000 §17.3) for a connection that is not there.
        quic("of no connection", changed(|initial| initial[0] = 0x40)),
        quic(
            "short, of no connection",
            changed(|initial| {
                initial[0] = 0x40;
                initial.truncate(50);
            }),
        ),
        stun("bare STUN requests", STUN_PORTS[0], 0),
        stun("padded STUN requests", STUN_PORTS[0], 28),
        stun("long STUN requests", STUN_PORTS[1], 400),
    ])
}

/// Counts, at the victim and at the relay, what goes from one to the other by name: `asked` in the victim's name, `heard` by
/// the victim; and at the relay, what it relays to anybody but `members` and the victim.
fn count(relay: &Netns, victim: &Netns, address: Ipv4Addr, members: &[Ipv4Addr]) -> Result<()> {
    let members: Vec<String> = members.iter().map(ToString::to_string).collect();
    relay.nft(&format!(
        "table ip proof {{
counter asked {{ }}
counter strays {{ }}
chain arriving {{ type filter hook prerouting priority -400; ip saddr {address} ip protocol udp counter name asked; }}
chain leaving {{ type filter hook postrouting priority 300; udp sport {PORT} ip daddr != {{ {address}, {} }} counter name strays; }}
}}
",
        members.join(", ")
    ))?;
    victim.nft(&format!(
        "table ip proof {{
counter heard {{ }}
chain arriving {{ type filter hook prerouting priority -400; ip saddr {SERVER2} counter name heard; }}
}}
"
    ))
}

/// What grew, since the counters were last looked at.
struct Growth {
    asked: Counted,
    heard: Counted,
}

fn since(before: Option<&Growth>, relay: &Netns, victim: &Netns) -> Result<Growth> {
    let (asked, heard) = (counter::named(relay, "asked")?, counter::named(victim, "heard")?);
    let less = |now: Counted, before: Counted| Counted {
        packets: now.packets - before.packets,
        bytes: now.bytes - before.bytes,
    };
    Ok(Growth {
        asked: less(asked, before.map(|before| before.asked).unwrap_or_default()),
        heard: less(heard, before.map(|before| before.heard).unwrap_or_default()),
    })
}

#[test]
fn a_flood_in_anothers_name_is_not_amplified_and_stops_nobody() -> Result<()> {
    let Some(mut scene) = Scene::for_test(Nat::Symmetric, &[Nat::Symmetric; 2], HOP_MS)? else {
        return Ok(());
    };
    scene.lab.link(&scene.lab.srv, &LinkSpec::delay(FAR_MS))?;
    let victim = scene.lab.home(HomeSpec::new(Nat::Open))?.host().clone();
    let attacker = Spoofer::new(&scene.lab.home(HomeSpec::new(Nat::Open))?.router)?;
    let at_relay = scene.lab.srv2.clone();
    let relay = Relay::start(&scene.control, &at_relay, SERVER2, PORT, "near", scene.lab.dir())?;
    let (anna, ben) = (&scene.host, &scene.guests[0]);
    let late = &scene.guests[1];
    ben.agent.join(&scene.invite)?;
    ben.agent.wait_relayed_by(relay.name(), "Anna", SETTLE)?;
    anna.agent.wait_relayed_by(relay.name(), ben.agent.name(), SETTLE)?;
    let members = [&anna.home, &ben.home, &late.home].map(|home| home.wan);
    count(&at_relay, &victim.netns, victim.address, &members)?;
    let stream = Stream::start(ben.agent.netns(), anna.agent.netns(), scene.host_ip.into(), RATE)?;
    wait::until("packets to flow", SETTLE, || stream.is_flowing().then_some(()))?;
    stream.run_on(u64::from(RATE), SETTLE)?;
    let quiet = since(None, &at_relay, &victim.netns)?;
    ensure!(quiet.heard.packets == 0, "the victim hears of a party it is no part of");

    for attack in attacks()? {
        let before = since(None, &at_relay, &victim.netns)?;
        let to = SocketAddrV4::new(SERVER2, attack.to);
        let beginning = Instant::now();
        for (number, datagram) in (0..attack.per_second).zip(attack.datagrams.iter().cycle()) {
            let due = beginning + Duration::from_secs(1) / attack.per_second * number;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let from = SocketAddrV4::new(victim.address, 20_000 + u16::try_from(number)?);
            attacker.send(from, to, datagram)?;
        }
        // What the relay has to say, it has said when the players' packets have gone on for a second.
        stream.run_on(u64::from(RATE), SETTLE)?;
        let Growth { asked, heard } = since(Some(&before), &at_relay, &victim.netns)?;
        let factor = heard.bytes as f64 / asked.bytes as f64;
        eprintln!(
            "{}: {asked:?} in, {heard:?} out, {factor:.3} bytes out for each in",
            attack.name
        );
        // The victim's system answers with ICMP, which counts for nobody.
        ensure!(
            asked.packets >= u64::from(attack.per_second),
            "only {asked:?} of the forged packets reached the relay"
        );
        ensure!(factor <= attack.allowed, "{}: {factor} bytes for each", attack.name);
    }

    let outcome = stream.finish()?;
    eprintln!("meanwhile, between the players: {outcome:?}");
    ensure!(outcome.lost == 0, "{outcome:?}; the relay's log:\n{}", relay.log());
    late.agent.join(&scene.invite)?;
    late.agent
        .wait_relayed_by(relay.name(), "Anna", SETTLE)
        .context("joining after the flood")?;
    let strays = counter::named(&at_relay, "strays")?;
    ensure!(strays.packets == 0, "{strays:?} to others than members");
    Ok(())
}
