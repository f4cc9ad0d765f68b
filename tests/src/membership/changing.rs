//! Changing the list.

use std::time::Duration;

use dchan_core::{Change, MembershipError};
use tokio::time::timeout;

use super::{
    fixture::MembershipFixture,
    member::{Ghost, Member, Receiver},
    watching::{all_at_once, while_watching},
    world::{World, all_agree, all_see},
};
use crate::{
    bounded::bounded,
    failure::{Failure, Outcome, ensure},
};

/// M-APPLY-1: all or nothing, at any moment and on every node.
pub async fn m_apply_1(fixture: &dyn MembershipFixture) -> Outcome {
    let world = World::new(fixture);
    let members = world.founders().await?;
    let even = |member: &Member, view: &dchan_core::View| {
        let count = view.receivers.len();
        ensure!(
            count.is_multiple_of(2),
            "place {}: one of two changes is made: {view:?}",
            member.place
        );
        Ok(())
    };
    let pairs = all_at_once(&members, async |member| {
        let pair = |round| [member.receiver(2 * round), member.receiver(2 * round + 1)];
        for round in 0..10 {
            member.apply(&pair(round).map(Receiver::comes)).await?;
            if round % 3 == 2 {
                let [gone, stays] = pair(round - 1);
                let comes = member.receiver(1000 + round);
                member.apply(&[gone.goes(), comes.comes(), stays.comes()]).await?;
            }
        }
        Ok(())
    });
    while_watching(&members, even, pairs).await?;
    all_see(&members, "all pairs", |view| view.receivers.len() == 60).await?;
    many_at_once(&members).await?;
    world.end(members).await
}

/// A call that is perhaps too large is refused as a whole.
async fn many_at_once(members: &[Member]) -> Outcome {
    const MANY: u64 = 20_000;
    let member = &members[0];
    let before = member.view().receivers.len();
    let changes = (0..MANY).map(|counter| member.receiver(1 << 20 | counter).comes()).collect();
    let made = match bounded("apply of many", member.membership.apply(changes)).await? {
        Ok(_) => MANY as usize,
        Err(MembershipError::TooLarge { .. }) => 0,
        Err(error) => return Err(error.into()),
    };
    // Whatever was made of it is there by the time that this is.
    let last = member.receiver(u64::MAX);
    member.apply(&[last.comes()]).await?;
    all_see(members, "what came after many", |view| last.is_in(view)).await?;
    let seen = member.view().receivers.len() - before - 1;
    ensure!(seen == made, "{seen} of {made} changes are made");
    Ok(())
}

/// M-APPLY-2: what is acknowledged is shown here at once, and is there for good.
pub async fn m_apply_2(fixture: &dyn MembershipFixture) -> Outcome {
    let world = World::new(fixture);
    let members = world.founders().await?;
    all_at_once(&members, async |member| {
        for counter in 0..20 {
            shown_at_once(member, counter).await?;
        }
        Ok(())
    })
    .await?;
    all_see(&members, "all receivers", |view| view.receivers.len() == 60).await?;
    for member in &members {
        // Whoever made the change is not there to tell the others of it.
        let receiver = shown_at_once(member, 100).await?;
        world.cut(member);
        let others: Vec<_> = members.iter().filter(|other| other.place != member.place).collect();
        all_see(others, "what was acknowledged", |view| receiver.is_in(view)).await?;
        world.heal(member);
        member.apply(&[receiver.goes()]).await?;
    }
    world.end(members).await
}

async fn shown_at_once(member: &Member, counter: u64) -> Outcome<Receiver> {
    let receiver = member.receiver(counter);
    let version = member.apply(&[receiver.comes()]).await?;
    let view = member.view();
    ensure!(receiver.is_in(&view), "acknowledged and not shown: {receiver:?} in {view:?}");
    ensure!(view.version >= version, "acknowledged {version:?}, and showed {:?}", view.version);
    Ok(receiver)
}

/// M-APPLY-3: once more changes nothing.
pub async fn m_apply_3(fixture: &dyn MembershipFixture) -> Outcome {
    let world = World::new(fixture);
    let members = world.founders().await?;
    let ghost = Ghost { boot: 1, incarnation: 1 };
    let (own, its) = (members[0].receiver(1), ghost.receiver(1));
    let stays = members[1].receiver(2);
    members[1].apply(&[stays.comes()]).await?;
    let batches: [&[Change]; 4] =
        [&[ghost.comes(), its.comes()], &[own.comes()], &[own.goes(), own.goes()], &[ghost.goes()]];
    for changes in batches {
        members[0].apply(changes).await?;
        let once = members[0].view();
        for member in [&members[0], &members[1]] {
            member.apply(changes).await?;
            let again = member.view();
            ensure!(
                (&once.nodes, &once.receivers) == (&again.nodes, &again.receivers),
                "{changes:?} made of {once:?} this: {again:?}"
            );
        }
    }
    all_see(&members, "the receiver that stays", |view| stays.is_in(view)).await?;
    world.end(members).await
}

/// M-APPLY-4: without a quorum it waits; if it gives up, it does not say that nothing was made.
pub async fn m_apply_4(fixture: &dyn MembershipFixture) -> Outcome {
    let world = World::new(fixture);
    let members = world.founders().await?;
    for at in [leading(&members), (leading(&members) + 1) % members.len()] {
        let member = &members[at];
        world.cut(member);
        let receiver = member.receiver(at as u64);
        if fixture.needs_quorum() {
            waits(member, receiver, || world.heal(member)).await?;
        } else {
            // Held to what it is said to be.
            member.apply(&[receiver.comes()]).await?;
            world.heal(member);
        }
        all_see(&members, "what was made at last", |view| receiver.is_in(view)).await?;
        dropped(&world, member).await?;
        all_agree(&members).await?;
    }
    world.end(members).await
}

/// The place of the node that leads; any, if there is no leader.
pub(super) fn leading(members: &[Member]) -> usize {
    let leader = members[0].view().leader;
    members.iter().position(|member| Some(member.me.id) == leader).unwrap_or(0)
}

async fn waits(member: &Member, receiver: Receiver, heal: impl FnOnce()) -> Outcome {
    const LONG: Duration = Duration::from_secs(2);
    let mut applying = member.membership.apply(vec![receiver.comes()]);
    let early = timeout(LONG, &mut applying).await;
    heal();
    let made = match early {
        Err(_) => bounded("apply, once there was a quorum again", applying).await?,
        Ok(Ok(version)) => {
            return Err(Failure(format!("{version:?} was acknowledged without a quorum")));
        }
        Ok(Err(error)) => Err(error),
    };
    match made {
        Ok(_) => Ok(()),
        // It is open; so it can be asked for again.
        Err(MembershipError::Unknown(_)) => member.apply(&[receiver.comes()]).await.map(drop),
        Err(error) => Err(Failure(format!("not Unknown, but {error:?}"))),
    }
}

/// A call that is dropped does no harm to later ones.
async fn dropped(world: &World<'_>, member: &Member) -> Outcome {
    world.cut(member);
    let [first, second] = [10, 11].map(|counter| member.receiver(counter));
    let patience = Duration::from_millis(fastrand::u64(..300));
    let _dropped = timeout(patience, member.membership.apply(vec![first.comes()])).await;
    world.heal(member);
    member.apply(&[second.comes()]).await?;
    ensure!(second.is_in(&member.view()), "a change after one that was dropped is not shown");
    Ok(())
}
