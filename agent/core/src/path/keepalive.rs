//! How often an idle path is kept open: by what the NAT in front of this PC is known to do, and by what it turns out to do.
//!
//! The pause starts at what suits the kind of NAT and grows for as long as every keepalive is answered. When a path is silent
//! after a pause and answers again as soon as it is punched, it was the mapping that had not lasted: the pause falls, and never
//! gets as long again. A path that stays silent had another reason, and teaches nothing.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use lanrage_shared::api::presence::{Filtering, Mapping, NatSummary};

/// After a path was lost, until it is known what holds.
const AFTER_LOSS: Duration = Duration::from_secs(5);
/// A new mapping answers within this: three signals and a punch.
const SOON: Duration = Duration::from_secs(10);
/// Keepalives in a row that have to be answered before a pause half as long again is tried.
const CONFIDENCE: u32 = 6;
/// Longest pause that is tried: a NAT keeps a mapping for two minutes at least (RFC 4787 REQ-5), if it does what it should.
const LONGEST: Duration = Duration::from_secs(100);
/// A pause in which a mapping was lost is never come this close to again, in percent.
const SAFE_PERCENT: u32 = 80;
/// A game may ask for its own pause, within this.
const GAME_RANGE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(120));
/// What others send one in.
const FIXED_PAUSE: Duration = Duration::from_secs(25);

/// The pause between keepalives to start with. Who lets anybody in only has to keep the mapping itself, which the STUN server is
/// asked about anyway.
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
    nat: NatSummary,
    /// What has held so far, or is being tried.
    pause: Duration,
    /// Longest pause that may be tried, once a loss has shown it.
    ceiling: Option<Duration>,
    game: Option<Duration>,
    answered: u32,
    /// The pause after which the path was silent, and since when.
    suspect: Option<(Duration, Instant)>,
    /// By what players call the NAT.
    counts: BTreeMap<&'static str, Counts>,
}

/// What keeping paths open has cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Keepalives sent.
    pub sent: u64,
    /// Mappings that were lost all the same.
    pub lost: u64,
    /// Time the answered ones have covered.
    pub kept: Duration,
}

impl Counts {
    /// What one every 25 s would have cost in the same time.
    pub fn fixed(&self) -> u64 {
        self.kept.as_secs() / FIXED_PAUSE.as_secs()
    }

    /// Both as one.
    pub fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.lost += other.lost;
        self.kept += other.kept;
    }
}

impl Default for Keepalive {
    fn default() -> Self {
        Self {
            nat: NatSummary::default(),
            pause: pause_for(NatSummary::default()),
            ceiling: None,
            game: None,
            answered: 0,
            suspect: None,
            counts: BTreeMap::new(),
        }
    }
}

impl Keepalive {
    /// The NAT was measured (again).
    pub fn handle_nat(&mut self, nat: NatSummary) {
        if pause_for(self.nat) != pause_for(nat) {
            self.pause = pause_for(nat);
            self.ceiling = None;
            self.answered = 0;
        }
        self.nat = nat;
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

    /// Whether something on the way to this address would forget a direct path: not where nothing stands between this PC and the
    /// internet, nor in the local network. What the peer's NAT forgets is the peer's to keep.
    pub fn is_needed(&self, address: SocketAddr) -> bool {
        let is_open = (self.nat.mapping, self.nat.filtering) == (Mapping::None, Filtering::EndpointIndependent);
        !is_local(address) && (!is_open || address.is_ipv6())
    }

    /// One was sent.
    pub fn handle_sent(&mut self) {
        self.counted().sent += 1;
    }

    /// One was answered at once.
    pub fn handle_kept(&mut self) {
        let pause = self.pause();
        self.counted().kept += pause;
        self.answered += 1;
        if self.answered >= CONFIDENCE {
            self.answered = 0;
            self.pause = (self.pause * 3 / 2).min(self.ceiling.unwrap_or(LONGEST));
        }
    }

    /// The path was found silent after a pause.
    pub fn handle_silence(&mut self, now: Instant) {
        self.suspect = Some((self.pause(), now));
        self.answered = 0;
        self.pause = AFTER_LOSS.min(self.pause);
    }

    /// A direct path answers (again).
    pub fn handle_answer(&mut self, now: Instant) {
        let Some((broken, since)) = self.suspect.take() else {
            return;
        };
        if now.saturating_duration_since(since) <= SOON {
            self.counted().lost += 1;
            let safe = (broken * SAFE_PERCENT / 100).max(AFTER_LOSS);
            self.ceiling = Some(self.ceiling.map_or(safe, |ceiling| ceiling.min(safe)));
        }
    }

    /// What it has cost so far, by what players call the NAT.
    pub fn counts(&self) -> &BTreeMap<&'static str, Counts> {
        &self.counts
    }

    fn counted(&mut self) -> &mut Counts {
        self.counts.entry(self.nat.common_name()).or_default()
    }
}

/// Whether an address is one of a local network: an interface may have a public one as well.
pub fn is_local(address: SocketAddr) -> bool {
    match address.ip() {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
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

    /// What an hour costs behind a NAT whose mappings last so long.
    fn hour(kind: NatSummary, lifetime: Duration) -> Counts {
        let mut keepalive = Keepalive::default();
        keepalive.handle_nat(kind);
        let (start, mut elapsed) = (Instant::now(), Duration::ZERO);
        while elapsed < Duration::from_secs(3600) {
            let pause = keepalive.pause();
            elapsed += pause;
            keepalive.handle_sent();
            if pause < lifetime {
                keepalive.handle_kept();
            } else {
                keepalive.handle_silence(start + elapsed);
                keepalive.handle_answer(start + elapsed + Duration::from_secs(1));
            }
        }
        keepalive.counts()[kind.common_name()]
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
    fn a_nat_that_forgets_sooner_than_its_kind_does_is_learned_in_few_losses() {
        for seconds in [10, 20, 25, 40] {
            let counts = hour(nat(CONE, Filtering::EndpointIndependent), Duration::from_secs(seconds));
            assert!(counts.lost <= 5, "{counts:?} with mappings of {seconds} s");
        }
    }

    #[test]
    fn a_game_may_ask_for_less_or_more_and_is_not_believed_beyond_what_was_lost() {
        let mut keepalive = Keepalive::default();
        keepalive.handle_game(Some(Duration::from_secs(3)));
        assert_eq!(keepalive.pause(), Duration::from_secs(3));
        keepalive.handle_game(Some(Duration::from_secs(100_000)));
        assert_eq!(keepalive.pause(), GAME_RANGE.1);
        let now = Instant::now();
        keepalive.handle_silence(now);
        keepalive.handle_answer(now + Duration::from_secs(1));
        assert_eq!(keepalive.pause(), Duration::from_secs(96));
        keepalive.handle_game(None);
        assert_eq!(keepalive.pause(), AFTER_LOSS);
    }

    #[test]
    fn a_path_that_stays_silent_teaches_nothing_about_the_nat() {
        let (mut keepalive, now) = (Keepalive::default(), Instant::now());
        keepalive.handle_silence(now);
        assert_eq!(keepalive.pause(), AFTER_LOSS);
        keepalive.handle_answer(now + Duration::from_secs(30));
        (0..200).for_each(|_| keepalive.handle_kept());
        assert_eq!(keepalive.pause(), LONGEST);
    }

    #[test]
    fn where_nothing_forgets_nothing_is_kept_open() {
        let mut keepalive = Keepalive::default();
        keepalive.handle_nat(nat(SYMMETRIC, Filtering::AddressAndPortDependent));
        let needed = |keepalive: &Keepalive, address: &str| keepalive.is_needed(address.parse().unwrap());
        assert!(!needed(&keepalive, "192.168.1.7:1") && needed(&keepalive, "203.0.113.7:1"));
        keepalive.handle_nat(nat(Mapping::None, Filtering::EndpointIndependent));
        assert!(!needed(&keepalive, "203.0.113.7:1") && needed(&keepalive, "[2001:db8::7]:1"));
    }

    proptest! {
        #[test]
        fn a_pause_is_never_nothing_and_never_longer_than_allowed(events in prop::collection::vec(0u8..4, 0..500)) {
            let (mut keepalive, now) = (Keepalive::default(), Instant::now());
            for event in events {
                match event {
                    0 => keepalive.handle_kept(),
                    1 => keepalive.handle_silence(now),
                    2 => keepalive.handle_answer(now),
                    _ => keepalive.handle_nat(nat(CONE, Filtering::EndpointIndependent)),
                }
                prop_assert!(keepalive.pause() >= Duration::from_secs(4));
                prop_assert!(keepalive.pause() <= LONGEST);
            }
        }
    }
}
