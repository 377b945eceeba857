//! Keeping pages of a browser out of what listens on loopback.

use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;
use hyper::header::HOST;

/// Whether a request says that it goes to this machine: to localhost, or to an address. A page in this machine's browser may have
/// its own name lead to loopback (DNS rebinding); it cannot choose what the browser says the name is.
pub fn names_this_machine(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    host.is_some_and(is_this_machine)
}

fn is_this_machine(host: &str) -> bool {
    let without_port = host.parse::<SocketAddr>().map(|address| address.ip());
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    without_port.is_ok() || host.parse::<IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost")
}
