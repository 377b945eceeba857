//! The adapter itself: up, MULTICAST, MTU.

use std::io;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};

use super::Netlink;

/// An interface as the kernel describes it.
pub(super) struct Link {
    pub flags: LinkFlags,
    pub mtu: u32,
    name: String,
}

/// Describes an interface.
pub(super) fn look(netlink: &mut Netlink, index: u32) -> io::Result<Link> {
    let mut question = LinkMessage::default();
    question.header.index = index;
    let answers = netlink.ask(RouteNetlinkMessage::GetLink(question), 0)?;
    let found = answers.into_iter().find_map(|answer| match answer {
        RouteNetlinkMessage::NewLink(link) => Some(link),
        _ => None,
    });
    let found = found.ok_or(io::ErrorKind::NotFound)?;
    let mut link = Link {
        flags: found.header.flags,
        mtu: 0,
        name: String::new(),
    };
    for attribute in found.attributes {
        match attribute {
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::IfName(name) => link.name = name,
            _ => {}
        }
    }
    Ok(link)
}

/// What an interface is called.
pub(super) fn name(netlink: &mut Netlink, index: u32) -> io::Result<String> {
    look(netlink, index).map(|link| link.name)
}

/// Sets one flag. BROADCAST is none of those that can be set: the driver alone decides it, and a TUN device is
/// point-to-point (tun_net_init in the kernel's drivers/net/tun.c). Routes of the type "broadcast" work without it.
pub(super) fn set_flag(netlink: &mut Netlink, index: u32, flag: LinkFlags) -> io::Result<()> {
    let mut change = LinkMessage::default();
    change.header.index = index;
    change.header.flags = flag;
    change.header.change_mask = flag;
    netlink.ask(RouteNetlinkMessage::SetLink(change), 0).map(drop)
}

/// Sets the largest packet, in bytes.
pub(super) fn set_mtu(netlink: &mut Netlink, index: u32, mtu: u32) -> io::Result<()> {
    let mut change = LinkMessage::default();
    change.header.index = index;
    change.attributes.push(LinkAttribute::Mtu(mtu));
    netlink.ask(RouteNetlinkMessage::SetLink(change), 0).map(drop)
}
