//! Why the control server did not do what was asked.

use lanrage_shared::api::error::{ApiError, ErrorCode};

use crate::api::Failure;

/// One sentence each: what is wrong and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    #[error(
        "the server {server} cannot be reached ({why}); check your internet connection, and that the server runs and its port is open"
    )]
    Unreachable { server: String, why: String },
    #[error(
        "the server at {server} does not show the key this PC's link or invite names: if the server was set up anew, everybody \
         needs a new link or invite; if not, somebody is in between, so do not go on"
    )]
    WrongKey { server: String },
    /// The server's own sentence.
    #[error("{0}")]
    Refused(ApiError),
    #[error("{0}; check that the address is a LANrage server's and that both sides have the same version")]
    Protocol(String),
}

impl ControlError {
    /// The stable code for scripts. A refusal keeps the server's code.
    pub fn code(&self) -> String {
        match self {
            Self::Unreachable { .. } => "server_unreachable".to_owned(),
            Self::WrongKey { .. } => "wrong_server_key".to_owned(),
            Self::Refused(error) if error.code == ErrorCode::Unavailable => "server_unavailable".to_owned(),
            Self::Refused(error) => serde_json::to_value(error.code)
                .ok()
                .and_then(|code| code.as_str().map(str::to_owned))
                .unwrap_or_else(|| "refused".to_owned()),
            Self::Protocol(_) => "server_protocol".to_owned(),
        }
    }
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        Self::new(&error.code(), error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_keeps_the_servers_code_and_sentence() {
        let refused = ControlError::Refused(ApiError::new(ErrorCode::InviteUsed, "this invite has been used up"));
        assert_eq!(
            Failure::from(refused),
            Failure::new("invite_used", "this invite has been used up")
        );
    }

    #[test]
    fn failures_to_reach_the_server_have_codes_of_their_own() {
        let server = "vps.example:8443".to_owned();
        let wrong = ControlError::WrongKey { server: server.clone() };
        assert_eq!(wrong.code(), "wrong_server_key");
        let why = "connection refused".to_owned();
        assert_eq!(ControlError::Unreachable { server, why }.code(), "server_unreachable");
    }
}
