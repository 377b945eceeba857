//! The authority's question (RFC 8555 §8.3): does whoever asks for the name answer at its port 80?

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;

/// Answers to questions that are about to be asked, by token.
#[derive(Default)]
pub(super) struct Challenges(Mutex<HashMap<String, String>>);

/// An answer that is there until this is dropped.
pub(super) struct Expected {
    challenges: Arc<Challenges>,
    token: String,
}

impl Challenges {
    /// Answers whoever asks for `token`.
    pub(super) fn expect(self: &Arc<Self>, token: &str, answer: &str) -> Expected {
        self.lock().insert(token.to_owned(), answer.to_owned());
        Expected {
            challenges: Arc::clone(self),
            token: token.to_owned(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, String>> {
        // Every change is a single map operation.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.challenges.lock().remove(&self.token);
    }
}

/// What is answered at port 80; nothing else is.
pub(super) fn router(challenges: Arc<Challenges>) -> Router {
    Router::new()
        .route("/.well-known/acme-challenge/{token}", get(answer))
        .with_state(challenges)
}

async fn answer(State(challenges): State<Arc<Challenges>>, Path(token): Path<String>) -> Result<String, StatusCode> {
    challenges.lock().get(&token).cloned().ok_or(StatusCode::NOT_FOUND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_question_is_answered_while_it_is_expected() {
        let challenges = Arc::new(Challenges::default());
        let ask = async || answer(State(Arc::clone(&challenges)), Path("token".into())).await;
        let expected = challenges.expect("token", "token.print");
        assert_eq!(ask().await, Ok("token.print".into()));
        drop(expected);
        assert_eq!(ask().await, Err(StatusCode::NOT_FOUND));
    }
}
