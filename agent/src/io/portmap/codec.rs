//! PCP (RFC 6887) and NAT-PMP (RFC 6886) on the wire: the requests and answers for one UDP mapping.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

/// Where a router listens for both protocols.
pub(super) const SERVER_PORT: u16 = 5351;
/// Largest PCP message (RFC 6887 §7).
pub(super) const LARGEST_ANSWER: usize = 1100;

const NAT_PMP: u8 = 0;
const PCP: u8 = 2;
const ANSWER: u8 = 0x80;
const PCP_MAP: u8 = 1;
const NAT_PMP_ADDRESS: u8 = 0;
const NAT_PMP_MAP_UDP: u8 = 1;
const UDP: u8 = 17;
const SUCCESS: u16 = 0;
const UNSUPPORTED_VERSION: u16 = 1;

/// What identifies a PCP mapping to its owner.
pub(super) type Nonce = [u8; 12];

/// An answer that grants nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the router speaks another version of the protocol")]
    Version,
    #[error("the router refused with code {0}")]
    Code(u16),
    #[error("not an answer to this request")]
    Foreign,
}

/// What a router granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) external: SocketAddrV4,
    /// Seconds.
    pub(super) lifetime: u32,
}

/// A PCP MAP request; `lifetime` (seconds) 0 deletes the mapping.
pub(super) fn pcp_request(
    nonce: Nonce,
    local: SocketAddrV4,
    suggested: Option<SocketAddrV4>,
    lifetime: u32,
) -> [u8; 60] {
    let suggested = suggested.unwrap_or(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));
    let mut out = [0; 60];
    out[0] = PCP;
    out[1] = PCP_MAP;
    out[4..8].copy_from_slice(&lifetime.to_be_bytes());
    out[8..24].copy_from_slice(&local.ip().to_ipv6_mapped().octets());
    out[24..36].copy_from_slice(&nonce);
    out[36] = UDP;
    out[40..42].copy_from_slice(&local.port().to_be_bytes());
    out[42..44].copy_from_slice(&suggested.port().to_be_bytes());
    out[44..60].copy_from_slice(&suggested.ip().to_ipv6_mapped().octets());
    out
}

/// Reads the answer to [`pcp_request`]. A router that knows NAT-PMP only is [`Refusal::Version`].
pub(super) fn pcp_answer(bytes: &[u8], nonce: Nonce, local_port: u16) -> Result<Grant, Refusal> {
    let header: &[u8; 4] = bytes.first_chunk().ok_or(Refusal::Foreign)?;
    if header[0] != PCP || header[1] & ANSWER == 0 {
        return Err(if header[0] == NAT_PMP {
            Refusal::Version
        } else {
            Refusal::Foreign
        });
    }
    if u16::from(header[3]) == UNSUPPORTED_VERSION {
        return Err(Refusal::Version);
    }
    let answer: &[u8; 60] = bytes.first_chunk().ok_or(Refusal::Foreign)?;
    if answer[1] != ANSWER | PCP_MAP || answer[24..36] != nonce || answer[36] != UDP || u16_at(answer, 40) != local_port
    {
        return Err(Refusal::Foreign);
    }
    if u16::from(answer[3]) != SUCCESS {
        return Err(Refusal::Code(answer[3].into()));
    }
    let mut address = [0; 16];
    address.copy_from_slice(&answer[44..60]);
    let address = Ipv6Addr::from(address).to_ipv4_mapped().ok_or(Refusal::Foreign)?;
    grant(address, u16_at(answer, 42), u32_at(answer, 4))
}

/// A NAT-PMP request for the router's external address.
pub(super) fn nat_pmp_address_request() -> [u8; 2] {
    [NAT_PMP, NAT_PMP_ADDRESS]
}

/// Reads the answer to [`nat_pmp_address_request`].
pub(super) fn nat_pmp_address_answer(bytes: &[u8]) -> Result<Ipv4Addr, Refusal> {
    nat_pmp_header(bytes, NAT_PMP_ADDRESS)?;
    let answer: &[u8; 12] = bytes.first_chunk().ok_or(Refusal::Foreign)?;
    Ok(Ipv4Addr::from(u32_at(answer, 8)))
}

/// A NAT-PMP mapping request; `lifetime` (seconds) 0 deletes the mapping.
pub(super) fn nat_pmp_request(local_port: u16, suggested: u16, lifetime: u32) -> [u8; 12] {
    let mut out = [0; 12];
    out[0] = NAT_PMP;
    out[1] = NAT_PMP_MAP_UDP;
    out[4..6].copy_from_slice(&local_port.to_be_bytes());
    out[6..8].copy_from_slice(&suggested.to_be_bytes());
    out[8..12].copy_from_slice(&lifetime.to_be_bytes());
    out
}

/// Reads the answer to [`nat_pmp_request`]; the address comes from [`nat_pmp_address_answer`].
pub(super) fn nat_pmp_answer(bytes: &[u8], local_port: u16, address: Ipv4Addr) -> Result<Grant, Refusal> {
    nat_pmp_header(bytes, NAT_PMP_MAP_UDP)?;
    let answer: &[u8; 16] = bytes.first_chunk().ok_or(Refusal::Foreign)?;
    if u16_at(answer, 8) != local_port {
        return Err(Refusal::Foreign);
    }
    grant(address, u16_at(answer, 10), u32_at(answer, 12))
}

fn nat_pmp_header(bytes: &[u8], operation: u8) -> Result<(), Refusal> {
    let header: &[u8; 4] = bytes.first_chunk().ok_or(Refusal::Foreign)?;
    match u16_at(header, 2) {
        _ if header[0] != NAT_PMP => Err(Refusal::Version),
        _ if header[1] != ANSWER | operation => Err(Refusal::Foreign),
        SUCCESS => Ok(()),
        UNSUPPORTED_VERSION => Err(Refusal::Version),
        code => Err(Refusal::Code(code)),
    }
}

/// A router whose own line is down grants mappings on no address.
fn grant(address: Ipv4Addr, port: u16, lifetime: u32) -> Result<Grant, Refusal> {
    if address.is_unspecified() || port == 0 {
        return Err(Refusal::Foreign);
    }
    Ok(Grant {
        external: SocketAddrV4::new(address, port),
        lifetime,
    })
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NONCE: Nonce = [7; 12];
    const LOCAL: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 2), 4000);
    const EXTERNAL: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 9), 5000);

    /// What a router answers to `request`, granting `EXTERNAL` for two minutes.
    fn pcp_granted(request: [u8; 60]) -> [u8; 60] {
        let mut answer = request;
        answer[1] |= ANSWER;
        answer[4..8].copy_from_slice(&120_u32.to_be_bytes());
        answer[8..24].fill(0);
        answer[42..44].copy_from_slice(&EXTERNAL.port().to_be_bytes());
        answer[44..60].copy_from_slice(&EXTERNAL.ip().to_ipv6_mapped().octets());
        answer
    }

    #[test]
    fn a_pcp_request_is_laid_out_as_rfc_6887_says() {
        let request = pcp_request(NONCE, LOCAL, None, 3600);
        assert_eq!(request[..8], [2, 1, 0, 0, 0, 0, 0x0e, 0x10]);
        assert_eq!(request[18..24], [0xff, 0xff, 192, 168, 1, 2]);
        assert_eq!(request[24..36], NONCE);
        assert_eq!(request[36..44], [17, 0, 0, 0, 0x0f, 0xa0, 0, 0]);
        assert_eq!(request[54..60], [0xff, 0xff, 0, 0, 0, 0]);
    }

    #[test]
    fn a_pcp_grant_is_read_and_a_foreign_one_is_not() {
        let answer = pcp_granted(pcp_request(NONCE, LOCAL, Some(EXTERNAL), 3600));
        let granted = Grant {
            external: EXTERNAL,
            lifetime: 120,
        };
        assert_eq!(pcp_answer(&answer, NONCE, 4000), Ok(granted));
        assert_eq!(pcp_answer(&answer, [8; 12], 4000), Err(Refusal::Foreign));
        assert_eq!(pcp_answer(&answer, NONCE, 4001), Err(Refusal::Foreign));
    }

    #[test]
    fn a_pcp_refusal_names_its_code() {
        let mut answer = pcp_granted(pcp_request(NONCE, LOCAL, None, 3600));
        answer[3] = 2;
        assert_eq!(pcp_answer(&answer, NONCE, 4000), Err(Refusal::Code(2)));
    }

    #[test]
    fn a_router_that_knows_nat_pmp_only_is_recognised() {
        // RFC 6886 §3.5: version 0, the operation it was asked for, result 1.
        let answer = [0, 0x81, 0, 1, 0, 0, 0, 5];
        assert_eq!(pcp_answer(&answer, NONCE, 4000), Err(Refusal::Version));
    }

    #[test]
    fn nat_pmp_messages_are_laid_out_as_rfc_6886_says() {
        assert_eq!(nat_pmp_address_request(), [0, 0]);
        assert_eq!(
            nat_pmp_request(4000, 5000, 7200),
            [0, 1, 0, 0, 0x0f, 0xa0, 0x13, 0x88, 0, 0, 0x1c, 0x20]
        );
        assert_eq!(
            nat_pmp_address_answer(&[0, 128, 0, 0, 0, 0, 0, 1, 203, 0, 113, 9]),
            Ok(*EXTERNAL.ip())
        );
        let answer = [0, 129, 0, 0, 0, 0, 0, 1, 0x0f, 0xa0, 0x13, 0x88, 0, 0, 0, 60];
        assert_eq!(
            nat_pmp_answer(&answer, 4000, *EXTERNAL.ip()),
            Ok(Grant {
                external: EXTERNAL,
                lifetime: 60
            })
        );
        assert_eq!(nat_pmp_answer(&answer, 4001, *EXTERNAL.ip()), Err(Refusal::Foreign));
        assert_eq!(nat_pmp_address_answer(&[0, 128, 0, 3]), Err(Refusal::Code(3)));
    }

    #[test]
    fn a_router_without_an_address_grants_nothing() {
        let answer = [0, 129, 0, 0, 0, 0, 0, 1, 0x0f, 0xa0, 0x13, 0x88, 0, 0, 0, 60];
        assert_eq!(
            nat_pmp_answer(&answer, 4000, Ipv4Addr::UNSPECIFIED),
            Err(Refusal::Foreign)
        );
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>, port: u16) {
            let _ = pcp_answer(&bytes, NONCE, port);
            let _ = nat_pmp_address_answer(&bytes);
            let _ = nat_pmp_answer(&bytes, port, Ipv4Addr::LOCALHOST);
        }

        #[test]
        fn answers_with_flipped_bytes_never_panic(at in 0_usize..60, to: u8) {
            let mut answer = pcp_granted(pcp_request(NONCE, LOCAL, None, 3600));
            answer[at] = to;
            let _ = pcp_answer(&answer, NONCE, 4000);
        }
    }
}
