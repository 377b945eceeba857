//! Identifiers and public keys as types of their own, so that one cannot be passed for another.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Text that is not the identifier it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {0}")]
pub struct InvalidId(&'static str);

/// Fixed-size binary identifiers written in one text encoding everywhere: JSON, logs, files.
macro_rules! bytes_id {
    ($(#[$doc:meta])* $name:ident, $len:literal, $encoding:expr, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// The raw bytes.
            pub fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&$encoding.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let bytes = $encoding.decode(text.as_bytes()).map_err(|_| InvalidId($what))?;
                bytes.try_into().map(Self).map_err(|_| InvalidId($what))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}

bytes_id!(
    /// A device's Ed25519 public key: who it is. Text: base64url.
    IdentityKey, 32, BASE64URL_NOPAD, "identity key"
);
bytes_id!(
    /// A device's WireGuard (X25519) public key. Text: base64url.
    DeviceKey, 32, BASE64URL_NOPAD, "device key"
);
bytes_id!(
    /// SHA-256 of a TLS certificate's SubjectPublicKeyInfo: what an invite pins the server to. Text: base64url.
    Pin, 32, BASE64URL_NOPAD, "server key pin"
);
bytes_id!(
    /// One installation of the agent. It follows from the identity key, so no server can hand out somebody else's.
    /// Text: 32 hexadecimal digits.
    DeviceId, 16, HEXLOWER, "device id"
);

impl DeviceId {
    /// The id of the device that owns `key`: the first 16 bytes of SHA-256 over a label and the key.
    pub fn of(key: &IdentityKey) -> Self {
        let digest = Sha256::new()
            .chain_update(b"lanrage device id v1")
            .chain_update(key.0)
            .finalize();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        Self(id)
    }
}

impl Pin {
    /// The pin of a DER-encoded SubjectPublicKeyInfo.
    pub fn of_spki(spki_der: &[u8]) -> Self {
        Self(Sha256::digest(spki_der).into())
    }
}

/// A party. Drawn by the server (UUID v7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PartyId(pub Uuid);

impl fmt::Display for PartyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for PartyId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Uuid::parse_str(text).map(Self).map_err(|_| InvalidId("party id"))
    }
}

/// A member's number within its party, 1 to 254: also the last part of its virtual addresses. A device that leaves and
/// comes back gets the same number again while nobody else needed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MemberId(pub u16);

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A relay, by the name its operator gave it: `fra-1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct RelayId(String);

impl RelayId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RelayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for RelayId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let sound = (1..=32).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        sound
            .then(|| Self(text.to_owned()))
            .ok_or(InvalidId("relay name: 1 to 32 of a-z, 0-9 and -"))
    }
}

impl<'de> Deserialize<'de> for RelayId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_text() {
        let key = IdentityKey([7; 32]);
        assert_eq!(key.to_string().parse::<IdentityKey>(), Ok(key));
        let device = DeviceId::of(&key);
        assert_eq!(device.to_string().parse::<DeviceId>(), Ok(device));
        assert_eq!(
            serde_json::from_str::<DeviceId>(&serde_json::to_string(&device).unwrap()).unwrap(),
            device
        );
    }

    #[test]
    fn wrong_lengths_and_alphabets_are_refused() {
        assert!("".parse::<Pin>().is_err());
        assert!("AAAA".parse::<DeviceKey>().is_err());
        assert!("zz".repeat(16).parse::<DeviceId>().is_err());
        assert!("x".parse::<PartyId>().is_err());
        assert!("fra-1".parse::<RelayId>().is_ok());
        assert!("Fra 1".parse::<RelayId>().is_err());
    }
}
