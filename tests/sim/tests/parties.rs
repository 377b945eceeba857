//! A fixed number of scenarios, and every one that failed before.

use std::fs;

use lanrage_sim::{Scenario, run, shrink};

/// Seeds in a normal run; `scripts/sim` goes on with others for as long as one likes.
const SEEDS: u64 = 24;

#[test]
fn parties_recover_from_whatever_happens() {
    for seed in 0..SEEDS {
        let scenario = Scenario::draw(seed);
        let Err(violation) = run(&scenario) else { continue };
        let smallest = shrink(&scenario, |smaller| run(smaller).is_err());
        panic!("seed {seed}, {violation}; reduced to this, which belongs into tests/sim/regressions:\n{smallest}");
    }
}

#[test]
fn what_failed_once_does_not_fail_again() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/regressions");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    for file in files
        .iter()
        .filter(|file| file.extension().is_some_and(|end| end == "toml"))
    {
        let scenario: Scenario = toml::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        if let Err(violation) = run(&scenario) {
            panic!("{}: {violation}", file.display());
        }
    }
}

#[test]
fn the_same_scenario_goes_the_same_way_every_time() {
    let scenario = Scenario::draw(3);
    let (first, second) = (run(&scenario), run(&scenario));
    assert_eq!(format!("{first:?}"), format!("{second:?}"));
}
