/// `GET /healthz`: the process runs.
pub async fn alive() -> &'static str {
    "ok\n"
}
