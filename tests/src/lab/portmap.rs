//! Just enough NAT-PMP (RFC 6886) to prove that a lab's router opens ports.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use anyhow::{Result, ensure};

use super::netns::Netns;

const PORT: u16 = 5351;
const ANSWER_TIMEOUT: Duration = Duration::from_millis(300);

/// The public address the router says it has (RFC 6886 §3.2).
pub fn external_address(host: &Netns, gateway: Ipv4Addr) -> Result<Ipv4Addr> {
    let answer = ask(host, gateway, &[0, 0], 12)?;
    Ok(Ipv4Addr::new(answer[8], answer[9], answer[10], answer[11]))
}

/// Asks the router to open a UDP port for a minute (RFC 6886 §3.3); the public address of it.
pub fn open(host: &Netns, gateway: Ipv4Addr, port: u16) -> Result<SocketAddrV4> {
    let [high, low] = port.to_be_bytes();
    let answer = ask(host, gateway, &[0, 1, 0, 0, high, low, high, low, 0, 0, 0, 60], 16)?;
    let public = u16::from_be_bytes([answer[10], answer[11]]);
    Ok(SocketAddrV4::new(external_address(host, gateway)?, public))
}

fn ask(host: &Netns, gateway: Ipv4Addr, request: &[u8], length: usize) -> Result<Vec<u8>> {
    let socket = host.within(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))??;
    socket.connect((gateway, PORT))?;
    socket.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    socket.send(request)?;
    let mut answer = vec![0; 64];
    let received = socket.recv(&mut answer)?;
    ensure!(
        received >= length && answer[..4] == [0, request[1] | 128, 0, 0],
        "the router refused: {:?}",
        &answer[..received]
    );
    Ok(answer)
}
