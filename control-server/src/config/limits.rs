use std::num::NonZeroU32;
use std::time::Duration;

use serde::Deserialize;

/// A number from `MIN`, which is 1 or more, to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u32")]
pub struct Within<const MIN: u32, const MAX: u32>(NonZeroU32);

/// A number that is not in its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{value} is not a number from {min} to {max}")]
pub struct NotWithin {
    value: u32,
    min: u32,
    max: u32,
}

impl<const MIN: u32, const MAX: u32> Within<MIN, MAX> {
    /// `value`, brought into the range.
    pub const fn clamped(value: u32) -> Self {
        let value = if value < MIN { MIN } else { value };
        let value = if value > MAX { MAX } else { value };
        match NonZeroU32::new(value) {
            Some(value) => Self(value),
            None => Self(NonZeroU32::MIN),
        }
    }

    pub const fn get(self) -> NonZeroU32 {
        self.0
    }

    /// As a count of things in memory.
    pub const fn count(self) -> usize {
        self.0.get() as usize
    }

    /// As KiB: in bytes.
    pub const fn kib(self) -> usize {
        self.count() * 1024
    }

    /// As seconds.
    pub const fn seconds(self) -> Duration {
        Duration::from_secs(self.0.get() as u64)
    }
}

impl<const MIN: u32, const MAX: u32> TryFrom<u32> for Within<MIN, MAX> {
    type Error = NotWithin;

    fn try_from(value: u32) -> Result<Self, NotWithin> {
        let within = Self::clamped(value);
        if within.0.get() == value {
            Ok(within)
        } else {
            let (min, max) = (MIN, MAX);
            Err(NotWithin { value, min, max })
        }
    }
}

/// A rate, or how many may come at once.
pub type Rate = Within<1, 1_000_000>;

/// `[limits]`: what strangers, devices and members may take of the server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Connections at once, streams included. Beyond them: 503. Default: 4096.
    pub connections: Within<1, 1_000_000>,
    /// How many of them one address may hold (IPv6: one /64). Default: 128.
    pub connections_per_address: Within<1, 1_000_000>,
    /// Longest a client may take over its TLS handshake, and over the head of a request. Idle connections end after it too.
    /// Default: 5.
    pub header_timeout_s: Within<1, 60>,
    /// Longest a request may take, a slow sender's body included. Default: 15.
    pub request_timeout_s: Within<2, 300>,
    /// Longest a client may take none of what is written to it. Default: 10.
    pub write_timeout_s: Within<1, 60>,
    /// Largest head of a request, in KiB: an agent's takes 2. Default: 16.
    pub head_kib: Within<8, 256>,
    /// Largest body of a request, in KiB; agents of large parties need them as large as the default, 64.
    pub body_kib: Within<64, 1024>,
    /// Largest message on an agent's stream, in KiB: the largest they have a reason to send takes 4. Default: 64.
    pub message_kib: Within<8, 1024>,
    /// Requests answered at once, streams that are open not counted. Beyond them, as when the database is slow: 503.
    /// Default: 1024.
    pub requests_at_once: Within<1, 100_000>,
    /// Requests per second and address (IPv6: per /64), those without a token and those with one counted apart. Default: 100.
    pub requests_per_second: Rate,
    /// How many of them may come at once. Signing in takes two, so the default, 500, is 250 agents behind one address.
    pub request_burst: Rate,
    /// Requests of one device: what an impatient person with a script makes, and no more. Default: 10.
    pub device_requests_per_second: Rate,
    /// How many of them may come at once. Default: 60.
    pub device_request_burst: Rate,
    /// Invites a device may redeem: each tells the whole party that somebody came or has another name. Default: 20.
    pub redemptions_per_minute: Rate,
    /// How many of them may come at once. Default: 30.
    pub redemption_burst: Rate,
    /// Parties made from one address in an hour. Default: 60.
    pub parties_per_hour: Rate,
    /// Messages of a member on its stream: hole punching takes a few per peer and second, for a moment. Default: 50.
    pub messages_per_second: Rate,
    /// How many of them may come at once. Default: 200.
    pub message_burst: Rate,
    /// Parties one device may be in. Default: 32.
    pub parties_per_device: Within<1, 10_000>,
    /// Invites of one party that have not expired. Default, and most: 100, as that many fit into one request.
    pub invites_per_party: Within<1, 100>,
    /// Devices banned from one party. Default: 1000.
    pub bans_per_party: Within<1, 100_000>,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            connections: Within::clamped(4096),
            connections_per_address: Within::clamped(128),
            header_timeout_s: Within::clamped(5),
            request_timeout_s: Within::clamped(15),
            write_timeout_s: Within::clamped(10),
            head_kib: Within::clamped(16),
            body_kib: Within::clamped(64),
            message_kib: Within::clamped(64),
            requests_at_once: Within::clamped(1024),
            requests_per_second: Within::clamped(100),
            request_burst: Within::clamped(500),
            device_requests_per_second: Within::clamped(10),
            device_request_burst: Within::clamped(60),
            redemptions_per_minute: Within::clamped(20),
            redemption_burst: Within::clamped(30),
            parties_per_hour: Within::clamped(60),
            messages_per_second: Within::clamped(50),
            message_burst: Within::clamped(200),
            parties_per_device: Within::clamped(32),
            invites_per_party: Within::clamped(100),
            bans_per_party: Within::clamped(1000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_outside_its_range_is_refused_with_the_range() {
        let read = |text: &str| toml::from_str::<LimitsConfig>(text).map_err(|error| error.message().to_owned());
        assert_eq!(read("head_kib = 8").unwrap().head_kib.kib(), 8192);
        assert_eq!(read("head_kib = 7").unwrap_err(), "7 is not a number from 8 to 256");
        assert!(read("connections = 0").unwrap_err().contains("from 1 to 1000000"));
        assert!(read("connections = -1").is_err());
        assert!(read("connectoins = 1").is_err());
    }
}
