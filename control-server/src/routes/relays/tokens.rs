use axum::Json;
use axum::extract::State;
use lanrage_shared::api::relay::{RELAY_TOKEN_LIFETIME_S, RelayToken, RelayTokens};
use lanrage_shared::token::{Claims, RelayClaims};
use lanrage_store::StoreError;

use crate::app::AppState;
use crate::error::Failure;
use crate::extract::{Device, PartyAt};

/// `POST /v1/parties/{id}/relay-tokens`, for members: a token for every relay there is.
#[utoipa::path(
    post, path = "/v1/parties/{id}/relay-tokens", tag = "relays",
    params(PartyAt),
    responses(
        (status = 200, description = "A token for every relay", body = RelayTokens),
        (status = 404, description = "There is no such party, or the caller is not in it"),
    ),
)]
pub async fn tokens(
    State(app): State<AppState>,
    Device(claims): Device,
    PartyAt(id): PartyAt,
) -> Result<Json<RelayTokens>, Failure> {
    let party = app.party_of(id, claims.sub).await?.value;
    let me = party.member_of(claims.sub).ok_or(StoreError::NotFound)?;
    let now = app.clock.now_ms() / 1000;
    let expires_at = now + RELAY_TOKEN_LIFETIME_S;
    let relays = app.relays.services().relays.into_iter();
    let tokens = relays.map(|relay| {
        let claims = RelayClaims {
            aud: RelayClaims::AUDIENCE.to_owned(),
            relay: relay.id.clone(),
            party: id,
            member: me.id,
            identity_key: me.identity_key,
            device_key: me.device_key,
            epoch: party.epoch,
            iat: now,
            exp: expires_at,
        };
        let token = app.authority.relay_token(&claims)?;
        Ok(RelayToken { relay: relay.id, token })
    });
    Ok(Json(RelayTokens {
        tokens: tokens.collect::<Result<_, StoreError>>()?,
        expires_at,
    }))
}
