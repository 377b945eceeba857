//! A relay: the real rules, and the transport around them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use lanrage_relay_core::relay::{Limits, Refusal, Relay, Session, Verdict};
use lanrage_shared::api::relay::{RELAY_TOKEN_LIFETIME_S, Revocation};
use lanrage_shared::ids::{DeviceKey, IdentityKey, MemberId, PartyId, Pin, RelayId};
use lanrage_shared::keys::IdentitySecret;
use lanrage_shared::token::{Claims, RelayClaims, TokenSigner};
use lanrage_shared::wire::relay::{Hello, hello_proof};

/// What the transport agreed on; the same for everybody, because it is not what is tested here.
const EXPORTED: [u8; 32] = [9; 32];

/// A PC's connection: the PC, and which of its connections.
pub type Port = (usize, u64);

/// Makes tokens, as the control server does.
pub struct Tokens {
    key: SigningKey,
    signer: TokenSigner,
}

impl Tokens {
    pub fn new() -> Self {
        let key = SigningKey::from_bytes(&[1; 32]);
        #[expect(clippy::expect_used, reason = "a key that was just made can be written down")]
        let der = key.to_pkcs8_der().expect("a key");
        let signer = TokenSigner::from_pkcs8_der(der.as_bytes());
        Self { key, signer }
    }

    fn public(&self) -> IdentityKey {
        IdentityKey(self.key.verifying_key().to_bytes())
    }

    /// A member's token for a relay.
    pub fn token(&self, relay: &RelayId, party: PartyId, holder: &Holder<'_>, now_s: u64) -> String {
        let claims = RelayClaims {
            aud: RelayClaims::AUDIENCE.into(),
            relay: relay.clone(),
            party,
            member: holder.member,
            identity_key: holder.identity.public(),
            device_key: holder.device_key,
            epoch: holder.epoch,
            iat: now_s,
            exp: now_s + RELAY_TOKEN_LIFETIME_S,
        };
        #[expect(clippy::expect_used, reason = "plain claims can be signed")]
        self.signer.sign(&claims).expect("a token")
    }
}

/// Whom a token is for.
pub struct Holder<'a> {
    pub member: MemberId,
    pub identity: &'a IdentitySecret,
    pub device_key: DeviceKey,
    pub epoch: u32,
}

pub struct SimRelay {
    pub id: RelayId,
    /// One way from the internet's edge.
    pub delay: Duration,
    /// None while it does not run.
    core: Option<Relay<Port>>,
    sessions: BTreeMap<Port, Session<Port>>,
    revocations: Vec<Revocation>,
}

/// What comes out of a relay.
pub struct Out {
    pub port: Port,
    pub frame: Bytes,
}

impl SimRelay {
    pub fn new(index: usize, delay_ms: u16) -> Self {
        #[expect(clippy::expect_used, reason = "a number makes a name")]
        let id = format!("relay-{index}").parse().expect("a relay's name");
        Self {
            id,
            delay: Duration::from_millis(delay_ms.into()),
            core: None,
            sessions: BTreeMap::new(),
            revocations: Vec::new(),
        }
    }

    /// As members see it.
    pub fn offer(&self) -> lanrage_shared::api::relay::Relay {
        lanrage_shared::api::relay::Relay {
            id: self.id.clone(),
            region: String::new(),
            host: None,
            port: 4443,
            pin: Pin([0; 32]),
            load: 0,
        }
    }

    pub fn is_up(&self) -> bool {
        self.core.is_some()
    }

    pub fn start(&mut self, tokens: &Tokens, now: Instant, unix_ms: u64) {
        let core = Relay::new(self.id.clone(), Limits::default(), now, unix_ms);
        core.set_token_key(&tokens.public());
        for revocation in &self.revocations {
            core.apply(revocation, now);
        }
        self.core = Some(core);
    }

    /// It ends; gives whose connections did.
    pub fn stop(&mut self) -> Vec<Port> {
        self.core = None;
        std::mem::take(&mut self.sessions).into_keys().collect()
    }

    pub fn admit(
        &mut self,
        token: &str,
        identity: &IdentitySecret,
        port: Port,
        now: Instant,
    ) -> Result<(), Option<Refusal>> {
        let core = self.core.as_ref().ok_or(None)?;
        let hello = Hello {
            token: token.to_owned(),
            signature: identity.sign(&hello_proof(&EXPORTED, token)),
        };
        let admitted = core.admit(&hello, &EXPORTED, port, now).map_err(Some)?;
        if let Some(replaced) = admitted.replaced {
            self.sessions.remove(&replaced);
        }
        self.sessions.insert(port, admitted.session);
        Ok(())
    }

    /// A connection is over.
    pub fn leave(&mut self, port: Port) {
        if let (Some(core), Some(session)) = (&self.core, self.sessions.remove(&port)) {
            core.leave(&session);
        }
    }

    pub fn has(&self, port: Port) -> bool {
        self.sessions.contains_key(&port)
    }

    /// Gives whose connections end.
    pub fn revoke(&mut self, revocation: Revocation, now: Instant) -> Vec<Port> {
        let ended = self.core.as_ref().map(|core| core.apply(&revocation, now));
        self.revocations.push(revocation);
        let ports: Vec<Port> = ended.into_iter().flatten().map(|ended| ended.port).collect();
        for port in &ports {
            self.sessions.remove(port);
        }
        ports
    }

    /// A frame came from a member.
    pub fn handle_frame(&self, port: Port, frame: Bytes, now: Instant) -> Option<Out> {
        match self.sessions.get(&port)?.handle_frame(frame, now) {
            Verdict::Pass(delivery) => Some(Out {
                port: delivery.port,
                frame: delivery.frame,
            }),
            Verdict::Drop { notice, .. } => notice.map(|frame| Out { port, frame }),
            Verdict::Wait { .. } => None,
        }
    }
}
