//! What must hold, whatever happens.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use lanrage_agent_core::batch::Route;
use lanrage_shared::api::presence::{Filtering, Mapping};
use lanrage_shared::ids::MemberId;

use super::agents::in_words;
use super::{ARRIVES_WITHIN, Canary, Finale, Happening, RECOVERY, World};
use crate::pc::Role;

/// Questions to one address in a second.
const MAX_QUESTIONS: usize = 5;
/// Probes to one address in a second: the questions, and an answer to each of the peer's five to each of our addresses.
const MAX_PROBES: usize = 25;
/// New mappings that guessing ports makes at a router within a second, and what it repeats.
const MAX_SIDE_FLOWS: usize = 64;
/// Probes of an idle agent in a second for each peer, on average: a path is asked every few seconds and answers as often. A peer
/// that is reached through a relay only is sought for ten seconds at a time, at half a dozen addresses; after a path was lost
/// that is five times in the first minute, and ever less often.
const MAX_IDLE_PROBES: f64 = 8.0;
/// Timer runs of an idle agent in a second for each peer.
const MAX_IDLE_RUNS: f64 = 8.0;
/// Changes of path a fault may cost a pair: for the worse, and altogether. Being found is none.
const MAX_WORSE: u32 = 4;
const MAX_CHANGES: u32 = 10;

/// A scenario in which something did not hold.
#[derive(Debug)]
pub struct Violation {
    /// Virtual time, in s.
    pub at_s: f64,
    pub what: String,
    pub log: Vec<String>,
}

/// What a run was.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Virtual time.
    pub seconds: u64,
    pub faults: u64,
    pub packets: u64,
    pub delivered: u64,
    /// Pairs of which it was looked at whether a packet arrives.
    pub checked: u64,
    pub path_changes: u64,
    /// The most probes sent to one address within a second.
    pub probes_peak: usize,
    /// Per peer and second while idle.
    pub idle_probes: f64,
    pub idle_runs: f64,
    /// The most changes of path of a pair after one fault, those for the worse and all.
    pub worse_peak: u32,
    pub changes_peak: u32,
    pub(super) ended: bool,
}

impl Summary {
    /// Both runs as one.
    pub fn add(&mut self, other: &Self) {
        self.seconds += other.seconds;
        self.faults += other.faults;
        self.packets += other.packets;
        self.delivered += other.delivered;
        self.checked += other.checked;
        self.path_changes += other.path_changes;
        self.probes_peak = self.probes_peak.max(other.probes_peak);
        self.idle_probes = self.idle_probes.max(other.idle_probes);
        self.idle_runs = self.idle_runs.max(other.idle_runs);
        self.worse_peak = self.worse_peak.max(other.worse_peak);
        self.changes_peak = self.changes_peak.max(other.changes_peak);
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {:.3} s: {}", self.at_s, self.what)
    }
}

impl World {
    pub(super) fn violate(&mut self, what: String) {
        let at_s = (self.now - self.start).as_secs_f64();
        self.violation.get_or_insert(Violation {
            at_s,
            what,
            log: Vec::new(),
        });
    }

    /// Something happened: recovery is counted from here.
    pub(super) fn mark(&mut self) {
        self.mark += 1;
        let mark = self.mark;
        self.after(RECOVERY, Happening::Check { mark });
    }

    /// A fault may cost every pair a few changes of path.
    pub(super) fn forgive(&mut self) {
        (0..self.pcs.len()).for_each(|pc| self.forgive_peers_of(pc));
    }

    /// The same of the pairs one PC is in.
    pub(super) fn forgive_peers_of(&mut self, pc: usize) {
        let number = self.pcs[pc].role.number();
        for (index, other) in self.pcs.iter_mut().enumerate() {
            let links = other.agent.iter_mut().flat_map(|agent| &mut agent.links);
            for (_, link) in links.filter(|(member, _)| index == pc || Some(**member) == number) {
                (link.worse, link.changes) = (0, 0);
            }
        }
    }

    /// Nothing happened for a while: whoever can be reached, is.
    pub(super) fn check(&mut self, mark: u64) {
        if mark != self.mark {
            return;
        }
        self.canaries.clear();
        for from in 0..self.pcs.len() {
            for to in 0..self.pcs.len() {
                if let Some(number) = self.must_reach(from, to) {
                    self.release(from, to, number);
                }
            }
        }
        self.after(ARRIVES_WITHIN, Happening::Verdict { mark });
    }

    fn release(&mut self, from: usize, to: usize, number: MemberId) {
        self.summary.checked += 1;
        let path = self.pcs[from]
            .agent
            .as_ref()
            .and_then(|agent| agent.links.get(&number)?.path);
        let Some(packet) = self.send_packet(from, number, true) else {
            self.violate(format!("pc {from} has no path to pc {to}"));
            return;
        };
        let route = in_words(path.map(|path| path.route));
        self.canaries.push(Canary {
            from,
            to,
            packet,
            arrived: false,
            route,
        });
    }

    pub(super) fn judge(&mut self, mark: u64) {
        let lost = self.canaries.iter().find(|canary| !canary.arrived);
        if let Some(Canary { from, to, route, .. }) = lost
            && mark == self.mark
        {
            self.violate(format!("a packet from pc {from} to pc {to} by {route} does not arrive"));
        }
        self.canaries.clear();
    }

    /// The number of `to` if packets from one PC must reach the other now.
    fn must_reach(&self, from: usize, to: usize) -> Option<MemberId> {
        let (Role::Member(me), Role::Member(number)) = (self.pcs[from].role, self.pcs[to].role) else {
            return None;
        };
        let plays = self.plays(from, number) || self.plays(to, me);
        let burst = [from, to].map(|pc| self.net.has_burst(self.pcs[pc].home, self.now));
        if from == to || !plays || burst != [false, false] {
            return None;
        }
        let known = self.knows(from, number) && self.knows(to, me) && self.shares_secret(from, to, me, number);
        (known && (self.shares_relay(from, to) || self.can_punch(from, to))).then_some(number)
    }

    /// Whether an agent could know of a member.
    fn knows(&self, pc: usize, member: MemberId) -> bool {
        let Some(agent) = &self.pcs[pc].agent else { return false };
        // Who hears the server has no excuse.
        agent.told.contains_key(&member) || self.hears_server(pc)
    }

    /// Whether two agents have a key in common.
    fn shares_secret(&self, a: usize, b: usize, number_a: MemberId, number_b: MemberId) -> bool {
        let epoch = |pc: usize| self.pcs[pc].cache.as_ref().map_or(0, |cache| cache.secret_epoch);
        let since = |pc: usize, member: MemberId| {
            let link = self.pcs[pc].agent.as_ref().and_then(|agent| agent.links.get(&member));
            link.map_or(u32::MAX, |link| link.since_secret)
        };
        match epoch(a).cmp(&epoch(b)) {
            std::cmp::Ordering::Equal => true,
            std::cmp::Ordering::Greater => since(a, number_b) <= epoch(b),
            std::cmp::Ordering::Less => since(b, number_a) <= epoch(a),
        }
    }

    /// Whether the two routers let a direct path come about, with the server's help.
    fn can_punch(&self, a: usize, b: usize) -> bool {
        if !self.hears_server(a) || !self.hears_server(b) {
            return false;
        }
        let (home_a, home_b) = (self.pcs[a].home, self.pcs[b].home);
        if home_a == home_b {
            return true;
        }
        let (a, b) = (self.net.spec(home_a), self.net.spec(home_b));
        if [a.mapping, b.mapping].contains(&Mapping::Blocked) {
            return false;
        }
        let lets_in = |filtering| filtering != Filtering::AddressAndPortDependent;
        match (a.mapping.is_predictable(), b.mapping.is_predictable()) {
            (true, true) => true,
            (true, false) => lets_in(a.filtering),
            (false, true) => lets_in(b.filtering),
            (false, false) => false,
        }
    }

    /// Only what a member sent is believed.
    pub(super) fn check_accepted(&mut self, pc: usize, sender: usize, what: &str) {
        let key = self.pcs[sender].device.public();
        let told = self.pcs[pc]
            .agent
            .as_ref()
            .map(|agent| agent.told.values().any(|known| *known == key));
        let is_party = matches!(self.pcs[pc].role, Role::Member(_));
        let impostor = matches!(self.pcs[sender].role, Role::Impostor(_));
        if is_party && (told == Some(false) || impostor) {
            self.violate(format!("pc {pc} accepts {what} of pc {sender}, which is no member"));
        }
    }

    pub(super) fn check_change(&mut self, pc: usize, member: MemberId, before: Option<Route>, after: Option<Route>) {
        let is_worse = match (before, after) {
            (Some(before), after) if before.address().is_some() => after.is_none_or(|after| after.address().is_none()),
            (Some(Route::Relay { .. }), None) => true,
            _ => false,
        };
        // Whoever is not there is looked for everywhere.
        let Some(other) = self.pc_of(member).filter(|other| self.pcs[*other].agent.is_some()) else {
            return;
        };
        // A line that loses a lot is a fault that goes on.
        if [pc, other]
            .iter()
            .any(|pc| self.net.has_burst(self.pcs[*pc].home, self.now))
        {
            return;
        }
        let agent = self.pcs[pc].agent.as_mut();
        let Some(link) = agent.and_then(|agent| agent.links.get_mut(&member)) else {
            return;
        };
        link.worse += u32::from(is_worse);
        link.changes += u32::from(before.is_some());
        let (worse, changes) = (link.worse, link.changes);
        self.summary.worse_peak = self.summary.worse_peak.max(worse);
        self.summary.changes_peak = self.summary.changes_peak.max(changes);
        if worse > MAX_WORSE || changes > MAX_CHANGES {
            let (before, after) = (in_words(before), in_words(after));
            self.violate(format!(
                "pc {pc}'s path to {member} flaps: from {before} to {after}, change {changes} after the last fault"
            ));
        }
    }

    pub(super) fn count_probe(&mut self, pc: usize, port: u16, to: SocketAddr, asks: bool) {
        let now = self.now;
        let main = self.pcs[pc].port;
        let Some(agent) = &mut self.pcs[pc].agent else { return };
        agent.sent_probes += 1;
        if port != main {
            agent
                .side_flows
                .retain(|_, since| *since + Duration::from_secs(1) > now);
            agent.side_flows.entry((port, to)).or_insert(now);
            let count = agent.side_flows.len();
            if count > MAX_SIDE_FLOWS {
                self.violate(format!("pc {pc} guesses with {count} sockets within a second"));
            }
            return;
        }
        let lately = agent.probes.entry(to).or_default();
        lately.push_back((now, asks));
        lately.retain(|(at, _)| *at + Duration::from_secs(1) > now);
        let count = lately.len();
        let questions = lately.iter().filter(|(_, asks)| *asks).count();
        if self.counting {
            self.note(|_| format!("pc {pc} probes {to}"));
        }
        self.summary.probes_peak = self.summary.probes_peak.max(count);
        if count > MAX_PROBES || questions > MAX_QUESTIONS {
            self.violate(format!(
                "pc {pc} sends {count} probes to {to} within a second, of which {questions} ask"
            ));
        }
    }

    pub(super) fn finish(&mut self, finale: Finale) {
        self.note(|_| format!("{finale:?}"));
        match finale {
            Finale::AllBusy | Finale::AllBusyAgain => {
                self.everybody_plays = Some(true);
                self.mark();
            }
            Finale::AllIdle => {
                self.everybody_plays = Some(false);
                self.mark();
            }
            Finale::Count => {
                self.counting = true;
                for agent in self.pcs.iter_mut().filter_map(|pc| pc.agent.as_mut()) {
                    (agent.sent_probes, agent.timer_runs) = (0, 0);
                }
            }
            Finale::Rested => self.check_rest(),
            Finale::End => {
                self.summary.ended = true;
            }
        }
    }

    fn check_rest(&mut self) {
        let mut wrong = Vec::new();
        for (index, pc) in self.pcs.iter().enumerate() {
            let Some(agent) = pc.agent.as_ref().filter(|_| matches!(pc.role, Role::Member(_))) else {
                continue;
            };
            let peers = agent.links.len().max(1) as f64 * 60.0;
            let (probes, runs) = (agent.sent_probes as f64 / peers, agent.timer_runs as f64 / peers);
            self.summary.idle_probes = self.summary.idle_probes.max(probes);
            self.summary.idle_runs = self.summary.idle_runs.max(runs);
            if probes > MAX_IDLE_PROBES || runs > MAX_IDLE_RUNS {
                wrong.push(format!(
                    "idle, pc {index} sends {probes:.1} probes a second and peer and runs {runs:.1} times"
                ));
            }
            wrong.extend(self.disagreement(index));
            wrong.extend(self.detour(index));
        }
        if let Some(wrong) = wrong.into_iter().next() {
            self.violate(wrong);
        }
    }

    /// Everybody who has a path to a peer opens new sessions with it with the newest secret's key.
    fn disagreement(&self, pc: usize) -> Option<String> {
        let agent = self.pcs[pc].agent.as_ref()?;
        let me = self.pcs[pc].role.number()?;
        agent.links.iter().find_map(|(member, link)| {
            let other = self.pc_of(*member)?;
            let theirs = self.pcs[other].agent.as_ref()?.links.get(&me)?;
            let connected = link.path.is_some() && theirs.path.is_some() && self.must_share(pc, other);
            (connected && link.psks.last() != theirs.psks.last())
                .then(|| format!("pc {pc} and pc {other} would open a session with different keys"))
        })
    }

    fn must_share(&self, a: usize, b: usize) -> bool {
        self.shares_relay(a, b) || self.can_punch(a, b)
    }
}
