//! A relay, and members who connect to it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use lanrage_relay::relay::{RelayHandle, RelayServer, RelaySettings};
use lanrage_relay_client::{
    ConnectError, Connected, Credentials, Event, RelayEndpoint, Target, Transport, connect_tcp,
};
use lanrage_relay_core::relay::Limits;
use lanrage_shared::api::error::ApiError;
use lanrage_shared::api::relay::Revocation;
use lanrage_shared::ids::{DeviceKey, IdentityKey, MemberId, PartyId, Pin};
use lanrage_shared::keys::IdentitySecret;
use lanrage_shared::token::{Claims, RelayClaims, TokenSigner};
use lanrage_tls::identity::ServerIdentity;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Longer than anything takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(10);
pub const BOTH: [Transport; 2] = [Transport::Quic, Transport::Tcp];

/// A relay that runs.
pub struct TestRelay {
    pub handle: RelayHandle,
    pub target: Target,
    signer: TokenSigner,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

pub fn party(number: u128) -> PartyId {
    PartyId(Uuid::from_u128(number))
}

/// Every member has a key of its own, the same in every party.
pub fn identity(member: u16) -> Arc<IdentitySecret> {
    let mut secret = [5; 32];
    secret[..2].copy_from_slice(&member.to_be_bytes());
    Arc::new(IdentitySecret::from_bytes(secret))
}

pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub fn removal(party: PartyId, epoch: u32, members: &[u16]) -> Revocation {
    Revocation {
        seq: u64::from(epoch),
        party,
        epoch,
        removed: members.iter().map(|member| identity(*member).public()).collect(),
    }
}

impl TestRelay {
    pub async fn start() -> Self {
        Self::with_limits(Limits::default()).await
    }

    pub async fn with_limits(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server_identity = ServerIdentity::open(dir.path()).unwrap();
        let settings = RelaySettings {
            id: "fra-1".parse().unwrap(),
            listen_addresses: vec![Ipv4Addr::LOCALHOST.into()],
            port: 0,
            limits,
        };
        let server = RelayServer::bind(settings, &server_identity).unwrap();
        let key = SigningKey::from_bytes(&[3; 32]);
        let handle = server.handle();
        handle.set_token_key(&IdentityKey(key.verifying_key().to_bytes()));
        let stop = CancellationToken::new();
        Self {
            target: Target {
                address: SocketAddr::from((Ipv4Addr::LOCALHOST, server.port())),
                pin: server_identity.pin,
            },
            handle,
            signer: TokenSigner::from_pkcs8_der(key.to_pkcs8_der().unwrap().as_bytes()),
            running: tokio::spawn(server.run(stop.clone())),
            stop,
        }
    }

    pub fn claims(&self, party: PartyId, member: u16) -> RelayClaims {
        RelayClaims {
            aud: RelayClaims::AUDIENCE.into(),
            relay: self.handle.id().clone(),
            party,
            member: MemberId(member),
            identity_key: identity(member).public(),
            device_key: DeviceKey([1; 32]),
            epoch: 1,
            iat: now_s(),
            exp: now_s() + 600,
        }
    }

    pub fn credentials(&self, claims: &RelayClaims) -> Credentials {
        Credentials {
            token: self.signer.sign(claims).unwrap(),
            identity: identity(claims.member.0),
        }
    }

    pub async fn connect(&self, transport: Transport, credentials: &Credentials) -> Result<Connected, ConnectError> {
        self.connect_pinned(transport, credentials, self.target.pin).await
    }

    pub async fn connect_pinned(
        &self,
        transport: Transport,
        credentials: &Credentials,
        pin: Pin,
    ) -> Result<Connected, ConnectError> {
        let target = Target { pin, ..self.target };
        match transport {
            Transport::Quic => endpoint().connect(target, credentials).await,
            Transport::Tcp => connect_tcp(target, credentials).await,
        }
    }

    /// A member that is connected.
    pub async fn member(&self, transport: Transport, party: PartyId, member: u16) -> Member {
        let credentials = self.credentials(&self.claims(party, member));
        Member(self.connect(transport, &credentials).await.unwrap())
    }

    /// Stops it as SIGTERM does.
    pub async fn stop(self) {
        self.stop.cancel();
        self.running.await.unwrap();
    }
}

pub fn endpoint() -> RelayEndpoint {
    RelayEndpoint::bind((Ipv4Addr::LOCALHOST, 0).into(), Duration::from_secs(5)).unwrap()
}

/// A connected member.
pub struct Member(pub Connected);

impl Member {
    pub fn send(&self, to: u16, payload: &[u8]) {
        self.0.sender.send(MemberId(to), payload).unwrap();
    }

    pub async fn event(&mut self) -> Event {
        timeout(PATIENCE, self.0.events.next()).await.expect("an event in time")
    }

    /// Why the relay ends the session; packets may come before.
    pub async fn ended(&mut self) -> ApiError {
        loop {
            match self.event().await {
                Event::Ended(error) => return error,
                Event::Packet { .. } => {}
                event => panic!("{event:?}"),
            }
        }
    }

    /// The next packet; other events are an error.
    pub async fn packet(&mut self) -> (u16, Bytes) {
        match self.event().await {
            Event::Packet { from, payload } => (from.0, payload),
            event => panic!("{event:?}"),
        }
    }

    /// Sends until an answer arrives: the way from here to `other` and its end work.
    pub async fn reaches(&self, other: &mut Member, to: u16, payload: &'static [u8]) {
        self.send(to, payload);
        assert_eq!(other.packet().await.1, Bytes::from_static(payload));
    }
}

/// Waits until a condition holds.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let holding = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, holding).await.unwrap_or_else(|_| panic!("{what}"));
}
