//! The LAN illusion: what a program sends to everybody, the way games do, reaches every member of the party once, and the
//! answers reach the program.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lanrage_tests::lab::agent::Agent;
use lanrage_tests::lab::discovery::{Asker, GROUP, GROUP_PORT, Listener, PORT, Servers, account, all_answer};
use lanrage_tests::lab::scene::{Place, Player, Scene};
use lanrage_tests::lab::{HomeSpec, Lab, LinkSpec, Nat, Netns};

const ONE_WAY_MS: f64 = 5.0;
const SETTLE: Duration = Duration::from_secs(60);
/// Where UPnP devices are looked for.
const SSDP: Ipv4Addr = Ipv4Addr::new(239, 255, 255, 250);
/// The ports programs of these tests ask from: below those that the system gives out by itself.
const ASKS_FROM: u16 = 31_000;

/// How a program asks everybody.
#[derive(Debug, Clone, Copy)]
struct Way {
    /// The address it binds to, and the one it sends to.
    at: At,
    to: To,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum At {
    Any,
    Virtual,
    Physical,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum To {
    Everybody,
    VirtualSubnet,
    PhysicalSubnet,
    Group,
}

const WAYS: [Way; 10] = {
    const fn way(at: At, to: To) -> Way {
        Way { at, to }
    }
    [
        way(At::Any, To::Everybody),
        way(At::Any, To::VirtualSubnet),
        way(At::Any, To::PhysicalSubnet),
        way(At::Any, To::Group),
        way(At::Virtual, To::Everybody),
        way(At::Virtual, To::VirtualSubnet),
        way(At::Virtual, To::Group),
        way(At::Physical, To::Everybody),
        way(At::Physical, To::PhysicalSubnet),
        way(At::Physical, To::Group),
    ]
};

impl Way {
    fn asker(self, netns: &Netns, own: Ipv4Addr, lan: Ipv4Addr, port: u16) -> Result<Asker> {
        let at = match self.at {
            At::Any => Ipv4Addr::UNSPECIFIED,
            At::Virtual => own,
            At::Physical => lan,
        };
        Asker::bind(netns, at, port)
    }

    fn ask(self, asker: &Asker, own: Ipv4Addr, lan: Ipv4Addr, payload: &[u8]) -> Result<()> {
        let (to, port) = match self.to {
            To::Everybody => (Ipv4Addr::BROADCAST, PORT),
            To::VirtualSubnet => (last_of(own), PORT),
            To::PhysicalSubnet => (last_of(lan), PORT),
            To::Group => (GROUP, GROUP_PORT),
        };
        asker.send(to, port, payload)
    }

    /// Which of the servers this asks.
    fn asked(self, servers: &Servers) -> &Listener {
        if self.to == To::Group {
            &servers.group
        } else {
            &servers.broadcast
        }
    }
}

/// The broadcast address of a /24.
fn last_of(address: Ipv4Addr) -> Ipv4Addr {
    let [a, b, c, _] = address.octets();
    Ipv4Addr::new(a, b, c, 255)
}

#[test]
fn whoever_asks_everybody_finds_servers_on_direct_and_on_relayed_peers() -> Result<()> {
    let guests = [Nat::PortRestricted, Nat::UdpBlocked];
    let Some(scene) = Scene::for_test(Nat::PortRestricted, &guests, ONE_WAY_MS)? else {
        return Ok(());
    };
    let addresses = scene.join_all()?;
    let host = &scene.host;
    host.agent.wait_direct("Ben1", SETTLE)?;
    host.agent.wait_relayed("Ben2", SETTLE)?;
    let netns = host.agent.netns();
    all_answer(netns, &addresses, SETTLE)?;
    let servers: Vec<Servers> = scene
        .guests
        .iter()
        .map(|guest| Servers::start(guest.agent.netns()))
        .collect::<Result<_>>()?;
    let (own, lan) = (scene.host_ip, host.home.host().address);
    for (number, way) in (0..).zip(WAYS) {
        let asker = way.asker(netns, own, lan, ASKS_FROM + number)?;
        for word in ["first", "second"] {
            let question = format!("{word} of {way:?}").into_bytes();
            way.ask(&asker, own, lan, &question)?;
            let rest = asker
                .answers(&question, &addresses)
                .with_context(|| account(&host.agent))?;
            ensure!(rest.is_empty(), "{way:?} was answered more than once: {rest:?}");
            for servers in &servers {
                let (times, from) = way.asked(servers).times(&question);
                ensure!(
                    times == 1 && from == Some(own.into()),
                    "{way:?} was heard {times} times, from {from:?}"
                );
            }
        }
        // And then they talk, as a game does that has found its server.
        for address in &addresses {
            let hello = format!("hello {address} by {way:?}").into_bytes();
            asker.send(*address, PORT, &hello)?;
            asker
                .answers(&hello, &[*address])
                .with_context(|| account(&host.agent))?;
        }
    }
    Ok(())
}

#[test]
fn datagrams_larger_than_the_tunnels_packets_reach_everybody_whole() -> Result<()> {
    let Some(scene) = Scene::for_test(Nat::PortRestricted, &[Nat::PortRestricted], ONE_WAY_MS)? else {
        return Ok(());
    };
    let addresses = scene.join_all()?;
    let host = &scene.host;
    host.agent.wait_direct("Ben1", SETTLE)?;
    all_answer(host.agent.netns(), &addresses, SETTLE)?;
    let servers = Servers::start(scene.guests[0].agent.netns())?;
    let (own, lan) = (scene.host_ip, host.home.host().address);
    for (number, way) in (0..).zip(WAYS) {
        let asker = way.asker(host.agent.netns(), own, lan, ASKS_FROM + number)?;
        for length in [1200, 1400, 1472, 3000, 9000] {
            let question: Vec<u8> = (0..length).map(|at| (at % 251) as u8 ^ number as u8).collect();
            way.ask(&asker, own, lan, &question)?;
            way.asked(&servers)
                .wait_for(&question)
                .with_context(|| format!("{length} bytes by {way:?}: {}", account(&host.agent)))?;
            asker.answers(&question, &addresses)?;
        }
    }
    Ok(())
}

#[test]
fn what_belongs_to_a_pcs_own_network_stays_there_unless_both_sides_opt_in() -> Result<()> {
    let Some(scene) = Scene::for_test(Nat::PortRestricted, &[Nat::PortRestricted], ONE_WAY_MS)? else {
        return Ok(());
    };
    let addresses = scene.join_all()?;
    let (host, guest) = (&scene.host, &scene.guests[0]);
    host.agent.wait_direct("Ben1", SETTLE)?;
    let (from, to) = (host.agent.netns(), guest.agent.netns());
    all_answer(from, &addresses, SETTLE)?;
    let (mdns, llmnr) = (Ipv4Addr::new(224, 0, 0, 251), Ipv4Addr::new(224, 0, 0, 252));
    let own = last_of(scene.host_ip);
    // DHCP discovery, NetBIOS names, LLMNR; SSDP, NetBIOS datagrams, multicast DNS.
    let services = [
        ("dhcp", 67, Ipv4Addr::BROADCAST, None),
        ("nbns", 137, own, None),
        ("llmnr", 5355, llmnr, Some(llmnr)),
        ("ssdp", 1900, SSDP, Some(SSDP)),
        ("netbios", 138, own, None),
        ("mdns", 5353, mdns, Some(mdns)),
    ];
    let listeners: Vec<Listener> = services
        .iter()
        .map(|(_, port, _, group)| Listener::start(to, *port, *group))
        .collect::<Result<_>>()?;
    let game = Servers::start(to)?;
    let asker = Asker::bind(from, Ipv4Addr::UNSPECIFIED, ASKS_FROM)?;
    // What arrives before a game's packet that was sent after it would have arrived.
    let mut round = 0_u16;
    let mut heard = || -> Result<Vec<&str>> {
        round += 1;
        for (name, port, to, _) in &services {
            asker.send(*to, *port, &service_packet(name, round))?;
        }
        let last = format!("round {round}").into_bytes();
        asker.send(Ipv4Addr::BROADCAST, PORT, &last)?;
        game.broadcast.wait_for(&last)?;
        let came = services
            .iter()
            .zip(&listeners)
            .filter(|((name, ..), listener)| listener.times(&service_packet(name, round)).0 > 0);
        Ok(came.map(|((name, ..), _)| *name).collect())
    };
    let mut expect = |expected: &[&str], when: &str| -> Result<()> {
        let came = heard()?;
        ensure!(came == expected, "{when}: {came:?} came, not {expected:?}");
        Ok(())
    };
    expect(&[], "at first")?;
    let everything = ["lan", "--open", "--with", "mdns", "--with", "ssdp", "--with", "netbios"];
    opt_in(&host.agent, &everything)?;
    expect(&[], "with one side opted in")?;
    opt_in(&guest.agent, &["lan", "--with", "mdns"])?;
    expect(&["mdns"], "with mDNS on both sides")?;
    opt_in(&guest.agent, &everything)?;
    expect(&["ssdp", "netbios", "mdns"], "with everything on both sides")?;
    opt_in(&host.agent, &["lan", "--without", "mdns"])?;
    expect(&["ssdp", "netbios"], "without mDNS on one side")
}

fn opt_in(agent: &Agent, arguments: &[&str]) -> Result<()> {
    let done = agent.run(arguments)?;
    ensure!(done.code == 0, "{done:?}");
    Ok(())
}

/// What programs of these services send first, with a number in it.
fn service_packet(name: &str, number: u16) -> Vec<u8> {
    let [high, low] = number.to_be_bytes();
    // A question with one name (RFC 1035 §4.1).
    let question = |flags: u8, name: &[u8], kind: u8| -> Vec<u8> {
        [
            &[high, low, flags, 0, 0, 1, 0, 0, 0, 0, 0, 0],
            name,
            &[0, 0, kind, 0, 1],
        ]
        .concat()
    };
    // "*" in NetBIOS' half-bytes (RFC 1002 §4.2).
    let any_netbios_name = [&[32][..], b"CK", &[b'A'; 30]].concat();
    match name {
        "dhcp" => {
            // DHCPDISCOVER (RFC 2131 §3).
            let mut packet = vec![0; 240];
            packet[..8].copy_from_slice(&[1, 1, 6, 0, 0, 0, high, low]);
            packet[28..34].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
            packet[236..].copy_from_slice(&[99, 130, 83, 99]);
            packet.extend_from_slice(&[53, 1, 1, 255]);
            packet
        }
        "nbns" => question(1, &any_netbios_name, 0x21),
        "llmnr" => question(0, b"\x03ben", 1),
        "mdns" => question(0, b"\x05_http\x04_tcp\x05local", 12),
        "netbios" => [&[0x11, 2, high, low, 10, 64, 0, 1, 0, 138, 0, 0, 0, 0], &any_netbios_name[..]].concat(),
        _ => format!(
            "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: ssdp:all\r\nX: {number}\r\n\r\n"
        )
        .into_bytes(),
    }
}

#[test]
fn ten_members_hear_everything_once_and_nothing_circles() -> Result<()> {
    let Some(lab) = Lab::for_test()? else { return Ok(()) };
    let place = |hosts| Place {
        home: HomeSpec::new(Nat::PortRestricted).hosts(hosts),
        link: LinkSpec::delay(ONE_WAY_MS),
    };
    let places = std::iter::once(place(2)).chain((0..8).map(|_| place(1)));
    let scene = Scene::build(lab, places)?;
    let twin_pc = &scene.host.home.hosts[1];
    let twin = Agent::up(&twin_pc.netns, "Cleo", scene.lab.dir())?;
    let twin_ip = twin.join(&scene.invite)?.virtual_ip;
    let addresses = scene.join_all()?;
    let own_lan = |player: &Player| player.home.host().address;
    let mut members = vec![
        (&scene.host.agent, scene.host_ip, own_lan(&scene.host)),
        (&twin, twin_ip, twin_pc.address),
    ];
    let guests = scene.guests.iter().zip(&addresses);
    members.extend(guests.map(|(guest, address)| (&guest.agent, *address, own_lan(guest))));
    let lan_path = twin.wait_direct("Anna", SETTLE)?;
    ensure!(
        lan_path
            .path
            .address
            .is_some_and(|address| address.ip() == own_lan(&scene.host)),
        "the two on one LAN do not use it: {lan_path:?}"
    );
    let everybody: Vec<Ipv4Addr> = members.iter().map(|(_, address, _)| *address).collect();
    for (agent, own, _) in &members {
        let others: Vec<_> = everybody.iter().copied().filter(|address| address != own).collect();
        all_answer(agent.netns(), &others, SETTLE)?;
    }
    let servers: Vec<Servers> = members
        .iter()
        .map(|(agent, ..)| Servers::start(agent.netns()))
        .collect::<Result<_>>()?;
    // One of the two on one LAN, the other, and one that is elsewhere.
    for (sender, from_port) in [(0, 0), (1, 100), (5, 200)] {
        let (agent, own, lan) = members[sender];
        for (number, way) in (0..).zip(WAYS) {
            let asker = way.asker(agent.netns(), own, lan, ASKS_FROM + from_port + number)?;
            let question = format!("{} by {way:?}", agent.name()).into_bytes();
            way.ask(&asker, own, lan, &question)?;
            let last = format!("{} is done with {way:?}", agent.name()).into_bytes();
            for (other, servers) in servers.iter().enumerate().filter(|(other, _)| *other != sender) {
                let what = || format!("member {other} and {way:?} of {}: {}", agent.name(), account(agent));
                way.asked(servers).wait_for(&question).with_context(what)?;
            }
            // Whatever circles would be back before this.
            way.ask(&asker, own, lan, &last)?;
            for (other, servers) in servers.iter().enumerate() {
                let listener = way.asked(servers);
                if other == sender {
                    // The PC's own programs may hear each other, as ever, but the party gives nothing back.
                    ensure!(
                        listener.times(&question).0 <= 1,
                        "{way:?} came back to {}",
                        agent.name()
                    );
                    continue;
                }
                listener.wait_for(&last)?;
                let (times, _) = listener.times(&question);
                ensure!(
                    times == 1,
                    "member {other} heard {way:?} of {} {times} times",
                    agent.name()
                );
            }
        }
    }
    Ok(())
}
