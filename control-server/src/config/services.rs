use lanrage_relay::stun::StunConfig;
use lanrage_shared::api::party::StunServer;
use serde::Deserialize;

/// `[services]`: what else the operator runs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServicesConfig {
    /// Run the relay's services in this process. Default: no.
    pub with_relay: bool,
    /// First UDP port of the relay's STUN service in this process. Default: 3478. 0 takes a free one.
    pub stun_port: u16,
    /// Second UDP port of it. Default: 3479. 0 takes a free one.
    pub stun_second_port: u16,
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
            stun: Vec::new(),
        }
    }
}
