use lanrage_shared::api::party::StunServer;
use serde::Deserialize;

/// `[services]`: what else the operator runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServicesConfig {
    /// Run the relay's services in this process. Default: no.
    pub with_relay: bool,
    /// STUN servers agents are told about: `{ host, port, second_port }`; without a host, this server's. Default: none.
    pub stun: Vec<StunServer>,
}
