//! A world in which the real lanes live: senders, receivers and connections that break.
//!
//! The world plays the part of the tasks around the lanes, one step at a time, so that a search or a
//! random walk decides the order of everything. A connection carries one queue for each lane and one
//! for control messages, and promises nothing across them. A broken connection may leave one side in
//! the old and the other in the new one, and what is queued in the old one still arrives, late.

mod link;
mod oracle;
mod random;
mod receiver;
mod search;
mod sender;

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use self::{link::Link, receiver::Receiver, sender::Sender};
use super::{Amount, Epoch};

/// A rule that is broken on purpose, to see that the checks notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Mutation {
    None,
    /// What a connection brings counts for the lane whatever connection the lane is in.
    NoEpochFence,
    /// Messages get their number when they are accepted, so that they cannot be withdrawn.
    SequenceAtAccept,
    /// The receiver forgets how a lane ended before the sender knows.
    TombstoneByTimer,
    /// What was handed to a lane that is not known is given to others.
    NotFoundReroutes,
    /// What is left of a dead sender takes no room.
    OldInboxNotCounted,
}

/// What a message is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Kind {
    size: usize,
    /// The receiver cannot decode it.
    bad: bool,
    at_least_once: bool,
    tracked: bool,
}

const PLAIN: Kind = Kind { size: 10, bad: false, at_least_once: false, tracked: false };

/// What does not change.
#[derive(Clone, Debug)]
struct Rules {
    capacity: Amount,
    senders: usize,
    receivers: usize,
    /// What every sender has to send.
    script: Vec<Kind>,
    mutation: Mutation,
    /// A sender learns of a receiver's new process when they connect. If not, it learns by being told
    /// that its lane is not known.
    hello_names_boot: bool,
    faults: Faults,
}

impl Rules {
    fn new(messages: usize) -> Self {
        Self {
            capacity: Amount::new(2, 1 << 20),
            senders: 1,
            receivers: 1,
            script: vec![PLAIN; messages],
            mutation: Mutation::None,
            hello_names_boot: true,
            faults: Faults::default(),
        }
    }
}

/// How many times what may still go wrong, or end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Faults {
    cuts: u8,
    closes: u8,
    hand_backs: u8,
    stops: u8,
    sender_deaths: u8,
    receiver_deaths: u8,
    timeouts: u8,
}

/// Reads only the ends of what is long: the middle of a large message is as good as any other.
struct Skimming(DefaultHasher);

impl Hasher for Skimming {
    fn write(&mut self, bytes: &[u8]) {
        if bytes.len() > 256 {
            self.0.write_usize(bytes.len());
            self.0.write(&bytes[..64]);
            self.0.write(&bytes[bytes.len() - 64..]);
        } else {
            self.0.write(bytes);
        }
    }

    fn finish(&self) -> u64 {
        self.0.finish()
    }
}

/// One step: everything in it happens at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// A sender's application sends its next message, or what has lost its lane moves, to this lane.
    Send {
        s: usize,
        lane: u64,
    },
    /// A permit is taken, sent through, or dropped.
    Reserve {
        s: usize,
        lane: u64,
    },
    Spend {
        s: usize,
        lane: u64,
    },
    DropPermit {
        s: usize,
        lane: u64,
    },
    /// The writer of the sender's connection comes by.
    Poll {
        s: usize,
        lane: u64,
        budget: usize,
    },
    /// A frame of a lane arrives from a connection.
    Frame {
        s: usize,
        r: usize,
        epoch: Epoch,
        lane: u64,
    },
    /// A control message arrives.
    Control {
        s: usize,
        r: usize,
        epoch: Epoch,
    },
    /// A receiver's application takes a message.
    Take {
        r: usize,
    },
    /// A connection breaks, and there is a new one, which neither side knows of yet.
    Cut {
        s: usize,
        r: usize,
    },
    SenderMoves {
        s: usize,
        r: usize,
    },
    ReceiverMoves {
        s: usize,
        r: usize,
    },
    Close {
        r: usize,
    },
    HandBack {
        r: usize,
    },
    /// The sender stops using a lane: its receiver has left the list, say.
    Stop {
        s: usize,
        lane: u64,
    },
    /// The sender's connection has been broken for too long.
    TimeOut {
        s: usize,
        lane: u64,
    },
    SenderDies {
        s: usize,
    },
    /// A receiver learns that a sender's process is gone.
    SenderIsGone {
        s: usize,
        r: usize,
    },
    ReceiverDies {
        r: usize,
    },
    /// The mutation of tombstones.
    Prune {
        r: usize,
    },
}

#[derive(Clone, Debug, Hash)]
struct World {
    faults: Faults,
    senders: Vec<Sender>,
    receivers: Vec<Receiver>,
    /// By sender and receiver.
    links: BTreeMap<(usize, usize), Link>,
    /// Which messages applications took, and how often, by sender and number.
    took: BTreeMap<(usize, u32), u32>,
    /// Which messages were skipped.
    skipped: BTreeMap<(usize, u32), u32>,
    /// What the checks found.
    violation: Option<String>,
}

impl World {
    fn new(rules: &Rules) -> Self {
        let mut links = BTreeMap::new();
        for s in 0..rules.senders {
            for r in 0..rules.receivers {
                links.insert((s, r), Link::new());
            }
        }
        let mut world = Self {
            faults: rules.faults,
            senders: (0..rules.senders).map(|_| Sender::new()).collect(),
            receivers: (0..rules.receivers).map(|_| Receiver::new(rules, 1)).collect(),
            links,
            took: BTreeMap::new(),
            skipped: BTreeMap::new(),
            violation: None,
        };
        (0..rules.senders).for_each(|s| world.sender_looks_round(rules, s));
        world
    }

    fn digest(&self) -> u64 {
        let mut hasher = Skimming(DefaultHasher::new());
        self.hash(&mut hasher);
        hasher.finish()
    }

    fn fail(&mut self, what: impl Into<String>) {
        self.violation.get_or_insert(what.into());
    }

    /// Does a step, and checks what must hold after each.
    fn apply(&mut self, rules: &Rules, step: Step) {
        match step {
            Step::Send { s, lane } => self.send(rules, s, lane),
            Step::Reserve { s, lane } => self.reserve(s, lane),
            Step::Spend { s, lane } => self.spend(rules, s, lane),
            Step::DropPermit { s, lane } => self.drop_permit(s, lane),
            Step::Poll { s, lane, budget } => self.poll(s, lane, budget),
            Step::Frame { s, r, epoch, lane } => self.frame_arrives(rules, s, r, epoch, lane),
            Step::Control { s, r, epoch } => self.control_arrives(rules, s, r, epoch),
            Step::Take { r } => self.take(rules, r),
            Step::Cut { s, r } => self.cut(s, r),
            Step::SenderMoves { s, r } => self.sender_moves(rules, s, r),
            Step::ReceiverMoves { s, r } => self.receiver_moves(s, r),
            Step::Close { r } => self.close(r),
            Step::HandBack { r } => self.hand_back(r),
            Step::Stop { s, lane } => self.stop(s, lane),
            Step::TimeOut { s, lane } => self.time_out(rules, s, lane),
            Step::SenderDies { s } => self.sender_dies(s),
            Step::SenderIsGone { s, r } => self.sender_is_gone(rules, s, r),
            Step::ReceiverDies { r } => self.receiver_dies(rules, r),
            Step::Prune { r } => self.receivers[r].tombstones.clear(),
        }
        for s in 0..rules.senders {
            self.sender_looks_round(rules, s);
        }
        (0..rules.receivers).for_each(|r| self.pump(r));
        self.check(rules);
    }

    /// Every step that can be taken, those that make things go wrong included.
    fn steps(&self, rules: &Rules) -> Vec<Step> {
        let mut steps = Vec::new();
        self.traffic_steps(&mut steps);
        self.application_steps(rules, &mut steps);
        self.fault_steps(rules, &mut steps);
        steps
    }

    /// The steps of connections and of what reads and writes them.
    fn traffic_steps(&self, steps: &mut Vec<Step>) {
        for (s, sender) in self.senders.iter().enumerate().filter(|(_, sender)| sender.alive) {
            for (&lane, state) in &sender.lanes {
                if state.has_business(self.links[&(s, state.r)].sender_epoch) {
                    steps.push(Step::Poll { s, lane, budget: usize::MAX });
                }
            }
        }
        for (&(s, r), link) in &self.links {
            link.deliveries(s, r, self.senders[s].alive, steps);
            if link.sender_epoch < link.newest && self.senders[s].alive {
                steps.push(Step::SenderMoves { s, r });
            }
            if link.receiver_epoch < link.newest {
                steps.push(Step::ReceiverMoves { s, r });
            }
            if !self.senders[s].alive && !link.sender_known_gone {
                steps.push(Step::SenderIsGone { s, r });
            }
        }
    }

    fn application_steps(&self, rules: &Rules, steps: &mut Vec<Step>) {
        for (s, sender) in self.senders.iter().enumerate() {
            let waits = sender.waits(rules);
            for (&lane, state) in &sender.lanes {
                if waits && state.out.credit() > 0 {
                    steps.push(Step::Send { s, lane });
                }
            }
        }
        for (r, receiver) in self.receivers.iter().enumerate() {
            if !receiver.inbox.is_empty() {
                steps.push(Step::Take { r });
            }
        }
    }

    fn fault_steps(&self, rules: &Rules, steps: &mut Vec<Step>) {
        let faults = &self.faults;
        for (&(s, r), link) in &self.links {
            // A connection that nobody has noticed yet cannot break once more: nothing was in it.
            let known = link.sender_epoch == link.newest || link.receiver_epoch == link.newest;
            if faults.cuts > 0 && known && self.senders[s].alive {
                steps.push(Step::Cut { s, r });
            }
        }
        for (s, sender) in self.senders.iter().enumerate().filter(|(_, sender)| sender.alive) {
            if faults.sender_deaths > 0 {
                steps.push(Step::SenderDies { s });
            }
            for (&lane, state) in &sender.lanes {
                let link = &self.links[&(s, state.r)];
                if faults.stops > 0 && state.out.is_open() {
                    steps.push(Step::Stop { s, lane });
                }
                if faults.timeouts > 0 && !state.stub && link.sender_epoch < link.newest {
                    steps.push(Step::TimeOut { s, lane });
                }
            }
        }
        for (r, receiver) in self.receivers.iter().enumerate() {
            receiver.fault_steps(r, faults, rules, steps);
        }
    }
}
