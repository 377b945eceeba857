//! The TUN device on a real kernel. Every test works in network namespaces of its own and leaves the machine as it was.
#![cfg(target_os = "linux")]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may fail where it stands"
)]

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use lanrage::io::netwatch::interfaces;
use lanrage::io::tun::{TunConfig, TunDevice, TunError, TunReader, TunWriter, WriteStats};
use rustix::thread::{UnshareFlags, unshare_unsafe};

const OUR_V4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const PEER_V4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const OUR_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1);
const PEER_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2);
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs `work` on a thread with a network namespace of its own.
fn in_namespace<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> thread::JoinHandle<T> {
    assert!(
        rustix::process::geteuid().is_root(),
        "the TUN tests make network interfaces in namespaces of their own, which needs root: run them with sudo"
    );
    thread::spawn(move || {
        // SAFETY: only the network namespace is left behind, and nothing else relies on this thread's.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("a network namespace");
        work()
    })
}

fn config(name: Option<&str>) -> TunConfig {
    TunConfig {
        name: name.map(str::to_owned),
        mtu: 1280,
    }
}

/// A device that has our addresses.
fn addressed() -> TunDevice {
    let device = TunDevice::create(&config(None)).unwrap();
    device.set_address(OUR_V4, 24, OUR_V6, 64).unwrap();
    device
}

/// The first packet from our address, and all that came before it.
fn next_of_ours(reader: &mut TunReader) -> (BytesMut, Vec<BytesMut>) {
    let (mut seen, mut batch) = (Vec::new(), Vec::new());
    loop {
        reader.recv_batch(&mut batch).unwrap();
        for packet in batch.drain(..) {
            if packet[0] >> 4 == 4 && packet[12..16] == OUR_V4.octets()
                || packet[0] >> 4 == 6 && packet[8..24] == OUR_V6.octets() && packet[6] == 17
            {
                return (packet, seen);
            }
            seen.push(packet);
        }
    }
}

/// The same packet on its way back: addresses and ports swapped, which leaves every checksum as it was.
fn turned_around(mut packet: BytesMut) -> BytesMut {
    let (addresses, length, ports) = if packet[0] >> 4 == 4 { (12, 4, 20) } else { (8, 16, 40) };
    let (source, target) = packet[addresses..addresses + 2 * length].split_at_mut(length);
    source.swap_with_slice(target);
    let (source, target) = packet[ports..ports + 4].split_at_mut(2);
    source.swap_with_slice(target);
    packet
}

#[test]
fn addresses_work_at_once_and_packets_pass_both_ways() {
    let done = in_namespace(|| {
        let device = addressed();
        let (mut reader, mut writer) = device.queues();
        for (ours, peer) in [
            (IpAddr::from(OUR_V4), IpAddr::from(PEER_V4)),
            (OUR_V6.into(), PEER_V6.into()),
        ] {
            let socket = UdpSocket::bind((ours, 0)).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.send_to(b"anybody there?", (peer, 4000)).unwrap();

            let (packet, before) = next_of_ours(&mut reader);
            assert!(packet.ends_with(b"anybody there?"));
            let router_solicitations = before
                .iter()
                .filter(|packet| packet[0] >> 4 == 6 && packet[6] == 58 && packet.get(40) == Some(&133));
            assert_eq!(router_solicitations.count(), 0);

            let stats = writer.send_batch(&mut vec![turned_around(packet)]);
            assert_eq!(stats, WriteStats { written: 1, refused: 0 });
            let mut heard = [0; 64];
            let (length, from) = socket.recv_from(&mut heard).unwrap();
            assert_eq!(
                (&heard[..length], from),
                (b"anybody there?".as_slice(), (peer, 4000).into())
            );
        }
    });
    done.join().unwrap();
}

#[test]
fn changing_the_address_leaves_no_old_one_and_repeating_it_changes_nothing() {
    let done = in_namespace(|| {
        let device = addressed();
        device.set_address(OUR_V4, 24, OUR_V6, 64).unwrap();
        let addresses = || -> Vec<(IpAddr, u8)> {
            interfaces("")
                .into_iter()
                .map(|local| (local.address, local.prefix))
                .collect()
        };
        assert_eq!(addresses(), [(OUR_V4.into(), 24), (OUR_V6.into(), 64)]);
        device.set_address(PEER_V4, 24, PEER_V6, 64).unwrap();
        assert_eq!(addresses(), [(PEER_V4.into(), 24), (PEER_V6.into(), 64)]);
        assert!(interfaces(device.name()).is_empty());
        device.clear_addresses().unwrap();
        assert!(addresses().is_empty());
    });
    done.join().unwrap();
}

#[test]
fn an_interface_that_is_there_is_never_taken_over() {
    let done = in_namespace(|| {
        let first = TunDevice::create(&config(None)).unwrap();
        assert_eq!(first.name(), "lanrage0");
        assert_eq!(TunDevice::create(&config(None)).unwrap().name(), "lanrage1");
        let same = TunDevice::create(&config(Some("lanrage0")));
        assert!(matches!(same, Err(TunError::NameTaken(name)) if name == "lanrage0"));
        let loopback = TunDevice::create(&config(Some("lo")));
        assert!(matches!(loopback, Err(TunError::NameTaken(name)) if name == "lo"));

        // Another program's, which waits without being attached: attaching would be possible.
        let other = tun_rs::DeviceBuilder::new().name("other0").build_sync().unwrap();
        other.persist().unwrap();
        drop(other);
        let taken = TunDevice::create(&config(Some("other0")));
        assert!(matches!(taken, Err(TunError::NameTaken(name)) if name == "other0"));
    });
    done.join().unwrap();
}

#[test]
fn the_device_disappears_with_its_owner() {
    let done = in_namespace(|| {
        let device = addressed();
        let queues = device.queues();
        drop(device);
        assert_eq!(interfaces("").len(), 2);
        drop(queues);
        assert!(interfaces("").is_empty());
        assert_eq!(TunDevice::create(&config(None)).unwrap().name(), "lanrage0");
    });
    done.join().unwrap();
}

#[test]
fn a_packet_that_is_refused_costs_the_others_nothing() {
    let done = in_namespace(|| {
        let device = addressed();
        let (mut reader, mut writer) = device.queues();
        let socket = UdpSocket::bind((OUR_V4, 0)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.send_to(b"hello", (PEER_V4, 4000)).unwrap();
        let (packet, _) = next_of_ours(&mut reader);
        let mut batch = vec![
            BytesMut::zeroed(40),
            BytesMut::new(),
            turned_around(packet),
            BytesMut::from([0x45; 12].as_slice()),
        ];
        let stats = writer.send_batch(&mut batch);
        assert_eq!(stats, WriteStats { written: 1, refused: 3 });
        assert!(batch.is_empty());
        assert_eq!(socket.recv(&mut [0; 64]).unwrap(), 5);
    });
    done.join().unwrap();
}

/// Moves packets from one PC to the other until a device is gone. None may exceed the MTU.
fn pump(mut reader: TunReader, mut writer: TunWriter) {
    thread::spawn(move || {
        let mut batch = Vec::new();
        while reader.recv_batch(&mut batch).is_ok() {
            assert!(batch.iter().all(|packet| packet.len() <= 1280));
            writer.send_batch(&mut batch);
        }
    });
}

#[test]
fn tcp_through_two_devices_arrives_whole_and_fast() {
    const BYTES: usize = 64 << 20;
    let (to_client, from_server) = mpsc::channel();
    let (to_server, from_client) = mpsc::channel();
    let server = in_namespace(move || {
        let device = addressed();
        let listener = TcpListener::bind((OUR_V4, 5000)).unwrap();
        to_client.send(device.queues()).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (mut room, mut total, mut expected) = (vec![0; 1 << 20], 0, 0_u8);
        loop {
            let length = stream.read(&mut room).unwrap();
            if length == 0 {
                return total;
            }
            for &byte in &room[..length] {
                assert_eq!(byte, expected);
                expected = expected.wrapping_add(1);
            }
            total += length;
        }
    });
    let client = in_namespace(move || {
        let device = TunDevice::create(&config(None)).unwrap();
        device.set_address(PEER_V4, 24, PEER_V6, 64).unwrap();
        to_server.send(device.queues()).unwrap();
        let start = Instant::now();
        let mut stream = TcpStream::connect_timeout(&SocketAddr::from((OUR_V4, 5000)), PATIENCE).unwrap();
        let block: Vec<u8> = (0..1 << 20).map(|index: u32| index as u8).collect();
        for _ in 0..BYTES / block.len() {
            stream.write_all(&block).unwrap();
        }
        drop(stream);
        // The device has to live until the server has everything.
        (device, start)
    });
    let (server_reader, server_writer) = from_server.recv_timeout(PATIENCE).unwrap();
    let (client_reader, client_writer) = from_client.recv_timeout(PATIENCE).unwrap();
    pump(server_reader, client_writer);
    pump(client_reader, server_writer);
    let (_device, start) = client.join().unwrap();
    assert_eq!(server.join().unwrap(), BYTES);
    let rate = BYTES as f64 * 8.0 / start.elapsed().as_secs_f64() / 1e6;
    println!("{rate:.0} Mbit/s through two TUN devices");
    assert!(rate > 50.0, "only {rate:.0} Mbit/s: offload does not work");
}

#[test]
fn a_smaller_mtu_and_back_leaves_everything_as_it_was() {
    in_namespace(|| {
        let device = addressed();
        let addresses = || -> Vec<IpAddr> {
            let listed = getifaddrs::getifaddrs()
                .unwrap()
                .filter(|interface| interface.name == device.name());
            listed.filter_map(|interface| interface.address.ip_addr()).collect()
        };
        let before = addresses();
        device.set_mtu(1000).unwrap();
        assert_eq!(addresses(), [IpAddr::V4(OUR_V4)], "no IPv6 with less than 1,280 bytes");
        device.set_mtu(1280).unwrap();
        device.set_address(OUR_V4, 24, OUR_V6, 64).unwrap();
        assert_eq!(addresses(), before);
    })
    .join()
    .unwrap();
}
