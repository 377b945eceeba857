use axum::Json;
use axum::extract::State;
use lanrage_shared::api::party::Party;

use crate::app::{Age, AppState};
use crate::error::Failure;
use crate::extract::{Device, PartyAt};

/// `GET /v1/parties/{id}`, for its members.
#[utoipa::path(
    get, path = "/v1/parties/{id}", tag = "parties",
    params(PartyAt),
    responses(
        (status = 200, description = "The party", body = Party, headers(
            ("Age" = Option<u64>, description = "Seconds the database has not answered: the answer is what the server last knew"),
        )),
        (status = 404, description = "There is no such party, or the caller is not in it"),
    ),
)]
pub async fn get(
    State(app): State<AppState>,
    Device(claims): Device,
    PartyAt(id): PartyAt,
) -> Result<(Age, Json<Party>), Failure> {
    let seen = app.party_of(id, claims.sub).await?;
    Ok((seen.age, Json(seen.value)))
}
