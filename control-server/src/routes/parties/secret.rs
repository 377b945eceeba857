use axum::Json;
use axum::extract::State;
use lanrage_shared::api::party::Party;
use lanrage_shared::api::secret::NewSecret;
use lanrage_store::NewSecretRow;

use crate::app::AppState;
use crate::error::Failure;
use crate::extract::{Body, Device, IfMatch, PartyAt};
use crate::routes::sealed::{auth_hash, sealed_secret};

/// `PUT /v1/parties/{id}/secret`, for the host, while the party has the version of `If-Match`.
#[utoipa::path(
    put, path = "/v1/parties/{id}/secret", tag = "parties",
    params(PartyAt, IfMatch),
    request_body = NewSecret,
    responses(
        (status = 200, description = "The party as it is now", body = Party),
        (status = 403, description = "The caller is not the host"),
        (status = 404, description = "There is no such party, or the caller is not in it"),
    ),
)]
pub async fn renew_secret(
    State(app): State<AppState>,
    Device(claims): Device,
    PartyAt(id): PartyAt,
    IfMatch(expected): IfMatch,
    Body(request): Body<NewSecret>,
) -> Result<Json<Party>, Failure> {
    let new = checked(request)?;
    let now_ms = app.clock.now_ms();
    let (state, changed) = app.store.renew_secret(id, claims.sub, expected, &new, now_ms).await?;
    tracing::debug!(epoch = new.epoch, "the party has a new secret");
    app.announce(&changed);
    Ok(Json(app.party(&state)))
}

/// What is sealed has the length it must have: it is kept and passed on unread.
fn checked(request: NewSecret) -> Result<NewSecretRow, Failure> {
    for secret in &request.secrets {
        sealed_secret(&secret.sealed, "sealed")?;
    }
    let invites = request.invites.iter().map(|invite| {
        let sealed = sealed_secret(&invite.sealed_secret, "sealed_secret")?;
        Ok((auth_hash(&invite.auth_hash)?, sealed))
    });
    Ok(NewSecretRow {
        epoch: request.epoch,
        invites: invites.collect::<Result<_, Failure>>()?,
        secrets: request.secrets,
    })
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64URL_NOPAD;
    use lanrage_shared::addr::LAST_MEMBER;
    use lanrage_shared::api::secret::{ResealedInvite, SecretFor};
    use lanrage_shared::ids::MemberId;
    use lanrage_store::Bounds;

    use super::*;
    use crate::config::LimitsConfig;

    #[test]
    fn the_secret_of_the_largest_party_fits_into_a_request() {
        let sealed = BASE64URL_NOPAD.encode(&[0; crate::routes::sealed::SEALED_SECRET]);
        let invite = ResealedInvite {
            auth_hash: BASE64URL_NOPAD.encode(&[0; 32]),
            sealed_secret: sealed.clone(),
        };
        let secret = |to| SecretFor {
            to: MemberId(to),
            sealed: sealed.clone(),
        };
        let largest = NewSecret {
            epoch: u32::MAX,
            secrets: (1..=LAST_MEMBER).map(secret).collect(),
            invites: vec![invite; usize::try_from(Bounds::default().invites_per_party).unwrap()],
        };
        let length = serde_json::to_vec(&largest).unwrap().len();
        assert!(length < LimitsConfig::default().body_kib.kib(), "{length}");
        assert!(checked(largest).is_ok());
    }
}
