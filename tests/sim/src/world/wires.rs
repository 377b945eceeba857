//! Datagrams under way, and what they do where they arrive.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use lanrage_agent_core::batch::{self, PathInUse, Route, SideNumber};
use lanrage_agent_core::nat::Socket;
use lanrage_shared::ids::MemberId;
use lanrage_shared::signal;
use lanrage_shared::wire::probe;
use lanrage_shared::wire::relay::{Frame, FrameKind, NoticeReason};

use super::{Happening, Packet, World};
use crate::net::{Arrival, Datagram};
use crate::pc::{FIRST_SIDE_PORT, Role};
use crate::relay::Port;

/// What a data packet of WireGuard begins with.
const WIREGUARD: [u8; 4] = [4, 0, 0, 0];
/// Packets are looked up by number for this long, in packets: far more than are ever under way.
const REMEMBERED: u64 = 20_000;
/// Of sockets for the test of a NAT's filter.
const FIRST_TEST_PORT: u16 = 50_000;

impl World {
    /// A game sends to a member. Gives the packet's number.
    pub(super) fn send_packet(&mut self, pc: usize, to: MemberId, certain: bool) -> Option<u64> {
        let key = self.pcs[pc].device.public();
        let now = self.now;
        let link = self.pcs[pc].agent.as_mut()?.links.get_mut(&to)?;
        let path = link.path?;
        link.last_sent = Some(now);
        let psks = link.psks.clone();
        self.next_packet += 1;
        let number = self.next_packet;
        let packet = Packet {
            sender: pc,
            key,
            psks,
            to,
        };
        self.packets.insert(number, packet);
        if number > REMEMBERED {
            self.packets.remove(&(number - REMEMBERED));
        }
        let data: Bytes = [&WIREGUARD[..], &number.to_be_bytes()].concat().into();
        let datagram = Datagram {
            sender: pc,
            data,
            certain,
        };
        self.send_along(pc, path, &datagram);
        self.summary.packets += 1;
        Some(number)
    }

    fn send_along(&mut self, pc: usize, path: PathInUse, datagram: &Datagram) {
        for route in [Some(path.route), path.also].into_iter().flatten() {
            self.send(pc, Socket::Main, route, datagram);
        }
    }

    pub(super) fn send(&mut self, pc: usize, socket: Socket, route: Route, datagram: &Datagram) {
        match route {
            Route::Direct(to) => {
                let port = match socket {
                    Socket::Main => self.pcs[pc].port,
                    Socket::Side(number) => test_port(self.pcs[pc].run, number),
                };
                self.send_direct(pc, port, to, datagram);
            }
            Route::Side { socket, address } => {
                if let Some(port) = self.side_port(pc, socket) {
                    self.send_direct(pc, port, address, datagram);
                }
            }
            Route::Relay { relay, member } => {
                let agent = self.pcs[pc].agent.as_ref();
                let standing = agent.and_then(|agent| agent.relays.by_number(relay));
                let Some((id, standing)) = standing else { return };
                let Some(relay) = self.relays.iter().position(|known| known.id == *id) else {
                    return;
                };
                let mut frame = Vec::new();
                Frame::data(member, &datagram.data).write(&mut frame);
                let certain = datagram.certain || standing.tcp;
                let legs = self.net.leg(self.pcs[pc].home, certain, &mut self.rng, self.now);
                let port = (pc, standing.connection);
                for leg in legs {
                    let frame = frame.clone().into();
                    let delay = leg + self.relays[relay].delay;
                    self.after(delay, Happening::ToRelay { relay, port, frame });
                }
            }
        }
    }

    fn send_direct(&mut self, pc: usize, port: u16, to: SocketAddr, datagram: &Datagram) {
        let place = &self.pcs[pc];
        let from = SocketAddr::new(self.net.address(place.home, place.place).into(), port);
        let home = place.home;
        if probe::tag_of(&datagram.data).is_some() {
            let asks = self.is_question(pc, &datagram.data);
            self.count_probe(pc, port, to, asks);
        }
        let next = self.net.send((home, from), to, datagram, &mut self.rng, self.now);
        self.under_way(next);
    }

    /// The port of a side socket, which is opened if it is a new one. No run and no other socket ever has it again.
    fn side_port(&mut self, pc: usize, socket: SideNumber) -> Option<u16> {
        let place = &mut self.pcs[pc];
        let agent = place.agent.as_mut()?;
        if agent.last_side < Some(socket) {
            agent.last_side = Some(socket);
            let next = place.next_side + 1;
            place.next_side = if next < 40_000 { next } else { FIRST_SIDE_PORT };
            agent.sides.insert(socket, place.next_side);
        }
        agent.sides.get(&socket).copied()
    }

    fn side_of(&self, pc: usize, port: u16) -> Option<SideNumber> {
        let sides = &self.pcs[pc].agent.as_ref()?.sides;
        sides.iter().find(|(_, open)| **open == port).map(|(socket, _)| *socket)
    }

    fn under_way(&mut self, next: Vec<(std::time::Instant, Arrival)>) {
        for (at, arrival) in next {
            self.at(at, Happening::Arrival(arrival));
        }
    }

    pub(super) fn arrive(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Stun { from, on, datagram } => {
                let next = self.net.ask_stun(from, on, &datagram, &mut self.rng, self.now);
                self.under_way(next);
            }
            Arrival::Router {
                home,
                from,
                to,
                datagram,
            } => {
                if let Some(to) = self.net.pass(home, from, to, self.now) {
                    let arrival = Arrival::Lan {
                        home,
                        from,
                        to,
                        datagram,
                        local: false,
                    };
                    self.arrive(arrival);
                }
            }
            Arrival::Lan {
                home,
                from,
                to,
                datagram,
                local,
            } => {
                let is_here = |pc: usize| {
                    let place = &self.pcs[pc];
                    let ip = self.net.address(place.home, place.place);
                    place.home == home && to.ip() == ip
                };
                let Some(pc) = (0..self.pcs.len()).find(|pc| is_here(*pc)) else {
                    return;
                };
                let side = self.side_of(pc, to.port());
                let route = match side {
                    Some(socket) => Route::Side { socket, address: from },
                    None if to.port() == self.pcs[pc].port || is_test(to.port()) => from.into(),
                    None => return,
                };
                self.check_destination(pc, local, &datagram);
                self.receive(pc, route, &datagram);
            }
        }
    }

    /// A datagram reaches an agent.
    fn receive(&mut self, pc: usize, from: Route, datagram: &Datagram) {
        if let Some(number) = datagram.data.strip_prefix(&WIREGUARD) {
            if let Ok(number) = number.try_into() {
                self.receive_packet(pc, from, u64::from_be_bytes(number));
            }
            return;
        }
        let now = self.now;
        let Some(agent) = &mut self.pcs[pc].agent else { return };
        let packet = batch::Packet {
            peer: from,
            data: BytesMut::from(&datagram.data[..]),
        };
        let accepted = agent.engine.handle_packet(&packet, now);
        if accepted && probe::tag_of(&datagram.data).is_some() {
            self.check_accepted(pc, datagram.sender, "a probe");
        }
        self.settle(pc);
    }

    fn receive_packet(&mut self, pc: usize, from: Route, number: u64) {
        let now = self.now;
        let Some(packet) = self.packets.get(&number) else {
            return;
        };
        if self.pcs[pc].role.number() != Some(packet.to) {
            return;
        }
        let sender = packet.sender;
        let Some(agent) = &mut self.pcs[pc].agent else { return };
        let link = agent.links.values_mut().find(|link| link.key == packet.key);
        let Some(link) = link.filter(|link| link.psks.iter().any(|psk| packet.psks.contains(psk))) else {
            return;
        };
        if link.path.is_none() {
            link.path = Some(from.into());
        }
        if link.path.is_some_and(|path| path.route == from) {
            link.last_received = Some(now);
        }
        self.summary.delivered += 1;
        self.check_accepted(pc, sender, "a packet");
        for canary in &mut self.canaries {
            canary.arrived |= canary.packet == number && canary.to == pc;
        }
    }

    pub(super) fn reach_relay(&mut self, relay: usize, port: Port, frame: Bytes) {
        let now = self.now;
        let Some(out) = self.relays[relay].handle_frame(port, frame, now) else {
            return;
        };
        let (to, tcp) = (out.port.0, self.is_tcp(out.port));
        let certain = tcp || self.is_certain(&out.frame);
        let legs = self.net.leg(self.pcs[to].home, certain, &mut self.rng, now);
        for leg in legs {
            let happening = Happening::FromRelay {
                relay,
                port: out.port,
                frame: out.frame.clone(),
            };
            self.after(leg + self.relays[relay].delay, happening);
        }
    }

    fn is_certain(&self, frame: &[u8]) -> bool {
        let Ok(frame) = Frame::parse(frame) else { return false };
        let number = frame.payload.strip_prefix(&WIREGUARD).and_then(|n| n.try_into().ok());
        number.is_some_and(|number| {
            let number = u64::from_be_bytes(number);
            self.canaries.iter().any(|canary| canary.packet == number)
        })
    }

    pub(super) fn arrive_from_relay(&mut self, relay: usize, port: Port, frame: &[u8]) {
        let (pc, connection) = port;
        let Ok(frame) = Frame::parse(frame) else { return };
        let id = self.relays[relay].id.clone();
        let Some(agent) = &mut self.pcs[pc].agent else { return };
        let Some(seat) = agent.relays.seats.get(&id) else {
            return;
        };
        if seat.up.is_none_or(|up| up.connection != connection) {
            return;
        }
        let number = seat.number;
        match frame.kind {
            FrameKind::Data => {
                let sender = self.pcs.iter().position(|pc| pc.role.number() == Some(frame.member));
                let Some(sender) = sender else { return };
                let from = Route::Relay {
                    relay: number,
                    member: frame.member,
                };
                let data = Bytes::copy_from_slice(frame.payload);
                let datagram = Datagram {
                    sender,
                    data,
                    certain: false,
                };
                self.receive(pc, from, &datagram);
            }
            FrameKind::Notice => {
                if NoticeReason::from_payload(frame.payload) == Some(NoticeReason::NotConnected) {
                    let now = self.now;
                    agent.engine.handle_undelivered(number, frame.member, now);
                    self.settle(pc);
                }
            }
            FrameKind::Control => {}
        }
    }

    /// A signal that goes through a relay, as a datagram.
    pub(super) fn send_signal(&mut self, pc: usize, route: Route, sealed: &str) {
        let datagram = Datagram {
            sender: pc,
            data: signal::to_datagram(sealed).into(),
            certain: false,
        };
        self.send(pc, Socket::Main, route, &datagram);
    }

    /// Nobody but a member is sent anything it could tell the party by.
    fn check_destination(&mut self, pc: usize, local: bool, datagram: &Datagram) {
        let from_member = matches!(self.pcs[datagram.sender].role, Role::Member(_));
        if !local && from_member && datagram.sender != pc && matches!(self.pcs[pc].role, Role::Impostor(_)) {
            let sender = datagram.sender;
            self.violate(format!(
                "pc {sender} sends to pc {pc}, which does not know the party's secret"
            ));
        }
    }
}

/// A fresh port for every measurement of every run.
fn test_port(run: u64, number: u32) -> u16 {
    let spread = (run * 200 + u64::from(number)) % 14_000;
    FIRST_TEST_PORT + u16::try_from(spread).unwrap_or_default()
}

fn is_test(port: u16) -> bool {
    port >= FIRST_TEST_PORT
}
