//! Starting.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::{sleep, timeout};

use super::{
    fixture::MembershipFixture,
    member::Member,
    world::{World, all_see, leaving_no_task},
};
use crate::{
    bounded::bounded,
    failure::{Outcome, ensure},
};

/// M-START-1: started is listed, and questions may come before.
pub async fn m_start_1(fixture: &dyn MembershipFixture) -> Outcome {
    let world = World::new(fixture);
    let mut members = world.arrivals().await?;
    // The others have asked the last one whatever they ask, by the time that it starts.
    let late = |member: &mut Member| if member.place == 2 { 500 } else { 0 };
    let starts = members.iter_mut().map(async |member| {
        sleep(Duration::from_millis(late(member))).await;
        start(member).await
    });
    for started in bounded("start", join_all(starts)).await? {
        started?;
    }
    let mut newcomer = world.newcomer().await?;
    bounded("start of one more", start(&mut newcomer)).await??;
    members.push(newcomer);
    for member in &members {
        all_see(&members, "a node that has started", |view| member.is_in(view)).await?;
    }
    world.end(members).await
}

async fn start(member: &mut Member) -> Outcome {
    member.start().await?;
    let view = member.view();
    ensure!(member.is_in(&view), "start returned, and the view has no {:?}: {view:?}", member.me);
    Ok(())
}

/// M-START-2: a start that is dropped leaves nothing behind once the node has left.
pub async fn m_start_2(fixture: &dyn MembershipFixture) -> Outcome {
    leaving_no_task(alone(fixture)).await?;
    leaving_no_task(joining(fixture)).await
}

/// One that finds nobody.
async fn alone(fixture: &dyn MembershipFixture) -> Outcome {
    let world = World::new(fixture);
    let mut member = world.arrive(0).await?;
    let patience = Duration::from_millis(fastrand::u64(..300));
    let _given_up = timeout(patience, member.start()).await;
    world.end(vec![member]).await
}

/// One that finds a cluster, and gives up at any point of its way into it.
async fn joining(fixture: &dyn MembershipFixture) -> Outcome {
    const LEAVE: Duration = Duration::from_secs(5);
    let world = World::new(fixture);
    let members = world.founders().await?;
    for millis in [0..1, 1..30, 30..100, 100..300] {
        let mut newcomer = world.newcomer().await?;
        let patience = Duration::from_millis(fastrand::u64(millis));
        let started = timeout(patience, newcomer.start()).await;
        let left = bounded("leave", newcomer.membership.leave(LEAVE)).await?;
        ensure!(left.is_ok(), "start was dropped after {patience:?} ({started:?}): {left:?}");
        let id = newcomer.me.id;
        // Not now, and not later either.
        for _ in 0..2 {
            all_see(&members, "it gone", |view| !view.nodes.contains_key(&id)).await?;
            sleep(Duration::from_millis(200)).await;
        }
        newcomer.stop().await?;
    }
    world.end(members).await
}
