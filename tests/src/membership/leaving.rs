//! How it fares, and how it ends.

use std::{sync::mpsc, thread, time::Duration};

use tokio::time::{Instant, sleep};

use super::{
    changing::leading,
    fixture::MembershipFixture,
    member::Member,
    world::{World, all_see, leaving_no_task},
};
use crate::{
    bounded::{bounded, eventually, some_polls},
    failure::{Failure, Outcome, ensure},
};

/// M-STATUS-1: who is cut off knows it.
pub async fn m_status_1(fixture: &dyn MembershipFixture) -> Outcome {
    const SECONDS: Duration = Duration::from_secs(10);
    let world = World::new(fixture);
    let members = world.founders().await?;
    let quorum = |member: &Member| member.membership.status().quorum;
    let all = || members.iter().all(quorum);
    members.iter().try_for_each(waits_for_nothing)?;
    eventually("all have a quorum", all).await?;
    for at in [leading(&members), (leading(&members) + 1) % members.len()] {
        let (cut, since) = (&members[at], Instant::now());
        world.cut(cut);
        if fixture.needs_quorum() {
            eventually("a node that is cut off knows it", || !quorum(cut)).await?;
            let took = since.elapsed();
            ensure!(took <= SECONDS, "it took {took:?} to see that there is no quorum");
            let others = || members.iter().all(|m| m.place == cut.place || quorum(m));
            eventually("the others have a quorum", others).await?;
            sleep(Duration::from_millis(500)).await;
            ensure!(!quorum(cut), "there is a quorum again, cut off");
        } else {
            sleep(Duration::from_millis(500)).await;
            ensure!(all(), "it needs no quorum, and says that it lacks one");
        }
        waits_for_nothing(cut)?;
        world.heal(cut);
        eventually("all have a quorum again", all).await?;
    }
    world.end(members).await
}

/// Asks on another thread, as it might never come back.
fn waits_for_nothing(member: &Member) -> Outcome {
    let membership = member.membership.clone();
    let (tell, told) = mpsc::sync_channel(1);
    thread::spawn(move || tell.send(membership.status()));
    let status = told.recv_timeout(Duration::from_secs(2));
    status.map(drop).map_err(|_| Failure("status waits for something".into()))
}

/// M-LEAVE-1: who has left is off the list, and leaves nothing running.
pub async fn m_leave_1(fixture: &dyn MembershipFixture) -> Outcome {
    leaving_no_task(async {
        let world = World::new(fixture);
        let mut members = world.founders().await?;
        let mut newcomer = world.newcomer().await?;
        bounded("start", newcomer.start()).await??;
        all_see(&members, "one more", |view| newcomer.is_in(view)).await?;
        leaves(&members, newcomer, false).await?;
        // One that leads has most to hand over.
        let first = members.remove(leading(&members));
        leaves(&members, first, true).await?;
        world.end(members).await
    })
    .await
}

async fn leaves(others: &[Member], member: Member, dropped: bool) -> Outcome {
    const LEAVE: Duration = Duration::from_secs(10);
    let (id, receivers) = (member.me.id, [1, 2].map(|counter| member.receiver(counter)));
    member.apply(&receivers.map(|receiver| receiver.comes())).await?;
    all_see(others, "its receivers", |view| receivers[1].is_in(view)).await?;
    if dropped {
        let _dropped = some_polls(member.membership.leave(LEAVE), fastrand::usize(1..20)).await;
    }
    // Called again it does what is left to do.
    for _ in 0..2 {
        bounded("leave", member.membership.leave(LEAVE)).await??;
    }
    let gone = |view: &dchan_core::View| {
        !view.nodes.contains_key(&id) && !receivers.iter().any(|receiver| receiver.is_in(view))
    };
    all_see(others, "it gone", gone).await?;
    member.stop().await
}

/// M-LEAVE-2: without a quorum it ends too.
pub async fn m_leave_2(fixture: &dyn MembershipFixture) -> Outcome {
    leaving_no_task(async {
        let world = World::new(fixture);
        let mut members = world.founders().await?;
        let member = members.remove(leading(&members));
        world.cut(&member);
        let (within, since) = (Duration::from_secs(1), Instant::now());
        // Whoever waits for a quorum hears that there will be none.
        let waiting = member.membership.apply(vec![member.receiver(1).comes()]);
        let leaving = async {
            sleep(Duration::from_millis(100)).await;
            member.membership.leave(within).await
        };
        let both = async { tokio::join!(waiting, leaving) };
        let (applied, left) = bounded("leave without a quorum", both).await?;
        let took = since.elapsed();
        ensure!(took < within + Duration::from_secs(4), "{within:?} to leave became {took:?}");
        if fixture.needs_quorum() {
            ensure!(applied.is_err(), "a change was made without a quorum: {applied:?}");
            // Others have it on their lists still.
            ensure!(left.is_err(), "leave without a quorum says that the node is off the list");
        } else {
            left?;
        }
        let again = bounded("leave, called again", member.membership.leave(within)).await?;
        ensure!(again.is_ok() || fixture.needs_quorum(), "leave, called again: {again:?}");
        member.stop().await?;
        world.end(members).await
    })
    .await
}
