//! Members over TLS on TCP.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lanrage_relay_client::frames::FrameReader;
use lanrage_relay_client::transport::tune_tcp;
use lanrage_relay_client::{control, write_frames};
use lanrage_shared::wire::relay::{EXPORTER_LABEL, Frame, FrameKind, FromRelay, Hello};
use tokio::io::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::gate::Place;
use super::handshakes::Outcome;
use super::hub::{HELLO_TIMEOUT, Hub, Seated};
use super::port::{CONTROL_QUEUE, Link, Port};

/// Frames between a port and its socket. Few, so that what waits does so where the newest win.
const QUEUE: usize = 64;
/// Rest after an accept that failed, which it does when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long the reason for an end may take to reach the member.
const GOODBYE: Duration = Duration::from_millis(500);

type Reading = FrameReader<ReadHalf<TlsStream<TcpStream>>>;

/// A connection that has said hello.
struct Greeted {
    frames: Reading,
    writing: WriteHalf<TlsStream<TcpStream>>,
    exported: [u8; 32],
    hello: Hello,
}

/// Accepts connections until `stop`.
pub(super) async fn accept(
    listener: TcpListener,
    tls: TlsAcceptor,
    hub: Arc<Hub>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        match hub.gate.enter(address.ip(), Instant::now()) {
            Some(place) => {
                tasks.spawn(serve(stream, tls.clone(), place, Arc::clone(&hub), stop.clone()));
            }
            None => hub.handshakes.count(Outcome::TurnedAway),
        }
    }
}

async fn serve(stream: TcpStream, tls: TlsAcceptor, place: Place, hub: Arc<Hub>, stop: CancellationToken) {
    let greeting = stop.run_until_cancelled(timeout(HELLO_TIMEOUT, greet(stream, tls)));
    let Greeted {
        mut frames,
        writing,
        exported,
        hello,
    } = match greeting.await {
        Some(Ok(Ok(greeted))) => greeted,
        Some(Ok(Err(error))) => {
            tracing::debug!(%error, "a TCP handshake failed");
            return hub.handshakes.count(Outcome::Failed);
        }
        Some(Err(_)) => return hub.handshakes.count(Outcome::Failed),
        None => return,
    };
    let (queue, to_write) = mpsc::channel(QUEUE);
    let (control, to_say) = mpsc::channel(CONTROL_QUEUE);
    let mut writer = tokio::spawn(write_frames(writing, to_write));
    let port = Arc::new(Port::new(Link::Tcp(queue.clone()), control, hub.relay.counters()));
    let goodbye = match hub.admit(&hello, &exported, &port) {
        Err(refusal) => Some(refusal.to_api_error()),
        Ok(seated) => {
            drop(place);
            tokio::select! {
                () = read(&mut frames, &exported, &hub, &seated) => None,
                reason = port.ended() => reason,
                () = port.pump(&hub.egress) => None,
                () = say(&queue, to_say) => None,
                _ = &mut writer => None,
            }
        }
    };
    let Some(error) = goodbye else { return writer.abort() };
    let said = timeout(GOODBYE, async {
        if let Ok(frame) = control::to_frame(&FromRelay::Bye { error }) {
            // The writer may have ended before.
            let _ = queue.send(frame).await;
        }
        drop((queue, port));
        let _ = (&mut writer).await;
    });
    if said.await.is_err() {
        writer.abort();
    }
}

async fn greet(stream: TcpStream, tls: TlsAcceptor) -> io::Result<Greeted> {
    tune_tcp(&stream)?;
    let stream = tls.accept(stream).await?;
    let exported = stream
        .get_ref()
        .1
        .export_keying_material([0; 32], EXPORTER_LABEL, Some(b""))
        .map_err(io::Error::other)?;
    let (reading, writing) = tokio::io::split(stream);
    let mut frames = FrameReader::new(reading);
    let first = frames.next().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let hello = match Frame::parse(&first) {
        Ok(frame) if frame.kind == FrameKind::Control => control::from_payload(frame.payload)?,
        _ => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a stranger did not say hello",
            ));
        }
    };
    Ok(Greeted {
        frames,
        writing,
        exported,
        hello,
    })
}

async fn read(frames: &mut Reading, exported: &[u8; 32], hub: &Hub, seated: &Seated) {
    loop {
        let frame = match frames.next().await {
            Ok(Some(frame)) => frame,
            Ok(None) => return,
            Err(error) => {
                let broke = || tracing::debug!(%error, "a member's connection broke");
                return seated.span.in_scope(broke);
            }
        };
        match Frame::parse(&frame) {
            Ok(parsed) if parsed.kind == FrameKind::Control => match control::from_payload(parsed.payload) {
                Ok(message) => hub.handle_control(&message, exported, seated),
                Err(error) => {
                    let broke = || tracing::debug!(%error, "a member broke the rules of the control channel");
                    return seated.span.in_scope(broke);
                }
            },
            // What is no frame is counted as a drop.
            _ => hub.handle_frame(&seated.session, &seated.port, frame),
        }
    }
}

/// Writes control messages as they come.
async fn say(queue: &mpsc::Sender<Bytes>, mut messages: mpsc::Receiver<FromRelay>) {
    while let Some(message) = messages.recv().await {
        let sent = match control::to_frame(&message) {
            Ok(frame) => queue.send(frame).await.is_ok(),
            Err(_) => true,
        };
        if !sent {
            return;
        }
    }
}
