use std::net::SocketAddr;

use lanrage_relay::stun::StunConfig;
use lanrage_shared::api::party::StunServer;
use lanrage_shared::ids::RelayId;
use serde::Deserialize;

/// Not the 443 of a relay by itself: on a friend's machine or behind a web server that is rarely free.
const RELAY_PORT: u16 = 4443;

#[expect(clippy::expect_used, reason = "a test parses it")]
fn own_relay() -> RelayId {
    "main".parse().expect("a name of letters")
}

/// `[services]`: what else the operator runs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServicesConfig {
    /// Run a relay in this process, with STUN. Default: no.
    pub with_relay: bool,
    /// First UDP port of the relay's STUN service in this process. Default: 3478. 0 takes a free one.
    pub stun_port: u16,
    /// Second UDP port of it. Default: 3479. 0 takes a free one.
    pub stun_second_port: u16,
    /// UDP and TCP port of the relay in this process. Default: 4443. 0 takes a free one.
    pub relay_port: u16,
    /// Its name among this server's relays: 1 to 32 of a-z, 0-9 and -. Default: main.
    pub relay_name: RelayId,
    /// Where it is, as people call it: `eu-west`. Default: main.
    pub relay_region: String,
    /// Address and TCP port of the relay's `/metrics`, for Prometheus. Anybody who reaches it can read it: keep it on loopback.
    /// Default: none.
    pub relay_metrics_listen: Option<SocketAddr>,
    /// STUN servers agents are told about: `{ host, port, second_port }`; without a host, this server's. Default: none.
    pub stun: Vec<StunServer>,
}

impl Default for ServicesConfig {
    fn default() -> Self {
        let relay = StunConfig::default();
        Self {
            with_relay: false,
            stun_port: relay.port,
            stun_second_port: relay.second_port,
            relay_port: RELAY_PORT,
            relay_name: own_relay(),
            relay_region: "main".to_owned(),
            relay_metrics_listen: None,
            stun: Vec::new(),
        }
    }
}
