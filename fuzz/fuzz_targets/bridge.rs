//! Any bytes are bridged or refused, from this PC or from a member, and what is bridged fits the tunnel.
#![no_main]

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use bytes::BytesMut;
use lanrage_agent_core::broadcast::{Bridge, Home, Policy, Way};
use lanrage_shared::ids::MemberId;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let home = Home {
        v4: Ipv4Addr::new(10, 64, 0, 1),
        v6: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1),
        broadcast: Ipv4Addr::new(10, 64, 0, 255),
    };
    let mut policy = Policy::default();
    policy.allow(0..=u16::MAX);
    let (mut bridge, now, mut out) = (Bridge::new(policy, 1280), Instant::now(), Vec::new());
    for way in [
        Way::Tunnel,
        Way::Adapter {
            index: 2,
            broadcast: Some(Ipv4Addr::new(192, 168, 1, 255)),
        },
    ] {
        let _ = bridge.handle_local(BytesMut::from(bytes), way, home, now, &mut out);
    }
    assert!(out.iter().all(|packet| packet.len() <= 1280));
    let _ = bridge.handle_remote(&mut BytesMut::from(bytes), MemberId(2), home, now);
});
