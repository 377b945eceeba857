//! Reading.

use lanrage_shared::api::party::Party;
use lanrage_shared::api::secret::SealedSecret;
use lanrage_shared::ids::{DeviceId, PartyId};
use lanrage_shared::stream::PartyEvent;

use super::{EVENTS_KEPT, Store};
use crate::error::{Result, StoreError};
use crate::rows::PartyState;

/// What brings an agent up to date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replay {
    /// The events since the number it named, in order and without gaps.
    Events(Vec<(u64, PartyEvent)>),
    /// The party as it is: the agent knows nothing, too little, or what this database never knew.
    Snapshot,
}

/// What an agent missed, and the party as it is now; all as of one moment.
#[derive(Debug, Clone)]
pub struct Missed {
    /// Everybody offline.
    pub party: Party,
    /// The number of its last event.
    pub seq: u64,
    /// Secrets in it are those to the asking member.
    pub replay: Replay,
    /// Secrets to the asking member that it does not have, oldest first: the ones for a snapshot.
    pub secrets: Vec<SealedSecret>,
    /// Secrets are still kept that it has.
    pub keeps_opened: bool,
}

impl Store {
    /// Whether the database answers, and lets somebody write.
    pub async fn ready(&self) -> Result<()> {
        let mut tx = self.write("ready").await?;
        tx.secret("").await?;
        tx.commit().await
    }

    /// The server's secret of this name; `fresh` becomes it when there is none yet. Every replica gets the same.
    pub async fn secret(&self, name: &str, fresh: &[u8]) -> Result<Vec<u8>> {
        let mut tx = self.write("secret").await?;
        tx.insert_secret(name, fresh).await?;
        let kept = tx.secret(name).await?;
        tx.commit().await?;
        kept.ok_or_else(|| StoreError::Internal("a secret just kept is not there".into()))
    }

    /// The parties a device is a member of.
    pub async fn parties_of(&self, device: DeviceId) -> Result<Vec<PartyState>> {
        let mut tx = self.read("parties_of").await?;
        let mut parties = Vec::new();
        for id in tx.parties_of(device).await? {
            if let Some(row) = tx.party(id).await? {
                let seats = tx.seats(id).await?;
                parties.push(PartyState { row, seats });
            }
        }
        tx.commit().await?;
        Ok(parties)
    }

    /// A party, for one of its members. Who is not a member does not learn that it exists.
    pub async fn party(&self, party: PartyId, device: DeviceId) -> Result<PartyState> {
        let mut tx = self.read("party").await?;
        let row = tx.party(party).await?.ok_or(StoreError::NotFound)?;
        let seats = tx.seats(party).await?;
        tx.commit().await?;
        let state = PartyState { row, seats };
        match state.member_of(device) {
            Some(_) => Ok(state),
            None => Err(StoreError::NotFound),
        }
    }

    /// What the agent of `device` missed that knows everything up to `since` and the party secret of `secret_epoch`.
    pub async fn replay(
        &self,
        party: PartyId,
        device: DeviceId,
        since: Option<u64>,
        secret_epoch: u32,
    ) -> Result<Missed> {
        let mut tx = self.read("replay").await?;
        let row = tx.party(party).await?.ok_or(StoreError::NotFound)?;
        let seats = tx.seats(party).await?;
        let replay = match since {
            Some(since) if since <= row.seq && row.seq - since <= EVENTS_KEPT => {
                parse(tx.events_after(party, since).await?, since, row.seq)
            }
            _ => Replay::Snapshot,
        };
        let state = PartyState { row, seats };
        let kept = match state.member_of(device) {
            Some(me) => tx.secrets_for(party, me.number).await?,
            None => Vec::new(),
        };
        tx.commit().await?;
        let (opened, secrets): (Vec<_>, Vec<_>) = kept.into_iter().partition(|secret| secret.epoch <= secret_epoch);
        Ok(Missed {
            replay: with_secrets(replay, &secrets),
            party: state.party(),
            seq: state.row.seq,
            secrets,
            keeps_opened: !opened.is_empty(),
        })
    }
}

/// Puts each secret into the event it came with. When one came before these events, they do not bring the agent up to date.
fn with_secrets(replay: Replay, secrets: &[SealedSecret]) -> Replay {
    let Replay::Events(mut events) = replay else {
        return Replay::Snapshot;
    };
    let mut placed = 0;
    for (_, event) in &mut events {
        if let PartyEvent::SecretChanged { epoch, secrets: own } = event {
            own.extend(secrets.iter().filter(|secret| secret.epoch == *epoch).cloned());
            placed += own.len();
        }
    }
    if placed == secrets.len() {
        Replay::Events(events)
    } else {
        Replay::Snapshot
    }
}

/// The events, or a snapshot where the log does not reach from `since` to `last` in a form this version reads.
fn parse(logged: Vec<(u64, String)>, since: u64, last: u64) -> Replay {
    match parse_all(logged, since) {
        Some(events) if since + events.len() as u64 == last => Replay::Events(events),
        _ => Replay::Snapshot,
    }
}

/// The events, unless there is a gap after `since` or among them, or one that this version does not read.
pub(super) fn parse_all(logged: Vec<(u64, String)>, since: u64) -> Option<Vec<(u64, PartyEvent)>> {
    let numbered = (since + 1..).zip(logged);
    numbered
        .map(|(expected, (seq, json))| {
            let event = serde_json::from_str(&json).ok()?;
            (seq == expected).then_some((seq, event))
        })
        .collect()
}
