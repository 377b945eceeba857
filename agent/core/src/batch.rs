//! What packet paths take and give: batches of whole datagrams in owned buffers.

use std::net::SocketAddr;

use bytes::BytesMut;

/// A UDP datagram and the address it came from or goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    pub peer: SocketAddr,
    pub data: BytesMut,
}
