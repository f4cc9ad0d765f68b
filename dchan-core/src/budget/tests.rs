use futures::FutureExt;

use super::*;

const MINIMUM: u64 = Allowance::MINIMUM;

/// A lane, as far as the budget is concerned.
#[derive(Debug)]
struct Lane {
    state: Mutex<(Allowance, u64)>,
    /// Whether somebody would send if there was room.
    needs: std::sync::atomic::AtomicBool,
    /// Whose turn it was.
    turns: Arc<Mutex<Vec<usize>>>,
    index: usize,
}

impl Borrower for Lane {
    fn lend(self: Arc<Self>, loan: Loan) {
        self.turns.lock().push(self.index);
        let needs = self.needs.load(SeqCst);
        self.state.lock().0.on_turn(loan, needs);
    }
}

impl Lane {
    /// Accepts messages of so many bytes until there is no room. Returns how many.
    fn fill(&self, size: u64) -> usize {
        let mut state = self.state.lock();
        let (allowance, held) = &mut *state;
        let mut count = 0;
        while allowance.has_room(*held) {
            *held += size;
            allowance.on_more(*held);
            count += 1;
        }
        count
    }

    fn free(&self, bytes: u64) {
        let mut state = self.state.lock();
        let (allowance, held) = &mut *state;
        *held -= bytes;
        allowance.on_less(*held);
    }

    fn wait(&self) {
        self.state.lock().0.wait();
    }

    fn held(&self) -> u64 {
        self.state.lock().1
    }
}

struct Lanes {
    budget: Arc<Budget>,
    lanes: Vec<Arc<Lane>>,
    turns: Arc<Mutex<Vec<usize>>>,
}

fn lanes(total: u64, count: usize) -> Lanes {
    let budget = Budget::new(total);
    let turns = Arc::<Mutex<Vec<usize>>>::default();
    let lane = |index| {
        Arc::new_cyclic(|me: &Weak<Lane>| Lane {
            state: Mutex::new((Allowance::new(budget.clone(), me.clone()), 0)),
            needs: true.into(),
            turns: turns.clone(),
            index,
        })
    };
    let lanes = (0..count).map(lane).collect();
    Lanes { budget, lanes, turns }
}

impl Lanes {
    fn held(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.held()).sum()
    }

    fn lent(&self) -> u64 {
        self.budget.lent.load(SeqCst)
    }

    /// Lets the server of the queue do all that there is to do.
    fn serve(&self) {
        let mut serving = std::pin::pin!(self.budget.clone().serve());
        assert!(serving.as_mut().now_or_never().is_none(), "it serves for ever");
    }

    fn turns(&self) -> Vec<usize> {
        std::mem::take(&mut self.turns.lock())
    }
}

#[test]
fn all_lanes_together_hold_the_budget_and_their_minimum() {
    let (total, size) = (10 * BLOCK, 1000);
    let all = lanes(total, 20);
    for lane in &all.lanes {
        lane.fill(size);
        assert!(lane.held() >= MINIMUM, "nobody is kept from the minimum");
    }
    let most = total + 20 * (MINIMUM + size);
    assert!(all.held() > total + 19 * MINIMUM && all.held() <= most, "{}", all.held());
    assert!(all.lanes.iter().all(|lane| lane.fill(size) == 0));
    // Pushing again and again gains nothing.
    all.lanes.iter().for_each(|lane| lane.wait());
    all.serve();
    assert_eq!((all.turns(), all.lanes[0].fill(size)), (vec![], 0));
    all.lanes.iter().for_each(|lane| lane.free(lane.held()));
    all.serve();
    let lent = all.lent();
    assert_eq!(all.turns(), (0..10).collect::<Vec<_>>());
    assert_eq!(lent, total);
    drop(all.lanes);
    assert_eq!(all.budget.lent.load(SeqCst), 0, "what lanes had comes back with them");
}

#[test]
fn those_who_wait_have_a_block_in_turn() {
    let all = lanes(4 * BLOCK, 4);
    let (hog, others) = all.lanes.split_first().unwrap();
    hog.fill(1000);
    assert!(hog.held() >= MINIMUM + 4 * BLOCK);
    others.iter().for_each(|lane| assert!(lane.fill(1000) > 0));
    others.iter().chain([hog]).for_each(|lane| lane.wait());
    hog.wait();
    assert_eq!(all.budget.queue.lock().len(), 4, "nobody is in it twice");
    all.serve();
    assert_eq!(all.turns(), []);
    // The hog's messages are taken: it keeps nothing beyond what it holds while others wait.
    for turn in 0..3 {
        hog.free(BLOCK / 2);
        hog.free(BLOCK / 2);
        assert_eq!(hog.fill(1000), 0);
        all.serve();
        assert_eq!(all.turns(), [turn + 1]);
        assert!(all.lanes[turn + 1].fill(1000) > 50);
    }
    hog.free(hog.held());
    others[0].free(BLOCK);
    all.serve();
    assert_eq!(all.turns(), [0], "the hog comes last, and comes");
    assert!(!all.budget.is_contended());
}

#[test]
fn a_turn_that_is_not_needed_passes() {
    let all = lanes(BLOCK, 4);
    all.lanes[0].fill(BLOCK);
    all.lanes[1..].iter().for_each(|lane| lane.wait());
    all.lanes[1].needs.store(false, SeqCst);
    let Lanes { budget, mut lanes, turns } = all;
    drop(lanes.remove(2));
    let all = Lanes { budget, lanes, turns };
    all.lanes[0].free(2 * BLOCK);
    all.serve();
    assert_eq!(all.turns(), [1, 3], "one has no need, one is gone");
    assert_eq!(all.lent(), BLOCK);
}

#[test]
fn what_is_held_counts_even_if_there_was_no_room() {
    let all = lanes(3 * BLOCK, 2);
    let large = 10 * BLOCK;
    assert_eq!(all.lanes[0].fill(large), 1, "the size is not known before");
    assert_eq!(all.lent(), large - MINIMUM);
    let mut loan = Loan::new(all.budget.clone());
    loan.cover(BLOCK);
    all.lanes[1].fill(1000);
    assert!(all.lanes[1].held() < MINIMUM + 1000, "nothing is left for others");
    all.lanes[1].wait();
    all.lanes[0].free(large);
    all.serve();
    assert_eq!(all.turns(), [1]);
    loan.shrink_to(10);
    assert_eq!(all.lent(), all.lanes[1].held() - MINIMUM + BLOCK + 10);
}

#[test]
fn a_lane_that_flows_alone_borrows_seldom() {
    let all = lanes(100 * BLOCK, 1);
    let lane = &all.lanes[0];
    let held = 3 * MINIMUM;
    {
        let mut state = lane.state.lock();
        state.1 = held;
        state.0.on_more(held);
    }
    let lent = all.lent();
    for _ in 0..100 {
        lane.state.lock().1 += BLOCK / 2;
        lane.free(BLOCK / 2);
        assert_eq!(all.lent(), lent, "it keeps a block to spare");
    }
    lane.free(held - 1);
    assert_eq!(all.lent(), 0, "within the minimum it needs nothing");
}
