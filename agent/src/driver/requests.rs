//! Answers the local API: talks to control servers itself, and to the agent's loop for everything else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use data_encoding::BASE64URL_NOPAD;
use lanrage_agent_core::cache::ConnectionCache;
use lanrage_shared::api::error::ErrorCode;
use lanrage_shared::api::invite::{DEFAULT_LIFETIME_S, MAX_LIFETIME_S, NewInvite, RedeemInvite};
use lanrage_shared::api::party::{Ban, CreateParty, Joined, RemoveMember};
use lanrage_shared::invite::{Invite, InviteCode, ServerLink};
use lanrage_shared::keys::{DeviceSecret, IdentitySecret, PartySecret};
use lanrage_shared::names::{MemberName, PartyName};
use serde::Serialize;
use tokio::sync::{Mutex, mpsc, watch};

use super::command::{Command, Commands, CurrentParty};
use super::farewells::Farewells;
use super::games::{GamesNow, report};
use super::party::remember_invite;
use super::{test_lan, whom};
use crate::api::server::Handler;
use crate::api::{
    BansReport, DownReport, Failure, InviteReport, JoinedReport, LatenciesReport, LeftReport, RefreshReport,
    RemovedReport, Request, ServerAddress,
};
use crate::io::control::{ControlClient, ControlError, check_clock};
use crate::io::netwatch;
use crate::state::{Farewell, PartyCache};

/// Longest wait a ping may ask for.
const MAX_PING_WAIT: Duration = Duration::from_secs(60);

/// Longest wait of `host`, `join` and a move to another network for the control stream, which follows within a few round trips.
const STREAM_WAIT: Duration = Duration::from_secs(2);

/// How often a change is tried while the party changes.
pub(super) const ATTEMPTS: usize = 5;

/// Where progress goes.
pub(super) type Progress = mpsc::UnboundedSender<String>;

/// Everything a request may need.
pub struct Requests {
    pub commands: Commands,
    pub identity: Arc<IdentitySecret>,
    pub device: DeviceSecret,
    pub udp_port: u16,
    pub tun: String,
    /// One change of party at a time.
    pub changing: Arc<Mutex<()>>,
    pub farewells: Arc<Farewells>,
    pub games: watch::Receiver<Arc<GamesNow>>,
    pub latencies: watch::Receiver<Arc<LatenciesReport>>,
}

impl Handler for Requests {
    async fn handle(&self, request: Request, progress: Progress) -> Result<serde_json::Value, Failure> {
        match request {
            Request::Status => json(&self.commands.ask(Command::Status).await?),
            Request::Peers => json(&self.commands.ask(Command::Peers).await?),
            Request::Host { server, party, name } => json(&self.host(&server, party, name, &progress).await?),
            Request::Invite { expires_in_s, max_uses } => json(&self.invite(expires_in_s, max_uses).await?),
            Request::Join { invite, name } => json(&self.join(&invite, name, &progress).await?),
            Request::Leave => json(&self.leave().await?),
            Request::Remove { target, ban } => json(&self.remove(&target, ban).await?),
            Request::Bans { lift } => json(&self.bans(lift).await?),
            Request::Relays => json(&self.commands.ask(Command::Relays).await?),
            Request::Bridge { change } => json(&self.commands.ask(|reply| Command::Bridge { change, reply }).await??),
            Request::Latency { add, remove } => json(&*self.watch_servers(add, remove).await?),
            Request::TestLan { game } => {
                let games = Arc::clone(&self.games.borrow().library);
                let tell = |text| {
                    let _ = progress.send(text);
                };
                json(&test_lan::asking::run(&self.commands, &games, game.as_deref(), tell).await?)
            }
            Request::Games => json(&report::games(&self.games.borrow(), Instant::now())),
            Request::KnownGames => json(&report::known(&self.games.borrow().library)),
            Request::Refresh => json(&self.refresh().await?),
            Request::Doctor { fix, avoid } => json(&self.doctor(fix, &avoid, &progress).await?),
            Request::Ping { target, timeout_ms } => {
                let timeout = Duration::from_millis(timeout_ms).min(MAX_PING_WAIT);
                json(
                    &self
                        .commands
                        .ask(|reply| Command::Ping { target, timeout, reply })
                        .await??,
                )
            }
            Request::Down => {
                let commands = self.commands.clone();
                // After the answer is on its way.
                tokio::spawn(async move { commands.0.send(Command::Down).await });
                json(&DownReport {
                    pid: std::process::id(),
                })
            }
        }
    }
}

impl Requests {
    async fn host(
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

    async fn join(&self, invite: &str, name: Option<MemberName>, progress: &Progress) -> Result<JoinedReport, Failure> {
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

    /// Waits for the first word from the control stream, but not for a slow server.
    pub(super) async fn stream_tried(&self) {
        let _ = tokio::time::timeout(STREAM_WAIT, self.commands.ask(Command::Tried)).await;
    }

    async fn invite(&self, expires_in_s: Option<u64>, max_uses: Option<u32>) -> Result<InviteReport, Failure> {
        let current = self.current().await?;
        let party = &current.cache.party;
        must_be_host(&current.cache, "make invites")?;
        if current.cache.secret_epoch != party.secret_epoch {
            return Err(Failure::new(
                "secret_pending",
                "somebody has left and the party is getting a new secret; try again in a moment",
            ));
        }
        let expires_in_s = expires_in_s.unwrap_or(DEFAULT_LIFETIME_S);
        if !(60..=MAX_LIFETIME_S).contains(&expires_in_s) || max_uses == Some(0) {
            return Err(Failure::new(
                "bad_invite",
                "an invite lasts from 1 minute to 90 days and admits at least one",
            ));
        }
        let code = InviteCode::from_entropy(rand::random());
        let invite = new_invite(&code, &current.cache.secret, expires_in_s, max_uses);
        current.client.create_invite(party.id, &invite).await?;
        let invite = Invite {
            server: current.cache.server.clone(),
            code,
        }
        .to_string();
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

    /// Changes the list, and waits until it is the one that is watched.
    async fn watch_servers(
        &self,
        add: Option<ServerAddress>,
        remove: Option<ServerAddress>,
    ) -> Result<Arc<LatenciesReport>, Failure> {
        let (added, removed) = (add.clone(), remove.clone());
        let change = |reply| Command::WatchServers { add, remove, reply };
        self.commands.ask(change).await??;
        let is_listed = |report: &LatenciesReport, server: &ServerAddress| {
            report.servers.iter().any(|listed| listed.server == *server)
        };
        let mut latencies = self.latencies.clone();
        let taken = latencies.wait_for(|report| {
            added.as_ref().is_none_or(|server| is_listed(report, server))
                && removed.as_ref().is_none_or(|server| !is_listed(report, server))
        });
        let report = taken
            .await
            .map_err(|_| Failure::new("stopping", "the agent is stopping"))?;
        Ok(Arc::clone(&report))
    }

    async fn refresh(&self) -> Result<RefreshReport, Failure> {
        let party = self.commands.ask(Command::Refresh).await?;
        Ok(RefreshReport {
            party: party.ok_or_else(in_no_party)?,
        })
    }

    async fn remove(&self, target: &str, ban: bool) -> Result<RemovedReport, Failure> {
        let CurrentParty { cache, client } = self.current().await?;
        must_be_host(&cache, "remove members")?;
        let others = cache.party.members.iter().filter(|member| member.id != cache.me);
        let member = whom::choose(target, &others.collect::<Vec<_>>())?;
        let mut party = cache.party.clone();
        for _ in 0..ATTEMPTS {
            match client.remove_member(&party, member.id, &RemoveMember { ban }).await {
                // Somebody came or went meanwhile, which does not change who is meant.
                Err(ControlError::Refused(refusal)) if refusal.code == ErrorCode::VersionConflict => {
                    party = client.party(party.id).await?;
                }
                outcome => {
                    outcome?;
                    return Ok(RemovedReport {
                        name: member.name.clone(),
                        banned: ban,
                    });
                }
            }
        }
        Err(busy())
    }

    async fn bans(&self, lift: Option<String>) -> Result<BansReport, Failure> {
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

    async fn leave(&self) -> Result<LeftReport, Failure> {
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

    pub(super) async fn current(&self) -> Result<CurrentParty, Failure> {
        self.commands.ask(Command::Current).await?.ok_or_else(in_no_party)
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

pub(super) fn must_be_host(cache: &PartyCache, what: &str) -> Result<(), Failure> {
    let party = &cache.party;
    if party.host == cache.me {
        return Ok(());
    }
    let host = party.members.iter().find(|member| member.id == party.host);
    let host = host.map_or("the host".to_owned(), |host| host.name.to_string());
    Err(Failure::new(
        "not_host",
        format!("only the party's host can {what}: ask {host}"),
    ))
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

fn new_invite(code: &InviteCode, secret: &PartySecret, expires_in_s: u64, max_uses: Option<u32>) -> NewInvite {
    NewInvite {
        auth_hash: BASE64URL_NOPAD.encode(&code.auth().hash()),
        sealed_secret: BASE64URL_NOPAD.encode(&code.seal(secret, rand::random())),
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

pub(super) fn busy() -> Failure {
    Failure::new("busy", "members are coming and going all the time; try again")
}

fn in_no_party() -> Failure {
    Failure::new(
        "no_party",
        "this PC is in no party; `lanrage join <invite>` or `lanrage host <server-link>` first",
    )
}

fn bad_link(what: &str, error: &impl std::fmt::Display) -> Failure {
    Failure::new("bad_link", format!("this is not a usable {what}: {error}"))
}

fn json(report: &impl Serialize) -> Result<serde_json::Value, Failure> {
    serde_json::to_value(report)
        .map_err(|error| Failure::new("internal", format!("the answer could not be written: {error}")))
}
