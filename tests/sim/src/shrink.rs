//! From a scenario that fails to a smaller one that fails, too.

use crate::Scenario;

/// Removes and simplifies for as long as `fails` says that what is left still fails.
pub fn shrink(scenario: &Scenario, mut fails: impl FnMut(&Scenario) -> bool) -> Scenario {
    let mut smallest = scenario.clone();
    loop {
        let Some(smaller) = candidates(&smallest).into_iter().find(|smaller| fails(smaller)) else {
            return smallest;
        };
        smallest = smaller;
    }
}

/// Scenarios that are a little smaller, the boldest first.
fn candidates(from: &Scenario) -> Vec<Scenario> {
    let mut smaller = Vec::new();
    let mut push = |change: &dyn Fn(&mut Scenario)| {
        let mut scenario = from.clone();
        change(&mut scenario);
        if scenario != *from {
            smaller.push(scenario);
        }
    };
    let steps = from.steps.len();
    for half in [0..steps / 2, steps / 2..steps] {
        push(&|scenario| drop(scenario.steps.drain(half.clone())));
    }
    for step in 0..steps {
        push(&|scenario| {
            // What follows stays where it was.
            let gone = scenario.steps.remove(step);
            if let Some(next) = scenario.steps.get_mut(step) {
                next.after_ms += gone.after_ms;
            }
        });
        push(&|scenario| {
            scenario.steps.retain({
                let mut index = 0;
                move |_| {
                    index += 1;
                    index != step + 1
                }
            })
        });
    }
    push(&|scenario| scenario.relays.truncate(1));
    push(&|scenario| scenario.relays.clear());
    push(&|scenario| scenario.members = scenario.members.min(2));
    for home in 0..from.homes.len() {
        push(&|scenario| {
            let home = &mut scenario.homes[home];
            (home.jitter_ms, home.loss, home.duplicated, home.reordered) = (0, 0, 0, 0);
        });
    }
    for step in 0..steps {
        push(&|scenario| scenario.steps[step].after_ms = scenario.steps[step].after_ms.div_ceil(1000) * 1000);
    }
    smaller
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Transition;

    #[test]
    fn what_does_not_matter_goes() {
        let needs = |scenario: &Scenario| {
            let kicks = |step: &crate::scenario::Step| matches!(step.what, Transition::Kick { .. });
            scenario.steps.iter().any(kicks)
        };
        let scenario = (0..)
            .map(Scenario::draw)
            .find(|scenario| scenario.steps.len() > 5 && needs(scenario));
        let smallest = shrink(&scenario.unwrap(), needs);
        assert_eq!(smallest.steps.len(), 1);
        assert!(smallest.relays.is_empty() && smallest.homes.iter().all(|home| home.loss == 0));
    }
}
