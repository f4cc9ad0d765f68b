use std::{collections::VecDeque, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The connections that are in their handshake: no more than so many.
///
/// Whoever comes when all places are taken is turned away, unless somebody has been there for long
/// without getting anywhere: that one goes instead. So those who never speak keep nobody out, and a
/// crowd of honest ones is served one after the other.
#[derive(Debug)]
pub(super) struct Door {
    most: usize,
    /// How long an honest handshake takes at most, as a rule.
    patience: Duration,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    next: u64,
    /// Longest there first.
    places: VecDeque<Held>,
}

#[derive(Debug)]
struct Held {
    number: u64,
    since: Instant,
    cancel: CancellationToken,
}

/// A place for one connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    door: Arc<Door>,
    number: u64,
    /// The place is given to another one.
    pub(super) cancel: CancellationToken,
}

impl Door {
    pub(super) fn new(most: usize, patience: Duration) -> Arc<Self> {
        Arc::new(Self { most, patience, inside: Mutex::default() })
    }

    /// A place; `None` if there is none. The cancellation of a place follows that of `parent`.
    pub(super) fn enter(self: &Arc<Self>, parent: &CancellationToken) -> Option<Place> {
        let (now, cancel) = (Instant::now(), parent.child_token());
        let mut inside = self.inside.lock();
        if inside.places.len() >= self.most {
            let oldest = inside.places.front()?;
            if now.duration_since(oldest.since) < self.patience {
                return None;
            }
            oldest.cancel.cancel();
            inside.places.pop_front();
        }
        let number = inside.next;
        inside.next += 1;
        inside.places.push_back(Held { number, since: now, cancel: cancel.clone() });
        Some(Place { door: self.clone(), number, cancel })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inside = self.door.inside.lock();
        if let Ok(at) = inside.places.binary_search_by_key(&self.number, |held| held.number) {
            inside.places.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_dawdles_makes_room_and_who_is_new_does_not() {
        let (door, node) = (Door::new(2, Duration::from_secs(1)), CancellationToken::new());
        let (first, second) = (door.enter(&node).unwrap(), door.enter(&node).unwrap());
        assert!(door.enter(&node).is_none());
        tokio::time::advance(Duration::from_secs(1)).await;
        let third = door.enter(&node).unwrap();
        assert!(first.cancel.is_cancelled() && !second.cancel.is_cancelled());
        drop(first);
        let fourth = door.enter(&node).unwrap();
        assert!(second.cancel.is_cancelled());
        assert!(door.enter(&node).is_none());
        drop(third);
        assert!(door.enter(&node).is_some());
        node.cancel();
        assert!(fourth.cancel.is_cancelled());
    }
}
