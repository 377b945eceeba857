use std::net::{Ipv4Addr, Ipv6Addr};

use bytes::BytesMut;
use proptest::prelude::*;

use super::testing::{is_sound, join, udp};
use super::*;

fn addresses(v6: bool) -> impl Strategy<Value = (IpAddr, IpAddr, IpAddr)> {
    let one = move |bits: u128| {
        if v6 {
            IpAddr::from(Ipv6Addr::from(bits))
        } else {
            IpAddr::from(Ipv4Addr::from(bits as u32))
        }
    };
    any::<(u128, u128, u128)>().prop_map(move |(a, b, c)| (one(a), one(b), one(c)))
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        if let Some(header) = Header::read(&bytes) {
            prop_assert!(header.length <= bytes.len());
            let _ = (header.ports(&bytes), header.body(&bytes));
            let mut packet = bytes.clone();
            let mut changed = header;
            set_address(&mut packet, &mut changed, End::Source, header.destination);
            set_hop_limit(&mut packet, &header, 1);
            fill_checksums(&mut packet, &header);
            cut(BytesMut::from(bytes.as_slice()), &header, 100, 7, &mut Vec::new());
        }
    }

    #[test]
    fn checksums_stay_right_whatever_is_changed(
        (from, to, other) in any::<bool>().prop_flat_map(addresses),
        payload in proptest::collection::vec(any::<u8>(), 0..300),
        hops: u8,
    ) {
        let mut packet = udp((from, 7), (to, 9), &payload);
        let mut header = Header::read(&packet).unwrap();
        prop_assert!(set_address(&mut packet, &mut header, End::Source, other));
        prop_assert!(set_address(&mut packet, &mut header, End::Destination, from));
        set_hop_limit(&mut packet, &header, hops);
        prop_assert!(is_sound(&packet));
        prop_assert_eq!(Header::read(&packet), Some(header));
        prop_assert_eq!((header.source, header.destination), (other, from));
    }

    #[test]
    fn fragments_make_the_datagram_again(
        (from, to, _) in any::<bool>().prop_flat_map(addresses),
        payload in proptest::collection::vec(any::<u8>(), 1300..5000),
        mtu in 100usize..1280,
    ) {
        let packet = udp((from, 7), (to, 9), &payload);
        let header = Header::read(&packet).unwrap();
        let mut pieces = Vec::new();
        cut(packet.clone(), &header, mtu, 77, &mut pieces);
        prop_assert!(pieces.iter().all(|piece| piece.len() <= mtu));
        prop_assert_eq!(join(&pieces), header.body(&packet));
        // And in pieces of pieces.
        let mut smaller = Vec::new();
        for piece in pieces {
            let header = Header::read(&piece).unwrap();
            cut(piece, &header, 80, 1, &mut smaller);
        }
        prop_assert_eq!(join(&smaller), header.body(&packet));
    }
}

#[test]
fn ports_are_in_the_first_fragment_only() {
    let (from, to) = (Ipv4Addr::new(10, 64, 0, 1).into(), Ipv4Addr::BROADCAST.into());
    let packet = udp((from, 1000), (to, 2000), &[1; 2000]);
    let mut pieces = Vec::new();
    cut(packet.clone(), &Header::read(&packet).unwrap(), 1280, 5, &mut pieces);
    let ports: Vec<_> = pieces
        .iter()
        .map(|piece| Header::read(piece).unwrap().ports(piece))
        .collect();
    assert_eq!(ports, [Some((1000, 2000)), None]);
}
