//! `doctor`: looks everything up, has it judged, and with `--fix` repairs and looks again.

use super::adapter::Look;
use super::command::{Command, CurrentParty};
use super::requests::Requests;
use crate::api::{DoctorCheck, DoctorReport, Failure, RelaysReport, StatusReport};
use crate::doctor::firewall::Firewall;
use crate::doctor::lan::Mover;
use crate::doctor::{self, adapter, firewall, lan, party};
use crate::io::netwatch;
use crate::platform;

/// What the agent's loop knows.
pub struct Examination {
    pub status: StatusReport,
    pub relays: RelaysReport,
    /// None: the adapter is gone.
    pub look: Option<Look>,
    pub party: Option<CurrentParty>,
}

/// What was found, and what of it can be repaired from outside the loop.
struct Findings {
    checks: Vec<DoctorCheck>,
    is_shut: bool,
}

impl Requests {
    pub(super) async fn doctor(&self, fix: bool) -> Result<DoctorReport, Failure> {
        let found = self.examine(false).await?;
        if !fix {
            return Ok(DoctorReport { checks: found.checks });
        }
        if found.is_shut
            && let Err(error) = platform::open_firewall(&self.tun).await
        {
            tracing::warn!(%error, "the firewall stays as it is");
        }
        // Repairs the adapter first, so that this is how things are after all repairs.
        let left = self.examine(true).await?;
        Ok(DoctorReport {
            checks: doctor::compare(&found.checks, left.checks),
        })
    }

    async fn examine(&self, fix: bool) -> Result<Findings, Failure> {
        let Examination {
            status,
            relays,
            look,
            party,
        } = self.commands.ask(|reply| Command::Examine { fix, reply }).await?;
        let cache = party.as_ref().map(|party| &party.cache);
        let mut checks = party::checks(&status, &relays, cache.map(|cache| cache.clock_offset_ms));
        let interfaces = netwatch::interfaces(&self.tun);
        let mut is_shut = false;
        if let Some(cache) = cache {
            let faults = look.as_ref().map(|look| look.after.as_slice());
            checks.extend(adapter::checks(&self.tun, faults));
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
