//! What a path names.

use std::str::FromStr;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use lanrage_shared::ids::{DeviceId, MemberId, PartyId};
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::openapi::{KnownFormat, RefOr};
use utoipa::{IntoParams, PartialSchema};
use uuid::Uuid;

use super::parameter;
use crate::error::Failure;

/// The `{id}` of a path.
#[derive(Debug)]
pub struct PartyAt(pub PartyId);

/// The `{number}` of a path.
#[derive(Debug)]
pub struct MemberAt(pub MemberId);

/// The `{device}` of a path.
#[derive(Debug)]
pub struct DeviceAt(pub DeviceId);

/// The `{invite}` of a path.
#[derive(Debug)]
pub struct InviteAt(pub Uuid);

impl<S: Send + Sync> FromRequestParts<S> for PartyAt {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let sentence = "the path does not name a party: its id is a UUID";
        let id = named(parts, state, "id", sentence).await?;
        tracing::Span::current().record("party", tracing::field::display(id));
        Ok(Self(id))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for MemberAt {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let sentence = "the path does not name a member: it is a number from 1 to 254";
        let number = named(parts, state, "number", sentence).await?;
        Ok(Self(MemberId(number)))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for DeviceAt {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let sentence = "the path does not name a device: its id has 32 hexadecimal digits";
        named(parts, state, "device", sentence).await.map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for InviteAt {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let sentence = "the path does not name an invite: its id is a UUID";
        named(parts, state, "invite", sentence).await.map(Self)
    }
}

/// A UUID, in the OpenAPI document.
struct InviteId;

impl PartialSchema for InviteId {
    fn schema() -> RefOr<Schema> {
        let format = SchemaFormat::KnownFormat(KnownFormat::Uuid);
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(format))
            .into()
    }
}

/// As a parameter of the OpenAPI document.
macro_rules! in_path {
    ($extractor:ty, $type:ty, $name:literal, $description:literal) => {
        impl IntoParams for $extractor {
            fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
                vec![parameter::<$type>(ParameterIn::Path, $name, $description)]
            }
        }
    };
}

in_path!(PartyAt, PartyId, "id", "The party");
in_path!(MemberAt, MemberId, "number", "The member's number in the party");
in_path!(InviteAt, InviteId, "invite", "The invite");
in_path!(DeviceAt, DeviceId, "device", "The device");

async fn named<T: FromStr>(
    parts: &mut Parts,
    state: &(impl Send + Sync),
    name: &str,
    sentence: &str,
) -> Result<T, Failure> {
    let params = RawPathParams::from_request_parts(parts, state).await.ok();
    let text = params
        .iter()
        .flatten()
        .find_map(|(key, value)| (key == name).then_some(value));
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| Failure::bad_request(sentence))
}
