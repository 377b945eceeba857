//! Reaching the server by whichever of its addresses answers first (a lean RFC 8305).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lanrage_shared::invite::ServerLink;
use lanrage_tls::pinned::failed_by_wrong_key;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::ControlError;

/// For look-up, TCP and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one address has before the next one is tried beside it (RFC 8305 §5 recommends 250 ms).
const HEAD_START: Duration = Duration::from_millis(250);
/// Most addresses tried.
const MAX_ADDRESSES: usize = 8;

/// A TLS connection to the server, and the address it was reached at.
pub(super) async fn dial(
    link: &ServerLink,
    tls: &TlsConnector,
) -> Result<(TlsStream<TcpStream>, IpAddr), ControlError> {
    tokio::time::timeout(CONNECT_TIMEOUT, connect(link, tls))
        .await
        .unwrap_or_else(|_| Err(unreachable(link, "no answer within 5 s")))
}

async fn connect(link: &ServerLink, tls: &TlsConnector) -> Result<(TlsStream<TcpStream>, IpAddr), ControlError> {
    let addresses = tokio::net::lookup_host((link.host.as_str(), link.port))
        .await
        .map_err(|_| unreachable(link, "its name is not known"))?;
    let tcp = first_to_answer(alternating(addresses.collect()))
        .await
        .map_err(|error| unreachable(link, in_words(&error)))?;
    let connected = tcp.set_nodelay(true).and_then(|()| tcp.peer_addr());
    let ip = connected.map_err(|error| unreachable(link, in_words(&error)))?.ip();
    // A host that cannot be a TLS name is still a host; the pin is what counts.
    let name = ServerName::try_from(link.host.clone()).unwrap_or_else(|_| ServerName::IpAddress(ip.into()));
    match tls.connect(name, tcp).await {
        Ok(stream) => Ok((stream, ip.to_canonical())),
        Err(error) if failed_by_wrong_key(&error) => Err(ControlError::WrongKey {
            server: link.authority(),
        }),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(ControlError::Protocol(format!(
            "what answers at {} does not speak TLS as it should ({error})",
            link.authority()
        ))),
        Err(error) => Err(unreachable(link, in_words(&error))),
    }
}

/// IPv6 and IPv4 in turn, each in the resolver's order, beginning with what the resolver put first.
fn alternating(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == first_is_v6);
    let mut second = second.into_iter();
    let mut all = Vec::new();
    for address in first {
        all.push(address);
        all.extend(second.next());
    }
    all.extend(second);
    all.truncate(MAX_ADDRESSES);
    all
}

async fn first_to_answer(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut waiting = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
    loop {
        attempts.extend(waiting.next().map(TcpStream::connect));
        if attempts.is_empty() {
            return Err(failure);
        }
        tokio::select! {
            Some(attempt) = attempts.next() => match attempt {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = error,
            },
            () = tokio::time::sleep(HEAD_START), if waiting.len() > 0 => {}
        }
    }
}

fn unreachable(link: &ServerLink, why: impl Into<String>) -> ControlError {
    ControlError::Unreachable {
        server: link.authority(),
        why: why.into(),
    }
}

/// The system's reasons in words; its own text carries numbers nobody looks up.
fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => "it hung up".to_owned(),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "no route to it".to_owned(),
        io::ErrorKind::TimedOut => "no answer".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn families_take_turns() {
        let sorted = alternating(addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "10.0.0.1:1"]));
        assert_eq!(sorted, addresses(&["[::1]:1", "10.0.0.1:1", "[::2]:1", "[::3]:1"]));
    }

    #[tokio::test]
    async fn a_dead_address_does_not_keep_the_living_one_waiting() {
        let living = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dead = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let stream = first_to_answer(vec![dead, living.local_addr().unwrap()]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), living.local_addr().unwrap());
    }

    #[tokio::test]
    async fn with_no_address_that_answers_the_last_reason_is_told() {
        let dead = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let error = first_to_answer(vec![dead]).await.unwrap_err();
        assert_eq!(in_words(&error), "connection refused");
        assert_eq!(
            first_to_answer(Vec::new()).await.unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }
}
