//! What the list says.

use std::time::Duration;

use dchan_core::{Boot, Change, Incarnation, NodeEntry};
use futures::future::try_join;
use tokio::time::{sleep, timeout};

use super::{
    fixture::MembershipFixture,
    member::{Ghost, Member, Receiver},
    watching::{History, all_at_once, while_watching},
    world::{World, all_agree, all_see},
};
use crate::{
    bounded::bounded,
    failure::{Outcome, ensure},
};

/// M-NODE-1: a new boot takes the receivers of older ones off.
pub async fn m_node_1(fixture: &dyn MembershipFixture) -> Outcome {
    let world = World::new(fixture);
    let mut members = world.founders().await?;
    let [old, same, new] =
        [(1, 1), (1, 2), (2, 2)].map(|(boot, incarnation)| Ghost { boot, incarnation });
    let (before, after) = (old.receiver(1), new.receiver(1));
    members[0].apply(&[old.comes(), before.comes()]).await?;
    members[1].apply(&[same.comes()]).await?;
    let view = members[1].view();
    ensure!(same.is_in(&view) && before.is_in(&view), "a process lost its own receiver: {view:?}");
    members[2].apply(&[new.comes(), after.comes()]).await?;
    all_see(&members, "the new boot's receiver alone", |view| {
        new.is_in(view) && after.is_in(view) && !before.is_in(view)
    })
    .await?;

    let old = members.pop().expect("there are three");
    let (before, place) = (old.receiver(1), old.place);
    members[0].apply(&[before.comes()]).await?;
    old.kill();
    let mut new = world.arrive(place).await?;
    bounded("start in another life", new.start()).await??;
    let view = new.view();
    ensure!(new.is_in(&view), "started, and not on the list: {view:?}");
    ensure!(!before.is_in(&view), "a receiver of a process that is dead: {view:?}");
    let after = new.receiver(1);
    new.apply(&[after.comes()]).await?;
    members.push(new);
    all_see(&members, "the new life's receiver alone", |view| {
        after.is_in(view) && !before.is_in(view)
    })
    .await?;
    world.end(members).await
}

/// M-NODE-2: an older incarnation changes nothing.
pub async fn m_node_2(fixture: &dyn MembershipFixture) -> Outcome {
    let world = World::new(fixture);
    let members = world.founders().await?;
    let listed = Ghost { boot: 2, incarnation: 5 };
    members[0].apply(&[listed.comes(), listed.receiver(1).comes()]).await?;
    for boot in [1, 2] {
        let older = Ghost { boot, incarnation: 4 };
        members[1].apply(&[older.comes(), Ghost { boot: 1, ..older }.receiver(2).comes()]).await?;
        let view = members[1].view();
        let stays = listed.is_in(&view) && listed.receiver(1).is_in(&view);
        ensure!(stays && view.receivers.len() == 1, "an older life changed something: {view:?}");
    }

    let mut older = world.newcomer().await?;
    let (id, boot) = (older.me.id, Boot(older.me.boot.0 ^ 1));
    let incarnation = Incarnation(older.me.incarnation.0 + 1000);
    let entry =
        NodeEntry { addr: older.me.addr.clone(), boot, incarnation, tags: Default::default() };
    let receiver = Receiver { node: id, boot, counter: 1 };
    members[0].apply(&[Change::Node { id, entry: entry.clone() }, receiver.comes()]).await?;
    let stays =
        |view: &dchan_core::View| view.nodes.get(&id) == Some(&entry) && receiver.is_in(view);
    all_see(&members, "the later life", stays).await?;
    let look = |_: &_, view: &dchan_core::View| {
        ensure!(stays(view), "an older life that starts changed something: {view:?}");
        Ok(())
    };
    while_watching(&members, look, async {
        // It may wait, or say that it cannot.
        let started = timeout(Duration::from_secs(2), older.start()).await;
        ensure!(!matches!(started, Ok(Ok(()))), "a node that is not on the list has started");
        let _left = bounded("leave", older.membership.leave(Duration::from_secs(1))).await?;
        sleep(Duration::from_millis(200)).await;
        Ok(())
    })
    .await?;
    older.stop().await?;
    world.end(members).await
}

/// M-GONE-1: receivers go with their node, if it is meant.
pub async fn m_gone_1(fixture: &dyn MembershipFixture) -> Outcome {
    let world = World::new(fixture);
    let members = world.founders().await?;
    let listed = Ghost { boot: 1, incarnation: 5 };
    let [first, second] = [1, 2].map(|counter| listed.receiver(counter));
    let other = members[0].receiver(1);
    let all = [listed.comes(), first.comes(), second.comes(), other.comes()];
    members[0].apply(&all).await?;
    members[1].apply(&[Ghost { incarnation: 4, ..listed }.goes()]).await?;
    let view = members[1].view();
    let stays = listed.is_in(&view) && first.is_in(&view) && second.is_in(&view);
    ensure!(stays, "a life that is over took off a later one: {view:?}");
    members[2].apply(&[listed.goes()]).await?;
    all_see(&members, "it gone", |view| !view.nodes.contains_key(&Ghost::ID)).await?;
    for member in &members {
        let view = member.view();
        let gone = !first.is_in(&view) && !second.is_in(&view);
        ensure!(gone, "receivers of a node that has gone: {view:?}");
        ensure!(other.is_in(&view), "another node's receiver went with it: {view:?}");
    }
    world.end(members).await
}

/// M-RECEIVER-1: no receiver without its process.
pub async fn m_receiver_1(fixture: &dyn MembershipFixture) -> Outcome {
    let world = World::new(fixture);
    let members = world.founders().await?;
    let unknown = Ghost { boot: 1, incarnation: 1 }.receiver(1);
    let own = members[0].receiver(2);
    let of_another_boot = Receiver { boot: Boot(own.boot.0 ^ 1), ..own };
    for stray in [unknown, of_another_boot] {
        for member in &members[..2] {
            member.apply(&[stray.comes()]).await?;
            let view = member.view();
            ensure!(view.receivers.is_empty(), "{stray:?} has no process: {view:?}");
        }
    }
    members[1].apply(&[unknown.comes(), own.comes(), of_another_boot.comes()]).await?;
    all_see(&members, "the one with a process", |view| own.is_in(view)).await?;
    for member in &members {
        let view = member.view();
        ensure!(view.receivers.len() == 1, "there are strays: {view:?}");
    }
    world.end(members).await
}

/// M-VIEW-1: one history, and nobody goes back in it.
pub async fn m_view_1(fixture: &dyn MembershipFixture) -> Outcome {
    let world = World::new(fixture);
    let members = world.founders().await?;
    let history = History::default();
    let cut = fastrand::usize(..members.len());
    let changes = all_at_once(&members, async |member| {
        for counter in 0..15 {
            let change = member.receiver(counter).comes();
            if (member.place, counter) == (cut, 5) {
                made_while_cut_off(&world, member, change).await?;
            } else {
                member.apply(&[change]).await?;
            }
            if counter % 4 == 3 {
                member.apply(&[member.receiver(counter).goes()]).await?;
            }
            sleep(Duration::from_millis(fastrand::u64(..40))).await;
        }
        Ok(())
    });
    let look = |member: &_, view: &_| history.look(member, view);
    while_watching(&members, look, async {
        changes.await?;
        all_see(&members, "all changes", |view| view.receivers.len() == 36).await?;
        all_agree(&members).await
    })
    .await?;
    world.end(members).await
}

/// The others go on meanwhile, and this node has to catch up with them.
async fn made_while_cut_off(world: &World<'_>, member: &Member, change: Change) -> Outcome {
    world.cut(member);
    let heals = async {
        sleep(Duration::from_secs(1)).await;
        world.heal(member);
        Ok(())
    };
    let changes = [change];
    try_join(member.apply(&changes), heals).await.map(drop)
}
