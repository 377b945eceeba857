//! What the kernel announces of interfaces, addresses and routes.

use std::io;

use bytes::BytesMut;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};
use tokio::sync::watch;
use tracing::warn;

/// RTMGRP_* of linux/rtnetlink.h: links, addresses, routes and rules of IPv4; addresses and routes of IPv6.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400;
/// One announcement is a few hundred bytes, and it is not read, only noticed.
const ROOM: usize = 4096;

/// Passes on that something changed, until nobody listens any more. Without announcements the regular look has to do.
pub async fn announce_changes(changes: watch::Sender<()>) {
    let socket = match open() {
        Ok(socket) => socket,
        Err(error) => {
            warn!(%error, "the system does not announce changes of routes");
            return;
        }
    };
    let mut room = BytesMut::with_capacity(ROOM);
    loop {
        room.clear();
        let heard = tokio::select! {
            () = changes.closed() => return,
            heard = socket.recv(&mut room) => heard,
        };
        match heard {
            Ok(()) => changes.send_replace(()),
            // More than there was room for.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => changes.send_replace(()),
            Err(error) => {
                warn!(%error, "the system announces no more changes of routes");
                return;
            }
        }
    }
}

fn open() -> io::Result<TokioSocket> {
    let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
    socket.socket_mut().bind(&SocketAddr::new(0, GROUPS))?;
    Ok(socket)
}
