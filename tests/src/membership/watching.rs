use std::{collections::BTreeMap, future::pending};

use dchan_core::{Version, View};
use futures::future::{select_all, try_join_all};
use parking_lot::Mutex;

use super::member::Member;
use crate::failure::{Failure, Outcome, ensure};

/// Does something while each view that any of the members shows is looked at.
pub(super) async fn while_watching<T>(
    members: &[Member],
    look: impl Fn(&Member, &View) -> Outcome,
    work: impl Future<Output = Outcome<T>>,
) -> Outcome<T> {
    let watch = |member| Box::pin(watch(member, &look));
    tokio::select! {
        biased;
        (failure, ..) = select_all(members.iter().map(watch)) => Err(failure),
        done = work => done,
    }
}

async fn watch(member: &Member, look: impl Fn(&Member, &View) -> Outcome) -> Failure {
    let mut views = member.membership.view();
    loop {
        let view = views.borrow_and_update().clone();
        if let Err(failure) = look(member, &view) {
            return failure;
        }
        if views.changed().await.is_err() {
            return pending().await;
        }
    }
}

/// What the views of all members say together: the same list at the same version, and versions that rise.
#[derive(Debug, Default)]
pub(super) struct History {
    lists: Mutex<BTreeMap<Version, View>>,
    last: Mutex<BTreeMap<usize, Version>>,
}

impl History {
    pub(super) fn look(&self, member: &Member, view: &View) -> Outcome {
        let (place, version) = (member.place, view.version);
        let last = self.last.lock().insert(place, version).unwrap_or_default();
        ensure!(version >= last, "place {place} showed version {version:?} after {last:?}");
        let mut lists = self.lists.lock();
        let known = lists.entry(version).or_insert_with(|| view.clone());
        ensure!(
            (&known.nodes, &known.receivers) == (&view.nodes, &view.receivers),
            "there are two lists of version {version:?}: place {place} showed {view:?}, and before \
             that was shown {known:?}"
        );
        Ok(())
    }
}

/// Each member does something, all at once.
pub(super) async fn all_at_once<'a, F: Future<Output = Outcome>>(
    members: &'a [Member],
    work: impl FnMut(&'a Member) -> F,
) -> Outcome {
    try_join_all(members.iter().map(work)).await.map(drop)
}
