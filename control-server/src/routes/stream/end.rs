//! How a stream ends.

use lanrage_shared::api::error::{ApiError, ErrorCode};
use lanrage_store::StoreError;

use crate::error::Failure;
use crate::feed::Ended;
use crate::metrics::StreamEnd;
use crate::routes::socket::{Gone, shutting_down};

/// Why a stream is over.
pub(super) enum End {
    /// The other end went away.
    Gone,
    /// We close, saying why.
    Bye {
        why: StreamEnd,
        error: ApiError,
        /// Whether the agent is to come back by itself.
        retry: bool,
    },
}

impl End {
    pub(super) fn why(&self) -> StreamEnd {
        match self {
            Self::Gone => StreamEnd::Gone,
            Self::Bye { why, .. } => *why,
        }
    }

    pub(super) fn restarting() -> Self {
        Self::Bye {
            why: StreamEnd::Restarting,
            error: shutting_down(),
            retry: true,
        }
    }

    pub(super) fn no_hello(code: ErrorCode, sentence: impl Into<String>) -> Self {
        Self::Bye {
            why: StreamEnd::NoHello,
            error: ApiError::new(code, sentence),
            retry: false,
        }
    }

    pub(super) fn too_many_arrivals() -> Self {
        let message = "too many agents come back at once: try again in a moment";
        Self::Bye {
            why: StreamEnd::TooManyArrivals,
            error: ApiError::new(ErrorCode::Unavailable, message),
            retry: true,
        }
    }

    pub(super) fn not_a_member() -> Self {
        let message = "you are no longer a member of this party: ask its host for an invite";
        Self::Bye {
            why: StreamEnd::NotAMember,
            error: ApiError::new(ErrorCode::NotAMember, message),
            retry: false,
        }
    }

    pub(super) fn too_many_refusals() -> Self {
        let message =
            "too much of what this device sends is refused: check that agent and server have the same version";
        Self::Bye {
            why: StreamEnd::TooManyRefusals,
            error: ApiError::new(ErrorCode::RateLimited, message),
            retry: true,
        }
    }
}

impl From<Gone> for End {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl From<StoreError> for End {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound | StoreError::NotAMember => Self::not_a_member(),
            error => Self::Bye {
                why: StreamEnd::Database,
                error: Failure::from(error).error,
                retry: true,
            },
        }
    }
}

impl From<Ended> for End {
    fn from(reason: Ended) -> Self {
        match reason {
            Ended::TooSlow => {
                let message = "this connection reads too slowly: come back for the current state";
                Self::Bye {
                    why: StreamEnd::TooSlow,
                    error: ApiError::new(ErrorCode::Unavailable, message),
                    retry: true,
                }
            }
            Ended::Superseded => {
                let message = "this device has opened another stream";
                Self::Bye {
                    why: StreamEnd::Superseded,
                    error: ApiError::new(ErrorCode::Superseded, message),
                    retry: false,
                }
            }
        }
    }
}
