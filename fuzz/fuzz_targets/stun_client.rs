//! No answer, not even one with the right transaction id, makes the NAT discovery panic, stop, or ask without end.
#![no_main]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lanrage_agent_core::nat::{Discovery, StunEndpoint};
use libfuzzer_sys::fuzz_target;

const STEPS: usize = 64;
/// A survey asks at most about 110 questions; a step cannot ask more than its targets.
const MAX_QUESTIONS: usize = 1000;

fuzz_target!(|answers: Vec<(SocketAddr, bool, bool, Vec<u8>)>| {
    let mut now = Instant::now();
    let server: SocketAddr = "203.0.113.10:3478".parse().unwrap();
    let endpoint = StunEndpoint {
        address: server,
        second_port: 3479,
    };
    let mut discovery = Discovery::new(vec![endpoint], Vec::new(), [7; 32], now);
    let mut asked = Vec::new();
    let mut questions = 0;
    for (from, from_server, success, attributes) in answers.into_iter().take(STEPS) {
        while let Some(transmit) = discovery.poll_transmit() {
            questions += 1;
            asked = transmit.bytes;
        }
        let from = if from_server { server } else { from };
        let attributes = &attributes[..attributes.len().min(1400)];
        let length = u16::try_from(attributes.len().next_multiple_of(4)).unwrap();
        let mut datagram = vec![1, if success { 0x01 } else { 0x11 }];
        datagram.extend_from_slice(&length.to_be_bytes());
        datagram.extend_from_slice(asked.get(4..20).unwrap_or_default());
        datagram.extend_from_slice(attributes);
        datagram.resize(20 + usize::from(length), 0);
        discovery.handle_datagram(from, &datagram, now);
        discovery.handle_datagram(from, attributes, now);
        now += Duration::from_millis(50);
        discovery.handle_timeout(now);
        while discovery.poll_event().is_some() {}
        assert!(discovery.poll_timeout().is_some());
    }
    assert!(questions < MAX_QUESTIONS);
});
