use axum::Json;
use axum::extract::State;
use ipnet::Ipv4Net;
use lanrage_shared::api::party::{MAX_LANS, MoveParty, Party};
use lanrage_store::PartyRow;

use crate::app::AppState;
use crate::domain::ipam;
use crate::error::Failure;
use crate::extract::{Body, Device, IfMatch, PartyAt};

/// `POST /v1/parties/{id}/network`, for the host, while the party has the version of `If-Match`. Everybody's addresses change
/// under running games, so it is the host's to decide, also for a guest whose LAN has the party's addresses.
#[utoipa::path(
    post, path = "/v1/parties/{id}/network", tag = "parties",
    params(PartyAt, IfMatch),
    request_body = MoveParty,
    responses(
        (status = 200, description = "The party as it is now", body = Party),
        (status = 403, description = "The caller is not the host"),
        (status = 404, description = "There is no such party, or the caller is not in it"),
    ),
)]
pub async fn move_party(
    State(app): State<AppState>,
    Device(claims): Device,
    PartyAt(id): PartyAt,
    IfMatch(expected): IfMatch,
    Body(request): Body<MoveParty>,
) -> Result<Json<Party>, Failure> {
    // Like a redeemed invite, it is news for the whole party.
    app.limits.redemption(claims.sub).map_err(Failure::rate_limited)?;
    let choose = |row: &PartyRow| ipam::next_subnet(row.net_index, &avoided(row, &request.avoid));
    let now_ms = app.clock.now_ms();
    let (state, changed) = app.store.move_party(id, claims.sub, expected, &choose, now_ms).await?;
    tracing::debug!("the party has another network");
    app.announce(&changed);
    Ok(Json(app.party(&state)))
}

/// The network the party has, and as many of those named as count.
fn avoided(row: &PartyRow, named: &[Ipv4Net]) -> Vec<Ipv4Net> {
    let present = [row.net().v4];
    present.iter().chain(named).copied().take(MAX_LANS).collect()
}
