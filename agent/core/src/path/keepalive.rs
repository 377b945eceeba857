//! How often an idle path is kept open: by what the NAT in front of this PC is known to do, and by what it turns out to do.

use std::time::Duration;

use lanrage_shared::api::presence::{Filtering, Mapping, NatSummary};

/// After a mapping was lost, until it is known what holds.
const AFTER_LOSS: Duration = Duration::from_secs(5);
/// Keepalives in a row that have to be answered before a longer pause is tried again.
const CONFIDENCE: u32 = 10;
/// A pause in which a mapping was lost is never come this close to again, in percent.
const SAFE_PERCENT: u32 = 80;
/// A game may ask for its own pause, within this.
const GAME_RANGE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(120));

/// The pause between keepalives that suits a NAT, as long as it has not shown otherwise. Who lets anybody in only has to keep
/// the mapping itself, which the STUN server is asked about anyway.
pub fn pause_for(nat: NatSummary) -> Duration {
    let seconds = match (nat.mapping, nat.filtering) {
        _ if nat.port_mapping => 60,
        (Mapping::None | Mapping::EndpointIndependent, Filtering::EndpointIndependent) => 60,
        (Mapping::None | Mapping::EndpointIndependent, Filtering::AddressDependent) => 30,
        (Mapping::AddressDependent | Mapping::AddressAndPortDependent, _) => 8,
        _ => 15,
    };
    Duration::from_secs(seconds)
}

/// One path's keepalives.
#[derive(Debug, Clone)]
pub struct Keepalive {
    /// What the NAT's kind allows.
    allowed: Duration,
    /// What has held so far.
    pause: Duration,
    /// Longest pause that may be tried, once a loss has shown it.
    ceiling: Option<Duration>,
    game: Option<Duration>,
    answered: u32,
    counts: Counts,
}

/// What keeping paths open has cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Keepalives sent.
    pub sent: u64,
    /// Mappings that were lost all the same.
    pub lost: u64,
}

impl Default for Keepalive {
    fn default() -> Self {
        let allowed = pause_for(NatSummary::default());
        Self {
            allowed,
            pause: allowed,
            ceiling: None,
            game: None,
            answered: 0,
            counts: Counts::default(),
        }
    }
}

impl Keepalive {
    /// The NAT was measured (again).
    pub fn handle_nat(&mut self, nat: NatSummary) {
        let allowed = pause_for(nat);
        if self.allowed != allowed {
            self.allowed = allowed;
            self.pause = allowed;
            self.ceiling = None;
            self.answered = 0;
        }
    }

    /// A game asks for a pause of its own (none: no more).
    pub fn handle_game(&mut self, pause: Option<Duration>) {
        self.game = pause.map(|pause| pause.clamp(GAME_RANGE.0, GAME_RANGE.1));
    }

    /// Time between keepalives.
    pub fn pause(&self) -> Duration {
        let pause = self.game.unwrap_or(self.pause);
        self.ceiling.map_or(pause, |ceiling| pause.min(ceiling))
    }

    /// One was sent.
    pub fn handle_sent(&mut self) {
        self.counts.sent += 1;
    }

    /// One was answered at once.
    pub fn handle_kept(&mut self) {
        self.answered += 1;
        if self.answered >= CONFIDENCE && self.pause < self.allowed {
            self.answered = 0;
            self.pause = (self.pause * 2).min(self.allowed);
        }
    }

    /// The path was found dead after a pause: the mapping, or the hole in the filter, had not lasted.
    pub fn handle_lost(&mut self) {
        self.counts.lost += 1;
        self.answered = 0;
        let broken = self.pause();
        let safe = (broken * SAFE_PERCENT / 100).max(AFTER_LOSS);
        self.ceiling = Some(self.ceiling.map_or(safe, |ceiling| ceiling.min(safe)));
        self.pause = AFTER_LOSS;
    }

    /// What it has cost so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nat(mapping: Mapping, filtering: Filtering) -> NatSummary {
        NatSummary {
            mapping,
            filtering,
            port_mapping: false,
        }
    }

    const CONE: Mapping = Mapping::EndpointIndependent;
    const SYMMETRIC: Mapping = Mapping::AddressAndPortDependent;

    /// Keepalives of an hour behind a NAT whose mappings last so long, and how often one was lost.
    fn hour(kind: NatSummary, lifetime: Duration) -> Counts {
        let mut keepalive = Keepalive::default();
        keepalive.handle_nat(kind);
        let mut elapsed = Duration::ZERO;
        while elapsed < Duration::from_secs(3600) {
            let pause = keepalive.pause();
            elapsed += pause;
            keepalive.handle_sent();
            if pause < lifetime {
                keepalive.handle_kept();
            } else {
                keepalive.handle_lost();
            }
        }
        keepalive.counts()
    }

    #[test]
    fn each_kind_of_nat_has_its_pause() {
        let pause = |mapping, filtering| pause_for(nat(mapping, filtering)).as_secs();
        assert_eq!(pause(CONE, Filtering::EndpointIndependent), 60);
        assert_eq!(pause(CONE, Filtering::AddressDependent), 30);
        assert_eq!(pause(CONE, Filtering::AddressAndPortDependent), 15);
        assert_eq!(pause(SYMMETRIC, Filtering::AddressAndPortDependent), 8);
        assert_eq!(pause(Mapping::Unknown, Filtering::Unknown), 15);
    }

    #[test]
    fn good_nats_cost_at_least_thirty_percent_less_than_a_fixed_pause_of_25_s() {
        let fixed = 3600 / 25;
        let cone = hour(nat(CONE, Filtering::EndpointIndependent), Duration::from_secs(300));
        assert!(cone.sent * 10 <= fixed * 7, "{} of {fixed}", cone.sent);
        assert_eq!(cone.lost, 0);
    }

    #[test]
    fn a_nat_that_forgets_sooner_than_its_kind_does_is_learned_in_few_losses() {
        for seconds in [10, 20, 25, 40] {
            let counts = hour(nat(CONE, Filtering::EndpointIndependent), Duration::from_secs(seconds));
            assert!(counts.lost <= 9, "{counts:?} with mappings of {seconds} s");
        }
    }

    #[test]
    fn a_game_may_ask_for_less_or_more_and_is_not_believed_beyond_what_was_lost() {
        let mut keepalive = Keepalive::default();
        keepalive.handle_game(Some(Duration::from_secs(3)));
        assert_eq!(keepalive.pause(), Duration::from_secs(3));
        keepalive.handle_game(Some(Duration::from_secs(100_000)));
        assert_eq!(keepalive.pause(), GAME_RANGE.1);
        keepalive.handle_lost();
        assert_eq!(keepalive.pause(), Duration::from_secs(96));
        keepalive.handle_game(None);
        assert_eq!(keepalive.pause(), AFTER_LOSS);
    }

    proptest! {
        #[test]
        fn a_pause_is_never_nothing_and_never_longer_than_allowed(events in prop::collection::vec(0u8..3, 0..500)) {
            let mut keepalive = Keepalive::default();
            for event in events {
                match event {
                    0 => keepalive.handle_kept(),
                    1 => keepalive.handle_lost(),
                    _ => keepalive.handle_nat(nat(CONE, Filtering::EndpointIndependent)),
                }
                prop_assert!(keepalive.pause() >= Duration::from_secs(4));
                prop_assert!(keepalive.pause() <= Duration::from_secs(60));
            }
        }
    }
}
