//! Asking the running agent.

use serde::de::DeserializeOwned;

use super::output::Progress;
use super::{Context, start};
use crate::api::client::{CallError, call};
use crate::api::{Failure, Request};

/// Asks the agent, showing what it is doing.
pub(super) async fn ask<T: DeserializeOwned>(context: &Context, request: &Request) -> Result<T, Failure> {
    let progress = Progress::start(context.json);
    ask_showing(context, request, &progress).await
}

/// Like [`ask`]; an agent that is not running is started first, and ended again when it then cannot do what is asked: a
/// failed command leaves everything as it was.
pub(super) async fn ask_starting<T: DeserializeOwned>(context: &Context, request: &Request) -> Result<T, Failure> {
    let progress = Progress::start(context.json);
    match call(&context.state_dir, request, |step| progress.step(&step)).await {
        Err(CallError::NotRunning) => {}
        answer => return parse(answer?),
    }
    progress.step("starting the agent");
    start::in_background(context, &start::Options::default()).await?;
    let answer = ask_showing(context, request, &progress).await;
    if answer.is_err() {
        // The first failure is the one to tell.
        let _ = call(&context.state_dir, &Request::Down, |_| ()).await;
        let _ = start::wait_until_gone(&context.state_dir).await;
    }
    answer
}

async fn ask_showing<T: DeserializeOwned>(
    context: &Context,
    request: &Request,
    progress: &Progress,
) -> Result<T, Failure> {
    parse(call(&context.state_dir, request, |step| progress.step(&step)).await?)
}

fn parse<T: DeserializeOwned>(answer: serde_json::Value) -> Result<T, Failure> {
    serde_json::from_value(answer).map_err(|error| {
        let sentence = format!(
            "the running agent is of another version and its answer cannot be read ({error}); restart it with `lanrage down` and `lanrage up`"
        );
        Failure::new("agent_version", sentence)
    })
}
