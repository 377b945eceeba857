//! The command line's end of the local API.

use std::io;
use std::path::Path;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use super::{Failure, Reply, Request};
use crate::platform::connect;

#[cfg(not(windows))]
const START: &str = "sudo lanrage up";
#[cfg(windows)]
const START: &str = "lanrage up";
#[cfg(not(windows))]
const AS_ITS_OWNER: &str = "put `sudo` before the command";
#[cfg(windows)]
const AS_ITS_OWNER: &str = "repeat this in a terminal run as administrator";

/// Why a call gave no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    #[error("the agent is not running; start it with `{START}`")]
    NotRunning,
    #[error("the agent runs for another user; {AS_ITS_OWNER}")]
    Forbidden,
    #[error("the agent broke off ({0}); see agent.log in its state directory")]
    Broken(String),
    #[error("{0}")]
    Failed(Failure),
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let code = match error {
            CallError::NotRunning => "not_running",
            CallError::Forbidden => "forbidden",
            CallError::Broken(_) => "agent_broke_off",
            CallError::Failed(failure) => return failure,
        };
        Self::new(code, error.to_string())
    }
}

/// Asks the agent of `state_dir` and waits for its answer, however long it takes. `on_progress` hears what it is doing.
pub async fn call(
    state_dir: &Path,
    request: &Request,
    mut on_progress: impl FnMut(String),
) -> Result<serde_json::Value, CallError> {
    let stream = connect(state_dir)
        .await
        .map_err(|error| not_connected(state_dir, &error))?;
    let mut stream = BufReader::new(stream);
    let mut line = serde_json::to_vec(request).map_err(broken)?;
    line.push(b'\n');
    stream.write_all(&line).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    let mut replies = stream.lines();
    while let Some(line) = replies.next_line().await.map_err(broken)? {
        match serde_json::from_str(&line).map_err(broken)? {
            Reply::Progress(step) => on_progress(step),
            Reply::Done(value) => return Ok(value),
            Reply::Failed(failure) => return Err(CallError::Failed(failure)),
        }
    }
    Err(CallError::Broken("it hung up without an answer".to_owned()))
}

fn not_connected(state_dir: &Path, error: &io::Error) -> CallError {
    let unavailable = |sentence| CallError::Failed(Failure::new("state_unavailable", sentence));
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => CallError::NotRunning,
        io::ErrorKind::PermissionDenied => CallError::Forbidden,
        // The platform's own sentence about a path that cannot hold a socket.
        io::ErrorKind::InvalidInput => unavailable(error.to_string()),
        io::ErrorKind::NotADirectory => unavailable(format!(
            "{} is not a directory; name the agent's with --state-dir",
            state_dir.display()
        )),
        _ => broken(error),
    }
}

fn broken(error: impl ToString) -> CallError {
    CallError::Broken(error.to_string())
}
