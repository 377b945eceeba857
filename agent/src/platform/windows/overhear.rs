//! Broadcasts and multicasts that leave this PC by another adapter, read from raw sockets that are given all packets of their
//! adapter (SIO_RCVALL): no capture driver, which anti-cheat programs would object to. IPv4 only.

use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::os::windows::io::AsRawSocket;
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use lanrage_agent_core::broadcast::{Way, is_for_all};
use lanrage_agent_core::dataplane::OtherAdapter;
use lanrage_agent_core::ip::{Header, UDP};
use socket2::{Domain, Protocol, Socket, Type};
use tracing::debug;
use windows_sys::Win32::Networking::WinSock::{
    POLLRDNORM, RCVALL_IPLEVEL, SIO_RCVALL, SOCKET, WSAIoctl, WSAPOLLFD, WSAPoll,
};

/// Larger than any packet.
const LONGEST: usize = 65_535;
/// How often the adapters are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What hears one address of this PC.
struct Ear {
    address: Ipv4Addr,
    adapter: OtherAdapter,
    socket: Socket,
}

/// Hands over every UDP packet of this PC that leaves by one of the adapters for everybody.
pub fn overhear(
    adapters: impl Fn() -> Arc<Vec<OtherAdapter>>,
    mut handle: impl FnMut(BytesMut, &OtherAdapter),
) -> io::Error {
    let mut ears: Vec<Ear> = Vec::new();
    let mut looked: Option<(Arc<Vec<OtherAdapter>>, Instant)> = None;
    let mut buffer = vec![MaybeUninit::uninit(); LONGEST];
    loop {
        let now = adapters();
        let is_news =
            |(known, at): &(Arc<Vec<OtherAdapter>>, Instant)| !Arc::ptr_eq(known, &now) || at.elapsed() > LOOK;
        if looked.as_ref().is_none_or(is_news) {
            renew(&mut ears, &now);
            looked = Some((now, Instant::now()));
        }
        if ears.is_empty() {
            std::thread::sleep(LOOK);
            continue;
        }
        let mut broken = Vec::new();
        for at in ready(&ears) {
            let ear = &ears[at];
            loop {
                match ear.socket.recv(&mut buffer) {
                    Ok(length) => {
                        // SAFETY: the call has written so many bytes.
                        let packet = unsafe { std::slice::from_raw_parts(buffer.as_ptr().cast::<u8>(), length) };
                        if is_ours_for_all(packet, &ear.adapter) {
                            handle(BytesMut::from(packet), &ear.adapter);
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => {
                        debug!(%error, "an adapter is overheard no longer");
                        broken.push(ear.address);
                        break;
                    }
                }
            }
        }
        ears.retain(|ear| !broken.contains(&ear.address));
    }
}

/// A cheap look before the packet is copied; the bridge looks closer.
fn is_ours_for_all(packet: &[u8], adapter: &OtherAdapter) -> bool {
    let Some(header) = Header::read(packet) else {
        return false;
    };
    let is_directed = matches!(adapter.way(header.destination), Way::Adapter { broadcast: Some(_), .. });
    header.protocol == UDP && adapter.is_own(header.source) && (is_for_all(header.destination) || is_directed)
}

fn renew(ears: &mut Vec<Ear>, adapters: &[OtherAdapter]) {
    ears.retain(|ear| adapters.contains(&ear.adapter));
    for adapter in adapters {
        for net in &adapter.networks {
            let IpAddr::V4(address) = net.addr() else { continue };
            if ears.iter().any(|ear| ear.address == address) {
                continue;
            }
            match open(address) {
                Ok(socket) => ears.push(Ear {
                    address,
                    adapter: adapter.clone(),
                    socket,
                }),
                Err(error) => debug!(%error, "an adapter cannot be overheard"),
            }
        }
    }
}

fn open(address: Ipv4Addr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(0)))?;
    socket.bind(&SocketAddrV4::new(address, 0).into())?;
    let (level, mut returned) = (RCVALL_IPLEVEL, 0);
    // SAFETY: the control code takes one number, whose address and size are passed; nothing is written but the count.
    let code = unsafe {
        WSAIoctl(
            socket.as_raw_socket() as SOCKET,
            SIO_RCVALL,
            (&raw const level).cast(),
            size_of_val(&level) as u32,
            ptr::null_mut(),
            0,
            &raw mut returned,
            ptr::null_mut(),
            None,
        )
    };
    if code != 0 {
        return Err(io::Error::last_os_error());
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Which of them have packets, after waiting for that a while.
fn ready(ears: &[Ear]) -> Vec<usize> {
    let mut waiting: Vec<WSAPOLLFD> = ears
        .iter()
        .map(|ear| WSAPOLLFD {
            fd: ear.socket.as_raw_socket() as SOCKET,
            events: POLLRDNORM,
            revents: 0,
        })
        .collect();
    // SAFETY: the array is ours, and as long as is said.
    unsafe { WSAPoll(waiting.as_mut_ptr(), waiting.len() as u32, LOOK.as_millis() as i32) };
    let has_some = |(at, waiting): (usize, &WSAPOLLFD)| (waiting.revents != 0).then_some(at);
    waiting.iter().enumerate().filter_map(has_some).collect()
}
