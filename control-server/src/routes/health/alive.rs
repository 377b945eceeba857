/// `GET /healthz`: the process runs. Nobody is counted.
#[utoipa::path(
    get, path = "/healthz", tag = "health",
    security(()),
    responses(
        (status = 200, description = "The process runs", body = String, content_type = "text/plain"),
    ),
)]
pub async fn alive() -> &'static str {
    "ok\n"
}
