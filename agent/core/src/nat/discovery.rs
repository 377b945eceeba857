//! Both address families as one machine.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use lanrage_shared::api::presence::Mapping;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::survey::{Measured, Survey};
use super::{Event, NatReport, StunEndpoint, Transmit};

/// NAT behaviour discovery. Give it every datagram that may be STUN, send what it wants sent, call it back on time.
#[derive(Debug)]
pub struct Discovery {
    v4: Option<Survey>,
    v6: Option<Survey>,
    rng: StdRng,
    events: VecDeque<Event>,
    told: NatReport,
    has_reported: bool,
}

impl Discovery {
    /// Starts at once: there is something to [`poll_transmit`](Self::poll_transmit) right away.
    ///
    /// `local` are this PC's own addresses, each with the UDP socket's port. `seed` must come from a cryptographic generator:
    /// who can guess transaction ids can forge answers.
    pub fn new(servers: Vec<StunEndpoint>, local: Vec<SocketAddr>, seed: [u8; 32], now: Instant) -> Self {
        let own = own_addresses(local);
        let (v4, v6): (Vec<_>, Vec<_>) = servers.into_iter().partition(|server| server.address.is_ipv4());
        let survey = |servers: Vec<_>| (!servers.is_empty()).then(|| Survey::new(servers, own.clone(), now));
        let mut discovery = Self {
            v4: survey(v4),
            v6: survey(v6),
            rng: StdRng::from_seed(seed),
            events: VecDeque::new(),
            told: NatReport::default(),
            has_reported: false,
        };
        discovery.handle_timeout(now);
        discovery
    }

    /// Whether there is any server to ask.
    pub fn has_servers(&self) -> bool {
        self.v4.is_some() || self.v6.is_some()
    }

    /// The last complete report.
    pub fn report(&self) -> Option<NatReport> {
        self.has_reported.then_some(self.told)
    }

    /// Takes a datagram from the agent's socket. True when it was the answer to one of our questions; anything else is not
    /// ours and changes nothing.
    pub fn handle_datagram(&mut self, from: SocketAddr, bytes: &[u8], now: Instant) -> bool {
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let survey = if from.is_ipv4() { &mut self.v4 } else { &mut self.v6 };
        let ours = survey
            .as_mut()
            .is_some_and(|survey| survey.handle_datagram(from, bytes, &mut self.rng, now));
        if ours {
            self.tell();
        }
        ours
    }

    /// The PC has other addresses, woke up, or changed networks: everything is measured again.
    pub fn handle_network_change(&mut self, local: Vec<SocketAddr>, now: Instant) {
        let own = own_addresses(local);
        for survey in [&mut self.v4, &mut self.v6].into_iter().flatten() {
            survey.restart(own.clone(), now);
        }
        self.handle_timeout(now);
    }

    /// A path through the NAT was lost, so the mapping may be another by now: it is looked at before its time.
    pub fn handle_doubt(&mut self, now: Instant) {
        for survey in [&mut self.v4, &mut self.v6].into_iter().flatten() {
            survey.handle_doubt(now);
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        for survey in [&mut self.v4, &mut self.v6].into_iter().flatten() {
            survey.handle_timeout(&mut self.rng, now);
        }
        self.tell();
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let surveys = [&self.v4, &self.v6].into_iter().flatten();
        surveys.map(Survey::poll_timeout).min()
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        let mut surveys = [&mut self.v4, &mut self.v6].into_iter().flatten();
        surveys.find_map(Survey::poll_transmit)
    }

    /// What has been found since the last call.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn tell(&mut self) {
        let public = |survey: &Option<Survey>| survey.as_ref().and_then(Survey::public);
        let (public_address, public_address6) = (public(&self.v4), public(&self.v6));
        for (known, told) in [
            (public_address, &mut self.told.public_address),
            (public_address6, &mut self.told.public_address6),
        ] {
            if let Some(address) = known.filter(|_| known != *told) {
                self.events.push_back(Event::Mapped(address));
            }
        }
        let Some(measured) = self.measured() else {
            // What is told by then has to be told in full.
            self.has_reported = false;
            self.told.public_address = public_address;
            self.told.public_address6 = public_address6;
            return;
        };
        let report = NatReport {
            mapping: measured.mapping,
            filtering: measured.filtering,
            public_address,
            public_address6,
        };
        if self.told != report || !self.has_reported {
            self.told = report;
            self.has_reported = true;
            self.events.push_back(Event::Report(report));
        }
    }

    /// IPv4's measurement, or IPv6's where there is no IPv4.
    fn measured(&self) -> Option<Measured> {
        let measured = |survey: &Option<Survey>| survey.as_ref().map(Survey::measured);
        match (measured(&self.v4), measured(&self.v6)) {
            (Some(Some(v4)), Some(v6)) if v4.mapping == Mapping::Blocked => v6,
            (Some(v4), _) => v4,
            (None, v6) => v6.flatten(),
        }
    }
}

fn own_addresses(local: Vec<SocketAddr>) -> BTreeSet<SocketAddr> {
    let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    local.into_iter().map(canonical).collect()
}
