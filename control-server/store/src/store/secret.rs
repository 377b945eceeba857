//! New party secrets, sealed by the host's agent. The store carries them and cannot open any.

use std::collections::BTreeSet;

use lanrage_shared::api::secret::{SECRETS_KEPT, SealedSecret, SecretFor};
use lanrage_shared::ids::{DeviceId, MemberId, PartyId};
use lanrage_shared::stream::PartyEvent;

use super::{Changed, Store, lock, record, require_host, require_version, retry};
use crate::error::{Refusal, Result};
use crate::rows::PartyState;

/// A party's new secret, in the forms that lead to it.
#[derive(Debug, Clone)]
pub struct NewSecretRow {
    pub epoch: u32,
    /// One for every other member.
    pub secrets: Vec<SecretFor>,
    /// Invites that go on: the hash, and the secret sealed under the code.
    pub invites: Vec<([u8; 32], Vec<u8>)>,
}

impl Store {
    /// Gives the party that `device` is the host of, and that still has version `expected`, the secret of its epoch. Invites
    /// that are not named end.
    pub async fn renew_secret(
        &self,
        party: PartyId,
        device: DeviceId,
        expected: u64,
        new: &NewSecretRow,
        now_ms: u64,
    ) -> Result<(PartyState, Changed)> {
        retry!(self.try_renew_secret(party, device, expected, new, now_ms))
    }

    async fn try_renew_secret(
        &self,
        party: PartyId,
        device: DeviceId,
        expected: u64,
        new: &NewSecretRow,
        now_ms: u64,
    ) -> Result<(PartyState, Changed)> {
        let mut tx = self.write("renew_secret").await?;
        let mut state = lock(&mut *tx, party).await?;
        let host = require_host(&state, device)?.clone();
        require_version(&state, expected)?;
        require_whole(&state, host.number, new)?;
        for (hash, sealed) in &new.invites {
            tx.reseal_invite(party, hash, sealed, new.epoch).await?;
        }
        tx.end_invites(party, new.epoch, now_ms).await?;
        tx.drop_secrets(party, new.epoch.saturating_sub(SECRETS_KEPT)).await?;
        let mut secrets = Vec::with_capacity(new.secrets.len());
        for SecretFor { to, sealed } in &new.secrets {
            let secret = SealedSecret {
                epoch: new.epoch,
                from: host.number,
                from_key: host.device_key,
                to: *to,
                sealed: sealed.clone(),
            };
            tx.insert_secret_for(party, &secret).await?;
            secrets.push(secret);
        }
        state.row.secret_epoch = new.epoch;
        state.row.version += 1;
        let events = vec![
            PartyEvent::SecretChanged {
                epoch: new.epoch,
                secrets,
            },
            PartyEvent::Updated {
                party: state.row.settings(),
            },
        ];
        let events = record(&mut *tx, &mut state.row, events, now_ms).await?;
        tx.commit().await?;
        Ok((state, Changed { party, events }))
    }

    /// Drops what is kept for a member up to the secret that it says it has.
    pub async fn drop_opened_secrets(&self, party: PartyId, member: MemberId, epoch: u32) -> Result<()> {
        retry!(self.try_drop_opened_secrets(party, member, epoch))
    }

    async fn try_drop_opened_secrets(&self, party: PartyId, member: MemberId, epoch: u32) -> Result<()> {
        let mut tx = self.write("drop_opened_secrets").await?;
        tx.drop_secrets_for(party, member, epoch).await?;
        tx.commit().await
    }
}

/// Refuses a secret of another epoch, a second one of this epoch, and one that somebody would be left without.
fn require_whole(state: &PartyState, host: MemberId, new: &NewSecretRow) -> Result<()> {
    let epoch = state.row.epoch;
    if new.epoch != epoch {
        return Err(Refusal::OtherEpoch { epoch }.into());
    }
    if state.row.secret_epoch == epoch {
        return Err(Refusal::SecretNotDue { epoch }.into());
    }
    let others: BTreeSet<MemberId> = state
        .members()
        .map(|seat| seat.number)
        .filter(|number| *number != host)
        .collect();
    let sealed_to: BTreeSet<MemberId> = new.secrets.iter().map(|secret| secret.to).collect();
    if sealed_to != others || new.secrets.len() != others.len() {
        return Err(Refusal::SecretsNotWhole.into());
    }
    Ok(())
}
