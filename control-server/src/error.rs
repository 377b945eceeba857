//! Every refusal on its way out: a status, a stable code, one sentence. What the database said stays in the log.

use std::num::NonZeroU32;
use std::sync::LazyLock;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use lanrage_shared::api::error::{ApiError, ErrorCode, ErrorDetails};
use lanrage_store::{Refusal, StoreError};

/// Seconds after which to come back when the database is away: it is asked twice a second whether it is back.
const RETRY_AFTER_S: u64 = 1;

/// A refused request.
#[derive(Debug, Clone)]
pub struct Failure {
    pub status: StatusCode,
    pub error: ApiError,
    /// Seconds.
    pub retry_after: Option<u64>,
}

impl Failure {
    /// A refusal.
    pub fn new(status: StatusCode, code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            status,
            error: ApiError::new(code, message),
            retry_after: None,
        }
    }

    /// 400: the request itself is wrong.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::BadRequest, message)
    }

    /// 401: the caller has not proved who it is.
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, message)
    }

    /// 429: come back in `wait` seconds.
    pub fn rate_limited(wait: u64) -> Self {
        let message = format!("too many requests: try again in {wait} s");
        Self {
            retry_after: Some(wait),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::RateLimited, message)
        }
    }

    /// The same, in other words.
    #[must_use]
    pub fn saying(mut self, message: String) -> Self {
        self.error.message = message;
        self
    }

    /// The same, with more for programs.
    #[must_use]
    pub fn with(mut self, details: ErrorDetails) -> Self {
        self.error.details = Some(details);
        self
    }

    /// 503: not now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self {
            retry_after: Some(RETRY_AFTER_S),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable, message)
        }
    }
}

/// A line about the database: said once a second, however many ask. Their requests would fill the log otherwise.
struct Line(LazyLock<DefaultDirectRateLimiter>);

/// One each, so that none is silent because of another.
static UNAVAILABLE: Line = Line::new();
static UNCERTAIN: Line = Line::new();
static INTERNAL: Line = Line::new();

impl Line {
    const fn new() -> Self {
        Self(LazyLock::new(|| {
            RateLimiter::direct(Quota::per_second(NonZeroU32::MIN))
        }))
    }

    fn is_due(&self) -> bool {
        self.0.check().is_ok()
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        use StatusCode as Status;
        match error {
            StoreError::NotFound => Self::new(
                Status::NOT_FOUND,
                ErrorCode::NotFound,
                "there is no such party, or you are not in it",
            ),
            StoreError::NotAMember => Self::new(
                Status::FORBIDDEN,
                ErrorCode::NotAMember,
                "you are not a member of this party",
            ),
            StoreError::NotHost { host } => {
                let message = match host {
                    Some(host) => format!("only the party's host may do this: ask {host}"),
                    None => "only the party's host may do this".to_owned(),
                };
                Self::new(Status::FORBIDDEN, ErrorCode::Forbidden, message)
            }
            StoreError::Conflict { current_version } => {
                let message = "the party has changed meanwhile: look at it again and repeat the change";
                Self::new(Status::CONFLICT, ErrorCode::VersionConflict, message).with(ErrorDetails {
                    current_version: Some(current_version),
                    ..ErrorDetails::default()
                })
            }
            StoreError::OtherSecret {
                current_version,
                current_secret_epoch,
            } => {
                let message = "the party has another secret: seal the invite with that one";
                Self::new(Status::CONFLICT, ErrorCode::VersionConflict, message).with(ErrorDetails {
                    current_version: Some(current_version),
                    current_secret_epoch: Some(current_secret_epoch),
                    ..ErrorDetails::default()
                })
            }
            StoreError::Refused(refusal) => refusal.into(),
            StoreError::Contended | StoreError::Busy => {
                Self::unavailable("too many changes of this party at once: try again")
            }
            StoreError::Unavailable(detail) => {
                if UNAVAILABLE.is_due() {
                    tracing::warn!(detail, "the database cannot be reached");
                }
                Self::unavailable("the server's database cannot be reached right now: try again in a moment")
            }
            StoreError::Uncertain(detail) => {
                if UNCERTAIN.is_due() {
                    tracing::warn!(detail, "the database did not say whether a change is kept");
                }
                Self::unavailable(
                    "the server's database did not say whether this was done: look again in a moment before you repeat it",
                )
            }
            StoreError::Internal(detail) => {
                if INTERNAL.is_due() {
                    tracing::error!(detail, "the database failed");
                }
                Self::new(
                    Status::INTERNAL_SERVER_ERROR,
                    ErrorCode::Internal,
                    "the server made a mistake; its log says which",
                )
            }
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        use StatusCode as Status;
        let (status, code) = match refusal {
            Refusal::InviteUnknown => (Status::NOT_FOUND, ErrorCode::InviteUnknown),
            Refusal::InviteExpired | Refusal::InviteEnded => (Status::GONE, ErrorCode::InviteExpired),
            Refusal::InviteUsed => (Status::GONE, ErrorCode::InviteUsed),
            Refusal::InviteExists => (Status::BAD_REQUEST, ErrorCode::BadRequest),
            Refusal::PartyFull { .. } => (Status::CONFLICT, ErrorCode::PartyFull),
            Refusal::AddressConflict { .. } | Refusal::AddressTaken { .. } => {
                (Status::CONFLICT, ErrorCode::AddressConflict)
            }
            Refusal::KeyTaken => (Status::CONFLICT, ErrorCode::KeyTaken),
            Refusal::Banned { .. } => (Status::FORBIDDEN, ErrorCode::Banned),
            Refusal::Locked { .. } => (Status::FORBIDDEN, ErrorCode::PartyLocked),
            Refusal::NotBanned | Refusal::NoSuchMember(_) | Refusal::NoSuchInvite => {
                (Status::NOT_FOUND, ErrorCode::NotFound)
            }
            Refusal::RemovingHost
            | Refusal::OtherEpoch { .. }
            | Refusal::SecretNotDue { .. }
            | Refusal::SecretsNotWhole => (Status::BAD_REQUEST, ErrorCode::BadRequest),
            Refusal::TooManyInvites | Refusal::TooManyParties | Refusal::TooManyBans => {
                (Status::FORBIDDEN, ErrorCode::Forbidden)
            }
        };
        Self::new(status, code, refusal.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let code = self.error.code;
        let mut response = (self.status, Json(self.error)).into_response();
        // For whoever counts and logs on the way out.
        response.extensions_mut().insert(code);
        if let Some(seconds) = self.retry_after {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            Write::write(&mut *self.0.lock().unwrap(), bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_the_database_said_is_logged_and_does_not_get_out() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        for error in [
            StoreError::Internal("relation \"seats\" does not exist".into()),
            StoreError::Unavailable("password of alice".into()),
            StoreError::Uncertain("password of alice".into()),
        ] {
            let failure = Failure::from(error);
            assert!(!failure.error.message.contains("seats"));
            assert!(!failure.error.message.contains("alice"));
        }
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        // Within a second, and none is silent because of another.
        for said in ["the database failed", "cannot be reached", "did not say"] {
            assert_eq!(log.matches(said).count(), 1, "{log}");
        }
    }
}
