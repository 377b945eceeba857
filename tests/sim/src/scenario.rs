//! What happens to a party: drawn from a seed, or read from a file of a failure found before.

use std::fmt;

use lanrage_shared::api::presence::{Filtering, Mapping};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

/// A party and everything that happens to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// Of every chance in the run.
    pub seed: u64,
    /// One-way delay to each relay, in ms.
    pub relays: Vec<u16>,
    /// Of a hundred pairs, so many play; the others are idle.
    pub busy_percent: u8,
    /// The home each PC is in at the start. The first `members` are in the party.
    pub pcs: Vec<usize>,
    pub members: usize,
    pub homes: Vec<Home>,
    pub steps: Vec<Step>,
}

/// A router and the line behind it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Home {
    pub mapping: Mapping,
    pub filtering: Filtering,
    /// How long the router remembers an unused mapping, in s.
    pub lifetime_s: u16,
    /// One way, in ms.
    pub delay_ms: u16,
    pub jitter_ms: u16,
    /// Out of a thousand packets, each way.
    pub loss: u16,
    pub duplicated: u16,
    pub reordered: u16,
    /// The router draws public ports at random instead of giving them out in a row.
    #[serde(default)]
    pub random_ports: bool,
}

/// One fault, and the time before it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub after_ms: u32,
    pub what: Transition,
}

/// What can happen. One that does not fit the state of the party changes nothing, so that any part of a scenario is one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transition {
    /// Redeems an invite.
    Join {
        pc: usize,
    },
    Leave {
        pc: usize,
    },
    /// The host removes it. It goes on as if nothing had happened.
    Kick {
        pc: usize,
    },
    /// The control server lists a device that nobody invited and that does not know the party secret.
    SlipIn {
        pc: usize,
    },
    /// Another network, as from Wi-Fi to a phone.
    Roam {
        pc: usize,
        home: usize,
    },
    RestartAgent {
        pc: usize,
        down_ms: u32,
    },
    /// `silent`: nobody says goodbye.
    RestartRelay {
        relay: usize,
        down_ms: u32,
        silent: bool,
    },
    /// Nothing gets from this PC to the control server or back.
    Partition {
        pc: usize,
        ms: u32,
    },
    /// Nobody reaches the control server.
    ControlDown {
        ms: u32,
    },
    /// The router forgets every mapping, as after a restart.
    ExpireNat {
        home: usize,
    },
    Burst {
        home: usize,
        ms: u32,
        percent: u8,
    },
}

/// Kinds of faults, numbered as in [`Step::draw`].
const KINDS: u8 = 12;
const MAPPINGS: [Mapping; 6] = [
    Mapping::None,
    Mapping::EndpointIndependent,
    Mapping::EndpointIndependent,
    Mapping::AddressDependent,
    Mapping::AddressAndPortDependent,
    Mapping::Blocked,
];
const FILTERINGS: [Filtering; 3] = [
    Filtering::EndpointIndependent,
    Filtering::AddressDependent,
    Filtering::AddressAndPortDependent,
];

impl Scenario {
    /// The scenario of a seed.
    pub fn draw(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let homes: Vec<Home> = (0..rng.random_range(2..=5)).map(|_| Home::draw(&mut rng)).collect();
        let pcs: Vec<usize> = (0..rng.random_range(2..=6))
            .map(|_| rng.random_range(0..homes.len()))
            .collect();
        let relays = (0..*[0, 1, 1, 2, 2, 2, 3, 5, 7].choose(&mut rng).unwrap_or(&1))
            .map(|_| rng.random_range(3..60))
            .collect();
        // Few kinds at a time: so they meet more often than if all were mixed.
        let kinds: Vec<u8> = (0..rng.random_range(2..=5))
            .map(|_| rng.random_range(0..KINDS))
            .collect();
        let steps = (0..rng.random_range(1..=8))
            .map(|_| Step::draw(&kinds, &mut rng, &pcs, &homes))
            .collect();
        Self {
            seed,
            relays,
            busy_percent: *[0, 50, 100].choose(&mut rng).unwrap_or(&50),
            members: rng.random_range(2..=pcs.len()),
            steps,
            pcs,
            homes,
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&toml::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl Home {
    fn draw(rng: &mut StdRng) -> Self {
        let clean = rng.random_bool(0.5);
        let mut up_to = |most: u16| if clean { 0 } else { rng.random_range(0..=most) };
        let (jitter_ms, loss, duplicated, reordered) = (up_to(30), up_to(80), up_to(20), up_to(50));
        Self {
            mapping: *MAPPINGS.choose(rng).unwrap_or(&Mapping::None),
            filtering: *FILTERINGS.choose(rng).unwrap_or(&Filtering::EndpointIndependent),
            lifetime_s: *[25, 30, 60, 120].choose(rng).unwrap_or(&30),
            delay_ms: rng.random_range(1..60),
            jitter_ms,
            loss,
            duplicated,
            reordered,
            random_ports: rng.random(),
        }
    }
}

impl Step {
    fn draw(kinds: &[u8], rng: &mut StdRng, pcs: &[usize], homes: &[Home]) -> Self {
        let after_ms = match rng.random_range(0..4) {
            0 => rng.random_range(0..1000),
            1 => rng.random_range(1000..6000),
            2 => rng.random_range(6000..20_000),
            _ => rng.random_range(20_000..60_000),
        };
        let (pc, home) = (rng.random_range(0..pcs.len()), rng.random_range(0..homes.len()));
        let what = match kinds.choose(rng).copied().unwrap_or_default() {
            0 | 1 => Transition::Join { pc },
            2 => Transition::Leave { pc },
            3 => Transition::Kick { pc },
            4 => Transition::SlipIn { pc },
            5 => Transition::Roam { pc, home },
            6 => Transition::RestartAgent {
                pc,
                down_ms: rng.random_range(100..20_000),
            },
            7 => Transition::RestartRelay {
                relay: rng.random_range(0..3),
                down_ms: rng.random_range(200..40_000),
                silent: rng.random(),
            },
            8 => Transition::Partition {
                pc,
                ms: rng.random_range(500..60_000),
            },
            9 => Transition::ControlDown {
                ms: rng.random_range(500..60_000),
            },
            10 => Transition::ExpireNat { home },
            _ => Transition::Burst {
                home,
                ms: rng.random_range(500..40_000),
                percent: *[30, 60, 100].choose(rng).unwrap_or(&100),
            },
        };
        Self { after_ms, what }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_survives_its_file() {
        for seed in 0..50 {
            let scenario = Scenario::draw(seed);
            assert_eq!(toml::from_str::<Scenario>(&scenario.to_string()).unwrap(), scenario);
        }
    }
}
