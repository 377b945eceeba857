use axum::Json;
use axum::extract::State;
use lanrage_shared::api::relay::ListedRelay;

use crate::app::AppState;
use crate::extract::Device;

/// `GET /v1/relays`, for every device: the relays of this server and how they are.
pub async fn list(State(app): State<AppState>, _: Device) -> Json<Vec<ListedRelay>> {
    Json(app.relays.list(app.clock.uptime_ms()))
}
