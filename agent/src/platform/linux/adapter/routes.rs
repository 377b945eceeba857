//! The routes that lead broadcasts and multicasts through our adapter.
//!
//! Among IPv4 routes to the same destination the least metric wins, and among equal ones the first; ours has the least, 0,
//! and is put in front. Among IPv6 routes the least metric wins too, but a new route comes after its equals, so equals are
//! taken out and put back behind ours. Nobody's route is lost.

use std::io;
use std::net::IpAddr;

use lanrage_agent_core::adapter::{Route, Wanted, Way};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_DUMP};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{Netlink, link};

/// RT_TABLE_LOCAL: the table that is looked through first, where the kernel itself keeps ff00::/8 for every interface.
const LOCAL: u8 = 255;
/// Better than the kernel's 256. IPv6 takes 0 for "unset" (1024).
const METRIC6: u32 = 1;
/// So many doubles of one route are taken out; more would be somebody's joke.
const DOUBLES: usize = 16;

/// How a route is set. Through `index` is right.
pub(super) fn look(netlink: &mut Netlink, wanted: &Wanted, route: Route, index: u32) -> io::Result<Way> {
    let ours = message(wanted, route, index);
    if !listed(netlink, &ours)?.iter().any(|listed| is_same(listed, &ours)) {
        return Ok(Way::Missing);
    }
    let way = match way_out(netlink, wanted.example(route)) {
        Ok(Some(out)) if out == index => Way::Ours,
        Ok(Some(out)) => Way::Behind(link::name(netlink, out).unwrap_or_else(|_| format!("interface {out}"))),
        // The answer of rules and routes that forbid.
        Ok(None) | Err(_) => Way::Behind("no interface: a rule forbids it".to_owned()),
    };
    Ok(way)
}

/// Sets a route that is missing, and puts one in front that is behind another.
pub(super) fn set(netlink: &mut Netlink, wanted: &Wanted, route: Route, index: u32) -> io::Result<()> {
    remove(netlink, wanted, route, index)?;
    let ours = message(wanted, route, index);
    let rivals = if route.is_v6() {
        rivals(netlink, &ours)?
    } else {
        Vec::new()
    };
    let mut moved = Vec::new();
    for rival in rivals {
        // One that cannot be taken out stays in front, or was taken out by somebody else.
        if netlink.ask(RouteNetlinkMessage::DelRoute(rival.clone()), 0).is_ok() {
            moved.push(rival);
        }
    }
    let outcome = netlink.ask(RouteNetlinkMessage::NewRoute(ours), NLM_F_CREATE);
    // All of them are put back, whatever becomes of any.
    let back = moved.into_iter().map(|rival| {
        netlink
            .ask(RouteNetlinkMessage::NewRoute(rival), NLM_F_CREATE)
            .map(drop)
    });
    let failed: Vec<io::Error> = back.filter_map(Result::err).collect();
    outcome?;
    failed.into_iter().next().map_or(Ok(()), Err)
}

/// Takes a route out, however often it is there.
pub(super) fn remove(netlink: &mut Netlink, wanted: &Wanted, route: Route, index: u32) -> io::Result<()> {
    let mut ours = message(wanted, route, index);
    // As few details as the kernel needs: it may have been set by somebody else.
    ours.header.protocol = RouteProtocol::Unspec;
    ours.header.scope = RouteScope::NoWhere;
    ours.attributes
        .retain(|attribute| !matches!(attribute, RouteAttribute::PrefSource(_)));
    for _ in 0..DOUBLES {
        match netlink.ask(RouteNetlinkMessage::DelRoute(ours.clone()), 0) {
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn message(wanted: &Wanted, route: Route, index: u32) -> RouteMessage {
    let destination = wanted.destination(route);
    let v6 = route.is_v6();
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: family(v6),
        destination_prefix_length: destination.prefix_len(),
        table: match route {
            Route::SubnetBroadcast | Route::Multicast6 => LOCAL,
            _ => RouteHeader::RT_TABLE_MAIN,
        },
        protocol: RouteProtocol::Static,
        scope: if v6 { RouteScope::Universe } else { RouteScope::Link },
        kind: match route {
            Route::SubnetBroadcast => RouteType::Broadcast,
            Route::Multicast6 => RouteType::Multicast,
            _ => RouteType::Unicast,
        },
        ..RouteHeader::default()
    };
    message.attributes = vec![
        RouteAttribute::Destination(destination.network().into()),
        RouteAttribute::Oif(index),
    ];
    match route {
        Route::Subnet | Route::SubnetBroadcast => {
            message
                .attributes
                .push(RouteAttribute::PrefSource(IpAddr::V4(wanted.v4()).into()));
        }
        Route::Multicast6 => message.attributes.push(RouteAttribute::Priority(METRIC6)),
        Route::Broadcast | Route::Multicast | Route::Subnet6 => {}
    }
    message
}

fn family(v6: bool) -> AddressFamily {
    if v6 { AddressFamily::Inet6 } else { AddressFamily::Inet }
}

/// The routes of our route's table that go out by the same interface.
fn listed(netlink: &mut Netlink, ours: &RouteMessage) -> io::Result<Vec<RouteMessage>> {
    let mut question = RouteMessage::default();
    question.header.address_family = ours.header.address_family;
    question.header.table = ours.header.table;
    question.attributes = oif(ours).map(RouteAttribute::Oif).into_iter().collect();
    routes(netlink, question)
}

/// Other interfaces' IPv6 routes to the same destination with a metric that is no worse.
fn rivals(netlink: &mut Netlink, ours: &RouteMessage) -> io::Result<Vec<RouteMessage>> {
    let Some(metric) = priority(ours) else {
        return Ok(Vec::new());
    };
    let mut question = RouteMessage::default();
    question.header.address_family = ours.header.address_family;
    question.header.table = ours.header.table;
    let mut routes = routes(netlink, question)?;
    routes.retain(|route| {
        is_to_same(route, ours) && oif(route) != oif(ours) && priority(route).is_some_and(|other| other <= metric)
    });
    for route in &mut routes {
        // What the kernel tells of a route, but takes from nobody.
        route.header.flags = Default::default();
        route
            .attributes
            .retain(|attribute| !matches!(attribute, RouteAttribute::CacheInfo(_)));
    }
    Ok(routes)
}

fn routes(netlink: &mut Netlink, question: RouteMessage) -> io::Result<Vec<RouteMessage>> {
    let table = question.header.table;
    let answers = netlink.ask(RouteNetlinkMessage::GetRoute(question), NLM_F_DUMP)?;
    let routes = answers.into_iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewRoute(route) if route.header.table == table => Some(route),
        _ => None,
    });
    Ok(routes.collect())
}

/// The interface by which the kernel sends what is for this address, when no program says otherwise.
fn way_out(netlink: &mut Netlink, address: IpAddr) -> io::Result<Option<u32>> {
    let mut question = RouteMessage::default();
    question.header.address_family = family(address.is_ipv6());
    question.header.destination_prefix_length = if address.is_ipv6() { 128 } else { 32 };
    question.attributes = vec![RouteAttribute::Destination(address.into())];
    let answers = netlink.ask(RouteNetlinkMessage::GetRoute(question), 0)?;
    Ok(answers.iter().find_map(|answer| match answer {
        RouteNetlinkMessage::NewRoute(route) => oif(route),
        _ => None,
    }))
}

/// Whether a listed route is this one of ours. Only the metric that we ask for has to be the same.
fn is_same(listed: &RouteMessage, ours: &RouteMessage) -> bool {
    is_to_same(listed, ours)
        && listed.header.kind == ours.header.kind
        && oif(listed) == oif(ours)
        && (priority(ours).is_none() || priority(ours) == priority(listed))
}

fn is_to_same(a: &RouteMessage, b: &RouteMessage) -> bool {
    a.header.destination_prefix_length == b.header.destination_prefix_length && destination(a) == destination(b)
}

fn oif(route: &RouteMessage) -> Option<u32> {
    route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    })
}

fn priority(route: &RouteMessage) -> Option<u32> {
    route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Priority(metric) => Some(*metric),
        _ => None,
    })
}

fn destination(route: &RouteMessage) -> Option<&RouteAddress> {
    route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(address) => Some(address),
        _ => None,
    })
}
