//! Another connection to a relay, tried beside the one that stands.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::timeout;

use super::dialer::{Broken, Line};

/// A relay ends a connection when it has the next one, which stands here a round trip later.
const OVERTAKING: Duration = Duration::from_millis(300);

/// Another connection on its way.
pub(super) struct Attempt {
    connecting: BoxFuture<'static, Result<Line, String>>,
    pub because: Because,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Because {
    /// The relay does not answer.
    Silent,
    /// A TCP connection from another network is dead.
    Moved,
    /// UDP may get through by now.
    OverTcp,
}

/// A connection that takes over.
pub(super) struct Next {
    pub line: Line,
    pub because: Because,
}

impl Attempt {
    pub fn new(because: Because, connecting: impl Future<Output = Result<Line, String>> + Send + 'static) -> Self {
        Self {
            connecting: connecting.boxed(),
            because,
        }
    }
}

/// How the attempt ended, when there is one. Safe to cancel.
pub(super) async fn ended(attempt: &mut Option<Attempt>) -> (Because, Result<Line, String>) {
    let Some(Attempt { connecting, because }) = attempt else {
        return std::future::pending().await;
    };
    let ended = (*because, connecting.await);
    *attempt = None;
    ended
}

/// The connection is over. It may be because the relay has the next one already.
pub(super) async fn last_chance(attempt: Option<Attempt>, why: impl ToString) -> Result<Next, Broken> {
    let Some(Attempt { connecting, because }) = attempt else {
        return Err(Broken::new(why));
    };
    let connected = match because {
        // Where UDP may not get through at all, that would take its time to show.
        Because::OverTcp => timeout(OVERTAKING, connecting)
            .await
            .unwrap_or_else(|_| Err(String::new())),
        Because::Silent | Because::Moved => connecting.await,
    };
    connected
        .map(|line| Next { line, because })
        .map_err(|_| Broken::new(why))
}
