//! One order, from the authority's question to the certificate.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use instant_acme::{Account, AuthorizationStatus, ChallengeType, Identifier, NewOrder, OrderStatus, RetryPolicy};

use super::challenges::Challenges;

/// How long the authority may take to ask, and to issue: some look from several continents.
const PATIENCE: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(120));

/// Orders a certificate for `domain` of the key that `request` is of; gives the chain (PEM).
pub(super) async fn order(
    account: &Account,
    domain: &str,
    request: &[u8],
    challenges: &Arc<Challenges>,
) -> Result<String> {
    let names = [Identifier::Dns(domain.to_owned())];
    let mut order = account.new_order(&NewOrder::new(&names)).await?;
    let mut expected = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        match authorization.status {
            AuthorizationStatus::Valid => continue,
            AuthorizationStatus::Pending => {}
            status => bail!("the authority does not ask: the authorization is {status:?}"),
        }
        let mut challenge = authorization
            .challenge(ChallengeType::Http01)
            .context("the authority offers no HTTP-01")?;
        let answer = challenge.key_authorization();
        expected.push(challenges.expect(&challenge.token, answer.as_str()));
        challenge.set_ready().await?;
    }
    if order.poll_ready(&PATIENCE).await? != OrderStatus::Ready {
        bail!(
            "the authority was not answered at http://{domain}/: does the name lead to this machine, and is its port 80 open \
             or forwarded to [acme] http_listen?"
        );
    }
    order.finalize_csr(request).await?;
    Ok(order.poll_certificate(&PATIENCE).await?)
}
