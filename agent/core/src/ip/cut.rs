//! Packets that are too large for the tunnel, in pieces.

use bytes::BytesMut;

use super::checksum::checksum;
use super::{FRAGMENT, FRAGMENT_HEADER, Header, V4_HEADER, V6_HEADER};

/// Appends the packet, or fragments of it of at most `mtu` bytes (RFC 791 §3.2, RFC 8200 §4.5). `id` tells their datagram from
/// others of the same source; a packet that is a fragment itself keeps its own.
pub fn cut(packet: BytesMut, header: &Header, mtu: usize, id: u32, out: &mut Vec<BytesMut>) {
    if header.length <= mtu {
        out.push(packet);
        return;
    }
    let is_v4 = header.source.is_ipv4();
    let overhead = if is_v4 { V4_HEADER } else { V6_HEADER + FRAGMENT_HEADER };
    // All but the last have a multiple of 8.
    let size = mtu.saturating_sub(overhead) & !7;
    if size == 0 {
        return;
    }
    let (first, ends) = header.fragment.map_or((0, true), |part| (part.offset, !part.more));
    let id = header.fragment.map_or(id, |part| part.id);
    let body = header.body(&packet);
    for (number, piece) in body.chunks(size).enumerate() {
        let offset = first + (number * size / 8) as u16;
        let more = !ends || (number + 1) * size < body.len();
        out.push(if is_v4 {
            piece_v4(&packet, id, offset, more, piece)
        } else {
            piece_v6(&packet, header.protocol, id, offset, more, piece)
        });
    }
}

/// Options are left out: what they ask for is over when the packet has reached the tunnel.
fn piece_v4(packet: &[u8], id: u32, offset: u16, more: bool, piece: &[u8]) -> BytesMut {
    let mut out = BytesMut::with_capacity(V4_HEADER + piece.len());
    out.extend_from_slice(&packet[..V4_HEADER]);
    out[0] = 0x45;
    out[2..4].copy_from_slice(&((V4_HEADER + piece.len()) as u16).to_be_bytes());
    out[4..6].copy_from_slice(&(id as u16).to_be_bytes());
    let flags = u16::from(more) << 13 | offset;
    out[6..8].copy_from_slice(&flags.to_be_bytes());
    out[10..12].fill(0);
    let sum = checksum(&[&out[..]]);
    out[10..12].copy_from_slice(&sum.to_be_bytes());
    out.extend_from_slice(piece);
    out
}

fn piece_v6(packet: &[u8], protocol: u8, id: u32, offset: u16, more: bool, piece: &[u8]) -> BytesMut {
    let mut out = BytesMut::with_capacity(V6_HEADER + FRAGMENT_HEADER + piece.len());
    out.extend_from_slice(&packet[..V6_HEADER]);
    out[4..6].copy_from_slice(&((FRAGMENT_HEADER + piece.len()) as u16).to_be_bytes());
    out[6] = FRAGMENT;
    out.extend_from_slice(&[protocol, 0]);
    out.extend_from_slice(&(offset << 3 | u16::from(more)).to_be_bytes());
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(piece);
    out
}
