use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Change, Context, Membership, MembershipError, NodeEntry, Version, View};
use crate::ClusterId;

/// A list that is kept in one place in memory: for tests, and for programs that know their nodes.
///
/// [`StaticMembership::member`] gives each node of one process its own handle on the same list.
#[derive(Debug)]
pub struct StaticMembership {
    list: watch::Sender<Arc<View>>,
}

impl StaticMembership {
    /// An empty list.
    pub fn new() -> Arc<Self> {
        let view = View::of_cluster(ClusterId(1));
        Arc::new(Self { list: watch::Sender::new(Arc::new(view)) })
    }

    /// A membership for one node, on this list.
    pub fn member(self: &Arc<Self>) -> Arc<dyn Membership> {
        Arc::new(Member { list: self.clone(), joined: Mutex::new(None) })
    }

    /// Makes changes to the list, as if a node had asked for them.
    pub fn change(&self, changes: &[Change]) -> Version {
        let mut version = Version::default();
        self.list.send_modify(|view| {
            Arc::make_mut(view).apply(changes);
            version = view.version;
        });
        version
    }
}

#[derive(Debug)]
struct Member {
    list: Arc<StaticMembership>,
    joined: Mutex<Option<Change>>,
}

#[async_trait]
impl Membership for Member {
    async fn start(&self, context: Context) -> Result<(), MembershipError> {
        let me = context.me;
        let (boot, incarnation) = (me.boot, me.incarnation);
        let entry = NodeEntry { addr: me.addr, boot, incarnation, tags: me.tags };
        self.list.change(&[Change::Node { id: me.id, entry }]);
        let listed =
            self.list.list.borrow().nodes.get(&me.id).map(|node| (node.boot, node.incarnation));
        if listed != Some((boot, incarnation)) {
            let reason = format!("the list has a later life of node {} than {incarnation}", me.id);
            return Err(MembershipError::Refused(reason));
        }
        *self.joined.lock() = Some(Change::NodeGone { id: me.id, incarnation });
        Ok(())
    }

    async fn apply(&self, changes: Vec<Change>) -> Result<Version, MembershipError> {
        Ok(self.list.change(&changes))
    }

    fn view(&self) -> watch::Receiver<Arc<View>> {
        self.list.list.subscribe()
    }

    async fn leave(&self, _within: Duration) -> Result<(), MembershipError> {
        if let Some(gone) = self.joined.lock().take() {
            self.list.change(&[gone]);
        }
        Ok(())
    }
}
