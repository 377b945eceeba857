//! What a relay says of itself when its link begins.

use lanrage_shared::api::relay::RelayMessage;
use lanrage_shared::ids::{Pin, RelayId};
use lanrage_shared::invite::host_port;

/// Characters of a region's name.
const MAX_REGION: usize = 32;

/// What a relay says of itself, sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    pub id: RelayId,
    pub region: String,
    pub host: Option<String>,
    pub port: u16,
    pub pin: Pin,
    /// Sessions it takes at most.
    pub capacity: u32,
}

/// A registration that no relay of ours makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsound {
    #[error("the first message must be register")]
    NotRegister,
    #[error("a region is 1 to {MAX_REGION} letters, digits, dots and hyphens, like eu-west")]
    Region,
    #[error("the relay's public address must be a name or an address without a port")]
    Host,
    #[error("the relay's port must be a number from 1 to 65535")]
    Port,
}

impl Registration {
    /// Reads the first message of a link: the registration, and the last revocation that the relay knows.
    pub fn read(message: RelayMessage) -> Result<(Self, u64), Unsound> {
        let RelayMessage::Register {
            id,
            region,
            host,
            port,
            pin,
            capacity,
            since,
        } = message
        else {
            return Err(Unsound::NotRegister);
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if !(1..=MAX_REGION).contains(&region.len()) || !region.chars().all(plain) {
            return Err(Unsound::Region);
        }
        if host.as_deref().is_some_and(|host| !is_host(host)) {
            return Err(Unsound::Host);
        }
        if port == 0 {
            return Err(Unsound::Port);
        }
        let registration = Self {
            id,
            region,
            host,
            port,
            pin,
            capacity,
        };
        Ok((registration, since))
    }
}

fn is_host(text: &str) -> bool {
    let bracketed = match text.parse::<std::net::Ipv6Addr>() {
        Ok(_) => format!("[{text}]:1"),
        Err(_) => format!("{text}:1"),
    };
    host_port(&bracketed).is_ok_and(|(host, _)| host == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(region: &str, host: Option<&str>, port: u16) -> RelayMessage {
        RelayMessage::Register {
            id: "fra-1".parse().unwrap(),
            region: region.into(),
            host: host.map(Into::into),
            port,
            pin: Pin([1; 32]),
            capacity: 1000,
            since: 7,
        }
    }

    #[test]
    fn only_sound_registrations_are_taken() {
        let read = |region: &str, host, port| Registration::read(message(region, host, port)).map(|(_, since)| since);
        assert_eq!(read("eu-west", None, 1), Ok(7));
        for host in ["relay.example", "192.0.2.1", "2001:db8::1"] {
            assert_eq!(read("eu-west", Some(host), 1), Ok(7), "{host}");
        }
        for host in [
            "",
            "relay.example:4443",
            "[2001:db8::1]",
            "a b",
            "a/b",
            "relay.example#x",
        ] {
            assert_eq!(read("eu-west", Some(host), 1), Err(Unsound::Host), "{host}");
        }
        for region in ["", "eu west", "\u{1b}[2J", &"x".repeat(33)] {
            assert_eq!(read(region, None, 1), Err(Unsound::Region), "{region:?}");
        }
        assert_eq!(read("eu-west", None, 0), Err(Unsound::Port));
        let early = RelayMessage::Applied { seq: 1 };
        assert_eq!(Registration::read(early), Err(Unsound::NotRegister));
    }
}
