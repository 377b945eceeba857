//! A relay with a control server that signs what it is told to, under virtual time.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use lanrage_shared::api::relay::Revocation;
use lanrage_shared::ids::{DeviceKey, IdentityKey, MemberId, PartyId, RelayId};
use lanrage_shared::keys::IdentitySecret;
use lanrage_shared::token::{Claims, RelayClaims, TokenSigner};
use lanrage_shared::wire::relay::{Frame, Hello, hello_proof};
use uuid::Uuid;

use super::{Admitted, Delivery, DropReason, Limits, Refusal, Relay, Session, Verdict};

/// Ports are (party, member): what a delivery must agree with.
pub(super) type Port = (PartyId, MemberId);

/// The time of day at the start, in Unix seconds.
pub(super) const START_S: u64 = 1_000_000;
pub(super) const EXPORTED: [u8; 32] = [9; 32];

pub(super) struct World {
    pub(super) relay: Relay<Port>,
    pub(super) now: Instant,
    signer: TokenSigner,
}

pub(super) fn party(number: u128) -> PartyId {
    PartyId(Uuid::from_u128(number))
}

/// Every member has a key of its own, the same in every party.
pub(super) fn identity(member: u16) -> IdentitySecret {
    let mut secret = [7; 32];
    secret[..2].copy_from_slice(&member.to_be_bytes());
    IdentitySecret::from_bytes(secret)
}

pub(super) fn claims(party: PartyId, member: u16) -> RelayClaims {
    RelayClaims {
        aud: RelayClaims::AUDIENCE.into(),
        relay: relay_id("fra-1"),
        party,
        member: MemberId(member),
        identity_key: identity(member).public(),
        device_key: DeviceKey([1; 32]),
        epoch: 1,
        iat: START_S,
        exp: START_S + 3600,
    }
}

pub(super) fn relay_id(text: &str) -> RelayId {
    text.parse().unwrap()
}

pub(super) fn data(to: u16, payload: &[u8]) -> Bytes {
    let mut bytes = Vec::new();
    Frame::data(MemberId(to), payload).write(&mut bytes);
    bytes.into()
}

pub(super) fn removal(seq: u64, party: PartyId, epoch: u32, members: &[u16]) -> Revocation {
    Revocation {
        seq,
        party,
        epoch,
        removed: members.iter().map(|member| identity(*member).public()).collect(),
    }
}

impl World {
    pub(super) fn new(limits: Limits) -> Self {
        let now = Instant::now();
        let key = SigningKey::from_bytes(&[1; 32]);
        let relay = Relay::new(relay_id("fra-1"), limits, now, START_S * 1000);
        relay.set_token_key(&IdentityKey(key.verifying_key().to_bytes()));
        Self {
            relay,
            now,
            signer: TokenSigner::from_pkcs8_der(key.to_pkcs8_der().unwrap().as_bytes()),
        }
    }

    pub(super) fn hello(&self, claims: &RelayClaims) -> Hello {
        self.hello_of(claims, &identity(claims.member.0), &EXPORTED)
    }

    pub(super) fn hello_of(&self, claims: &RelayClaims, signer: &IdentitySecret, exported: &[u8; 32]) -> Hello {
        let token = self.signer.sign(claims).unwrap();
        let signature = signer.sign(&hello_proof(exported, &token));
        Hello { token, signature }
    }

    pub(super) fn try_admit(&self, claims: &RelayClaims) -> Result<Admitted<Port>, Refusal> {
        let port = (claims.party, claims.member);
        self.relay.admit(&self.hello(claims), &EXPORTED, port, self.now)
    }

    pub(super) fn sit(&self, party: PartyId, member: u16) -> Session<Port> {
        self.try_admit(&claims(party, member)).unwrap().session
    }

    /// Sends a frame; gives who it was passed on to at once.
    pub(super) fn send(&self, from: &Session<Port>, to: u16, payload: &[u8]) -> Option<Delivery<Port>> {
        match from.handle_frame(data(to, payload), self.now) {
            Verdict::Pass(delivery) => Some(delivery),
            _ => None,
        }
    }

    /// Sends a frame that is dropped; says why and whether the sender is told.
    pub(super) fn send_dropped(&self, from: &Session<Port>, to: u16) -> (DropReason, bool) {
        match from.handle_frame(data(to, b"x"), self.now) {
            Verdict::Drop { reason, notice } => (reason, notice.is_some()),
            verdict => panic!("{verdict:?}"),
        }
    }

    pub(super) fn egress(&self) -> Vec<Delivery<Port>> {
        let mut out = Vec::new();
        self.relay.handle_egress(self.now, &mut out);
        out
    }

    pub(super) fn pass(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
    }
}
