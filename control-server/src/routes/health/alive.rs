use crate::extract::Stranger;

/// `GET /healthz`: the process runs.
pub async fn alive(_: Stranger) -> &'static str {
    "ok\n"
}
