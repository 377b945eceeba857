use axum::Extension;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use lanrage_shared::api::party::{CreateParty, DEFAULT_MAX_MEMBERS, Joined};
use lanrage_shared::ids::{MemberId, PartyId};
use lanrage_shared::token::AccessClaims;
use lanrage_store::{Founding, PartyRow, SeatRow};
use uuid::{NoContext, Timestamp, Uuid};

use super::check_max_members;
use crate::app::AppState;
use crate::domain::ipam;
use crate::error::Failure;
use crate::extract::{Body, Device, Peer};
use crate::routes::invites::new_invite;

/// `POST /v1/parties`: the caller becomes the first member and the host.
#[utoipa::path(
    post, path = "/v1/parties", tag = "parties",
    request_body = CreateParty,
    responses(
        (status = 201, description = "The party, with the caller in it", body = Joined),
        (status = 403, description = "The caller is in too many parties"),
    ),
)]
pub async fn create(
    State(app): State<AppState>,
    Device(claims): Device,
    Extension(peer): Extension<Peer>,
    Body(request): Body<CreateParty>,
) -> Result<(StatusCode, Json<Joined>), Failure> {
    let founding = founding(&request, &claims, app.clock.now_ms())?;
    app.limits.new_party(peer.address.ip()).map_err(|wait| {
        let message = format!("too many parties were made from your address: try again in {wait} s");
        Failure::rate_limited(wait).saying(message)
    })?;
    let created = app.store.create_party(&founding).await?;
    tracing::debug!(party = %founding.party.id, device = %claims.sub, "a party was created");
    let joined = Joined {
        party: app.party(&created.state),
        seq: created.state.row.seq,
        me: founding.host.number,
        services: app.relays.services(),
        sealed_secret: None,
        invite: Some(created.invite),
    };
    Ok((StatusCode::CREATED, Json(joined)))
}

fn founding(request: &CreateParty, claims: &AccessClaims, now_ms: u64) -> Result<Founding, Failure> {
    let id = PartyId(Uuid::new_v7(Timestamp::from_unix(
        NoContext,
        now_ms / 1000,
        u32::try_from(now_ms % 1000).unwrap_or_default() * 1_000_000,
    )));
    let number = ipam::choose_number(id, claims.sub, &[]).unwrap_or(MemberId(1));
    let party = PartyRow {
        id,
        name: request.name.clone(),
        host: number,
        epoch: 1,
        secret_epoch: 1,
        version: 1,
        seq: 0,
        persistent: request.persistent,
        max_members: check_max_members(request.max_members.unwrap_or(DEFAULT_MAX_MEMBERS))?,
        locked: false,
        net_index: ipam::choose_subnet(id, &request.lans),
        created_at_ms: now_ms,
    };
    let host = SeatRow {
        number,
        device: claims.sub,
        identity_key: claims.identity_key,
        device_key: claims.device_key,
        name: request.member_name.clone(),
        joined_at_ms: now_ms,
        last_seen_ms: now_ms,
        left_at_ms: None,
    };
    let invite = new_invite(&request.invite, now_ms)?;
    Ok(Founding { party, host, invite })
}
