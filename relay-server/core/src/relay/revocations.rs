//! What was revoked, for as long as a token made before it could still be shown.

use std::collections::BTreeMap;

use lanrage_shared::api::relay::{RELAY_TOKEN_LIFETIME_S, Revocation};
use lanrage_shared::ids::PartyId;
use serde::{Deserialize, Serialize};

/// Kept for longer than a token lasts: the clocks of the control server and the relay may differ.
const KEPT_S: u64 = RELAY_TOKEN_LIFETIME_S + 300;

/// The revocations in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revocations {
    seq: u64,
    parties: BTreeMap<PartyId, Revoked>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Revoked {
    epoch: u32,
    at_s: u64,
}

/// The same as data, to be kept in a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// The last revocation heard of.
    pub seq: u64,
    pub parties: Vec<KnownParty>,
}

/// One party's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownParty {
    pub party: PartyId,
    /// Tokens from before this epoch admit nobody.
    pub epoch: u32,
    /// When this was heard, in Unix seconds.
    pub at_s: u64,
}

impl Revocations {
    /// As they were kept.
    pub fn restore(known: &Known) -> Self {
        let mut revocations = Self {
            seq: known.seq,
            ..Self::default()
        };
        for KnownParty { party, epoch, at_s } in &known.parties {
            revocations.raise(*party, *epoch, *at_s);
        }
        revocations
    }

    /// To be kept.
    pub fn known(&self) -> Known {
        let parties = self.parties.iter().map(|(party, revoked)| KnownParty {
            party: *party,
            epoch: revoked.epoch,
            at_s: revoked.at_s,
        });
        Known {
            seq: self.seq,
            parties: parties.collect(),
        }
    }

    /// The last revocation heard of; 0 for none.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Whether a token of this epoch admits its member.
    pub(super) fn admits(&self, party: PartyId, epoch: u32) -> bool {
        self.parties.get(&party).is_none_or(|revoked| epoch >= revoked.epoch)
    }

    /// In any order, any number of times: the highest epoch of a party holds.
    pub(super) fn apply(&mut self, revocation: &Revocation, now_s: u64) {
        self.seq = self.seq.max(revocation.seq);
        self.raise(revocation.party, revocation.epoch, now_s);
    }

    /// The control server counts from here: it was restored from a backup and will hand out lower numbers again.
    pub(super) fn rewind(&mut self, last_seq: u64) {
        self.seq = self.seq.min(last_seq);
    }

    pub(super) fn forget_old(&mut self, now_s: u64) {
        self.parties.retain(|_, revoked| revoked.at_s + KEPT_S > now_s);
    }

    fn raise(&mut self, party: PartyId, epoch: u32, at_s: u64) {
        let revoked = self.parties.entry(party).or_insert(Revoked { epoch, at_s });
        revoked.epoch = revoked.epoch.max(epoch);
        revoked.at_s = revoked.at_s.max(at_s);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn revocation(seq: u64, party: u128, epoch: u32) -> Revocation {
        Revocation {
            seq,
            party: PartyId(Uuid::from_u128(party)),
            epoch,
            removed: Vec::new(),
        }
    }

    #[test]
    fn a_revocation_outlives_every_token_made_before_it_and_no_longer() {
        let mut revocations = Revocations::default();
        revocations.apply(&revocation(1, 1, 5), 1000);
        let party = PartyId(Uuid::from_u128(1));
        revocations.forget_old(1000 + RELAY_TOKEN_LIFETIME_S);
        assert!(!revocations.admits(party, 4) && revocations.admits(party, 5));
        revocations.forget_old(1000 + KEPT_S);
        assert_eq!((revocations.known().parties, revocations.seq()), (vec![], 1));
    }

    proptest! {
        #[test]
        fn order_and_repetition_do_not_matter(
            list in proptest::collection::vec((1u64..20, 1u128..4, 1u32..9), 1..20).prop_shuffle(),
        ) {
            let (mut once, mut back) = (Revocations::default(), Revocations::default());
            for (seq, party, epoch) in &list {
                once.apply(&revocation(*seq, *party, *epoch), 7);
            }
            for (seq, party, epoch) in list.iter().rev().chain(&list) {
                back.apply(&revocation(*seq, *party, *epoch), 7);
            }
            prop_assert_eq!(&once, &back);
            prop_assert_eq!(Revocations::restore(&once.known()), once);
        }
    }
}
