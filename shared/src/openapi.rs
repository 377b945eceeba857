//! How the types that travel as text look in an OpenAPI document.

use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::openapi::{KnownFormat, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::api::game::{GameId, MAX_ID};
use crate::ids::{DeviceId, DeviceKey, IdentityKey, MemberId, PartyId, Pin, RelayId};
use crate::invite::InviteAuth;
use crate::keys::Signature;
use crate::names::{GameName, MAX_GAME_NAME_CHARS, MAX_NAME_CHARS, MemberName, PartyName};

/// 32 bytes in base64url: the last of 43 characters carries four bits.
const BYTES_32: &str = "^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$";
/// 64 bytes in base64url: the last of 86 characters carries two bits.
const BYTES_64: &str = "^[A-Za-z0-9_-]{85}[AQgw]$";

/// A type whose schema `$object` makes.
macro_rules! schema {
    ($name:ident, $description:literal, $object:expr) => {
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                $object.description(Some($description)).into()
            }
        }

        impl ToSchema for $name {}
    };
}

schema!(
    IdentityKey,
    "A device's Ed25519 public key, in base64url",
    text(BYTES_32)
);
schema!(
    DeviceKey,
    "A device's WireGuard (X25519) public key, in base64url",
    text(BYTES_32)
);
schema!(
    Pin,
    "SHA-256 of a server's SubjectPublicKeyInfo, in base64url",
    text(BYTES_32)
);
schema!(
    InviteAuth,
    "What follows from an invite's code and shows that one knows it, in base64url",
    text(BYTES_32)
);
schema!(Signature, "An Ed25519 signature, in base64url", text(BYTES_64));
schema!(
    DeviceId,
    "A device: it follows from its identity key",
    text("^[0-9a-f]{32}$")
);
schema!(RelayId, "A relay, as its operator calls it", text("^[a-z0-9-]{1,32}$"));
schema!(
    GameId,
    "What agents know a game by",
    text("^[a-z0-9-]+$").max_length(Some(MAX_ID))
);
schema!(
    PartyId,
    "A party",
    string().format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid)))
);
schema!(
    MemberId,
    "A member's number in its party",
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(1))
        .maximum(Some(254))
);
schema!(
    PartyName,
    "What a party is called: printable, without spaces around it",
    name(MAX_NAME_CHARS)
);
schema!(
    MemberName,
    "What a member is called: printable, without spaces around it",
    name(MAX_NAME_CHARS)
);
schema!(
    GameName,
    "What a game is called: printable, without spaces around it",
    name(MAX_GAME_NAME_CHARS)
);

/// An [`ipnet::Ipv4Net`] in requests and answers.
pub(crate) struct Ipv4Network;

/// Any address with any prefix length.
const IPV4_NETWORK: &str = "^((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])/(3[0-2]|[12]?[0-9])$";

schema!(Ipv4Network, "An IPv4 network: `192.168.1.0/24`", text(IPV4_NETWORK));

fn string() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn text(pattern: &str) -> ObjectBuilder {
    string().pattern(Some(pattern))
}

fn name(most: usize) -> ObjectBuilder {
    string().min_length(Some(1)).max_length(Some(most))
}
