//! No datagram makes the STUN server panic or answer with more than it was sent.
#![no_main]

use std::net::{IpAddr, SocketAddr};

use lanrage_relay_core::stun::{Listen, LocalPort, Received, Responder, Verdict};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<u8>, bool, IpAddr, u16, Option<IpAddr>)| {
    let (datagram, header, ip, port, to) = input;
    // Half of the inputs get a header that fits, so that the attributes are reached.
    let datagram = if header { with_header(&datagram) } else { datagram };
    let received = Received {
        from: SocketAddr::new(ip, port),
        on: LocalPort { address: 0, port: 0 },
        to,
    };
    for addresses in [&["203.0.113.10", "203.0.113.11"], &["0.0.0.0", "::"]] {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let responder = Responder::new(Listen::new(addresses, [3478, 3479]).unwrap());
        if let Verdict::Reply { bytes, .. } = responder.handle(&datagram, received) {
            assert!(bytes.len() <= datagram.len());
        }
    }
});

fn with_header(attributes: &[u8]) -> Vec<u8> {
    let attributes = &attributes[..attributes.len().min(1400)];
    let length = u16::try_from(attributes.len().next_multiple_of(4)).unwrap();
    let mut datagram = vec![0, 1];
    datagram.extend_from_slice(&length.to_be_bytes());
    datagram.extend_from_slice(&[0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
    datagram.extend_from_slice(attributes);
    datagram.resize(20 + usize::from(length), 0);
    datagram
}
