//! As much of a TURN client (RFC 8656) as one channel needs: Allocate and ChannelBind, with long-term credentials.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use stun_types::attribute::{Nonce, Realm, Username};
use stun_types::message::{
    BINDING, IntegrityAlgorithm, LongTermCredentials, LongTermKeyCredentials, Message, MessageClass, MessageWriteVec,
    TransactionId,
};
use stun_types::prelude::*;
use tokio::time::timeout;
use turn_types::attribute::{ChannelNumber, RequestedTransport, XorPeerAddress};
use turn_types::message::{ALLOCATE, CHANNEL_BIND};

/// The channel of every client; the lowest there is (RFC 8656 §12).
const CHANNEL: u16 = 0x4000;
/// An answer over loopback takes less than a millisecond; one that takes this long will not come.
const RESEND_AFTER: Duration = Duration::from_millis(500);
/// How often a request is sent at most. A server that starts takes a second or two to answer.
const ATTEMPTS: u32 = 20;
/// Longest answer taken.
const LONGEST: usize = 2048;

/// Who may allocate.
pub const USER: &str = "bench";
pub const PASSWORD: &str = "bench";
pub const REALM: &str = "bench.invalid";

/// A client of a TURN server.
pub struct Client {
    socket: tokio::net::UdpSocket,
    /// What the server wants to see with every request once it said so.
    login: Option<(LongTermKeyCredentials, Nonce)>,
}

impl Client {
    /// One that has said nothing yet.
    pub fn new(socket: UdpSocket, server: SocketAddr) -> Result<Self> {
        socket.connect(server)?;
        Ok(Self {
            socket: tokio::net::UdpSocket::from_std(socket)?,
            login: None,
        })
    }

    /// Waits until the server answers a Binding request.
    pub async fn wait_for_server(&mut self) -> Result<()> {
        let request = Message::builder_request(BINDING, MessageWriteVec::new());
        let answer = self.ask(&request.finish()).await?;
        ensure!(Message::from_bytes(&answer)?.has_class(MessageClass::Success));
        Ok(())
    }

    /// Opens a channel to `peer`: gives the socket, and what to put before every payload of `size` bytes.
    pub async fn open_channel(mut self, peer: SocketAddr, size: u16) -> Result<(UdpSocket, [u8; 4])> {
        self.log_in().await?;
        let mut allocate = Message::builder_request(ALLOCATE, MessageWriteVec::new());
        allocate.add_attribute(&RequestedTransport::new(RequestedTransport::UDP))?;
        self.ask_as_user(allocate).await.context("Allocate")?;
        // It brings the permission for the peer with it.
        let mut bind = Message::builder_request(CHANNEL_BIND, MessageWriteVec::new());
        bind.add_attribute(&ChannelNumber::new(CHANNEL))?;
        let transaction = bind.transaction_id();
        bind.add_attribute(&XorPeerAddress::new(peer, transaction))?;
        self.ask_as_user(bind).await.context("ChannelBind")?;
        let [channel, length] = [CHANNEL.to_be_bytes(), size.to_be_bytes()];
        let header = [channel[0], channel[1], length[0], length[1]];
        Ok((self.socket.into_std()?, header))
    }

    /// Asks without credentials; the refusal names the realm and a nonce (RFC 8489 §9.2.3.1).
    async fn log_in(&mut self) -> Result<()> {
        let mut allocate = Message::builder_request(ALLOCATE, MessageWriteVec::new());
        allocate.add_attribute(&RequestedTransport::new(RequestedTransport::UDP))?;
        let answer = self.ask(&allocate.finish()).await?;
        let answer = Message::from_bytes(&answer)?;
        let realm = answer.attribute::<Realm>().context("the refusal names no realm")?;
        let nonce = answer.attribute::<Nonce>().context("the refusal has no nonce")?;
        let key = LongTermCredentials::new(USER.into(), PASSWORD.into()).to_key(realm.realm().into());
        self.login = Some((key, nonce));
        Ok(())
    }

    async fn ask_as_user(&self, mut request: MessageWriteVec) -> Result<()> {
        let (key, nonce) = self.login.as_ref().context("not logged in")?;
        request.add_attribute(&Username::new(key.username())?)?;
        request.add_attribute(&Realm::new(key.realm())?)?;
        request.add_attribute(nonce)?;
        request.add_message_integrity(&key.clone().into(), IntegrityAlgorithm::Sha1)?;
        let answer = self.ask(&request.finish()).await?;
        let answer = Message::from_bytes(&answer)?;
        ensure!(answer.has_class(MessageClass::Success), "refused: {answer}");
        Ok(())
    }

    /// The answer to a request, which is repeated until there is one.
    async fn ask(&self, request: &[u8]) -> Result<Vec<u8>> {
        let asked: TransactionId = Message::from_bytes(request)?.transaction_id();
        for _ in 0..ATTEMPTS {
            // Both fail while nobody listens at the port yet.
            let _ = self.socket.send(request).await;
            let mut answer = vec![0; LONGEST];
            if let Ok(Ok(length)) = timeout(RESEND_AFTER, self.socket.recv(&mut answer)).await {
                answer.truncate(length);
                if Message::from_bytes(&answer).is_ok_and(|answer| answer.transaction_id() == asked) {
                    return Ok(answer);
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("the TURN server does not answer")
    }
}
