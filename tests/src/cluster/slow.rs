//! A membership that takes its time, as one does that has to ask others.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dchan_core::{Change, Context, Membership, MembershipError, StaticMembership, Version, View};
use parking_lot::Mutex;
use tokio::{
    sync::{oneshot, watch},
    task::{JoinSet, yield_now},
    time::sleep,
};

/// One node's membership on a shared list. What it does follows from a seed: changes are made after a
/// while, whether anybody still waits for them or not; each new view is seen after a while; and some
/// changes fail.
#[derive(Debug)]
pub struct SlowMembership {
    list: Arc<StaticMembership>,
    member: Arc<dyn Membership>,
    shown: watch::Sender<Arc<View>>,
    chance: Mutex<fastrand::Rng>,
    failures: u8,
    /// Calls of `apply` and changes that are not through.
    under_way: Arc<()>,
    /// What goes on without anybody waiting. Ends with the membership.
    tasks: Mutex<JoinSet<()>>,
}

/// What becomes of a call of `apply`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Made,
    /// It fails, and nothing is changed.
    Refused,
    /// It fails, and the changes are made or not.
    Unknown {
        made: bool,
    },
}

impl SlowMembership {
    /// A member of that list. `failures`: how many of 100 changes fail.
    pub fn new(list: &Arc<StaticMembership>, seed: u64, failures: u8) -> Arc<Self> {
        let member = list.member();
        let first = member.view().borrow().clone();
        Arc::new(Self {
            list: list.clone(),
            member,
            shown: watch::Sender::new(first),
            chance: Mutex::new(fastrand::Rng::with_seed(seed)),
            failures,
            under_way: Arc::default(),
            tasks: Mutex::default(),
        })
    }

    /// Whether nothing is under way and this node sees the list as it is.
    pub fn is_settled(&self) -> bool {
        let listed = self.list.member().view().borrow().version;
        Arc::strong_count(&self.under_way) == 1 && self.shown.borrow().version == listed
    }

    /// The next view is shown a while after it came to be. Some are skipped.
    async fn show(list: Arc<StaticMembership>, shown: watch::Sender<Arc<View>>, seed: u64) {
        let mut chance = fastrand::Rng::with_seed(seed);
        let mut views = list.member().view();
        loop {
            pause(&mut chance).await;
            shown.send_replace(views.borrow_and_update().clone());
            if views.changed().await.is_err() {
                return;
            }
        }
    }

    async fn pause(&self) {
        let mut chance = self.chance.lock().fork();
        pause(&mut chance).await;
    }

    fn draw(&self) -> Fate {
        let mut chance = self.chance.lock();
        match chance.u8(..100) {
            drawn if drawn >= self.failures => Fate::Made,
            _ if chance.bool() => Fate::Refused,
            _ => Fate::Unknown { made: chance.bool() },
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    /// Makes changes after a while, even if nobody waits for them by then.
    fn commit(&self, changes: Vec<Change>) -> oneshot::Receiver<Version> {
        let (made, version) = oneshot::channel();
        let (list, mut chance) = (self.list.clone(), self.chance.lock().fork());
        let under_way = self.under_way.clone();
        self.spawn(async move {
            pause(&mut chance).await;
            let _under_way = under_way;
            let _nobody_waits = made.send(list.change(&changes));
        });
        version
    }

    async fn wait_until_shown(&self, version: Version) -> Result<(), MembershipError> {
        let mut shown = self.shown.subscribe();
        let seen = shown.wait_for(|view| view.version >= version).await;
        seen.map(|_| ()).map_err(|_| MembershipError::Stopped)
    }
}

/// A few turns of the others, or some milliseconds.
async fn pause(chance: &mut fastrand::Rng) {
    for _ in 0..chance.u32(..4) {
        yield_now().await;
    }
    if chance.bool() {
        sleep(Duration::from_micros(chance.u64(..5000))).await;
    }
}

#[async_trait]
impl Membership for SlowMembership {
    async fn start(&self, context: Context) -> Result<(), MembershipError> {
        let seed = self.chance.lock().u64(..);
        self.spawn(Self::show(self.list.clone(), self.shown.clone(), seed));
        self.pause().await;
        self.member.start(context).await?;
        let version = self.list.member().view().borrow().version;
        self.wait_until_shown(version).await
    }

    async fn apply(&self, changes: Vec<Change>) -> Result<Version, MembershipError> {
        let _under_way = self.under_way.clone();
        let fate = self.draw();
        self.pause().await;
        match fate {
            Fate::Refused => return Err(MembershipError::Refused("by chance".into())),
            Fate::Unknown { made } => {
                if made {
                    drop(self.commit(changes));
                }
                self.pause().await;
                return Err(MembershipError::Unknown("by chance".into()));
            }
            Fate::Made => {}
        }
        let made = self.commit(changes).await.map_err(|_| MembershipError::Stopped)?;
        self.wait_until_shown(made).await?;
        Ok(made)
    }

    fn view(&self) -> watch::Receiver<Arc<View>> {
        self.shown.subscribe()
    }

    async fn leave(&self, within: Duration) -> Result<(), MembershipError> {
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        self.pause().await;
        tasks.shutdown().await;
        self.member.leave(within).await
    }
}
