//! Marked packets, by which members find out whether discovery works between them.
//!
//! `lanrage test-lan` sends them as games send theirs, and they are treated like any other; but the bridge remembers what became
//! of each, so that somebody can be told where it was lost.

use std::collections::VecDeque;

use lanrage_shared::ids::MemberId;

use super::Rejection;
use crate::ip::Header;

/// Marked packets begin like this.
const MARK: &[u8; 17] = b"lanrage test-lan ";
/// Marks remembered of each kind: a party's members with the few packets of one test each, and room for a second test.
const MOST: usize = 1024;

/// A marked packet: which test it belongs to, and which of the test's ways it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    pub test: u64,
    pub way: u8,
}

impl Mark {
    /// What the packet carries.
    pub fn payload(self) -> Vec<u8> {
        [MARK.as_slice(), &self.test.to_be_bytes(), &[self.way]].concat()
    }

    /// The mark in what a packet carries.
    pub fn read(payload: &[u8]) -> Option<Self> {
        let (test, rest) = payload.strip_prefix(MARK)?.split_first_chunk()?;
        let [way] = rest else { return None };
        Some(Self {
            test: u64::from_be_bytes(*test),
            way: *way,
        })
    }

    pub(super) fn of(packet: &[u8]) -> Option<Self> {
        let header = Header::read(packet)?;
        header.ports(packet)?;
        Self::read(header.body(packet).get(8..)?)
    }
}

/// What became of marked packets.
#[derive(Debug, Default)]
pub struct Marks {
    sent: VecDeque<(Mark, Result<(), Rejection>)>,
    arrived: VecDeque<(Mark, MemberId)>,
}

impl Marks {
    pub(super) fn handle_local(&mut self, mark: Mark, outcome: Result<(), Rejection>) {
        keep(&mut self.sent, (mark, outcome));
    }

    pub(super) fn handle_remote(&mut self, mark: Mark, from: MemberId) {
        keep(&mut self.arrived, (mark, from));
    }

    /// What the bridge did with this PC's own packet; none when it never saw it. What came by another way again is a duplicate
    /// and says nothing of the first.
    pub fn sent(&self, mark: Mark) -> Option<Result<(), Rejection>> {
        let outcomes = self.sent.iter().filter(|(known, _)| *known == mark);
        let outcomes: Vec<_> = outcomes.map(|(_, outcome)| *outcome).collect();
        outcomes
            .iter()
            .copied()
            .find(Result::is_ok)
            .or(outcomes.first().copied())
    }

    /// Whose packets came in.
    pub fn arrived(&self, mark: Mark) -> impl Iterator<Item = MemberId> + '_ {
        let it = self.arrived.iter().filter(move |(known, _)| *known == mark);
        it.map(|(_, from)| *from)
    }
}

fn keep<T>(queue: &mut VecDeque<T>, item: T) {
    if queue.len() >= MOST {
        queue.pop_front();
    }
    queue.push_back(item);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written_and_nothing_else_is() {
        let mark = Mark { test: 7, way: 2 };
        assert_eq!(Mark::read(&mark.payload()), Some(mark));
        let payload = mark.payload();
        for cut in 0..payload.len() {
            assert_eq!(Mark::read(&payload[..cut]), None);
        }
        assert_eq!(Mark::read(&[payload.as_slice(), b"x"].concat()), None);
    }

    #[test]
    fn what_became_of_a_packet_is_known_and_memory_is_bounded() {
        let (mut marks, mark) = (Marks::default(), Mark { test: 7, way: 0 });
        assert_eq!(marks.sent(mark), None);
        marks.handle_local(mark, Err(Rejection::Duplicate));
        assert_eq!(marks.sent(mark), Some(Err(Rejection::Duplicate)));
        marks.handle_local(mark, Ok(()));
        assert_eq!(marks.sent(mark), Some(Ok(())));
        marks.handle_remote(mark, MemberId(3));
        assert_eq!(marks.arrived(mark).collect::<Vec<_>>(), [MemberId(3)]);
        for test in 0..5000 {
            marks.handle_local(Mark { test, way: 1 }, Ok(()));
        }
        assert_eq!((marks.sent.len(), marks.sent(mark)), (MOST, None));
    }
}
