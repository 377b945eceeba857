//! TLS handshakes, on a thread of their own: strangers can keep a core busy with them, and requests must not wait for it.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;
use tokio_util::task::AbortOnDropHandle;

/// Welcomes connections. Strangers' handshakes wait for each other, and requests for none of them.
pub struct Handshakes {
    acceptor: TlsAcceptor,
    thread: Handle,
    /// Has no timers and sockets of its own: those of the runtime that accepted a connection wake its handshake. There until this
    /// is dropped.
    runtime: Option<Runtime>,
}

impl Handshakes {
    pub fn new(config: ServerConfig) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("handshakes")
            .build()?;
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            thread: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }

    /// The connection after its handshake, which goes on for as long as this is waited for.
    pub async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let handshake = self.thread.spawn(self.acceptor.accept(stream));
        AbortOnDropHandle::new(handshake).await?
    }
}

impl Drop for Handshakes {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Its own drop would wait for the thread, which is not allowed where this one is dropped.
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    use lanrage_tls::identity::ServerIdentity;
    use lanrage_tls::pinned::client_config;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;
    use tokio_rustls::TlsConnector;
    use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
    use tokio_rustls::rustls::sign::CertifiedKey;

    use super::*;

    /// A handshake that takes the thread it is on until it is told to go on.
    struct Stuck {
        certificates: Arc<dyn ResolvesServerCert>,
        begun: Notify,
        go_on: Mutex<Receiver<()>>,
    }

    impl fmt::Debug for Stuck {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Stuck")
        }
    }

    impl ResolvesServerCert for Stuck {
        fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
            self.begun.notify_one();
            self.go_on.lock().unwrap().recv_timeout(Duration::from_secs(20)).ok()?;
            self.certificates.resolve(hello)
        }
    }

    /// All on one thread but the handshake of the server: were it there, nobody could tell it to go on.
    #[tokio::test]
    async fn nothing_waits_for_the_thread_of_a_handshake() {
        let dir = tempfile::tempdir().unwrap();
        let identity = ServerIdentity::open(dir.path()).unwrap();
        let (tell, go_on) = channel();
        let mut config = identity.tls(&[b"x"]);
        let stuck = Arc::new(Stuck {
            certificates: config.cert_resolver,
            begun: Notify::new(),
            go_on: Mutex::new(go_on),
        });
        config.cert_resolver = stuck.clone();
        let handshakes = Handshakes::new(config).unwrap();
        let (client, server) = tokio::io::duplex(4096);
        let connector = TlsConnector::from(Arc::new(client_config(identity.pin, &[b"x"])));
        let connecting = connector.connect("server".try_into().unwrap(), client);
        let (client, server, ()) = tokio::join!(connecting, handshakes.accept(server), async {
            stuck.begun.notified().await;
            tell.send(()).unwrap();
        });
        server.unwrap().write_all(b"welcome").await.unwrap();
        let mut read = [0; 7];
        client.unwrap().read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"welcome");
    }
}
