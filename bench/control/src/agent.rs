//! An agent as the server knows it: keys, a token, a party.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use data_encoding::BASE64URL_NOPAD;
use futures_util::{SinkExt, StreamExt};
use hyper::StatusCode;
use lanrage_shared::api::auth::{Challenge, ChallengeRequest, TokenRequest, TokenResponse};
use lanrage_shared::api::invite::{NewInvite, RedeemInvite};
use lanrage_shared::api::party::{CreateParty, Joined};
use lanrage_shared::ids::{DeviceId, PartyId, Pin};
use lanrage_shared::invite::{CODE_ENTROPY, InviteCode};
use lanrage_shared::keys::{DeviceSecret, IdentitySecret, PartySecret, token_proof};
use lanrage_shared::seal::NONCE_LEN;
use lanrage_shared::stream::{ClientMessage, ServerMessage};
use tokio_tungstenite::tungstenite::Message;

use crate::http::{Connection, Refusal, Socket, Target};

/// Agents that share an address. The server lets one have 128 connections, and after a restart it still has some of those that
/// agents have given up on.
const AGENTS_PER_ADDRESS: u32 = 50;
/// What a party is called, and all its members.
const NAME: &str = "bench";

/// One installation of the agent. Its keys follow from its number.
pub struct Agent {
    number: u32,
    identity: IdentitySecret,
    secret: DeviceSecret,
    /// Empty until it has signed in.
    pub token: String,
    party: Option<PartyId>,
    /// Number of the last event it knows.
    seq: Option<u64>,
}

impl Agent {
    pub fn new(number: u32) -> Self {
        let mut seed = [1; 32];
        seed[..4].copy_from_slice(&number.to_be_bytes());
        Self {
            number,
            identity: IdentitySecret::from_bytes(seed),
            secret: DeviceSecret::from_bytes(seed.map(|byte| byte ^ 0x55)),
            token: String::new(),
            party: None,
            seq: None,
        }
    }

    /// The party it founded or joined.
    pub fn party(&self) -> Option<PartyId> {
        self.party
    }

    pub fn device(&self) -> DeviceId {
        self.identity.device_id()
    }

    /// Where its connections come from: an address of its own for every fifty agents.
    pub fn source(&self) -> Ipv4Addr {
        source(self.number / AGENTS_PER_ADDRESS)
    }

    pub async fn sign_in(&mut self, connection: &mut Connection, pin: Pin) -> Result<()> {
        let identity_key = self.identity.public();
        let request = ChallengeRequest { identity_key };
        let Challenge { nonce, .. } = connection.post("/v1/auth/challenge", "", &request).await?;
        let device_key = self.secret.public();
        let signature = self.identity.sign(&token_proof(&pin, &nonce, &device_key));
        let proof = TokenRequest {
            identity_key,
            device_key,
            nonce,
            signature,
        };
        let answer: TokenResponse = connection.post("/v1/auth/token", "", &proof).await?;
        self.token = answer.token;
        Ok(())
    }

    /// Makes a party that the agent's own code admits to.
    pub async fn found(&mut self, connection: &mut Connection) -> Result<InviteCode> {
        let mut entropy = [2; CODE_ENTROPY];
        entropy[..4].copy_from_slice(&self.number.to_be_bytes());
        let code = InviteCode::from_entropy(entropy);
        let sealed = code.seal(&PartySecret::from_bytes([7; 32]), [9; NONCE_LEN]);
        let request = CreateParty {
            name: NAME.parse()?,
            member_name: NAME.parse()?,
            persistent: false,
            max_members: None,
            lans: Vec::new(),
            invite: NewInvite {
                auth_hash: BASE64URL_NOPAD.encode(&code.auth().hash()),
                sealed_secret: BASE64URL_NOPAD.encode(&sealed),
                secret_epoch: None,
                expires_in_s: 3600,
                max_uses: None,
            },
        };
        let joined: Joined = connection.post("/v1/parties", &self.token, &request).await?;
        self.party = Some(joined.party.id);
        Ok(code)
    }

    pub async fn join(&mut self, connection: &mut Connection, code: &InviteCode) -> Result<()> {
        let request = RedeemInvite {
            auth: code.auth(),
            member_name: NAME.parse()?,
            lans: Vec::new(),
        };
        let joined: Joined = connection.post("/v1/invites/redeem", &self.token, &request).await?;
        self.party = Some(joined.party.id);
        Ok(())
    }

    /// Opens the stream on a connection of its own, and waits until the server has said all that a beginning takes.
    pub async fn open_stream(&mut self, target: &Target) -> Result<Socket> {
        let mut connection = target.connect(self.source()).await?;
        if self.token.is_empty() {
            self.sign_in(&mut connection, target.pin).await?;
        }
        let socket = connection.upgrade("/v1/stream", &self.token).await;
        let refused = |error: &Refusal| matches!(error, Refusal::Status(StatusCode::UNAUTHORIZED, _));
        if socket.as_ref().is_err_and(refused) {
            self.token.clear();
        }
        let mut socket = socket?;
        let hello = ClientMessage::Hello {
            party: self.party.context("an agent with a stream has a party")?,
            since: self.seq,
            secret_epoch: 1,
        };
        socket.send(Message::text(hello.to_text())).await.map_err(ended)?;
        loop {
            let message = socket.next().await.context(Refusal::Broken("it hung up".into()))?;
            let Message::Text(text) = message.map_err(ended)? else {
                continue;
            };
            match ServerMessage::parse(&text)? {
                ServerMessage::Snapshot { seq, .. } => {
                    self.seq = Some(seq);
                    return Ok(socket);
                }
                // What was missed follows, if anything was: it began.
                ServerMessage::Welcome { .. } if self.seq.is_some() => return Ok(socket),
                ServerMessage::Bye { error, .. } => {
                    return Err(Refusal::Broken(format!("bye: {:?}", error.code)).into());
                }
                _ => {}
            }
        }
    }
}

/// One of the many addresses a Linux machine has on loopback.
pub fn source(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(127, 1, 0, 1).to_bits() + number)
}

fn ended(_: tokio_tungstenite::tungstenite::Error) -> Refusal {
    Refusal::Broken("it hung up".into())
}
