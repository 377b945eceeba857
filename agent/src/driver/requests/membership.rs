//! Ways into a party, and out of it.

use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use lanrage_agent_core::cache::ConnectionCache;
use lanrage_shared::api::invite::{DEFAULT_LIFETIME_S, InviteCreated, MAX_LIFETIME_S, NewInvite, RedeemInvite};
use lanrage_shared::api::party::{CreateParty, Joined};
use lanrage_shared::ids::PartyId;
use lanrage_shared::invite::{Invite, InviteCode, ServerLink};
use lanrage_shared::keys::PartySecret;
use lanrage_shared::names::{MemberName, PartyName};

use super::{Progress, Requests, in_no_party, must_be_host};
use crate::api::{Failure, InviteReport, JoinedReport, LeftReport};
use crate::driver::command::{Command, CurrentParty};
use crate::driver::party::remember_invite;
use crate::io::control::{ControlClient, ControlError, check_clock};
use crate::io::netwatch;
use crate::state::{Farewell, PartyCache};

impl Requests {
    pub(super) async fn host(
        &self,
        server: &str,
        party: Option<PartyName>,
        name: Option<MemberName>,
        progress: &Progress,
    ) -> Result<JoinedReport, Failure> {
        let server: ServerLink = server.parse().map_err(|error| bad_link("server link", &error))?;
        let _turn = self.changing.lock().await;
        self.must_be_free().await?;
        let name = self.name_or_default(name)?;
        let party = match party {
            Some(party) => party,
            None => default_party_name(&name)?,
        };
        let client = self.connect(&server, progress).await?;
        let secret = PartySecret::from_bytes(rand::random());
        let code = InviteCode::from_entropy(rand::random());
        let request = CreateParty {
            name: party,
            member_name: name,
            persistent: false,
            max_members: None,
            lans: netwatch::lans(&netwatch::interfaces(&self.tun)),
            invite: new_invite(&code, &secret, DEFAULT_LIFETIME_S, None),
        };
        let _ = progress.send("creating the party".to_owned());
        let joined = client.create_party(&request).await?;
        let invite = Invite { server, code }.to_string();
        let mut report = self.enter(client, joined, secret, Some(&invite)).await?;
        report.invite = Some(invite);
        Ok(report)
    }

    pub(super) async fn join(
        &self,
        invite: &str,
        name: Option<MemberName>,
        progress: &Progress,
    ) -> Result<JoinedReport, Failure> {
        let invite: Invite = invite.parse().map_err(|error| bad_link("invite", &error))?;
        let _turn = self.changing.lock().await;
        self.must_be_free().await?;
        let name = self.name_or_default(name)?;
        let client = self.connect(&invite.server, progress).await?;
        let _ = progress.send("joining the party".to_owned());
        let request = RedeemInvite {
            auth: invite.code.auth(),
            member_name: name,
            lans: netwatch::lans(&netwatch::interfaces(&self.tun)),
        };
        let joined = client.redeem(&request).await?;
        match open_secret(&joined, &invite.code) {
            Ok(secret) => self.enter(client, joined, secret, None).await,
            Err(failure) => {
                let farewell = Farewell {
                    server: client.link().clone(),
                    party: joined.party.id,
                };
                let _ = self.farewells.say(&client, farewell).await;
                Err(failure)
            }
        }
    }

    /// Enters the party here; on failure the server is told that we are not coming.
    async fn enter(
        &self,
        client: Arc<ControlClient>,
        joined: Joined,
        secret: PartySecret,
        invite: Option<&str>,
    ) -> Result<JoinedReport, Failure> {
        let farewell = Farewell {
            server: client.link().clone(),
            party: joined.party.id,
        };
        let mut cache = PartyCache {
            server: client.link().clone(),
            secret,
            secret_epoch: joined.party.secret_epoch,
            drawn: None,
            invites: Vec::new(),
            me: joined.me,
            seq: joined.seq,
            services: joined.services,
            clock_offset_ms: client.server_clock().map_or(0, |clock| clock.offset_ms),
            udp_port: self.udp_port,
            connections: ConnectionCache::default(),
            relay_tokens: None,
            party: joined.party,
        };
        if let Some(invite) = invite {
            remember_invite(&mut cache, invite.to_owned(), DEFAULT_LIFETIME_S);
        }
        let current = Box::new(CurrentParty {
            cache,
            client: Arc::clone(&client),
        });
        let entered = self
            .commands
            .ask(|reply| Command::Enter { party: current, reply })
            .await;
        let entered = entered.and_then(|result| result);
        if entered.is_err() {
            let _ = self.farewells.say(&client, farewell).await;
            return entered;
        }
        // Who is told "you are in" looks at `peers` next: the answer is true by then.
        self.stream_tried().await;
        entered
    }

    pub(super) async fn invite(
        &self,
        expires_in_s: Option<u64>,
        max_uses: Option<u32>,
    ) -> Result<InviteReport, Failure> {
        let CurrentParty { cache, client } = self.current().await?;
        must_be_host(&cache, "make invites")?;
        let expires_in_s = expires_in_s.unwrap_or(DEFAULT_LIFETIME_S);
        if !(60..=MAX_LIFETIME_S).contains(&expires_in_s) || max_uses == Some(0) {
            return Err(Failure::new(
                "bad_invite",
                "an invite lasts from 1 minute to 90 days and admits at least one",
            ));
        }
        let code = InviteCode::from_entropy(rand::random());
        let party = cache.party.id;
        let sealed = |cache: &PartyCache, epoch| -> Result<NewInvite, Failure> {
            let secret = secret_of(cache, party, epoch).ok_or_else(secret_pending)?;
            let invite = new_invite(&code, secret, expires_in_s, max_uses);
            let secret_epoch = Some(epoch);
            Ok(NewInvite { secret_epoch, ..invite })
        };
        let invite = sealed(&cache, cache.party.secret_epoch)?;
        if let Some(epoch) = other_secret(client.create_invite(party, &invite).await)? {
            // The party's new secret, which this agent drew, was quicker.
            let invite = sealed(&self.current().await?.cache, epoch)?;
            client.create_invite(party, &invite).await?;
        }
        let server = cache.server;
        let invite = Invite { server, code }.to_string();
        let remembered = invite.clone();
        self.commands
            .ask(|reply| Command::Remember {
                invite: remembered,
                expires_in_s,
                reply,
            })
            .await?;
        Ok(InviteReport {
            invite,
            expires_in_s,
            max_uses,
        })
    }

    pub(super) async fn leave(&self) -> Result<LeftReport, Failure> {
        let _turn = self.changing.lock().await;
        let left = self.commands.ask(Command::Leave).await??;
        let CurrentParty { cache, client } = left.ok_or_else(in_no_party)?;
        let farewell = Farewell {
            server: cache.server,
            party: cache.party.id,
        };
        let server_told = self.farewells.say(&client, farewell).await?;
        Ok(LeftReport {
            party: cache.party.name,
            server_told,
        })
    }

    async fn connect(&self, server: &ServerLink, progress: &Progress) -> Result<Arc<ControlClient>, Failure> {
        let _ = progress.send(format!("contacting {}", server.authority()));
        let client = ControlClient::new(server.clone(), Arc::clone(&self.identity), self.device.public());
        client.authenticate().await?;
        if let Some(clock) = client.server_clock() {
            check_clock(clock)?;
        }
        Ok(Arc::new(client))
    }

    async fn must_be_free(&self) -> Result<(), Failure> {
        match self.commands.ask(Command::Current).await? {
            None => Ok(()),
            Some(current) => Err(Failure::new(
                "already_in_party",
                format!(
                    "this PC is already in the party \"{}\"; `lanrage leave` it first",
                    current.cache.party.name
                ),
            )),
        }
    }

    fn name_or_default(&self, name: Option<MemberName>) -> Result<MemberName, Failure> {
        match name {
            Some(name) => Ok(name),
            None => {
                let device = self.identity.device_id().to_string();
                format!("player-{}", &device[..4])
                    .parse()
                    .map_err(|error| Failure::new("bad_name", format!("{error}")))
            }
        }
    }
}

fn open_secret(joined: &Joined, code: &InviteCode) -> Result<PartySecret, Failure> {
    let sealed = joined
        .sealed_secret
        .as_deref()
        .and_then(|text| BASE64URL_NOPAD.decode(text.as_bytes()).ok());
    sealed.and_then(|sealed| code.open(&sealed).ok()).ok_or_else(|| {
        Failure::new(
            "invite_damaged",
            "the server does not hold what this invite promises, so nobody in the party could be trusted; ask the host for a new invite",
        )
    })
}

/// The party's secret of this epoch, as far as this agent knows it: the current one, or the one that it drew as the next.
fn secret_of(cache: &PartyCache, party: PartyId, epoch: u32) -> Option<&PartySecret> {
    if cache.party.id != party {
        return None;
    }
    let drawn = cache.drawn.as_ref().map(|drawn| (drawn.epoch, &drawn.secret));
    let known = [Some((cache.secret_epoch, &cache.secret)), drawn];
    let of_epoch = known.into_iter().flatten().find(|(known, _)| *known == epoch);
    of_epoch.map(|(_, secret)| secret)
}

/// The epoch of the party's secret, when an invite was refused because it leads to another one.
fn other_secret(made: Result<InviteCreated, ControlError>) -> Result<Option<u32>, ControlError> {
    let epoch = match &made {
        Err(ControlError::Refused(refusal)) => refusal.current_secret_epoch(),
        _ => None,
    };
    match epoch {
        Some(epoch) => Ok(Some(epoch)),
        None => made.map(|_| None),
    }
}

fn secret_pending() -> Failure {
    Failure::new(
        "secret_pending",
        "somebody has left and the party is getting a new secret; try again in a moment",
    )
}

fn new_invite(code: &InviteCode, secret: &PartySecret, expires_in_s: u64, max_uses: Option<u32>) -> NewInvite {
    NewInvite {
        auth_hash: BASE64URL_NOPAD.encode(&code.auth().hash()),
        sealed_secret: BASE64URL_NOPAD.encode(&code.seal(secret, rand::random())),
        secret_epoch: None,
        expires_in_s,
        max_uses,
    }
}

fn default_party_name(host: &MemberName) -> Result<PartyName, Failure> {
    let short: String = host.as_str().chars().take(30).collect();
    format!("{short}'s party")
        .parse()
        .map_err(|error| Failure::new("bad_name", format!("{error}")))
}

fn bad_link(what: &str, error: &impl std::fmt::Display) -> Failure {
    Failure::new("bad_link", format!("this is not a usable {what}: {error}"))
}

#[cfg(test)]
mod tests {
    use lanrage_shared::api::error::{ApiError, ErrorCode, ErrorDetails};

    use super::*;
    use crate::state::{DrawnSecret, example_party};

    #[test]
    fn an_invite_leads_to_the_secret_that_the_server_asks_for_or_is_not_made() {
        let mut cache = example_party();
        let party = cache.party.id;
        let drawn = PartySecret::from_bytes([6; 32]);
        assert_eq!(secret_of(&cache, party, 1), Some(&cache.secret));
        assert_eq!(secret_of(&cache, party, 2), None, "it is on its way");
        cache.drawn = Some(DrawnSecret {
            epoch: 2,
            secret: drawn.clone(),
        });
        assert_eq!(secret_of(&cache, party, 2), Some(&drawn));
        let elsewhere = PartyId(uuid::Uuid::from_u128(7));
        assert_eq!(secret_of(&cache, elsewhere, 1), None);
    }

    #[test]
    fn only_another_secret_has_an_invite_sealed_anew() {
        let refused = |current_secret_epoch| {
            let mut error = ApiError::new(ErrorCode::VersionConflict, "another secret");
            error.details = Some(ErrorDetails {
                current_version: Some(7),
                current_secret_epoch,
                ..ErrorDetails::default()
            });
            other_secret(Err(ControlError::Refused(error)))
        };
        assert_eq!(refused(Some(2)).unwrap(), Some(2));
        assert!(refused(None).is_err());
        let made = InviteCreated {
            id: uuid::Uuid::from_u128(1),
            expires_at_ms: 1,
        };
        assert_eq!(other_secret(Ok(made)).unwrap(), None);
    }
}
