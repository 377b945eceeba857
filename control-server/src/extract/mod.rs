//! What endpoints ask of a request, each refusing in the one shape of refusals.

mod body;
mod device;
mod if_match;
mod page;
mod party;
mod peer;
mod upgrade;

use utoipa::PartialSchema;
use utoipa::openapi::Required;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};

pub use self::body::Body;
pub use self::device::{Device, bearer};
pub use self::if_match::IfMatch;
pub use self::page::Page;
pub use self::party::{DeviceAt, InviteAt, MemberAt, PartyAt};
pub use self::peer::{Peer, Stranger};
pub use self::upgrade::Upgrade;

/// What an extractor reads, as the OpenAPI document describes it.
fn parameter<T: PartialSchema>(place: ParameterIn, name: &str, description: &str) -> Parameter {
    ParameterBuilder::new()
        .parameter_in(place)
        .name(name)
        .required(Required::True)
        .description(Some(description))
        .schema(Some(T::schema()))
        .build()
}
