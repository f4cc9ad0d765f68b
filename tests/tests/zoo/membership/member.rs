use std::{
    future::pending,
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use async_trait::async_trait;
use dchan_core::{
    Change, Context, Membership, MembershipError, MembershipStatus, NodeEntry, Version, View,
};
use parking_lot::Mutex;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{beast::Beast, council::Council};

/// How long it takes to find the council.
const SEARCH: Duration = Duration::from_millis(50);

/// A node's membership of a [`Council`], broken in one way.
#[derive(Debug)]
pub(crate) struct Member(Arc<Inner>);

/// The same, for tasks that outlive a call.
#[derive(Debug)]
struct Inner {
    beast: Beast,
    place: usize,
    council: Arc<Council>,
    shown: Arc<watch::Sender<Arc<View>>>,
    /// What takes this node off the list, once it is there.
    gone: Mutex<Option<Change>>,
    stopped: watch::Sender<bool>,
    tasks: Mutex<JoinSet<()>>,
    calls: AtomicU64,
}

impl Member {
    pub(crate) fn new(beast: Beast, place: usize, council: &Arc<Council>) -> Self {
        Self(Arc::new(Inner {
            beast,
            place,
            council: council.clone(),
            shown: Arc::default(),
            gone: Mutex::default(),
            stopped: watch::Sender::new(false),
            tasks: Mutex::default(),
            calls: AtomicU64::new(0),
        }))
    }
}

impl Inner {
    async fn join(&self, context: Context) -> Result<(), MembershipError> {
        sleep(SEARCH).await;
        let me = context.me;
        let (boot, incarnation) = (me.boot, me.incarnation);
        let entry = NodeEntry { addr: me.addr, boot, incarnation, tags: me.tags };
        *self.gone.lock() = Some(Change::NodeGone { id: me.id, incarnation });
        let version = self.commit(&[Change::Node { id: me.id, entry }]).await;
        self.shows(version).await;
        let listed = self.shown.borrow().nodes.get(&me.id).is_some_and(|entry| entry.boot == boot);
        if listed || self.beast == Beast::StartsInOldLives {
            return Ok(());
        }
        *self.gone.lock() = None;
        Err(MembershipError::Refused("the list has a later life of this node".into()))
    }

    /// Makes changes as soon as the council is reached.
    async fn commit(&self, changes: &[Change]) -> Version {
        let mut waited = self.council.is_cut(self.place);
        self.council.reached(self.place).await;
        // A way there.
        sleep(Duration::from_millis(1)).await;
        while self.council.is_cut(self.place) {
            waited = true;
            self.council.reached(self.place).await;
        }
        if self.beast == Beast::HangsAfterTrouble && waited {
            return pending().await;
        }
        self.council.change(changes)
    }

    async fn shows(&self, version: Version) {
        let mut shown = self.shown.subscribe();
        shown.wait_for(|view| view.version >= version).await.expect("it lives here");
    }

    async fn make(&self, changes: Vec<Change>) -> Version {
        let nth = self.calls.fetch_add(1, Ordering::Relaxed);
        let now = self.council.list().borrow().version;
        let version = match self.beast {
            Beast::LosesChanges if nth % 5 == 4 => now,
            Beast::AppliesHalf => self.commit(&changes[..changes.len().div_ceil(2)]).await,
            Beast::AppliesOneByOne => {
                let mut version = now;
                for change in changes {
                    version = self.commit(&[change]).await;
                    self.shows(version).await;
                }
                version
            }
            Beast::AcksForItselfAlone if self.council.is_cut(self.place) => {
                // The view here shows what nobody else knows of.
                self.shown.send_modify(|view| Arc::make_mut(view).apply(&changes));
                self.shown.borrow().version
            }
            _ => self.commit(&changes).await,
        };
        if self.beast != Beast::AcksBeforeItShows {
            self.shows(version).await;
        }
        version
    }

    fn changes_nothing(&self, changes: &[Change]) -> bool {
        let list = self.council.list().borrow().clone();
        let mut after = View::clone(&list);
        after.apply(changes);
        (&after.nodes, &after.receivers) == (&list.nodes, &list.receivers)
    }

    async fn take_off(&self) -> Result<(), MembershipError> {
        let gone = self.gone.lock().clone();
        let Some(gone) = gone.filter(|_| self.beast != Beast::StaysOnTheList) else {
            return Ok(());
        };
        self.commit(&[gone]).await;
        *self.gone.lock() = None;
        Ok(())
    }
}

/// Shows the list as it is in the council, for as long as that is reached.
async fn follow(
    beast: Beast,
    place: usize,
    council: Arc<Council>,
    shown: Arc<watch::Sender<Arc<View>>>,
) {
    let mut list = council.list();
    let [mut older, mut old] = [Arc::<View>::default(), Arc::default()];
    for nth in 0_u64.. {
        council.reached(place).await;
        let now = list.borrow_and_update().clone();
        let mut next = now.clone();
        match beast {
            Beast::GoesBack if nth % 7 == 6 => {
                shown.send_replace(older);
                sleep(Duration::from_micros(100)).await;
            }
            Beast::SeesReceiversLate if place == 1 => {
                Arc::make_mut(&mut next).receivers = old.receivers.clone();
            }
            _ => {}
        }
        shown.send_replace(next);
        (older, old) = (old, now);
        if list.changed().await.is_err() {
            return;
        }
    }
}

#[async_trait]
impl Membership for Member {
    async fn start(&self, context: Context) -> Result<(), MembershipError> {
        let this = &self.0;
        let follow = follow(this.beast, this.place, this.council.clone(), this.shown.clone());
        this.tasks.lock().spawn(follow);
        let member = this.clone();
        let joining = async move { member.join(context).await };
        match this.beast {
            Beast::StartsTooSoon => {
                this.tasks.lock().spawn(async { drop(joining.await) });
                Ok(())
            }
            Beast::StartsOnWhenDropped => tokio::spawn(joining).await.expect("it does not panic"),
            Beast::LeavesTasks => {
                tokio::spawn(pending::<()>());
                joining.await
            }
            _ => joining.await,
        }
    }

    async fn apply(&self, changes: Vec<Change>) -> Result<Version, MembershipError> {
        let this = &self.0;
        match this.beast {
            Beast::RefusesRepeats if this.changes_nothing(&changes) => {
                return Err(MembershipError::Refused("it is so already".into()));
            }
            Beast::GivesUpWithoutQuorum if this.council.is_cut(this.place) => {
                return Err(MembershipError::Refused("no quorum".into()));
            }
            Beast::AcksBeforeCommit => {
                let (member, now) = (this.clone(), this.council.list().borrow().version);
                this.tasks.lock().spawn(async move {
                    let _version = member.make(changes).await;
                });
                return Ok(now);
            }
            _ => {}
        }
        let mut stopped = this.stopped.subscribe();
        let watches = this.beast != Beast::LeavesOthersWaiting;
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped), if watches => Err(MembershipError::Stopped),
            version = this.make(changes) => Ok(version),
        }
    }

    fn view(&self) -> watch::Receiver<Arc<View>> {
        self.0.shown.subscribe()
    }

    fn status(&self) -> MembershipStatus {
        let this = &self.0;
        let mut status = MembershipStatus::default();
        status.quorum = match this.beast {
            Beast::HasAQuorumForEver => true,
            Beast::HasNeverAQuorum => false,
            Beast::ThinksInStatus => loop {
                thread::park();
            },
            _ => !this.council.is_cut(this.place),
        };
        status
    }

    async fn leave(&self, within: Duration) -> Result<(), MembershipError> {
        let this = &self.0;
        let left = match this.beast {
            Beast::HangsInLeave => this.take_off().await,
            Beast::SaysThatItHasLeft => timeout(within, this.take_off()).await.unwrap_or(Ok(())),
            _ => {
                let late = |_| Err(MembershipError::Unknown("no quorum in time".into()));
                timeout(within, this.take_off()).await.unwrap_or_else(late)
            }
        };
        this.stopped.send_replace(true);
        let mut tasks = mem::take(&mut *this.tasks.lock());
        tasks.shutdown().await;
        left
    }
}
