//! A node's own place on the list: it joins, says that it is alive, and comes back if it was removed.

use std::sync::Arc;

use dchan_core::{Change, NodeEntry};
use tokio::time::timeout;

use crate::{
    rpc::{Answer, Ask, AskError, Leased, Life},
    shared::{Backoff, Shared},
    stranded::Stranded,
};

/// What to do after a look at one's own place.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// All is well.
    Rest,
    /// The leader does not replicate to this node, or not to this address.
    Join,
    /// Put this node on the list. If it was there before, then in a new life.
    Register,
    /// Another process with a later life of this node is on the list.
    Superseded,
    /// The leader knows less than this node.
    Wait,
}

/// Keeps this node on the list until it leaves.
pub(crate) async fn run(shared: Arc<Shared>) {
    tokio::select! {
        () = shared.room.leaving.cancelled() => {}
        () = stay(&shared) => {}
    }
}

/// Renews the lease, and does what its answer calls for.
async fn stay(shared: &Shared) {
    let mut backoff = Backoff::new(shared.config.times.backoff_max);
    let (mut registered, mut stranded) = (false, Stranded::new());
    loop {
        let step = step(shared).await;
        let rested = matches!(step, Ok(Step::Rest));
        registered |= rested;
        let done = match step {
            Ok(Step::Rest) => true,
            Ok(Step::Join) => join(shared).await,
            Ok(Step::Register) => {
                let done = register(shared, registered).await;
                registered |= done;
                done
            }
            Ok(Step::Superseded) => return superseded(shared).await,
            Ok(Step::Wait) => false,
            Err(error) => {
                tracing::debug!(%error, "the lease is not renewed");
                false
            }
        };
        match done {
            true => stranded.led(),
            false => stranded.unled(shared).await,
        }
        if !rested {
            if done {
                backoff = Backoff::new(shared.config.times.backoff_max);
            }
            shared.pause_for_leader(backoff.step(shared)).await;
            continue;
        }
        backoff = Backoff::new(shared.config.times.backoff_max);
        rest(shared).await;
    }
}

async fn step(shared: &Shared) -> Result<Step, AskError> {
    let life = shared.life();
    match shared.ask_leader(Ask::Lease(life)).await? {
        Answer::Lease(leased) => {
            shared.telemetry().is_led();
            Ok(decide(&leased, life, shared.me.addr.as_str(), shared.view().version.0))
        }
        _ => Err(AskError::NoLeader),
    }
}

fn decide(leased: &Leased, life: Life, addr: &str, seen: u64) -> Step {
    match leased.listed {
        // The older process gives way, or the two would take turns for ever.
        Some(listed) if listed.boot != life.boot && listed.incarnation >= life.incarnation => {
            Step::Superseded
        }
        _ if leased.replicated.is_none() => Step::Join,
        // The list goes before what Raft was told: replication follows the address on the list.
        Some(listed) if listed == life && leased.replicated.as_deref() == Some(addr) => Step::Rest,
        Some(listed) if listed == life => Step::Join,
        _ if leased.version.0 < seen => Step::Wait,
        _ => Step::Register,
    }
}

async fn join(shared: &Shared) -> bool {
    let addr = shared.me.addr.clone();
    matches!(shared.ask_leader(Ask::Join { addr }).await, Ok(Answer::Agreed))
}

async fn register(shared: &Shared, again: bool) -> bool {
    // A node that cannot follow the list has no business on it, once it was taken off.
    if shared.room.fault.get().is_some() {
        return false;
    }
    if again {
        match shared.store.dir().raise() {
            Ok(next) => {
                shared.telemetry().set_fault(None);
                tracing::warn!(incarnation = %next, "taken off the list: back in a new life")
            }
            Err(error) => {
                if let Some(held) = shared.telemetry().log.pass("raise") {
                    let suppressed = held.lines();
                    tracing::error!(%error, suppressed, "cannot come back to the list");
                }
                shared
                    .telemetry()
                    .set_fault(Some(format!("cannot come back to the list: {error}")));
                return false;
            }
        }
    }
    let me = &shared.me;
    let entry = NodeEntry {
        addr: me.addr.clone(),
        boot: me.boot,
        incarnation: shared.life().incarnation,
        tags: me.tags.clone(),
    };
    let change = vec![Change::Node { id: me.id, entry }];
    // If Raft dropped this node meanwhile, then it never sees the change: look again.
    matches!(timeout(shared.config.times.request * 4, shared.apply(change)).await, Ok(Ok(_)))
}

/// Two voters with one id would vote twice: this one does not vote any more.
async fn superseded(shared: &Shared) {
    let reason = format!(
        "another process is node {} in a later life: was its data directory copied? Give each node an \
         empty directory of its own",
        shared.me.id
    );
    tracing::error!(reason, "this node stays off the list, and has no vote");
    shared.room.refused.send_replace(Some(reason.clone()));
    // Its disk may have failed before.
    let _ = shared.room.fault.set(reason);
    if shared.raft.wait().await.shutdown().await.is_err() {
        tracing::error!("Raft did not stop in good order");
    }
}

/// Until the lease is due, or this node sees that it is not on the list.
async fn rest(shared: &Shared) {
    let mut view = shared.peers.view.subscribe();
    let id = shared.me.id;
    let missing = view.wait_for(|view| !view.nodes.contains_key(&id));
    let due = shared.config.times.lease.mul_f64(0.75 + shared.room.chance.lock().f64() / 4.0);
    // Either way the leader is asked next.
    tokio::select! {
        _ = missing => {}
        () = shared.timers.sleep(due) => {}
    }
}

#[cfg(test)]
mod tests {
    use dchan_core::{Boot, Incarnation, Version};

    use super::*;

    const ME: Life = Life { boot: Boot(1), incarnation: Incarnation(5) };

    fn look(listed: Option<(u64, u64)>, replicated: Option<&str>) -> Step {
        let listed = listed.map(|(boot, incarnation)| Life {
            boot: Boot(boot),
            incarnation: Incarnation(incarnation),
        });
        let replicated = replicated.map(Into::into);
        decide(&Leased { version: Version(7), listed, replicated }, ME, "a:1", 7)
    }

    #[test]
    fn each_answer_has_its_step() {
        assert_eq!(look(Some((1, 5)), Some("a:1")), Step::Rest);
        assert_eq!(look(Some((1, 5)), Some("b:1")), Step::Join, "another address");
        assert_eq!(look(None, None), Step::Join);
        assert_eq!(look(None, Some("a:1")), Step::Register);
        assert_eq!(look(Some((1, 4)), Some("a:1")), Step::Register, "an older life");
        assert_eq!(look(Some((2, 4)), Some("a:1")), Step::Register, "an older process");
        assert_eq!(look(Some((2, 5)), Some("a:1")), Step::Superseded, "a copied directory");
        let old = Leased { version: Version(6), listed: None, replicated: Some("a:1".into()) };
        assert_eq!(decide(&old, ME, "a:1", 7), Step::Wait);
    }
}
