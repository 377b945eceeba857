use axum::Json;
use axum::extract::State;
use lanrage_shared::api::party::Party;

use crate::app::AppState;
use crate::error::Failure;
use crate::extract::Device;

/// `GET /v1/parties`: the parties the caller is in.
pub async fn list(State(app): State<AppState>, Device(claims): Device) -> Result<Json<Vec<Party>>, Failure> {
    let states = app.store.parties_of(claims.sub).await?;
    Ok(Json(states.iter().map(|state| app.party(state)).collect()))
}
