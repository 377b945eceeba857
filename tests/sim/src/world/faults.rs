//! What happens to the party.

use std::time::{Duration, Instant};

use super::{Finale, Happening, World};
use crate::pc::{Role, StreamState};
use crate::scenario::{Scenario, Transition};

/// After the last fault: QUIC gives up after 30 s, and who retries waits 15 s at most.
const SETTLED: Duration = Duration::from_secs(55);
/// How long everybody plays before it is looked at.
const PLAY: Duration = Duration::from_secs(8);
/// Idle engines have said what they had to say after this.
const CALM: Duration = Duration::from_secs(90);
/// How long they are watched then.
const WATCHED: Duration = Duration::from_secs(60);

impl World {
    /// Puts every step of the scenario, and what is looked at in the end, on the clock.
    pub(super) fn plan(&mut self, scenario: &Scenario) {
        let mut at = self.start;
        let mut over = self.start;
        for step in &scenario.steps {
            at += Duration::from_millis(step.after_ms.into());
            over = over.max(at + lasts(&step.what));
            self.at(at, Happening::Fault(step.what));
        }
        let mut finale = |after, finale| {
            over += after;
            self.at(over, Happening::Finale(finale));
        };
        finale(SETTLED, Finale::AllBusy);
        finale(PLAY, Finale::AllIdle);
        finale(CALM, Finale::Count);
        finale(WATCHED, Finale::Rested);
        finale(Duration::ZERO, Finale::AllBusyAgain);
        finale(PLAY, Finale::End);
    }

    pub(super) fn fault(&mut self, transition: Transition) {
        self.note(|_| format!("{transition:?}"));
        self.mark();
        self.summary.faults += 1;
        self.forgive();
        match transition {
            Transition::Join { pc } => self.join_if_outside(pc),
            Transition::SlipIn { pc } => {
                if self.pcs[pc].role == Role::Outside {
                    self.slip_in(pc);
                }
            }
            Transition::Leave { pc } => {
                if let Role::Member(member) = self.pcs[pc].role {
                    self.stop_agent(pc);
                    self.pcs[pc].role = Role::Outside;
                    self.pcs[pc].cache = None;
                    self.control.remove(member);
                    self.revoke(pc);
                }
            }
            Transition::Kick { pc } => {
                if let Role::Member(member) = self.pcs[pc].role
                    && self.control.party.members.len() > 1
                {
                    self.pcs[pc].role = Role::Kicked(member);
                    if let Some(stream) = self.control.remove(member) {
                        let delay = self.between(1, 100);
                        let (pc, stream) = (stream.pc, stream.number);
                        self.after(delay, Happening::StreamLost { pc, stream });
                    }
                    self.revoke(pc);
                }
            }
            Transition::Roam { pc, home } => self.roam(pc, home),
            Transition::RestartAgent { pc, down_ms } => {
                if self.pcs[pc].agent.is_some() {
                    self.stop_agent(pc);
                    let run = self.pcs[pc].run;
                    self.after(ms(down_ms), Happening::StartAgent { pc, run });
                }
            }
            Transition::RestartRelay { relay, down_ms, silent } => {
                if relay < self.relays.len() && self.relays[relay].is_up() {
                    self.stop_relay(relay, silent);
                    self.relay_starts += 1;
                    let start = self.relay_starts;
                    self.after(ms(down_ms), Happening::RelayUp { relay, start });
                }
            }
            Transition::Partition { pc, ms: lasts } => {
                self.pcs[pc].partitioned = Some(self.now + ms(lasts));
                self.cut_off(pc, self.now + ms(lasts));
            }
            Transition::ControlDown { ms: lasts } => {
                let until = self.now + ms(lasts);
                self.control_down = Some(until);
                for pc in 0..self.pcs.len() {
                    self.cut_off(pc, until);
                }
            }
            Transition::ExpireNat { home } => self.net.expire(home),
            Transition::Burst {
                home,
                ms: lasts,
                percent,
            } => {
                self.net.burst(home, self.now + ms(lasts), percent);
                self.cut_relays(home);
            }
        }
        self.flush_control();
        if lasts(&transition) > Duration::ZERO {
            self.after(lasts(&transition), Happening::FaultOver);
        }
    }

    fn join_if_outside(&mut self, pc: usize) {
        match self.pcs[pc].role {
            Role::Outside | Role::Kicked(_) => self.join(pc),
            Role::Member(_) | Role::Impostor(_) => {}
        }
    }

    /// Nothing gets through between an agent and the control server. Each side notices on its own, if it lasts.
    fn cut_off(&mut self, pc: usize, until: Instant) {
        let now = self.now;
        self.pcs[pc].cut_off.get_or_insert(now);
        let Some(agent) = &self.pcs[pc].agent else { return };
        let StreamState::Open(stream) = agent.stream else {
            return;
        };
        let (agent_notices, server_notices) = (self.between(1000, 10_000), self.between(1000, 12_000));
        if now + agent_notices < until {
            self.after(agent_notices, Happening::StreamLost { pc, stream });
        }
        if now + server_notices < until {
            self.after(server_notices, Happening::StreamClosed { stream });
            // A stream the server closed is over for the agent as soon as it hears of it.
            self.at(until, Happening::StreamLost { pc, stream });
        }
    }
}

/// How long a fault goes on.
fn lasts(transition: &Transition) -> Duration {
    match *transition {
        Transition::RestartAgent { down_ms, .. } | Transition::RestartRelay { down_ms, .. } => ms(down_ms),
        Transition::Partition { ms: lasts, .. }
        | Transition::ControlDown { ms: lasts }
        | Transition::Burst { ms: lasts, .. } => ms(lasts),
        Transition::Join { .. }
        | Transition::Leave { .. }
        | Transition::Kick { .. }
        | Transition::SlipIn { .. }
        | Transition::Roam { .. }
        | Transition::ExpireNat { .. } => Duration::ZERO,
    }
}

fn ms(ms: u32) -> Duration {
    Duration::from_millis(ms.into())
}
