//! The agent's end of the control stream.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use lanrage_shared::api::error::ErrorCode;
use lanrage_shared::api::party::Party;
use lanrage_shared::api::relay::Relay;
use lanrage_shared::api::secret::SealedSecret;
use lanrage_shared::ids::{MemberId, PartyId};
use lanrage_shared::stream::{ClientMessage, PartyEvent, ServerMessage};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::{Device, PATIENCE, connect};

pub struct Stream {
    socket: WebSocketStream<TlsStream<TcpStream>>,
    /// Every text that came in.
    pub heard: Vec<String>,
}

impl Stream {
    /// A connection that has not said hello.
    pub async fn connect(device: &Device) -> Self {
        let tls = connect(device.target).await.unwrap();
        let mut request = "wss://server/v1/stream".into_client_request().unwrap();
        let bearer = format!("Bearer {}", device.token).parse().unwrap();
        request.headers_mut().insert("authorization", bearer);
        let (socket, _) = tokio_tungstenite::client_async(request, tls).await.unwrap();
        Self {
            socket,
            heard: Vec::new(),
        }
    }

    pub async fn open(device: &Device, party: PartyId, since: Option<u64>, secret_epoch: u32) -> Self {
        let mut stream = Self::connect(device).await;
        let hello = ClientMessage::Hello {
            party,
            since,
            secret_epoch,
        };
        stream.say(&hello).await;
        stream
    }

    pub async fn say(&mut self, message: &ClientMessage) {
        self.say_text(&message.to_text()).await;
    }

    /// As [`Stream::say`], also when the server may have closed.
    pub async fn try_say(&mut self, message: &ClientMessage) {
        let _ = self.socket.send(Message::text(message.to_text())).await;
    }

    pub async fn say_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    pub async fn ping(&mut self) {
        self.socket.send(Message::Ping(Default::default())).await.unwrap();
    }

    pub async fn signal(&mut self, to: MemberId, sealed: &str) {
        let sealed = sealed.to_owned();
        self.say(&ClientMessage::Signal { to, sealed }).await;
    }

    /// The next message; none when the server has closed.
    pub async fn try_next(&mut self) -> Option<ServerMessage> {
        // Over all its frames: the server's pings are no message.
        let text = timeout(PATIENCE, async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Text(text))) => return Some(text),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                    Some(Ok(_)) => {}
                }
            }
        });
        let text = text.await.expect("a message comes in time")?;
        self.heard.push(text.to_string());
        Some(ServerMessage::parse(&text).unwrap())
    }

    /// Answers the server's pings for a while, as an agent does all the time; whatever else comes is skipped.
    pub async fn stay(&mut self, during: Duration) {
        let staying = async { while let Some(Ok(_)) = self.socket.next().await {} };
        assert!(timeout(during, staying).await.is_err(), "the stream is open");
    }

    pub async fn next(&mut self) -> ServerMessage {
        self.try_next().await.expect("the stream is open")
    }

    /// Skips to the next message that `wanted` takes.
    pub async fn find<T>(&mut self, mut wanted: impl FnMut(ServerMessage) -> Option<T>) -> T {
        loop {
            if let Some(found) = wanted(self.next().await) {
                return found;
            }
        }
    }

    pub async fn welcome(&mut self) -> MemberId {
        match self.next().await {
            ServerMessage::Welcome { me, .. } => me,
            other => panic!("not a welcome: {other:?}"),
        }
    }

    pub async fn snapshot(&mut self) -> (u64, Party) {
        match self.next().await {
            ServerMessage::Snapshot { seq, party, .. } => (seq, party),
            other => panic!("not a snapshot: {other:?}"),
        }
    }

    /// The secrets of a snapshot, which must be next.
    pub async fn secrets(&mut self) -> Vec<SealedSecret> {
        match self.next().await {
            ServerMessage::Snapshot { secrets, .. } => secrets,
            other => panic!("not a snapshot: {other:?}"),
        }
    }

    /// Skips to the next change of the party's secret.
    pub async fn new_secret(&mut self) -> (u32, Vec<SealedSecret>) {
        self.find(|message| match message {
            ServerMessage::Event {
                event: PartyEvent::SecretChanged { epoch, secrets },
                ..
            } => Some((epoch, secrets)),
            _ => None,
        })
        .await
    }

    /// Skips to the next news of the operator's services.
    pub async fn relays(&mut self) -> Vec<Relay> {
        self.find(|message| match message {
            ServerMessage::Services { services } => Some(services.relays),
            _ => None,
        })
        .await
    }

    pub async fn event(&mut self) -> (u64, PartyEvent) {
        self.find(|message| match message {
            ServerMessage::Event { seq, event } => Some((seq, event)),
            _ => None,
        })
        .await
    }

    pub async fn incoming_signal(&mut self) -> (MemberId, String) {
        self.find(|message| match message {
            ServerMessage::Signal { from, sealed } => Some((from, sealed)),
            _ => None,
        })
        .await
    }

    /// Skips to whether a member is online.
    pub async fn presence_of(&mut self, wanted: MemberId) -> bool {
        self.find(|message| match message {
            ServerMessage::Presence { member, online, .. } if member == wanted => Some(online),
            _ => None,
        })
        .await
    }

    pub async fn refusal(&mut self) -> ErrorCode {
        self.find(|message| match message {
            ServerMessage::Refused { error } => Some(error.code),
            _ => None,
        })
        .await
    }

    /// Skips to the server's parting words, after which it closes.
    pub async fn bye(&mut self) -> (ErrorCode, bool) {
        let words = self
            .find(|message| match message {
                ServerMessage::Bye { error, retry } => Some((error.code, retry)),
                _ => None,
            })
            .await;
        assert_eq!(self.try_next().await, None);
        words
    }
}
