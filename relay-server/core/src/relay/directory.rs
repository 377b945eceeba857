//! Comings and goings: who is here, until when, and who has to leave.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lanrage_shared::api::relay::{RelayHealth, Revocation};
use lanrage_shared::ids::{IdentityKey, MemberId, PartyId, RelayId};
use lanrage_shared::token::{RelayClaims, TokenVerifier};
use lanrage_shared::wire::relay::Hello;
use parking_lot::Mutex;

use super::admission::proven;
use super::egress::Egress;
use super::party::Party;
use super::seat::Seat;
use super::{Counters, Delivery, DropReason, Known, Limits, Refusal, Revocations, Session, SessionId, Verdict};

/// A relay. `P` is what its driver knows a member's connection by.
#[derive(Debug)]
pub struct Relay<P> {
    id: RelayId,
    shared: Arc<Shared<P>>,
    directory: Mutex<Directory<P>>,
}

/// What every session reaches without the directory's lock.
#[derive(Debug)]
pub(super) struct Shared<P> {
    pub(super) egress: Egress<P>,
    pub(super) counters: Arc<Counters>,
    pub(super) limits: Limits,
}

struct Directory<P> {
    verifier: Option<TokenVerifier>,
    wall: Wall,
    revocations: Revocations,
    parties: HashMap<PartyId, Arc<Mutex<Party<P>>>>,
    sessions: u32,
    last_session: u64,
    /// By the second their token ends.
    expiries: BTreeMap<(u64, SessionId), (PartyId, MemberId)>,
    draining: bool,
    measured: (Instant, u64),
}

/// The control server's clock: what it said once, and the time since.
#[derive(Debug, Clone, Copy)]
struct Wall {
    at: Instant,
    unix_ms: u64,
}

/// A member that was let in.
#[derive(Debug)]
pub struct Admitted<P> {
    pub session: Session<P>,
    /// When the session ends unless renewed, in Unix seconds of the control server.
    pub expires_at: u64,
    /// The member's older session, which is over.
    pub replaced: Option<P>,
}

/// A session that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended<P> {
    pub port: P,
    pub why: Why,
}

/// Why a session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The member was removed from its party.
    Revoked,
    /// Its token ended without a newer one.
    Expired,
}

impl<P> std::fmt::Debug for Directory<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directory")
            .field("sessions", &self.sessions)
            .finish_non_exhaustive()
    }
}

impl<P> Shared<P> {
    pub(super) fn dropped(&self, reason: DropReason, notice: Option<Bytes>) -> Verdict<P> {
        self.counters.count_drop(reason);
        Verdict::Drop { reason, notice }
    }
}

impl Wall {
    fn ms(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.at).as_millis();
        self.unix_ms.saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
    }

    fn seconds(&self, now: Instant) -> u64 {
        self.ms(now) / 1000
    }

    fn instant(&self, unix_s: u64) -> Option<Instant> {
        let ms = unix_s.saturating_mul(1000).saturating_sub(self.unix_ms);
        self.at.checked_add(Duration::from_millis(ms))
    }
}

impl<P: Clone> Relay<P> {
    /// Knows nobody, and admits nobody before it has a token key. `unix_ms` is the time of day at `now`.
    pub fn new(id: RelayId, limits: Limits, now: Instant, unix_ms: u64) -> Self {
        let counters = Arc::new(Counters::default());
        Self {
            id,
            shared: Arc::new(Shared {
                egress: Egress::new(limits.egress_bytes_per_s, now),
                counters,
                limits,
            }),
            directory: Mutex::new(Directory {
                verifier: None,
                wall: Wall { at: now, unix_ms },
                revocations: Revocations::default(),
                parties: HashMap::new(),
                sessions: 0,
                last_session: 0,
                expiries: BTreeMap::new(),
                draining: false,
                measured: (now, 0),
            }),
        }
    }

    /// What it has done.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.shared.counters)
    }

    /// Its name.
    pub fn id(&self) -> &RelayId {
        &self.id
    }

    /// The key the control server signs relay tokens with.
    pub fn set_token_key(&self, key: &IdentityKey) {
        self.directory.lock().verifier = Some(TokenVerifier::from_public_key(&key.0));
    }

    /// The time of day by the clock of the control server, which is what tokens go by.
    pub fn set_time(&self, now: Instant, unix_ms: u64) {
        self.directory.lock().wall = Wall { at: now, unix_ms };
    }

    /// A hello came on a connection with this exported key. The seat is taken when this returns.
    pub fn admit(&self, hello: &Hello, exported: &[u8; 32], port: P, now: Instant) -> Result<Admitted<P>, Refusal> {
        let claims = self.proven(hello, exported, now)?;
        let mut directory = self.directory.lock();
        directory.check(&claims)?;
        let party = directory.parties.get(&claims.party).map(Arc::clone);
        let party = party.unwrap_or_else(|| Arc::new(Mutex::new(Party::new())));
        let mut seats = party.lock();
        let older = seats.seat(claims.member);
        if older.is_some_and(|older| older.identity != claims.identity_key && older.epoch > claims.epoch) {
            // The member's number is somebody else's by now.
            return Err(Refusal::OldEpoch);
        }
        if older.is_none() && directory.sessions >= self.shared.limits.sessions {
            return Err(Refusal::Full);
        }
        let replaced = self.stand_up(&mut directory, &mut seats, claims.member, DropReason::SessionOver);
        directory.last_session += 1;
        let id = SessionId(directory.last_session);
        let holder = (claims.identity_key, claims.epoch, claims.exp);
        seats.sit(claims.member, Seat::new(id, port, holder, &self.shared.limits, now));
        drop(seats);
        directory.sessions += 1;
        directory
            .expiries
            .insert((claims.exp, id), (claims.party, claims.member));
        directory.parties.insert(claims.party, Arc::clone(&party));
        Ok(Admitted {
            session: Session {
                id,
                party_id: claims.party,
                member: claims.member,
                party,
                shared: Arc::clone(&self.shared),
            },
            expires_at: claims.exp,
            replaced,
        })
    }

    /// A newer hello came on a session's connection. Gives when the session ends now.
    pub fn renew(
        &self,
        session: &Session<P>,
        hello: &Hello,
        exported: &[u8; 32],
        now: Instant,
    ) -> Result<u64, Refusal> {
        let claims = self.proven(hello, exported, now)?;
        let mut directory = self.directory.lock();
        if !directory.revocations.admits(claims.party, claims.epoch) {
            return Err(Refusal::OldEpoch);
        }
        let mut seats = session.party.lock();
        let seat = seats
            .seat_of(session.member, session.id)
            .filter(|seat| seat.identity == claims.identity_key && session.member() == (claims.party, claims.member))
            .ok_or(Refusal::OtherMember)?;
        directory.expiries.remove(&(seat.expires_at, session.id));
        directory.expiries.insert((claims.exp, session.id), session.member());
        (seat.epoch, seat.expires_at) = (claims.epoch, claims.exp);
        Ok(claims.exp)
    }

    /// A session's connection is over.
    pub fn leave(&self, session: &Session<P>) {
        let mut directory = self.directory.lock();
        let mut seats = session.party.lock();
        if seats.seat_of(session.member, session.id).is_some() {
            self.stand_up(&mut directory, &mut seats, session.member, DropReason::SessionOver);
            directory.forget_if_empty(session.party_id, &seats);
        }
    }

    /// Ends the sessions of whoever was removed. Once this returns nothing more is passed on from or to them.
    pub fn apply(&self, revocation: &Revocation, now: Instant) -> Vec<Ended<P>> {
        let mut directory = self.directory.lock();
        let now_s = directory.wall.seconds(now);
        directory.revocations.apply(revocation, now_s);
        let Some(party) = directory.parties.get(&revocation.party).map(Arc::clone) else {
            return Vec::new();
        };
        let mut seats = party.lock();
        let mut ended = Vec::new();
        for member in seats.seats_of(&revocation.removed, revocation.epoch) {
            let port = self.stand_up(&mut directory, &mut seats, member, DropReason::Revoked);
            ended.extend(port.map(|port| Ended {
                port,
                why: Why::Revoked,
            }));
        }
        // Who was removed may have hung up just before.
        let waited = seats.forget_frames_of_absent();
        self.shared.counters.count_drops(DropReason::Revoked, waited);
        directory.forget_if_empty(revocation.party, &seats);
        ended
    }

    /// Takes up what an earlier run of this relay knew.
    pub fn restore(&self, known: &Known) {
        self.directory.lock().revocations = Revocations::restore(known);
    }

    /// The revocations in force, to be kept.
    pub fn known(&self) -> Known {
        self.directory.lock().revocations.known()
    }

    /// The control server says which revocation is its last: not the one this relay knows if it was restored from a backup.
    pub fn handle_last_seq(&self, last_seq: u64) {
        self.directory.lock().revocations.rewind(last_seq);
    }

    /// Takes nobody new from now on; sessions go on.
    pub fn drain(&self) {
        self.directory.lock().draining = true;
    }

    /// Sessions and parties there are.
    pub fn population(&self) -> (u32, usize) {
        let directory = self.directory.lock();
        (directory.sessions, directory.parties.len())
    }

    /// How it is doing; its load by bytes is the mean since this was last asked.
    pub fn health(&self, now: Instant) -> RelayHealth {
        let Shared { counters, limits, .. } = &*self.shared;
        let mut directory = self.directory.lock();
        let (since, before) = std::mem::replace(&mut directory.measured, (now, counters.forwarded_bytes()));
        let seconds = now.saturating_duration_since(since).as_secs_f64().max(0.001);
        let bytes_per_s = counters.forwarded_bytes().saturating_sub(before) as f64 / seconds;
        let percent = |used: f64, of: f64| (used * 100.0 / of.max(1.0)).round().min(100.0);
        let sessions = percent(directory.sessions.into(), limits.sessions.into());
        let egress = percent(bytes_per_s, limits.egress_bytes_per_s as f64);
        RelayHealth {
            sessions: directory.sessions,
            capacity: limits.sessions,
            load: sessions.max(egress) as u8,
            forwarded: counters.forwarded(),
            dropped: counters.dropped_total(),
        }
    }

    /// Ends the sessions whose tokens have ended, and forgets revocations that no token could precede.
    pub fn handle_timeout(&self, now: Instant) -> Vec<Ended<P>> {
        let mut directory = self.directory.lock();
        let now_s = directory.wall.seconds(now);
        directory.revocations.forget_old(now_s);
        let mut ended = Vec::new();
        while let Some((&(at, _), &(party_id, member))) = directory.expiries.first_key_value()
            && at <= now_s
        {
            let Some(party) = directory.parties.get(&party_id).map(Arc::clone) else {
                directory.expiries.pop_first();
                continue;
            };
            let mut seats = party.lock();
            let port = self.stand_up(&mut directory, &mut seats, member, DropReason::SessionOver);
            ended.extend(port.map(|port| Ended {
                port,
                why: Why::Expired,
            }));
            directory.forget_if_empty(party_id, &seats);
        }
        ended
    }

    /// When [`Relay::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let directory = self.directory.lock();
        let ((unix_s, _), _) = directory.expiries.first_key_value()?;
        Some((directory.wall.instant(*unix_s)?, "a token ends"))
    }

    /// Lets go what waits for the egress, as far as the rate allows.
    pub fn handle_egress(&self, now: Instant, out: &mut Vec<Delivery<P>>) {
        self.shared.egress.handle_timeout(&self.shared, now, out);
    }

    /// When [`Relay::handle_egress`] has something to do; after [`Verdict::Wait`] and [`super::Next::Egress`] anew.
    pub fn poll_egress(&self) -> Option<Instant> {
        self.shared.egress.poll_timeout()
    }

    fn proven(&self, hello: &Hello, exported: &[u8; 32], now: Instant) -> Result<RelayClaims, Refusal> {
        let directory = self.directory.lock();
        let verifier = directory.verifier.clone().ok_or(Refusal::NotReady)?;
        let now_s = directory.wall.seconds(now);
        // Two signatures take a while; frames' parties are not behind this lock, but other hellos are.
        drop(directory);
        proven(&verifier, &self.id, hello, exported, now_s)
    }

    /// Frees a seat and everything the directory knows of it.
    fn stand_up(
        &self,
        directory: &mut Directory<P>,
        seats: &mut Party<P>,
        member: MemberId,
        reason: DropReason,
    ) -> Option<P> {
        let (seat, waited) = seats.stand_up(member)?;
        self.shared.counters.count_drops(reason, waited);
        directory.sessions -= 1;
        directory.expiries.remove(&(seat.expires_at, seat.session));
        Some(seat.port)
    }
}

impl<P: Clone> Directory<P> {
    fn check(&self, claims: &RelayClaims) -> Result<(), Refusal> {
        if self.draining {
            return Err(Refusal::Draining);
        }
        if !self.revocations.admits(claims.party, claims.epoch) {
            return Err(Refusal::OldEpoch);
        }
        Ok(())
    }

    fn forget_if_empty(&mut self, id: PartyId, seats: &Party<P>) {
        if seats.is_empty() {
            self.parties.remove(&id);
        }
    }
}
