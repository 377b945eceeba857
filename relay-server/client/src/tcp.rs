//! Connecting over TLS on TCP, where UDP is blocked.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use lanrage_shared::wire::relay::{ALPN, EXPORTER_LABEL, Frame, FrameKind, FromRelay};
use lanrage_tls::pinned::{client_config, failed_by_wrong_key};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::client::{CONNECT_TIMEOUT, server_name};
use crate::events::RelayEvents;
use crate::frames::{FrameReader, put};
use crate::sender::{Link, RelaySender};
use crate::{ConnectError, Connected, Credentials, Target, control, transport};

/// The kernel of a relay's host accepts a connection as soon as it is asked, however busy the relay is.
const SHORT_TRY: Duration = Duration::from_millis(400);
const SHORT_TRIES: u32 = 5;
/// Frames that wait for the connection: a burst passes, a stuck connection is noticed.
const QUEUE: usize = 128;
/// Written at once, in bytes.
const WRITE: usize = 64 * 1024;

/// A session at the relay, or why there is none within 5 s.
pub async fn connect_tcp(target: Target, credentials: &Credentials) -> Result<Connected, ConnectError> {
    let late = || ConnectError::Unreachable {
        relay: target.address,
        why: "no answer over TCP within 5 s".to_owned(),
    };
    timeout(CONNECT_TIMEOUT, open(target, credentials))
        .await
        .unwrap_or_else(|_| Err(late()))
}

/// Asks for a connection again and again: the system repeats a request that was lost after one second and then ever more rarely,
/// and a network that comes back should not have to wait for that. A relay that is farther than a try takes is waited for in the
/// end.
async fn dial(relay: SocketAddr) -> io::Result<TcpStream> {
    for _ in 0..SHORT_TRIES {
        if let Ok(dialled) = timeout(SHORT_TRY, TcpStream::connect(relay)).await {
            return dialled;
        }
    }
    TcpStream::connect(relay).await
}

async fn open(target: Target, credentials: &Credentials) -> Result<Connected, ConnectError> {
    let relay = target.address;
    let unreachable = |error: io::Error| ConnectError::Unreachable {
        relay,
        why: error.to_string(),
    };
    let protocol = |why: String| ConnectError::Protocol { relay, why };
    let tcp = dial(relay).await.map_err(unreachable)?;
    transport::tune_tcp(&tcp).map_err(unreachable)?;
    let name = ServerName::try_from(server_name(target.pin)).map_err(|error| protocol(error.to_string()))?;
    let connector = TlsConnector::from(Arc::new(client_config(target.pin, &[ALPN])));
    let stream = connector.connect(name, tcp).await.map_err(|error| match error {
        error if failed_by_wrong_key(&error) => ConnectError::WrongKey { relay },
        error if error.kind() == io::ErrorKind::InvalidData => protocol(error.to_string()),
        error => unreachable(error),
    })?;
    let exported = stream
        .get_ref()
        .1
        .export_keying_material([0; 32], EXPORTER_LABEL, Some(b""))
        .map_err(|error| protocol(error.to_string()))?;
    let (reading, mut writing) = tokio::io::split(stream);
    let mut out = BytesMut::new();
    put(
        &mut out,
        &control::to_frame(&credentials.hello(&exported)).map_err(unreachable)?,
    );
    writing.write_all(&out).await.map_err(unreachable)?;
    writing.flush().await.map_err(unreachable)?;
    let mut frames = FrameReader::new(reading);
    let answer = frames.next().await.map_err(unreachable)?;
    let answer = answer.ok_or_else(|| unreachable(io::ErrorKind::UnexpectedEof.into()))?;
    let message = match Frame::parse(&answer) {
        Ok(frame) if frame.kind == FrameKind::Control => control::from_payload(frame.payload).ok(),
        _ => None,
    };
    let expires_at = match message {
        Some(FromRelay::Welcome { expires_at }) => expires_at,
        Some(FromRelay::Bye { error }) => return Err(ConnectError::Refused(error)),
        _ => return Err(protocol("it does not answer the hello".to_owned())),
    };
    let (sender, queue) = mpsc::channel(QUEUE);
    let (writer, dropped) = oneshot::channel();
    tokio::spawn(async move {
        tokio::select! {
            // Dropped with the events; nothing is ever sent.
            _ = dropped => {}
            written = write_frames(writing, queue) => if let Err(error) = written {
                tracing::debug!(%error, "the connection to the relay takes no more frames");
            },
        }
    });
    let heard = Arc::new(AtomicU64::new(0));
    Ok(Connected {
        sender: RelaySender::new(Link::Tcp {
            frames: sender,
            exported,
            sent: AtomicU64::new(0),
            heard: Arc::clone(&heard),
        }),
        events: RelayEvents::tcp(frames, heard, writer),
        expires_at,
    })
}

/// Writes frames, as many at once as there are, until nobody sends any more.
pub async fn write_frames(mut stream: impl AsyncWrite + Unpin, mut frames: mpsc::Receiver<Bytes>) -> io::Result<()> {
    let mut out = BytesMut::new();
    while let Some(frame) = frames.recv().await {
        put(&mut out, &frame);
        while out.len() < WRITE
            && let Ok(frame) = frames.try_recv()
        {
            put(&mut out, &frame);
        }
        stream.write_all(&out).await?;
        stream.flush().await?;
        out.clear();
    }
    stream.shutdown().await
}
