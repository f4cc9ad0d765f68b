//! Which lane sends next.
//!
//! Lanes take turns. One that has just got something to send goes before those that have had their turn
//! and have more, as new flows do in FQ-CoDel (RFC 8290, section 4.2), and does not wait until there is
//! room for a frame: a lone message overtakes bulk. What goes first is little for each turn of the
//! others, so that they go on; beyond that, newcomers queue up like everybody.

use std::collections::VecDeque;

use super::flow::FRAME;

/// The bytes that a lane may send before the next one has its turn.
const QUANTUM: u64 = 64 * 1024;
/// The bytes that lanes may send first, for each turn of the others.
const AHEAD: i64 = 16 * 1024;

/// Lanes with something to send.
#[derive(Debug)]
pub(super) struct Turns<L> {
    fresh: VecDeque<L>,
    others: VecDeque<L>,
    /// How much may still go first. Less than nothing, if a frame was larger than that.
    ahead: i64,
}

/// A lane that may send so many bytes, or a frame that begins within them.
#[derive(Debug)]
pub(super) struct Turn<L> {
    pub(super) lane: L,
    pub(super) budget: usize,
    first: bool,
}

impl<L> Turns<L> {
    pub(super) fn new() -> Self {
        Self { fresh: VecDeque::new(), others: VecDeque::new(), ahead: AHEAD }
    }

    pub(super) fn len(&self) -> usize {
        self.fresh.len() + self.others.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A lane has something to send.
    pub(super) fn push(&mut self, lane: L) {
        let queue = if self.ahead > 0 { &mut self.fresh } else { &mut self.others };
        queue.push_back(lane);
    }

    /// Whether one may send into so much room.
    pub(super) fn has_next(&self, room: u64) -> bool {
        let needed = if self.fresh.is_empty() { FRAME } else { 1 };
        !self.is_empty() && room >= needed
    }

    /// The one that may send into so much room.
    pub(super) fn next(&mut self, room: u64) -> Option<Turn<L>> {
        if !self.has_next(room) {
            return None;
        }
        let budget = room.min(QUANTUM) as usize;
        let fresh = self.fresh.pop_front().map(|lane| Turn { lane, budget, first: true });
        fresh.or_else(|| Some(Turn { lane: self.others.pop_front()?, budget, first: false }))
    }

    /// It has sent so many bytes, and may have more.
    pub(super) fn done(&mut self, turn: Turn<L>, sent: usize, more: bool) {
        let gone = if turn.first { -(sent as i64) } else { AHEAD };
        self.ahead = (self.ahead + gone).min(AHEAD);
        if self.ahead <= 0 {
            self.others.append(&mut self.fresh);
        }
        if more {
            self.others.push_back(turn.lane);
        }
        if self.others.is_empty() {
            self.ahead = AHEAD;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: u64 = 10 * FRAME;

    /// Lanes that have had a turn and have more.
    fn busy(lanes: &[char]) -> Turns<char> {
        Turns { others: lanes.iter().copied().collect(), ..Turns::new() }
    }

    fn next(turns: &mut Turns<char>, sent: usize, more: bool) -> char {
        let turn = turns.next(ROOM).unwrap();
        let lane = turn.lane;
        turns.done(turn, sent, more);
        lane
    }

    #[test]
    fn who_has_more_waits_for_the_others() {
        let mut turns = busy(&['a', 'b', 'c']);
        let sent = QUANTUM as usize;
        let order: String = (0..6).map(|_| next(&mut turns, sent, true)).collect();
        assert_eq!(order, "abcabc");
        assert_eq!(next(&mut turns, sent, false), 'a');
        let order: String = (0..4).map(|_| next(&mut turns, sent, true)).collect();
        assert_eq!(order, "bcbc");
    }

    #[test]
    fn a_lone_message_overtakes_bulk_and_needs_no_room_for_a_frame() {
        let mut turns = busy(&['a', 'b']);
        assert!(!turns.has_next(FRAME - 1) && turns.next(FRAME - 1).is_none());
        turns.push('x');
        assert!(turns.has_next(1) && !turns.has_next(0) && turns.next(0).is_none());
        let turn = turns.next(1).unwrap();
        assert_eq!((turn.lane, turn.budget), ('x', 1));
        turns.done(turn, 100, false);
        assert!(!turns.has_next(FRAME - 1));
        assert_eq!(next(&mut turns, 100, true), 'a');
    }

    #[test]
    fn those_who_always_come_first_hold_nobody_up() {
        let mut turns = busy(&['a']);
        let (mut first, mut others) = (0, 0);
        turns.push('x');
        for _ in 0..10_000 {
            match next(&mut turns, 1_000, true) {
                'a' => others += 1,
                // It has nothing more, and something again at once.
                x => {
                    turns.others.retain(|lane| *lane != x);
                    turns.push(x);
                    first += 1;
                }
            }
        }
        // As much as may go first, what goes beyond it by less than a message, and a turn of its own.
        let most = AHEAD / 1_000 + 2;
        assert!(first <= (others + 1) * most, "{first} turns for {others} of the others");
    }

    #[test]
    fn newcomers_with_much_to_send_have_their_turn_like_everybody() {
        let mut turns = busy(&['a']);
        ['x', 'y', 'z'].into_iter().for_each(|lane| turns.push(lane));
        let sent = QUANTUM as usize;
        let order: String = (0..8).map(|_| next(&mut turns, sent, true)).collect();
        assert_eq!(order, "xayzxayz", "the first overtakes, and nobody else");
        assert_eq!(turns.len(), 4);
    }
}
