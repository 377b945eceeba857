use std::num::{NonZeroU32, NonZeroUsize};

use serde::Deserialize;

/// `[limits]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Connections at once, streams included. Beyond them: 503. Default: 4096.
    pub connections: NonZeroUsize,
    /// How many of them one address may hold (IPv6: one /64). Default: 128.
    pub connections_per_address: NonZeroUsize,
    /// Requests per second and address (IPv6: per /64), those without a token and those with one counted apart. Default: 100.
    pub requests_per_second: NonZeroU32,
    /// How many of them may come at once. Signing in takes two, so the default, 500, is 250 agents behind one address.
    pub request_burst: NonZeroU32,
    /// Parties made from one address in an hour. Default: 60.
    pub parties_per_hour: NonZeroU32,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        const CONNECTIONS: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
        const PER_ADDRESS: NonZeroUsize = NonZeroUsize::new(128).unwrap();
        const PER_SECOND: NonZeroU32 = NonZeroU32::new(100).unwrap();
        const BURST: NonZeroU32 = NonZeroU32::new(500).unwrap();
        const PARTIES: NonZeroU32 = NonZeroU32::new(60).unwrap();
        Self {
            connections: CONNECTIONS,
            connections_per_address: PER_ADDRESS,
            requests_per_second: PER_SECOND,
            request_burst: BURST,
            parties_per_hour: PARTIES,
        }
    }
}
