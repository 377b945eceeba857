//! Who may hold a connection: so many at once, and of each household only so many of them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::metrics::{NotServed, Refusals};

/// Connections beyond the allowed number that are told so; any further ones are closed without a word.
const TURNED_AWAY: usize = 64;
/// How many of these one household may hold, so that the others are told, too.
const TURNED_AWAY_OF_HOUSEHOLD: usize = 4;

/// The places there are. Clones share them.
#[derive(Clone)]
pub struct Places {
    most: usize,
    allowed: Arc<Semaphore>,
    extra: Arc<Semaphore>,
    of_household: usize,
    households: Arc<Mutex<HashMap<IpAddr, usize>>>,
    refusals: Refusals,
}

/// What a new connection gets.
#[derive(Debug)]
pub enum Seating {
    /// A place.
    Seated(Place),
    /// A place for as long as it takes to hear that there is none.
    TurnedAway(Place),
    /// Nothing.
    Closed,
}

/// A connection's place, free again when dropped.
#[derive(Debug)]
pub struct Place {
    _permit: OwnedSemaphorePermit,
    household: IpAddr,
    households: Arc<Mutex<HashMap<IpAddr, usize>>>,
    refusals: Refusals,
}

impl Places {
    /// `allowed` places, of which one household may take `of_household`.
    pub fn new(allowed: usize, of_household: usize) -> Self {
        Self {
            most: allowed,
            allowed: Arc::new(Semaphore::new(allowed)),
            extra: Arc::new(Semaphore::new(TURNED_AWAY)),
            of_household,
            households: Arc::default(),
            refusals: Refusals::default(),
        }
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.most.saturating_sub(self.allowed.available_permits())
    }

    /// Whom they were refused to.
    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// A place for a connection of `household` ([`crate::limits::household`]).
    pub fn take(&self, household: IpAddr) -> Seating {
        let mut households = lock(&self.households);
        let held = households.get(&household).copied().unwrap_or_default();
        let within = held < self.of_household;
        let allowed = within.then(|| Arc::clone(&self.allowed).try_acquire_owned().ok());
        let (permit, seat): (_, fn(Place) -> Seating) = if let Some(permit) = allowed.flatten() {
            (permit, Seating::Seated)
        } else if held < self.of_household.saturating_add(TURNED_AWAY_OF_HOUSEHOLD)
            && let Ok(permit) = Arc::clone(&self.extra).try_acquire_owned()
        {
            self.refusals.refuse(NotServed::TurnedAway);
            (permit, Seating::TurnedAway)
        } else {
            self.refusals.refuse(NotServed::Closed);
            return Seating::Closed;
        };
        *households.entry(household).or_default() += 1;
        seat(Place {
            _permit: permit,
            household,
            households: Arc::clone(&self.households),
            refusals: self.refusals.clone(),
        })
    }
}

impl Place {
    /// Whom the places were refused to, this one perhaps.
    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut households = lock(&self.households);
        if let Some(held) = households.get_mut(&self.household) {
            *held -= 1;
            if *held == 0 {
                households.remove(&self.household);
            }
        }
    }
}

fn lock(households: &Mutex<HashMap<IpAddr, usize>>) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
    // A count is changed in one step: a panic elsewhere leaves nothing half-done.
    households.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(n: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, n])
    }

    #[test]
    fn one_household_cannot_take_every_place() {
        let places = Places::new(10, 3);
        let mut held: Vec<_> = (0..3).map(|_| places.take(home(1))).collect();
        assert!(held.iter().all(|seating| matches!(seating, Seating::Seated(_))));
        for _ in 0..TURNED_AWAY_OF_HOUSEHOLD {
            held.push(places.take(home(1)));
            assert!(matches!(held.last(), Some(Seating::TurnedAway(_))));
        }
        assert!(matches!(places.take(home(1)), Seating::Closed));
        assert!(
            matches!(places.take(home(2)), Seating::Seated(_)),
            "others are not affected"
        );
        held.clear();
        assert!(
            matches!(places.take(home(1)), Seating::Seated(_)),
            "a place given up is free"
        );
        assert!(
            lock(&places.households).is_empty(),
            "nobody is remembered who holds nothing"
        );
    }

    #[test]
    fn beyond_the_total_everybody_is_turned_away_and_then_closed() {
        let places = Places::new(1, 100);
        let _held = places.take(home(1));
        let turned_away: Vec<_> = (0..TURNED_AWAY)
            .map(|n| places.take(home(n.to_le_bytes()[0])))
            .collect();
        assert!(
            turned_away
                .iter()
                .all(|seating| matches!(seating, Seating::TurnedAway(_)))
        );
        assert!(matches!(places.take(home(2)), Seating::Closed));
    }
}
