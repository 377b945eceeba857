//! The two keys of a device and the secret of a party. None of them prints itself.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use ed25519_dalek::{Signer, SigningKey, Verifier, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::ids::{DeviceId, DeviceKey, IdentityKey, Pin};

/// 32 secret bytes that wipe themselves, print as `…` and travel in JSON only into files that are ours alone.
macro_rules! secret {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
        pub struct $name([u8; 32]);

        impl $name {
            /// From 32 bytes of a cryptographic random number generator.
            pub fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The secret bytes. Never log, never put in an argument or a world-readable file.
            pub fn expose(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}(…)", stringify!($name))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&BASE64URL_NOPAD.encode(&self.0))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| de::Error::custom(concat!("not a valid ", $what)))?;
                bytes.try_into().map(Self).map_err(|_| de::Error::custom(concat!("not a valid ", $what)))
            }
        }
    };
}

secret!(
    /// The private half of an [`IdentityKey`].
    IdentitySecret, "identity secret"
);
secret!(
    /// The private half of a [`DeviceKey`].
    DeviceSecret, "device secret"
);
secret!(
    /// What the members of a party know and the server does not; one per epoch.
    PartySecret, "party secret"
);

impl IdentitySecret {
    fn signing_key(&self) -> SigningKey {
        SigningKey::from_bytes(&self.0)
    }

    /// The public half.
    pub fn public(&self) -> IdentityKey {
        IdentityKey(self.signing_key().verifying_key().to_bytes())
    }

    /// The device this key makes.
    pub fn device_id(&self) -> DeviceId {
        DeviceId::of(&self.public())
    }

    /// An Ed25519 signature. Every caller signs a message that begins with a label of its own.
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.signing_key().sign(message).to_bytes())
    }
}

impl DeviceSecret {
    /// The public half.
    pub fn public(&self) -> DeviceKey {
        DeviceKey(PublicKey::from(&self.x25519()).to_bytes())
    }

    /// For WireGuard and for [`crate::pair`].
    pub fn x25519(&self) -> StaticSecret {
        StaticSecret::from(self.0)
    }
}

impl IdentityKey {
    /// Whether `signature` over `message` was made by this key's owner. Weak keys never verify.
    pub fn verifies(&self, message: &[u8], signature: &Signature) -> bool {
        VerifyingKey::from_bytes(&self.0).is_ok_and(|key| {
            !key.is_weak()
                && key
                    .verify(message, &ed25519_dalek::Signature::from_bytes(&signature.0))
                    .is_ok()
        })
    }
}

/// An Ed25519 signature. Text: base64url.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({})", BASE64URL_NOPAD.encode(&self.0))
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64URL_NOPAD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        let bytes = BASE64URL_NOPAD
            .decode(text.as_bytes())
            .ok()
            .and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| de::Error::custom(InvalidSignature))
    }
}

/// Text that is not a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid signature")]
pub struct InvalidSignature;

/// What a device signs to get a token: bound to this server's key (a hostile server cannot pass the proof on to another),
/// to the server's nonce, and to the WireGuard key the device announces.
pub fn token_proof(server: &Pin, nonce: &str, device_key: &DeviceKey) -> Vec<u8> {
    [
        b"lanrage token proof v1\0".as_slice(),
        &server.0,
        &device_key.0,
        nonce.as_bytes(),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_proves_its_maker_and_its_message() {
        let secret = IdentitySecret::from_bytes([3; 32]);
        let signature = secret.sign(b"hello");
        assert!(secret.public().verifies(b"hello", &signature));
        assert!(!secret.public().verifies(b"hullo", &signature));
        assert!(
            !IdentitySecret::from_bytes([4; 32])
                .public()
                .verifies(b"hello", &signature)
        );
    }

    #[test]
    fn secrets_do_not_print_themselves() {
        assert_eq!(format!("{:?}", PartySecret::from_bytes([0xab; 32])), "PartySecret(…)");
    }
}
