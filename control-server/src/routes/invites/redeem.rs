use axum::Json;
use axum::extract::State;
use data_encoding::BASE64URL_NOPAD;
use lanrage_shared::api::invite::RedeemInvite;
use lanrage_shared::api::party::Joined;
use lanrage_store::Redemption;

use crate::app::AppState;
use crate::domain::admission;
use crate::error::Failure;
use crate::extract::{Body, Device};

/// `POST /v1/invites/redeem`: the caller becomes a member, or learns again that it is one.
#[utoipa::path(
    post, path = "/v1/invites/redeem", tag = "invites",
    request_body = RedeemInvite,
    responses(
        (status = 200, description = "The party, with the caller in it", body = Joined),
        (status = 403, description = "The caller is banned (`banned`), the party admits nobody for now (`party_locked`), or the caller is in too many parties"),
        (status = 404, description = "There is no such invite"),
        (status = 409, description = "The party is full (`party_full`), its network overlaps one of the caller's (`address_conflict`), or another member has the WireGuard key (`key_taken`)"),
        (status = 410, description = "The invite has expired, was ended, or is used up"),
    ),
)]
pub async fn redeem(
    State(app): State<AppState>,
    Device(claims): Device,
    Body(request): Body<RedeemInvite>,
) -> Result<Json<Joined>, Failure> {
    app.limits.redemption(claims.sub).map_err(Failure::rate_limited)?;
    let redemption = Redemption {
        auth_hash: request.auth.hash(),
        device: claims.sub,
        identity_key: claims.identity_key,
        device_key: claims.device_key,
        name: request.member_name,
        now_ms: app.clock.now_ms(),
    };
    let redeemed = app
        .store
        .redeem_invite(&redemption, &|party, seats| {
            admission::admit(party, seats, claims.sub, &request.lans)
        })
        .await?;
    if !redeemed.changed.events.is_empty() {
        tracing::debug!(party = %redeemed.state.row.id, device = %claims.sub, "a device joined");
    }
    app.announce(&redeemed.changed);
    Ok(Json(Joined {
        party: app.party(&redeemed.state),
        seq: redeemed.state.row.seq,
        me: redeemed.me,
        services: app.relays.services(),
        sealed_secret: Some(BASE64URL_NOPAD.encode(&redeemed.sealed_secret)),
        invite: None,
    }))
}
