//! `doctor`: looks everything up, has it judged, and with `--fix` repairs and looks again.

use ipnet::Ipv4Net;
use lanrage_agent_core::adapter::Fault;
use lanrage_shared::addr::in_the_way;
use lanrage_shared::api::error::ErrorCode;
use lanrage_shared::api::party::MoveParty;

use super::command::{Command, CurrentParty};
use super::requests::{ATTEMPTS, Progress, Requests, busy, must_be_host};
use crate::api::{DoctorCheck, DoctorReport, Failure, RelaysReport, StatusReport};
use crate::doctor::firewall::Firewall;
use crate::doctor::lan::Mover;
use crate::doctor::{self, adapter, firewall, lan, party};
use crate::io::control::ControlError;
use crate::io::netwatch;
use crate::platform;

/// What the agent's loop knows.
pub struct Examination {
    pub status: StatusReport,
    pub relays: RelaysReport,
    /// What is wrong with the adapter; none: it is gone.
    pub faults: Option<Vec<Fault>>,
    pub party: Option<CurrentParty>,
}

/// What was found, and what of it can be repaired from outside the loop.
struct Findings {
    checks: Vec<DoctorCheck>,
    is_shut: bool,
}

impl Requests {
    pub(super) async fn doctor(
        &self,
        fix: bool,
        avoid: &[Ipv4Net],
        progress: &Progress,
    ) -> Result<DoctorReport, Failure> {
        let _ = progress.send("looking at everything".to_owned());
        let found = self.examine(false).await?;
        if !fix {
            return Ok(DoctorReport { checks: found.checks });
        }
        // First, and by itself: a move to another network sets the adapter anew, and what was wrong would not be counted.
        self.commands.ask(|reply| Command::Examine { fix, reply }).await?;
        if found.is_shut
            && let Err(error) = platform::open_firewall(&self.tun).await
        {
            tracing::warn!(%error, "the firewall stays as it is");
        }
        if let Some(lans) = self.in_the_way(avoid).await? {
            let _ = progress.send("moving the party to another network".to_owned());
            match self.move_party(lans).await {
                // Whoever asked for this alone is told at once.
                Err(failure) if !avoid.is_empty() => return Err(failure),
                Err(failure) => tracing::warn!(%failure, "the party stays where it is"),
                Ok(()) => {}
            }
        }
        let left = self.examine(true).await?;
        Ok(DoctorReport {
            checks: doctor::compare(&found.checks, left.checks),
        })
    }

    /// The networks to move the party away from, if that is to be done: one that was named, by the host, or one of the
    /// host's own that has the party's addresses.
    async fn in_the_way(&self, named: &[Ipv4Net]) -> Result<Option<Vec<Ipv4Net>>, Failure> {
        let party = match self.current().await {
            Ok(current) => current.cache,
            Err(_) if named.is_empty() => return Ok(None),
            Err(failure) => return Err(failure),
        };
        if !named.is_empty() {
            must_be_host(&party, "move it to another network")?;
        } else if party.party.host != party.me {
            return Ok(None);
        }
        let mut lans = named.to_vec();
        lans.extend(netwatch::lans(&netwatch::interfaces(&self.tun)));
        Ok(in_the_way(&party.party.net.v4, &lans).is_some().then_some(lans))
    }

    async fn move_party(&self, avoid: Vec<Ipv4Net>) -> Result<(), Failure> {
        let _turn = self.changing.lock().await;
        let CurrentParty { cache, client } = self.current().await?;
        let request = MoveParty { avoid };
        let mut party = cache.party;
        for _ in 0..ATTEMPTS {
            match client.move_party(&party, &request).await {
                Err(ControlError::Refused(refusal)) if refusal.code == ErrorCode::VersionConflict => {
                    party = client.party(party.id).await?;
                }
                outcome => {
                    let net = outcome?.net;
                    self.commands.ask(|reply| Command::Move { net, reply }).await?;
                    self.stream_tried().await;
                    return Ok(());
                }
            }
        }
        Err(busy())
    }

    async fn examine(&self, fix: bool) -> Result<Findings, Failure> {
        let Examination {
            status,
            relays,
            faults,
            party,
        } = self.commands.ask(|reply| Command::Examine { fix, reply }).await?;
        let cache = party.as_ref().map(|party| &party.cache);
        let mut checks = party::checks(&status, &relays, cache.map(|cache| cache.clock_offset_ms));
        let interfaces = netwatch::interfaces(&self.tun);
        let mut is_shut = false;
        if let Some(cache) = cache {
            checks.extend(adapter::checks(&self.tun, faults.as_deref()));
            let firewall = platform::firewall(&self.tun).await;
            is_shut = matches!(firewall, Firewall::Shut { fixable: true, .. });
            checks.push(firewall::check(&firewall));
            checks.push(lan::conflict(&cache.party.net.v4, &interfaces, &mover(&status)));
        }
        checks.push(lan::other_vpns(&interfaces, &self.tun));
        Ok(Findings { checks, is_shut })
    }
}

fn mover(status: &StatusReport) -> Mover {
    match &status.party {
        Some(party) if !party.is_host => {
            Mover::Host(party.host.as_ref().map_or("the host".to_owned(), ToString::to_string))
        }
        _ => Mover::ThisPc,
    }
}
