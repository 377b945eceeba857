//! What a party's host decides: who is in, who gets in, and how the party is.

use lanrage_shared::api::error::ErrorCode;
use lanrage_shared::api::invite::ListedInvite;
use lanrage_shared::api::party::{Ban, Party, RemoveMember, Removed, UpdateParty};
use lanrage_shared::ids::MemberId;
use uuid::Uuid;

use super::{ATTEMPTS, Requests, busy, must_be_host};
use crate::api::{
    BansReport, EndedReport, Failure, InviteLine, InvitesReport, PartyChange, RemovedReport, SettingsReport,
};
use crate::driver::command::{Command, CurrentParty};
use crate::driver::whom;
use crate::io::control::{ControlClient, ControlError};

impl Requests {
    pub(super) async fn remove(&self, target: &str, ban: bool) -> Result<RemovedReport, Failure> {
        let CurrentParty { cache, client } = self.current().await?;
        must_be_host(&cache, "remove members")?;
        let others = cache.party.members.iter().filter(|member| member.id != cache.me);
        let member = whom::choose(target, &others.collect::<Vec<_>>())?;
        let removal = Change::Remove(member.id, RemoveMember { ban });
        let ended = removal.make(&client, &cache.party).await?.ended_invite;
        let invite_ended = ended.is_some();
        if let Some(auth_hash) = ended {
            self.commands.ask(|reply| Command::Forget { auth_hash, reply }).await?;
        }
        Ok(RemovedReport {
            name: member.name.clone(),
            banned: ban,
            invite_ended,
        })
    }

    pub(super) async fn bans(&self, lift: Option<String>) -> Result<BansReport, Failure> {
        let CurrentParty { cache, client } = self.current().await?;
        must_be_host(&cache, "lift bans")?;
        let mut bans = client.bans(cache.party.id).await?;
        let mut lifted = None;
        if let Some(name) = lift {
            let is_called = |ban: &Ban| ban.name.as_str().to_lowercase() == name.trim().to_lowercase();
            let Some(at) = bans.iter().position(is_called) else {
                return Err(Failure::new(
                    "not_banned",
                    format!("nobody called {name:?} is banned; `lanrage unban` lists who is"),
                ));
            };
            let ban = bans.swap_remove(at);
            client.lift_ban(cache.party.id, ban.device).await?;
            lifted = Some(ban.name);
        }
        Ok(BansReport {
            lifted,
            banned: bans.into_iter().map(|ban| ban.name).collect(),
        })
    }

    pub(super) async fn party(&self, wanted: PartyChange) -> Result<SettingsReport, Failure> {
        let CurrentParty { cache, client } = self.current().await?;
        if wanted.is_none() {
            return Ok(settings(&cache.party, cache.me));
        }
        must_be_host(&cache, "change its settings")?;
        let update = UpdateParty {
            name: wanted.name,
            persistent: wanted.persistent,
            max_members: wanted.max_members,
            locked: wanted.locked,
            host: None,
        };
        let party = Change::Update(update)
            .make(&client, &cache.party)
            .await?
            .party
            .unwrap_or(cache.party);
        Ok(settings(&party, cache.me))
    }

    pub(super) async fn transfer(&self, target: &str) -> Result<SettingsReport, Failure> {
        let CurrentParty { cache, client } = self.current().await?;
        must_be_host(&cache, "make somebody else the host")?;
        let others = cache.party.members.iter().filter(|member| member.id != cache.me);
        let member = whom::choose(target, &others.collect::<Vec<_>>())?;
        let update = UpdateParty {
            host: Some(member.id),
            ..UpdateParty::default()
        };
        let party = Change::Update(update)
            .make(&client, &cache.party)
            .await?
            .party
            .unwrap_or(cache.party);
        Ok(settings(&party, cache.me))
    }

    pub(super) async fn invites(&self, revoke: Option<String>) -> Result<InvitesReport, Failure> {
        let CurrentParty { cache, client } = self.current().await?;
        must_be_host(&cache, "see and revoke invites")?;
        let party = cache.party.id;
        let mut listed = client.invites(party).await?;
        let mut revoked = None;
        if let Some(beginning) = revoke {
            let id = one_that_begins(&listed, beginning.trim())?;
            client.revoke_invite(party, id).await?;
            listed.retain(|invite| invite.id != id);
            revoked = Some(id);
        }
        let now_ms = client.server_clock().map_or(0, |clock| clock.server_now_ms());
        let line = |invite: ListedInvite| InviteLine {
            id: invite.id,
            expires_in_s: invite.expires_at_ms.saturating_sub(now_ms) / 1000,
            max_uses: invite.max_uses,
            uses: invite.uses,
        };
        Ok(InvitesReport {
            revoked,
            invites: listed.into_iter().map(line).collect(),
        })
    }

    pub(super) async fn end(&self, name: &str) -> Result<EndedReport, Failure> {
        let CurrentParty { cache, client } = self.current().await?;
        must_be_host(&cache, "end it")?;
        let party = cache.party.name.clone();
        if party.as_str().to_lowercase() != name.trim().to_lowercase() {
            let sentence = format!("this party is called \"{party}\"; name it to end it for everybody");
            return Err(Failure::new("other_party", sentence));
        }
        Change::End.make(&client, &cache.party).await?;
        Ok(EndedReport { party })
    }
}

/// What a host does to a party of a certain version.
enum Change {
    Remove(MemberId, RemoveMember),
    Update(UpdateParty),
    End,
}

/// What came of it.
#[derive(Default)]
struct Made {
    /// The party after it, unless that is no more.
    party: Option<Party>,
    /// The hash of an invite that ended with it.
    ended_invite: Option<String>,
}

impl From<Party> for Made {
    fn from(party: Party) -> Self {
        Self {
            party: Some(party),
            ended_invite: None,
        }
    }
}

impl From<Removed> for Made {
    fn from(removed: Removed) -> Self {
        Self {
            party: Some(removed.party),
            ended_invite: removed.ended_invite,
        }
    }
}

impl Change {
    /// Makes it, of the party as it is: when that has changed meanwhile, looks at it again. Somebody coming or going does not
    /// change what is meant.
    async fn make(&self, client: &ControlClient, known: &Party) -> Result<Made, Failure> {
        let mut party = known.clone();
        for _ in 0..ATTEMPTS {
            let outcome = match self {
                Self::Remove(member, removal) => client.remove_member(&party, *member, removal).await.map(Made::from),
                Self::Update(update) => client.update_party(&party, update).await.map(Made::from),
                Self::End => client.delete_party(&party).await.map(|()| Made::default()),
            };
            match outcome {
                Err(ControlError::Refused(refusal)) if refusal.code == ErrorCode::VersionConflict => {
                    party = client.party(party.id).await?;
                }
                outcome => return Ok(outcome?),
            }
        }
        Err(busy())
    }
}

fn settings(party: &Party, me: MemberId) -> SettingsReport {
    let host = party.members.iter().find(|member| member.id == party.host);
    SettingsReport {
        party: party.name.clone(),
        host: host.map(|host| host.name.clone()),
        is_host: party.host == me,
        locked: party.locked,
        persistent: party.persistent,
        members: party.members.len(),
        max_members: party.max_members,
        network: party.net.v4,
    }
}

fn one_that_begins(listed: &[ListedInvite], beginning: &str) -> Result<Uuid, Failure> {
    let wanted = beginning.to_lowercase();
    let mut found = listed
        .iter()
        .filter(|invite| invite.id.to_string().starts_with(&wanted));
    match (found.next(), found.next()) {
        (Some(invite), None) if !wanted.is_empty() => Ok(invite.id),
        (Some(_), _) => Err(Failure::new(
            "ambiguous_invite",
            format!("more than one invite's id begins with {beginning:?}; `lanrage invites` lists them"),
        )),
        (None, _) => Err(Failure::new(
            "no_such_invite",
            format!("no invite's id begins with {beginning:?}; `lanrage invites` lists them"),
        )),
    }
}
