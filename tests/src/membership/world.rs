use std::time::Duration;

use dchan_core::{Addr, View};
use futures::future::join_all;
use tokio::runtime::Handle;

use super::{fixture::MembershipFixture, member::Member};
use crate::{
    bounded::{bounded, eventually},
    cluster::{Cluster, Spot},
    failure::{Outcome, ensure},
};

/// How many nodes there are from the beginning.
const FOUNDERS: usize = 3;

/// The network of one test, and the places in it.
pub(super) struct World<'a> {
    fixture: &'a dyn MembershipFixture,
    cluster: Cluster,
    spots: Vec<Spot>,
    founders: Vec<Addr>,
}

impl<'a> World<'a> {
    /// A network with places for the founders and for one more. Nobody is there yet.
    pub(super) fn new(fixture: &'a dyn MembershipFixture) -> Self {
        let cluster = fixture.cluster();
        let spots: Vec<Spot> = (0..=FOUNDERS).map(|_| cluster.spot()).collect();
        let founders = spots[..FOUNDERS].iter().map(|spot| spot.addr().clone()).collect();
        Self { fixture, cluster, spots, founders }
    }

    /// The founders, not started.
    pub(super) async fn arrivals(&self) -> Outcome<Vec<Member>> {
        let mut members = Vec::new();
        for place in 0..FOUNDERS {
            members.push(self.arrive(place).await?);
        }
        Ok(members)
    }

    /// The founders, started, and each on everybody's list.
    pub(super) async fn founders(&self) -> Outcome<Vec<Member>> {
        let mut members = self.arrivals().await?;
        let starts = join_all(members.iter_mut().map(Member::start));
        for started in bounded("start", starts).await? {
            started?;
        }
        all_see(&members, "all founders", |view| view.nodes.len() == FOUNDERS).await?;
        Ok(members)
    }

    /// A node with another life, at any place. Its membership is not started.
    pub(super) async fn arrive(&self, place: usize) -> Outcome<Member> {
        let life = self.fixture.life(place, &self.founders).await;
        Member::arrive(&self.cluster, &self.spots[place], life).await
    }

    /// The node that comes later, not started.
    pub(super) async fn newcomer(&self) -> Outcome<Member> {
        self.arrive(FOUNDERS).await
    }

    /// What this node and the others send to each other vanishes.
    pub(super) fn cut(&self, member: &Member) {
        for other in self.others(member.place) {
            self.cluster.black_hole(member.place, other);
            self.cluster.black_hole(other, member.place);
        }
        self.fixture.cut_off(member.place, true);
    }

    pub(super) fn heal(&self, member: &Member) {
        for other in self.others(member.place) {
            self.cluster.heal(member.place, other);
        }
        self.fixture.cut_off(member.place, false);
    }

    fn others(&self, place: usize) -> impl Iterator<Item = usize> {
        (0..self.spots.len()).filter(move |other| *other != place)
    }

    /// All leave, those without a quorum too, and their nodes stop.
    pub(super) async fn end(&self, members: Vec<Member>) -> Outcome {
        let leaves =
            members.iter().map(|member| member.membership.leave(Duration::from_millis(300)));
        // The last ones have no majority any more, and say so.
        let _left = bounded("leaving at the end", join_all(leaves)).await?;
        for stopped in join_all(members.into_iter().map(Member::stop)).await {
            stopped?;
        }
        Ok(())
    }
}

/// Waits until all views are as they should be.
pub(super) async fn all_see<'a>(
    members: impl IntoIterator<Item = &'a Member>,
    what: &str,
    is: impl Fn(&View) -> bool,
) -> Outcome {
    for member in members {
        member.sees(what, &is).await?;
    }
    Ok(())
}

/// Waits until all views have the same nodes and receivers.
pub(super) async fn all_agree(members: &[Member]) -> Outcome {
    let agree = || {
        let first = members[0].view();
        let same = |view: &View| (&view.nodes, &view.receivers) == (&first.nodes, &first.receivers);
        members.iter().all(|member| same(&member.view()))
    };
    eventually("all nodes have the same list", agree).await
}

/// Does something, and checks that it leaves no task behind.
pub(super) async fn leaving_no_task(what: impl Future<Output = Outcome>) -> Outcome {
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    what.await?;
    let ended = eventually("as many tasks as before", || tasks() <= before).await;
    ensure!(ended.is_ok(), "there are {} tasks, and were {before} before", tasks());
    Ok(())
}
