//! Stopping in good order.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::{Inner, Node};
use crate::{Ledger, MembershipError};

/// How long a shutdown may take unless it is told otherwise.
const DEADLINE: Duration = Duration::from_secs(10);

/// What did not go well in a shutdown. The node has stopped all the same, and no task is left.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShutdownError {
    /// Messages that this node had accepted were not taken, or may not have been.
    #[error("{unknown} messages may have been taken or not, and {dropped} were dropped")]
    Astray {
        /// Messages whose receiver did not answer in time.
        unknown: u64,
        /// Messages that had no receiver.
        dropped: u64,
    },
    /// The node is still on the list: the others take it off when they miss it.
    #[error("the node could not leave the list in time")]
    Membership(#[source] MembershipError),
}

impl Node {
    /// Stops the node in good order, within 10 s: receivers hand back what is not taken, senders
    /// deliver what was accepted, the node leaves the list, says goodbye to its peers and ends all its
    /// tasks. Senders and receivers that are left fail from now on.
    ///
    /// # Errors
    ///
    /// See [`ShutdownError`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the node abruptly.
    pub async fn shutdown(self) -> Result<(), ShutdownError> {
        self.shutdown_within(DEADLINE).await
    }

    /// As [`shutdown`](Self::shutdown), within a time of one's own.
    ///
    /// # Errors
    ///
    /// See [`ShutdownError`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the node abruptly.
    pub async fn shutdown_within(self, time: Duration) -> Result<(), ShutdownError> {
        let inner = self.inner().clone();
        let _abort = Abort(inner.clone());
        let deadline = Instant::now() + time;
        let before = inner.close_channels();
        let _late = timeout_at(deadline, inner.settle_all()).await;
        inner.give_up_rest();
        let _late = timeout_at(deadline, inner.end_lanes()).await;
        let left = deadline.saturating_duration_since(Instant::now()).max(time / 10);
        let left_list = inner.membership.leave(left).await;
        inner.say_goodbye(time / 10).await;
        inner.stop_tasks().await;
        let after = inner.account();
        info!(node = %inner.shared.me.id, "node stopped");
        let (unknown, dropped) =
            (after.unknown - before.unknown, after.dropped.total() - before.dropped.total());
        if unknown + dropped > 0 {
            return Err(ShutdownError::Astray { unknown, dropped });
        }
        left_list.map_err(ShutdownError::Membership)
    }
}

/// Stops the node if a shutdown is not carried through.
struct Abort(Arc<Inner>);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Inner {
    /// Nothing new: senders accept nothing, receivers hand back.
    fn close_channels(&self) -> Ledger {
        {
            let _inboxes = self.shared.inboxes.lock();
            let _routers = self.routers.lock();
            self.closing.store(true, std::sync::atomic::Ordering::Release);
        }
        let before = self.account();
        self.all_routers().iter().for_each(|router| router.close());
        for inbox in self.inboxes() {
            inbox.hand_back_all();
        }
        before
    }

    /// What was accepted here is delivered. What has no receiver is dropped.
    async fn settle_all(&self) {
        for router in self.all_routers() {
            router.drain_or_drop().await;
        }
    }

    /// The time is over: what is not settled has an unknown fate.
    fn give_up_rest(&self) {
        for router in self.all_routers() {
            let ledger = router.ledger();
            if ledger.in_flight > 0 {
                warn!(namespace = %router.namespace, %ledger, "not everything was settled in time");
            }
        }
        if self.all_routers().iter().any(|router| router.ledger().in_flight > 0) {
            self.peers.all().iter().for_each(|peer| peer.give_up());
            self.all_routers().iter().for_each(|router| {
                router.give_up_local();
                router.drop_homeless();
            });
        }
    }

    /// The other sides of all lanes know how they ended.
    async fn end_lanes(&self) {
        self.all_routers().iter().for_each(|router| router.end_lanes());
        for peer in self.peers.all() {
            peer.lanes_ended().await;
        }
    }

    async fn say_goodbye(&self, time: Duration) {
        let deadline = Instant::now() + time;
        for peer in self.peers.all() {
            peer.finish();
        }
        for peer in self.peers.all() {
            let mut up = peer.watch_up();
            let _late = timeout_at(deadline, up.wait_for(|up| *up == 0)).await;
        }
    }

    /// Ends all tasks at once.
    pub(super) fn abort(&self) {
        self.closing.store(true, std::sync::atomic::Ordering::Release);
        self.all_routers().iter().for_each(|router| router.close());
        self.shared.stopping.cancel();
        for inbox in self.inboxes() {
            inbox.hand_back_all();
        }
        self.shared.tasks.close();
    }

    /// Ends all tasks and waits until they have.
    pub(super) async fn stop_tasks(&self) {
        self.abort();
        self.shared.tasks.wait().await;
    }
}
