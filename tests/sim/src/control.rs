//! The control server: who is in the party, who is connected, and what it passes on.

use std::collections::BTreeMap;

use lanrage_shared::addr::PartyNet;
use lanrage_shared::api::party::{Member, Party};
use lanrage_shared::api::presence::Presence;
use lanrage_shared::api::relay::Relay;
use lanrage_shared::ids::{DeviceId, DeviceKey, IdentityKey, MemberId, PartyId};
use lanrage_shared::keys::PartySecret;
use uuid::Uuid;

/// Server to agent.
#[derive(Debug, Clone)]
pub enum Down {
    /// The first message on a stream.
    Snapshot {
        party: Box<Party>,
        secrets: Vec<(u32, PartySecret)>,
        relays: Vec<Relay>,
    },
    Joined(Box<Member>),
    Left(MemberId),
    /// The party as it is after somebody left.
    Updated {
        host: MemberId,
        epoch: u32,
    },
    Secret(u32, PartySecret),
    Presence {
        member: MemberId,
        online: bool,
        presence: Option<Presence>,
    },
    Signal {
        from: MemberId,
        sealed: String,
    },
    Offer(Vec<Relay>),
}

/// Agent to server.
#[derive(Debug, Clone)]
pub enum Up {
    Presence(Presence),
    Signal {
        to: MemberId,
        sealed: String,
    },
    /// The host's new secret, for this epoch.
    Secret(u32, PartySecret),
}

/// A stream that is open as far as the server knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream {
    pub pc: usize,
    pub number: u64,
    pub member: MemberId,
}

#[derive(Debug)]
pub struct Control {
    pub party: Party,
    /// Every secret there was, which stands for the sealed ones the server keeps: each opens with the one before.
    pub secrets: Vec<(u32, PartySecret)>,
    pub offered: Vec<Relay>,
    streams: Vec<Stream>,
    seats: BTreeMap<DeviceId, MemberId>,
    joined: u64,
    next_stream: u64,
    out: Vec<(Stream, Down)>,
}

impl Control {
    pub fn new(secret: PartySecret) -> Self {
        let id = PartyId(Uuid::nil());
        #[expect(clippy::expect_used, reason = "a constant that is a name")]
        let name = "simulated".parse().expect("a name");
        Self {
            party: Party {
                id,
                name,
                host: MemberId(1),
                epoch: 1,
                secret_epoch: 1,
                version: 1,
                persistent: true,
                max_members: 64,
                locked: false,
                net: PartyNet::at(1, id),
                created_at_ms: 0,
                members: Vec::new(),
            },
            secrets: vec![(1, secret)],
            offered: Vec::new(),
            streams: Vec::new(),
            seats: BTreeMap::new(),
            joined: 0,
            next_stream: 0,
            out: Vec::new(),
        }
    }

    /// What waits to be sent.
    pub fn drain(&mut self) -> Vec<(Stream, Down)> {
        std::mem::take(&mut self.out)
    }

    /// The newest secret.
    pub fn secret(&self) -> (u32, PartySecret) {
        #[expect(clippy::expect_used, reason = "there is one from the start")]
        self.secrets.last().cloned().expect("a secret")
    }

    pub fn is_member(&self, member: MemberId) -> bool {
        self.party.members.iter().any(|known| known.id == member)
    }

    /// A device comes in; gives its number, which it gets again when it comes back.
    pub fn join(&mut self, identity_key: IdentityKey, device_key: DeviceKey) -> MemberId {
        let device = DeviceId::of(&identity_key);
        let next = MemberId(u16::try_from(self.seats.len()).unwrap_or(253) + 1);
        let id = *self.seats.entry(device).or_insert(next);
        self.joined += 1;
        #[expect(clippy::expect_used, reason = "a number makes a name")]
        let name = format!("member {}", id.0).parse().expect("a name");
        let member = Member {
            id,
            device,
            identity_key,
            device_key,
            name,
            virtual_ip: self.party.net.member_v4(id),
            virtual_ip6: self.party.net.member_v6(id),
            joined_at_ms: self.joined,
            online: false,
            last_seen_ms: 0,
            presence: None,
        };
        self.party.members.retain(|known| known.id != id);
        self.party.members.push(member.clone());
        self.choose_host();
        self.broadcast(Some(id), &Down::Joined(Box::new(member)));
        id
    }

    /// A member leaves or is removed: a new epoch. Gives its stream, which is over.
    pub fn remove(&mut self, member: MemberId) -> Option<Stream> {
        self.party.members.retain(|known| known.id != member);
        self.party.epoch += 1;
        self.choose_host();
        let stream = self.streams.iter().copied().find(|stream| stream.member == member);
        self.streams.retain(|stream| stream.member != member);
        self.broadcast(None, &Down::Left(member));
        self.tell_party();
        stream
    }

    /// An agent connects.
    pub fn open(&mut self, pc: usize, member: MemberId, since_secret: u32) -> u64 {
        self.streams.retain(|stream| stream.pc != pc);
        self.next_stream += 1;
        let stream = Stream {
            pc,
            number: self.next_stream,
            member,
        };
        self.set_online(member, true);
        let secrets = self.secrets.iter().filter(|(epoch, _)| *epoch > since_secret);
        let snapshot = Down::Snapshot {
            party: Box::new(self.party.clone()),
            secrets: secrets.cloned().collect(),
            relays: self.offered.clone(),
        };
        self.out.push((stream, snapshot));
        self.streams.push(stream);
        self.tell_presence(member);
        stream.number
    }

    /// The server notices that a stream is over.
    pub fn close(&mut self, number: u64) {
        let Some(at) = self.streams.iter().position(|stream| stream.number == number) else {
            return;
        };
        let stream = self.streams.remove(at);
        self.set_online(stream.member, false);
        self.tell_presence(stream.member);
    }

    /// An agent says something on its stream.
    pub fn handle(&mut self, number: u64, message: Up) {
        let Some(from) = self.streams.iter().find(|stream| stream.number == number).copied() else {
            return;
        };
        match message {
            Up::Presence(presence) => {
                if let Some(known) = self.party.members.iter_mut().find(|known| known.id == from.member) {
                    known.presence = Some(presence);
                }
                self.tell_presence(from.member);
            }
            Up::Signal { to, sealed } => {
                let to = self.streams.iter().find(|stream| stream.member == to).copied();
                let signal = Down::Signal {
                    from: from.member,
                    sealed,
                };
                self.out.extend(to.map(|stream| (stream, signal)));
            }
            Up::Secret(epoch, secret) => {
                if from.member == self.party.host && epoch == self.party.epoch && epoch > self.party.secret_epoch {
                    self.party.secret_epoch = epoch;
                    self.secrets.push((epoch, secret.clone()));
                    self.broadcast(None, &Down::Secret(epoch, secret));
                }
            }
        }
    }

    /// Other relays are offered than before.
    pub fn offer(&mut self, relays: Vec<Relay>) {
        if self.offered != relays {
            self.offered = relays;
            self.broadcast(None, &Down::Offer(self.offered.clone()));
        }
    }

    fn set_online(&mut self, member: MemberId, online: bool) {
        if let Some(known) = self.party.members.iter_mut().find(|known| known.id == member) {
            known.online = online;
        }
    }

    fn tell_presence(&mut self, member: MemberId) {
        let Some(known) = self.party.members.iter().find(|known| known.id == member) else {
            return;
        };
        let told = Down::Presence {
            member,
            online: known.online,
            presence: known.presence.clone(),
        };
        self.broadcast(Some(member), &told);
    }

    fn tell_party(&mut self) {
        let updated = Down::Updated {
            host: self.party.host,
            epoch: self.party.epoch,
        };
        self.broadcast(None, &updated);
    }

    fn choose_host(&mut self) {
        let host = self.party.host;
        if !self.is_member(host)
            && let Some(longest) = self.party.members.iter().min_by_key(|member| member.joined_at_ms)
        {
            self.party.host = longest.id;
        }
    }

    fn broadcast(&mut self, except: Option<MemberId>, message: &Down) {
        let to = self.streams.iter().filter(|stream| Some(stream.member) != except);
        self.out.extend(to.map(|stream| (*stream, message.clone())));
    }
}
