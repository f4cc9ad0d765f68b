use serde::{Deserialize, Serialize};

/// What the driver tells a node in a process of its own, and what it hears then.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Answered with its id.
    Id,
    /// Waits for a leader. Answered with its id, how often it was another one so far, and when it was
    /// first known.
    Leader,
    /// Open so many receivers at one time. Answered with the moments when this began and ended.
    Open(usize),
    /// Wait until so many receivers are on the list. Answered with nothing.
    See(usize),
    /// Send a message to some receiver, wait until it is taken, and keep the sender. Answered with nothing.
    Greet,
    /// Take a message. Answered with nothing.
    Take,
    /// Answered with the number of times that a thread of this process has woken up.
    WakeUps,
}
