use crate::extract::Stranger;

/// `GET /healthz`: the process runs.
#[utoipa::path(
    get, path = "/healthz", tag = "health",
    security(()),
    responses(
        (status = 200, description = "The process runs", body = String, content_type = "text/plain"),
    ),
)]
pub async fn alive(_: Stranger) -> &'static str {
    "ok\n"
}
