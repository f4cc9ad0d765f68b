//! Futures are dropped at each of their await points while the list takes its time, fails, and makes
//! changes that nobody waits for any more: no ghost stays on it, and nothing is lost.

use std::{future::IntoFuture, sync::Arc, time::Duration};

use dchan_conformance::cluster::{
    Cluster, Entry, Impatience, Message, Oracle, SlowMembership, Steps, after_polls, just_polls,
    message, stop, until,
};
use dchan_core::{
    Boot, Change, Incarnation, Namespace, Node, NodeId, OpenError, Receiver, ReceiverId, StartError,
};
use futures::FutureExt;
use tokio::task::yield_now;

dchan_conformance::cluster_tests![
    opens_are_dropped,
    many_open_at_once,
    hand_backs_are_dropped,
    waits_are_dropped,
    starts_are_dropped,
    shutdowns_are_dropped,
    strangers_are_taken_off,
];

/// How long an open is waited for at most, before it is dropped.
const LONGEST: Duration = Duration::from_millis(40);

/// A node whose list is slow.
struct Slow {
    node: Node,
    list: Arc<SlowMembership>,
}

impl Slow {
    async fn start(cluster: &Cluster, failures: u8) -> Self {
        let spot = cluster.spot();
        let list = SlowMembership::new(&cluster.list, cluster.seed ^ spot.index as u64, failures);
        let id = (NodeId(spot.index as u64 + 1), Incarnation(1));
        let node = cluster.start(&spot, id, list.clone(), |_| {}).await.unwrap();
        Self { node, list }
    }

    async fn receiver(&self) -> Receiver<Message> {
        loop {
            match self.node.receiver("n").capacity(4).await {
                Ok(receiver) => return receiver,
                Err(OpenError::Membership(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Waits until the list has just these receivers of this node, and nothing is left to change it.
    async fn lists(&self, receivers: &[ReceiverId]) {
        until("the list is right", || {
            let view = self.node.view().borrow().clone();
            let listed = view.receivers_on(self.node.id()).map(|(_, id)| *id).collect::<Vec<_>>();
            self.list.is_settled() && listed == receivers
        })
        .await;
    }
}

/// Takes some messages, if there are any.
fn take_some(receiver: &mut Receiver<Message>, oracle: &Oracle) {
    let log = oracle.log();
    for _ in 0..2 {
        let Some(found) = receiver.recv_delivery().now_or_never() else { return };
        log.lock().push(Entry::of(&found.unwrap().unwrap()));
    }
}

async fn opens_are_dropped(cluster: Arc<Cluster>) {
    let (a, b) = (cluster.node().await, Slow::start(&cluster, 0).await);
    let oracle = Oracle::new();
    let sender = a.sender::<Message>("n").await.unwrap();
    let sending = oracle.send(&sender, 0, 0..200, |n| n as usize);
    let mut opened = 0;
    for _ in 0..cluster.kind.scale(40, 5) {
        for polls in 0.. {
            let opening = b.node.receiver::<Message>("n").into_future();
            let Steps::Ready(receiver) = just_polls(polls, opening).await else {
                b.lists(&[]).await;
                continue;
            };
            let mut receiver = receiver.unwrap();
            b.lists(&[receiver.id()]).await;
            take_some(&mut receiver, &oracle);
            opened += 1;
            break;
        }
        b.lists(&[]).await;
        for polls in 0.. {
            let opening = b.node.sender::<Message>("other").into_future();
            if let Steps::Ready(sender) = just_polls(polls, opening).await {
                drop(sender.unwrap());
                break;
            }
        }
    }
    assert!(opened >= 5);
    let receiving = oracle.receive(b.receiver().await);
    sending.await.unwrap();
    oracle.settle(&a, "n").await;
    receiving.abort();
    b.lists(&[]).await;
    stop(b.node).await;
    drop(sender);
    stop(a).await;
}

async fn many_open_at_once(cluster: Arc<Cluster>) {
    // Every fifth change fails.
    let (a, b) = (cluster.node().await, Arc::new(Slow::start(&cluster, 20).await));
    let oracle = Arc::new(Oracle::new());
    let sender = a.sender::<Message>("n").await.unwrap();
    let sending = oracle.send(&sender, 0, 0..500, |n| n as usize);
    let open_some = |seed: u64| {
        let (b, oracle, mut impatience) =
            (b.clone(), oracle.clone(), Impatience::new(seed, LONGEST));
        let (least, mut opened) = (cluster.kind.scale(200, 20), 0);
        async move {
            // On a busy machine hardly any of so few is through in time.
            for round in 0.. {
                if round >= least && opened >= 2 {
                    break;
                }
                let opening = b.node.receiver::<Message>("n").capacity(4).into_future();
                match impatience.run(opening).await {
                    Steps::Ready(Ok(mut receiver)) => {
                        take_some(&mut receiver, &oracle);
                        opened += 1;
                    }
                    Steps::Ready(Err(OpenError::Membership(_))) | Steps::Dropped => {}
                    Steps::Ready(Err(error)) => panic!("{error}"),
                }
            }
            (opened, impatience.take_dropped())
        }
    };
    let openers: Vec<_> = (0..6).map(|n| tokio::spawn(open_some(cluster.seed ^ n))).collect();
    let (mut opened, mut dropped) = (0, 0);
    for opener in openers {
        let counts = opener.await.unwrap();
        (opened, dropped) = (opened + counts.0, dropped + counts.1);
    }
    assert!(opened > 10 && dropped > 10, "{opened} opened, {dropped} dropped");
    b.lists(&[]).await;
    let receiver = b.receiver().await;
    let id = receiver.id();
    let receiving = oracle.receive(receiver);
    b.lists(&[id]).await;
    sending.await.unwrap();
    oracle.settle(&a, "n").await;
    receiving.abort();
    b.lists(&[]).await;
    let Ok(b) = Arc::try_unwrap(b) else { panic!("all openers are through") };
    stop(b.node).await;
    drop(sender);
    stop(a).await;
}

async fn hand_backs_are_dropped(cluster: Arc<Cluster>) {
    let (a, b) = (cluster.node().await, Slow::start(&cluster, 0).await);
    let oracle = Oracle::new();
    let sender = a.sender::<Message>("n").await.unwrap();
    let mut next = 0;
    for _ in 0..cluster.kind.scale(20, 3) {
        for polls in 0.. {
            let mut receiver = b.receiver().await;
            while oracle.accepted() - oracle.received() < 4 {
                sender.send(message(0, next, 10)).await.unwrap();
                oracle.note_accepted(0, next);
                next += 1;
            }
            oracle.take(&mut receiver, 1).await;
            let gone = just_polls(polls, receiver.hand_back()).await;
            if gone == Steps::Ready(()) {
                assert_eq!(b.node.view().borrow().receivers_on(b.node.id()).count(), 0);
                break;
            }
            b.lists(&[]).await;
        }
    }
    let receiving = oracle.receive(b.receiver().await);
    sender.flush().await.unwrap();
    oracle.settle(&a, "n").await;
    receiving.abort();
    b.lists(&[]).await;
    stop(b.node).await;
    drop(sender);
    stop(a).await;
}

/// What waits for a list that is slow, or for a receiver that is not there yet.
async fn waits_are_dropped(cluster: Arc<Cluster>) {
    let (a, b) = (Slow::start(&cluster, 0).await, Slow::start(&cluster, 0).await);
    let oracle = Oracle::new();
    // For as long as there is a sender, the account goes on.
    let last = a.node.sender::<Message>("n").await.unwrap();
    let mut next = 0;
    for _ in 0..cluster.kind.scale(20, 3) {
        let sender = a.node.sender::<Message>("n").await.unwrap();
        let receivers = 1..=3;
        let opening = async {
            let mut open = Vec::new();
            for _ in receivers.clone() {
                open.push(b.receiver().await);
            }
            open
        };
        let waiting = async {
            for count in receivers.clone() {
                let mut polls = 0;
                while just_polls(polls, sender.wait_for_receivers(count)).await == Steps::Dropped {
                    assert_eq!(after_polls(polls, sender.closed()).await, Steps::Dropped);
                    polls += 1;
                }
            }
            // The message is in the first permit that comes before it is given up.
            let mut polls = 0;
            loop {
                let reserving = sender.clone().reserve_owned();
                if let Steps::Ready(permit) = just_polls(polls, reserving).await {
                    drop(permit.unwrap().send(message(0, next, 10)).unwrap());
                    return;
                }
                polls += 1;
            }
        };
        let (mut open, ()) = tokio::join!(opening, waiting);
        oracle.note_accepted(0, next);
        next += 1;
        let log = oracle.log();
        let taking = async {
            tokio::time::sleep(Duration::from_millis(2)).await;
            let taking = open.iter_mut().map(|receiver| receiver.recv_delivery().boxed());
            let (taken, ..) = futures::future::select_all(taking).await;
            log.lock().push(Entry::of(&taken.unwrap().unwrap()));
        };
        let closing = async {
            let mut polls = 0;
            while just_polls(polls, sender.clone().close()).await == Steps::Dropped {
                polls += 1;
            }
        };
        tokio::join!(taking, closing);
        drop(open);
        b.lists(&[]).await;
    }
    let receiving = oracle.receive(b.receiver().await);
    last.send(message(0, next, 10)).await.unwrap();
    oracle.note_accepted(0, next);
    last.flush().await.unwrap();
    oracle.settle(&a.node, "n").await;
    receiving.abort();
    b.lists(&[]).await;
    drop(last);
    stop(b.node).await;
    stop(a.node).await;
}

async fn starts_are_dropped(cluster: Arc<Cluster>) {
    let a = cluster.node().await;
    let spot = cluster.spot();
    let mut polls = 1;
    for incarnation in 1.. {
        let list = SlowMembership::new(&cluster.list, cluster.seed ^ incarnation, 0);
        let id = (NodeId(7), Incarnation(incarnation));
        let starting = cluster.start(&spot, id, list, |_| {});
        let started = just_polls(polls, starting).await;
        if let Steps::Ready(Err(StartError::Listen(_))) = started {
            // The one before has been told to end, and has not heard it yet.
            assert!(incarnation < 1000, "a listener ends");
            yield_now().await;
            continue;
        }
        polls += 1;
        if let Steps::Ready(node) = started {
            let node = node.unwrap();
            // It listens where those before it did, and others find it there.
            let receiving = Oracle::new();
            let task = receiving.receive(node.receiver("n").await.unwrap());
            let sender = a.sender::<Message>("n").await.unwrap();
            sender.send(message(0, 0, 10)).await.unwrap();
            receiving.note_accepted(0, 0);
            receiving.settle(&a, "n").await;
            task.abort();
            stop(node).await;
            break;
        }
        assert!(polls < 100, "a start comes to an end");
    }
    stop(a).await;
}

async fn shutdowns_are_dropped(cluster: Arc<Cluster>) {
    let a = cluster.node().await;
    for polls in 1.. {
        let b = Slow::start(&cluster, 0).await;
        let name = format!("n{polls}");
        let oracle = Oracle::new();
        let sender = b.node.sender::<Message>(&name).await.unwrap();
        let receiving = oracle.receive(a.receiver(&name).await.unwrap());
        let sending = oracle.send(&sender, 0, 0..20, |n| n as usize);
        sender.wait_for_receivers(1).await.unwrap();
        let opening = tokio::spawn(b.node.receiver::<Message>("n").into_future());
        let stopped = just_polls(polls, b.node.clone().shutdown()).await;
        // Stopped in good order, or abruptly: nothing of it is left, and nobody waits for it.
        sender.closed().await;
        sending.await.unwrap();
        drop(opening.await.unwrap());
        until("its tasks end", || b.node.tasks() == 0).await;
        assert!(b.node.receiver::<Message>("n").await.is_err());
        oracle.check(&[b.node.ledger(&name)]).await;
        receiving.abort();
        if let Steps::Ready(stopped) = stopped {
            stopped.unwrap();
            let ledger = b.node.ledger(&name);
            assert_eq!((ledger.taken, ledger.in_flight), (oracle.accepted(), 0), "{ledger}");
            assert!(!a.view().borrow().nodes.contains_key(&b.node.id()));
            break;
        }
        assert!(polls < 1000, "a shutdown comes to an end");
    }
    stop(a).await;
}

async fn strangers_are_taken_off(cluster: Arc<Cluster>) {
    let b = Slow::start(&cluster, 30).await;
    let mine = b.receiver().await;
    let boot = b.node.view().borrow().nodes[&b.node.id()].boot;
    let namespace = Namespace::new("n").unwrap();
    let receiver = |boot: Boot, counter: u64| {
        let id = ReceiverId { boot, counter };
        Change::Receiver { namespace: namespace.clone(), id, node: b.node.id() }
    };
    for counter in 0..cluster.kind.scale(50, 10) {
        // Late changes: a receiver that was never opened here comes, and the one that was goes.
        cluster.list.change(&[receiver(boot, 1000 + counter)]);
        let id = mine.id();
        let gone = Change::ReceiverGone { namespace: namespace.clone(), id };
        cluster.list.change(&[gone, receiver(boot, u64::MAX)]);
        b.lists(&[mine.id()]).await;
    }
    drop(mine);
    b.lists(&[]).await;
    stop(b.node).await;
}
