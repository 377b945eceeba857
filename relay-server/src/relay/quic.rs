//! Members over QUIC.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lanrage_relay_client::control;
use lanrage_shared::api::error::ApiError;
use lanrage_shared::wire::relay::{EXPORTER_LABEL, FromRelay, Hello, ToRelay};
use quinn::{Connection, Incoming, RecvStream, SendStream, VarInt};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::gate::Place;
use super::handshakes::Outcome;
use super::hub::{HELLO_TIMEOUT, Hub, Seated};
use super::port::{CONTROL_QUEUE, Link, Port};

/// How long the reason for an end may take to reach the member.
const GOODBYE: Duration = Duration::from_millis(500);

/// A connection that has said hello.
struct Greeted {
    connection: Connection,
    exported: [u8; 32],
    send: SendStream,
    receive: RecvStream,
    hello: Hello,
}

/// Accepts connections until `stop`.
pub(super) async fn accept(endpoint: quinn::Endpoint, hub: Arc<Hub>, tasks: TaskTracker, stop: CancellationToken) {
    while let Some(Some(incoming)) = stop.run_until_cancelled(endpoint.accept()).await {
        if !incoming.remote_address_validated() {
            // Whoever is new proves its address first (RFC 9000 §8.1.2): a round trip, once, and then no forged address can make
            // this relay send more than it got, sign anything, or take a place. The client's library answers from a token later.
            hub.handshakes.count(Outcome::Retried);
            // It may retry: its address is not validated.
            let _ = incoming.retry();
            continue;
        }
        match hub.gate.enter(incoming.remote_address().ip(), Instant::now()) {
            Some(place) => {
                tasks.spawn(serve(incoming, place, Arc::clone(&hub)));
            }
            None => {
                hub.handshakes.count(Outcome::TurnedAway);
                // Without a word: the address may be somebody else's.
                incoming.ignore();
            }
        }
    }
}

async fn serve(incoming: Incoming, place: Place, hub: Arc<Hub>) {
    let Greeted {
        connection,
        exported,
        mut send,
        receive,
        hello,
    } = match timeout(HELLO_TIMEOUT, greet(incoming)).await {
        Ok(Some(greeted)) => greeted,
        Ok(None) | Err(_) => return hub.handshakes.count(Outcome::Failed),
    };
    let (control, to_say) = mpsc::channel(CONTROL_QUEUE);
    let link = Link::Quic(connection.clone());
    let port = Arc::new(Port::new(link, control, hub.relay.counters()));
    let seated = match hub.admit(&hello, &exported, &port) {
        Ok(admitted) => admitted,
        Err(refusal) => {
            goodbye(&connection, &mut send, refusal.to_api_error()).await;
            return drop(place);
        }
    };
    drop(place);
    let session = seated.session.clone();
    let side = tokio::spawn(attend(
        Attended {
            connection: connection.clone(),
            exported,
            send,
            receive,
            to_say,
            seated,
        },
        Arc::clone(&hub),
    ));
    // Alone in its task: a frame wakes this and nothing else. What ends the session closes the connection.
    while let Ok(frame) = connection.read_datagram().await {
        hub.handle_frame(&session, &port, frame);
    }
    port.hung_up();
    // It has nothing to give; a panic in it has been reported.
    let _ = side.await;
}

/// What a session needs beside its frames.
struct Attended {
    connection: Connection,
    exported: [u8; 32],
    send: SendStream,
    receive: RecvStream,
    to_say: mpsc::Receiver<FromRelay>,
    seated: Seated,
}

/// Keeps the control channel and pumps what waits, until either side ends the session.
async fn attend(attended: Attended, hub: Arc<Hub>) {
    let Attended {
        connection,
        exported,
        mut send,
        receive,
        to_say,
        seated,
    } = attended;
    let goodbye_for = tokio::select! {
        reason = seated.port.ended() => reason,
        () = seated.port.pump(&hub.egress) => None,
        () = say(&mut send, to_say) => None,
        () = listen(receive, &exported, &hub, &seated) => None,
    };
    // The seat is free before the goodbye: nothing is passed on meanwhile.
    drop(seated);
    match goodbye_for {
        Some(reason) => goodbye(&connection, &mut send, reason).await,
        None => connection.close(VarInt::from_u32(0), b""),
    }
}

/// The handshake and the hello; none when either is not as it should be.
async fn greet(incoming: Incoming) -> Option<Greeted> {
    let connection = incoming
        .await
        .inspect_err(|error| tracing::debug!(%error, "a QUIC handshake failed"))
        .ok()?;
    let mut exported = [0; 32];
    connection
        .export_keying_material(&mut exported, EXPORTER_LABEL, b"")
        .ok()?;
    let hello = async {
        let (send, mut receive) = connection.accept_bi().await.ok()?;
        let hello = control::read(&mut receive)
            .await
            .inspect_err(|error| tracing::debug!(%error, "a stranger did not say hello"))
            .ok()??;
        Some((send, receive, hello))
    };
    // Frames before the hello are nobody's, and must not fill the memory.
    let early = async { while connection.read_datagram().await.is_ok() {} };
    let (send, receive, hello) = tokio::select! {
        hello = hello => hello?,
        () = early => return None,
    };
    Some(Greeted {
        connection,
        exported,
        send,
        receive,
        hello,
    })
}

/// Writes control messages as they come.
async fn say(send: &mut SendStream, mut messages: mpsc::Receiver<FromRelay>) {
    while let Some(message) = messages.recv().await {
        if control::write(send, &message).await.is_err() {
            return;
        }
    }
}

/// Reads control messages. A member that breaks the channel's rules is no member any more.
async fn listen(mut receive: RecvStream, exported: &[u8; 32], hub: &Hub, seated: &Seated) {
    loop {
        match control::read::<ToRelay>(&mut receive).await {
            Ok(Some(message)) => hub.handle_control(&message, exported, seated),
            Ok(None) => return std::future::pending().await,
            Err(error) => {
                let ended = || tracing::debug!(%error, "a member's control channel ended");
                return seated.span.in_scope(ended);
            }
        }
    }
}

/// Tells a member why, on the control channel and, should that not get through in time, with the last packet.
async fn goodbye(connection: &Connection, send: &mut SendStream, error: ApiError) {
    let reason = serde_json::to_vec(&error).unwrap_or_default();
    if control::write(send, &FromRelay::Bye { error }).await.is_ok() && send.finish().is_ok() {
        // Acknowledged, refused or too slow: it is over.
        let _ = timeout(GOODBYE, send.stopped()).await;
    }
    connection.close(VarInt::from_u32(1), &reason);
}
