//! What the control stream says of the party.

use std::sync::atomic::Ordering;
use std::time::Instant;

use lanrage_agent_core::path::PartyClock;
use lanrage_shared::addr::PartyNet;
use lanrage_shared::api::check::Implausible;
use lanrage_shared::api::party::{Party, Services};
use lanrage_shared::stream::{Departure, PartyEvent, ServerMessage};

use super::{Outcome, PartySession, wall_ms};
use crate::driver::dataplane::DataPlane;
use crate::driver::stream::StreamEvent;

impl PartySession {
    /// Takes what the stream says.
    pub fn handle_stream(&mut self, event: StreamEvent, data_plane: &DataPlane) -> Outcome {
        let now = Instant::now();
        let outcome = match event {
            StreamEvent::Message(message) => self.handle_message(message, now),
            StreamEvent::Lost(why) => {
                if self.server_reachable || self.server_problem.is_none() {
                    tracing::warn!(reason = %why, "the control server is not reachable; running tunnels go on");
                    self.server_since = now;
                }
                self.offer_all_relays();
                self.server_reachable = false;
                self.server_problem = Some(why);
                self.engine.handle_server(false, now);
                Outcome::Stays
            }
            StreamEvent::Over(why) => Outcome::Over(why),
        };
        self.carry_out(data_plane);
        outcome
    }

    fn handle_message(&mut self, message: ServerMessage, now: Instant) -> Outcome {
        match message {
            ServerMessage::Welcome {
                services,
                server_time_ms,
                ..
            } => {
                // One per connection; more would have us measure the NAT over and over.
                if self.server_reachable {
                    return Outcome::Stays;
                }
                self.server_since = now;
                tracing::info!("connected to the control server");
                self.server_reachable = true;
                self.server_problem = None;
                self.set_services(services);
                self.cache.clock_offset_ms = i64::try_from(server_time_ms)
                    .unwrap_or(i64::MAX)
                    .saturating_sub(wall_ms());
                self.engine.handle_clock(PartyClock::new(now, server_time_ms));
                self.engine.handle_server(true, now);
                self.save_soon(now);
            }
            ServerMessage::Snapshot { seq, party, secrets } => {
                if let Err(reason) = self.check_snapshot(&party) {
                    tracing::warn!(%reason, "the control server describes a party that cannot be; it is not believed");
                    return Outcome::Stays;
                }
                self.known.store(seq, Ordering::Relaxed);
                self.cache.seq = seq;
                let is_elsewhere = party.net != self.cache.party.net;
                // An engine that is about to begin anew need not learn of addresses that are none of its party's.
                if !is_elsewhere {
                    self.engine.handle_members(&party.members, now);
                }
                if self.cache.party.epoch != party.epoch {
                    self.relays.handle_epoch();
                }
                self.cache.party = party;
                self.cache.connections.handle_members(&self.cache.party.members);
                self.handle_secrets(secrets);
                self.save_soon(now);
                if self.me().is_none() {
                    return Outcome::Over("you are no longer a member of this party".to_owned());
                }
                if is_elsewhere {
                    return Outcome::Moved;
                }
            }
            ServerMessage::Services { services } => {
                self.set_services(services);
                self.save_soon(now);
            }
            ServerMessage::Event { seq, event } => {
                self.known.store(seq, Ordering::Relaxed);
                self.cache.seq = seq;
                self.save_soon(now);
                return self.handle_event(event, now);
            }
            ServerMessage::Presence {
                member,
                online,
                presence,
            } => {
                if let Some(known) = self.cache.party.members.iter_mut().find(|known| known.id == member) {
                    known.online = online;
                }
                self.engine.handle_presence(member, online, presence.as_ref(), now);
            }
            ServerMessage::Signal { from, sealed } => self.engine.handle_signal(from, &sealed, now),
            ServerMessage::Refused { error } => {
                tracing::debug!(code = ?error.code, reason = %error.message, "the server refused a message")
            }
            // The stream task turns these into an end.
            ServerMessage::Bye { .. } => {}
        }
        Outcome::Stays
    }

    fn set_services(&mut self, services: Services) {
        self.services_changed |= self.cache.services.stun != services.stun;
        self.offer_relays(services.relays.clone());
        self.cache.services = services;
        self.remember_relays();
    }

    fn check_snapshot(&self, party: &Party) -> Result<(), Implausible> {
        if party.id != self.cache.party.id {
            return Err(Implausible::Network(party.net.v4));
        }
        party.check()
    }

    fn handle_event(&mut self, event: PartyEvent, now: Instant) -> Outcome {
        let party = &mut self.cache.party;
        let Some(event) = believed(party, event) else {
            return Outcome::Stays;
        };
        let (host, epoch, net) = (party.host, party.epoch, party.net);
        if !party.follow(&event) {
            return Outcome::Over("the party was deleted".to_owned());
        }
        match event {
            PartyEvent::MemberJoined { member } => {
                tracing::info!(peer = %member.id, name = %member.name, "a member joined");
                self.engine.handle_joined(&member, now);
                self.cache.connections.handle_members(&self.cache.party.members);
            }
            PartyEvent::MemberLeft { member, how } => {
                tracing::info!(peer = %member, ?how, "a member left");
                self.engine.handle_left(member);
                self.cache.connections.handle_members(&self.cache.party.members);
                if member == self.cache.me {
                    return Outcome::Over(departure_in_words(how).to_owned());
                }
            }
            PartyEvent::Updated { party } => {
                if party.epoch != epoch {
                    self.relays.handle_epoch();
                }
                if party.host != host {
                    tracing::info!(host = %party.host, me = party.host == self.cache.me, "the party has another host");
                }
                self.adopt_drawn();
                if self.cache.party.net != net {
                    return Outcome::Moved;
                }
            }
            PartyEvent::SecretChanged { secrets, .. } => self.handle_secrets(secrets),
            PartyEvent::Deleted => {}
        }
        Outcome::Stays
    }
}

impl PartySession {
    /// Notes that the party has this network now. One that cannot be its is not believed.
    pub fn move_to(&mut self, net: PartyNet) -> Outcome {
        let party = &mut self.cache.party;
        if net == party.net || !may_move_to(party, net) {
            return Outcome::Stays;
        }
        party.move_to(net);
        Outcome::Moved
    }
}

/// What of an event may be true of this party. None: nothing.
fn believed(party: &Party, mut event: PartyEvent) -> Option<PartyEvent> {
    match &mut event {
        PartyEvent::MemberJoined { member } => {
            if let Err(reason) = party.check_newcomer(member) {
                tracing::warn!(%reason, "the control server adds a member that cannot be; it is not believed");
                return None;
            }
        }
        PartyEvent::Updated { party: settings } => settings.net = settings.net.filter(|net| may_move_to(party, *net)),
        PartyEvent::MemberLeft { .. } | PartyEvent::SecretChanged { .. } | PartyEvent::Deleted => {}
    }
    Some(event)
}

fn may_move_to(party: &Party, net: PartyNet) -> bool {
    let may = net.is_of(party.id);
    if !may {
        tracing::warn!(net = %net.v4, "the control server moves the party to a network that cannot be its; it is not believed");
    }
    may
}

fn departure_in_words(how: Departure) -> &'static str {
    match how {
        Departure::Kicked => "the host removed this PC from the party; another invite lets it in again",
        Departure::Banned => "the host banned this PC from the party",
        Departure::Forgotten => "this PC was not seen for too long; another invite lets it in again",
        Departure::Left => "you are no longer a member of this party",
    }
}

#[cfg(test)]
mod tests {
    use lanrage_shared::api::party::Member;
    use lanrage_shared::ids::{DeviceId, DeviceKey, IdentityKey, MemberId, PartyId};
    use lanrage_shared::stream::PartySettings;
    use serde_json::json;

    use super::*;

    fn member(number: u16, key: u8, net: &PartyNet) -> Member {
        let identity_key = IdentityKey([key; 32]);
        Member {
            id: MemberId(number),
            device: DeviceId::of(&identity_key),
            identity_key,
            device_key: DeviceKey([key; 32]),
            name: "Eve".parse().unwrap(),
            virtual_ip: net.member_v4(MemberId(number)),
            virtual_ip6: net.member_v6(MemberId(number)),
            joined_at_ms: 0,
            online: true,
            last_seen_ms: 0,
            presence: None,
        }
    }

    fn id(number: u8) -> PartyId {
        PartyId(
            format!("00000000-0000-7000-8000-0000000000{number:02}")
                .parse()
                .unwrap(),
        )
    }

    fn party() -> Party {
        let net = PartyNet::at(900, id(1));
        Party {
            id: id(1),
            name: "Friday".parse().unwrap(),
            host: MemberId(1),
            epoch: 1,
            secret_epoch: 1,
            version: 1,
            persistent: false,
            max_members: 64,
            locked: false,
            net,
            created_at_ms: 0,
            members: vec![member(1, 1, &net), member(2, 2, &net)],
        }
    }

    #[test]
    fn a_member_that_cannot_be_does_not_get_into_the_party() {
        let party = party();
        let elsewhere = PartyNet::at(901, party.id);
        let foreign_address = member(3, 3, &elsewhere);
        let twin = member(3, 2, &party.net);
        let mut foreign_device = member(3, 3, &party.net);
        foreign_device.device = party.members[0].device;
        for member in [foreign_address, twin, foreign_device] {
            assert_eq!(believed(&party, PartyEvent::MemberJoined { member }), None);
        }
        let joins = PartyEvent::MemberJoined {
            member: member(3, 3, &party.net),
        };
        assert_eq!(believed(&party, joins.clone()), Some(joins));
    }

    #[test]
    fn of_settings_with_a_network_of_another_party_the_rest_is_believed() {
        let party = party();
        let updated = |net: Option<PartyNet>| {
            let settings: PartySettings = serde_json::from_value(json!({
                "name": "Saturday", "host": 2, "persistent": true, "max_members": 9, "epoch": 2, "version": 3, "net": net,
            }))
            .unwrap();
            PartyEvent::Updated { party: settings }
        };
        let foreign = PartyNet::at(901, id(2));
        assert_eq!(believed(&party, updated(Some(foreign))), Some(updated(None)));
        let own = PartyNet::at(901, party.id);
        assert_eq!(believed(&party, updated(Some(own))), Some(updated(Some(own))));
    }
}
