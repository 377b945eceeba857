//! The party's secret, as members come and go.
//!
//! Whoever leaves knows the secret, so the host's agent draws the next one, keeps it on disk, and hands it to the members that
//! are left, sealed for each under what the pair shared before. Until a peer shows that it has the new one, the two go on with
//! the old ([`Engine::handle_secret`](lanrage_agent_core::engine::Engine::handle_secret)).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use data_encoding::BASE64URL_NOPAD;
use lanrage_shared::api::error::ErrorCode;
use lanrage_shared::api::party::Party;
use lanrage_shared::api::secret::{NewSecret, ResealedInvite, SealedSecret, SecretFor};
use lanrage_shared::invite::{Invite, InviteCode};
use lanrage_shared::keys::{DeviceSecret, PartySecret};
use lanrage_shared::pair::PairKeys;

use super::{PartySession, wall_ms};
use crate::io::control::{ControlClient, ControlError};
use crate::state::{DrawnSecret, OwnInvite, PartyCache};

/// A new secret that could not be handed out is tried again after this.
const RETRY: Duration = Duration::from_secs(5);

/// The handing out of a new secret.
#[derive(Default)]
pub(super) struct Renewal {
    task: Option<tokio::task::JoinHandle<()>>,
    started: Option<Instant>,
}

impl Drop for Renewal {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl PartySession {
    /// Secrets sealed for this member, as the server passed them on.
    pub(super) fn handle_secrets(&mut self, mut sealed: Vec<SealedSecret>) {
        sealed.sort_by_key(|sealed| sealed.epoch);
        for sealed in sealed {
            if sealed.to != self.cache.me || sealed.epoch <= self.cache.secret_epoch {
                continue;
            }
            // Only who knows the secret before can have made it.
            let keys = PairKeys::derive(&self.cache.secret, &self.device, &sealed.from_key);
            match keys.open_secret(&sealed.sealed, sealed.epoch) {
                Ok(secret) => self.adopt(sealed.epoch, secret),
                Err(_) => {
                    tracing::warn!(epoch = sealed.epoch, from = %sealed.from, "a party secret that does not come from the party");
                }
            }
        }
        self.adopt_drawn();
    }

    /// The secret drawn here is the party's now.
    pub(super) fn adopt_drawn(&mut self) {
        let current = self.cache.party.secret_epoch;
        let drawn = self.cache.drawn.clone().filter(|drawn| drawn.epoch == current);
        if let Some(drawn) = drawn.filter(|drawn| drawn.epoch > self.cache.secret_epoch) {
            self.adopt(drawn.epoch, drawn.secret);
        }
    }

    fn adopt(&mut self, epoch: u32, secret: PartySecret) {
        tracing::info!(epoch, "the party has a new secret");
        self.cache.secret = secret.clone();
        self.cache.secret_epoch = epoch;
        self.known_secret.store(epoch, Ordering::Relaxed);
        if self.cache.drawn.as_ref().is_some_and(|drawn| drawn.epoch <= epoch) {
            self.cache.drawn = None;
        }
        self.engine.handle_secret(secret);
        self.save_at = Some(Instant::now());
    }

    /// Keeps an invite made here, at once.
    pub fn remember_invite(&mut self, invite: String, expires_in_s: u64) {
        remember_invite(&mut self.cache, invite, expires_in_s);
        self.save_at = Some(Instant::now());
    }

    /// Forgets an invite that has ended, so that it is not sealed anew.
    pub fn forget_invite(&mut self, auth_hash: &str) {
        forget_invite(&mut self.cache.invites, auth_hash);
        self.save_at = Some(Instant::now());
    }

    /// Draws and hands out a new secret when this member is the host and somebody has left since the last one. Wanted a few
    /// times a second.
    pub fn renew_secret_if_due(&mut self) {
        let party = &self.cache.party;
        let due = self.server_reachable
            && party.host == self.cache.me
            && party.secret_epoch < party.epoch
            && self.cache.secret_epoch == party.secret_epoch;
        if !due {
            return;
        }
        let now = Instant::now();
        let drawn = self.cache.drawn.as_ref().filter(|drawn| drawn.epoch == party.epoch);
        let Some(drawn) = drawn.cloned() else {
            self.cache.drawn = Some(DrawnSecret {
                epoch: party.epoch,
                secret: PartySecret::from_bytes(rand::random()),
            });
            // On disk before anybody gets it: a crash in between must not leave the host behind.
            self.save_at = Some(now);
            self.renewal = Renewal::default();
            return;
        };
        if self.save_at.is_some() || self.renewal.started.is_some_and(|at| now < at + RETRY) {
            return;
        }
        self.renewal.started = Some(now);
        let request = sealed_for_everybody(&self.cache, &self.device, &drawn);
        let work = hand_out(Arc::clone(&self.client), self.cache.party.clone(), request);
        if let Some(before) = self.renewal.task.replace(tokio::spawn(work)) {
            before.abort();
        }
    }
}

fn sealed_for_everybody(cache: &PartyCache, device: &DeviceSecret, drawn: &DrawnSecret) -> NewSecret {
    let others = cache.party.members.iter().filter(|member| member.id != cache.me);
    let secrets = others.map(|member| {
        let keys = PairKeys::derive(&cache.secret, device, &member.device_key);
        SecretFor {
            to: member.id,
            sealed: keys.seal_secret(&drawn.secret, drawn.epoch, rand::random()),
        }
    });
    let now = u64::try_from(wall_ms()).unwrap_or_default();
    let invites = cache.invites.iter().filter(|own| own.expires_at_ms > now);
    let invites = invites.filter_map(|own| {
        let code = code_of(own)?;
        Some(ResealedInvite {
            auth_hash: auth_hash_of(&code),
            sealed_secret: BASE64URL_NOPAD.encode(&code.seal(&drawn.secret, rand::random())),
        })
    });
    NewSecret {
        epoch: drawn.epoch,
        secrets: secrets.collect(),
        invites: invites.collect(),
    }
}

/// The stream tells when it is the party's; a conflict means that the party changed meanwhile, and the next try has that.
async fn hand_out(client: Arc<ControlClient>, party: Party, request: NewSecret) {
    match client.renew_secret(&party, &request).await {
        Ok(_) => {}
        Err(ControlError::Refused(refusal)) if refusal.code == ErrorCode::VersionConflict => {
            tracing::debug!("the party changed while its new secret was handed out; again");
        }
        Err(error) => tracing::warn!(%error, "the party's new secret could not be handed out yet"),
    }
}

/// Remembers an invite made here, so that it goes on after a new secret.
pub fn remember_invite(cache: &mut PartyCache, invite: String, expires_in_s: u64) {
    let now = u64::try_from(wall_ms()).unwrap_or_default();
    cache.invites.retain(|own| own.expires_at_ms > now);
    cache.invites.push(OwnInvite {
        invite,
        expires_at_ms: now.saturating_add(expires_in_s.saturating_mul(1000)),
    });
}

fn forget_invite(invites: &mut Vec<OwnInvite>, auth_hash: &str) {
    invites.retain(|own| code_of(own).is_none_or(|code| auth_hash_of(&code) != auth_hash));
}

fn code_of(own: &OwnInvite) -> Option<InviteCode> {
    own.invite.parse().ok().map(|invite: Invite| invite.code)
}

fn auth_hash_of(code: &InviteCode) -> String {
    BASE64URL_NOPAD.encode(&code.auth().hash())
}

#[cfg(test)]
mod tests {
    use lanrage_shared::ids::Pin;
    use lanrage_shared::invite::{CODE_ENTROPY, ServerLink};

    use super::*;

    #[test]
    fn the_invite_that_has_ended_is_forgotten_and_no_other() {
        let code = |n| InviteCode::from_entropy([n; CODE_ENTROPY]);
        let own = |n| {
            let server = ServerLink {
                host: "vps.example".to_owned(),
                port: 443,
                pin: Pin([7; 32]),
            };
            OwnInvite {
                invite: Invite { server, code: code(n) }.to_string(),
                expires_at_ms: 1,
            }
        };
        let mut invites = vec![own(1), own(2), own(3)];
        forget_invite(&mut invites, &auth_hash_of(&code(2)));
        assert_eq!(invites, [own(1), own(3)]);
        forget_invite(&mut invites, "of nobody");
        assert_eq!(invites, [own(1), own(3)]);
    }
}
