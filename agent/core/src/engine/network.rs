//! The network this PC is on: what the driver and the STUN servers say of it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::RngCore;

use super::Engine;
use crate::nat::{self, Discovery, StunEndpoint};
use crate::path::PartyClock;

impl Engine {
    /// STUN servers to ask; starts asking, unless they are the same as before.
    pub fn handle_stun_servers(&mut self, servers: Vec<StunEndpoint>, now: Instant) {
        if self.discovery.is_some() && self.stun_servers == servers {
            return;
        }
        self.stun_servers.clone_from(&servers);
        self.prediction.handle_servers(&servers);
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        self.discovery = Some(Discovery::new(servers, self.own.interfaces.clone(), seed, now));
    }

    /// This PC's interface addresses with our UDP port; asks the STUN servers again when they changed.
    pub fn handle_interfaces(&mut self, interfaces: Vec<SocketAddr>, now: Instant) {
        if self.own.interfaces == interfaces {
            return;
        }
        self.own.interfaces = interfaces;
        self.measure_again(now);
        self.candidates_changed(now);
    }

    /// This PC is on another network with the addresses it had, or was away for a while: the NAT is measured again, and every
    /// peer is asked whether its path still works, told where this PC is, and looked for anew.
    pub fn handle_network_change(&mut self, now: Instant) {
        self.measure_again(now);
        for peer in self.peers.values_mut() {
            peer.paths.handle_doubt(now);
            peer.paths.handle_candidates(&peer.named, now);
        }
        self.candidates_changed(now);
    }

    /// The NAT in front of this PC may be another, and what failed behind the one before says nothing.
    pub(super) fn measure_again(&mut self, now: Instant) {
        if let Some(discovery) = &mut self.discovery {
            discovery.handle_network_change(self.own.interfaces.clone(), now);
        }
        for (member, peer) in &mut self.peers {
            peer.paths.handle_network_change();
            self.prediction.handle_moved(*member);
        }
    }

    /// Time went by that `now` does not know of: party time goes on as if it did.
    pub fn handle_uncounted(&mut self, time: Duration, now: Instant) {
        let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.clock = PartyClock::new(now, self.clock.ms(now).saturating_add(ms));
    }

    /// The router opened (or closed) a port for us.
    pub fn handle_port_mapping(&mut self, address: Option<SocketAddr>, now: Instant) {
        if self.own.port_mapped != address {
            self.own.port_mapped = address;
            self.candidates_changed(now);
            self.tell_presence();
        }
    }

    pub(super) fn drain_discovery(&mut self, now: Instant) {
        let mut changed = false;
        while let Some(event) = self.discovery.as_mut().and_then(Discovery::poll_event) {
            match event {
                nat::Event::Mapped(address) if address.is_ipv4() => {
                    changed |= self.own.mapped.replace(address) != Some(address);
                }
                nat::Event::Mapped(address) => changed |= self.own.mapped6.replace(address) != Some(address),
                nat::Event::Report(report) => {
                    changed |= self.own.mapped != report.public_address || self.own.mapped6 != report.public_address6;
                    self.own.mapped = report.public_address;
                    self.own.mapped6 = report.public_address6;
                    self.nat = report;
                    self.tell_presence();
                }
            }
        }
        if changed {
            self.candidates_changed(now);
        }
    }
}
