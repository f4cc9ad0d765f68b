//! Every public async function is dropped at every await point: nothing is lost, nobody is disturbed.

use std::{sync::Arc, time::Duration};

use dchan_conformance::cluster::{
    Cluster, Entry, Message, Oracle, Steps, after_polls, message, stop, until,
};
use dchan_core::{Namespace, Node, Receiver, Sender};

dchan_conformance::cluster_tests![
    sends_are_dropped,
    reservations_are_dropped,
    receives_are_dropped,
    waits_are_dropped,
    opens_are_dropped,
    hand_backs_are_dropped,
    shutdowns_are_dropped,
];

/// How many polls are tried: no function here needs more.
const MOST: usize = 6;
/// What the receiver has room for.
const CAPACITY: u64 = 4;

struct Pair {
    oracle: Oracle,
    sender: Sender<Message>,
    next: u64,
    a: Node,
    b: Node,
}

impl Pair {
    async fn new(cluster: &Cluster) -> Self {
        let (a, b) = (cluster.node().await, cluster.node().await);
        let sender = a.sender::<Message>("n").await.unwrap();
        Self { oracle: Oracle::new(), sender, next: 0, a, b }
    }

    async fn receiver(&self) -> Receiver<Message> {
        self.b.receiver("n").capacity(CAPACITY as usize).await.unwrap()
    }

    fn accepted(&mut self, accepted: bool) {
        if accepted {
            self.oracle.note_accepted(0, self.next);
            self.next += 1;
        }
    }

    fn message(&self) -> Message {
        message(0, self.next, 10)
    }

    /// Others go on as if nothing had been, and the accounts are right.
    async fn end(mut self, receiving: Option<Receiver<Message>>) {
        let receiver = match receiving {
            Some(receiver) => receiver,
            None => self.receiver().await,
        };
        let receiving = self.oracle.receive(receiver);
        for _ in 0..20 {
            self.sender.send(self.message()).await.unwrap();
            self.accepted(true);
        }
        self.oracle.settle(&self.a, "n").await;
        receiving.abort();
        let _aborted = receiving.await;
        no_ghosts(&self.b).await;
        stop(self.a).await;
        stop(self.b).await;
    }
}

async fn no_ghosts(node: &Node) {
    let name = Namespace::new("n").unwrap();
    until("no ghost is on the list", || node.view().borrow().receivers_of(&name).count() == 0)
        .await;
}

async fn sends_are_dropped(cluster: Arc<Cluster>) {
    let mut pair = Pair::new(&cluster).await;
    let (mut receiver, mut round) = (None, 0);
    // Until it is full, however long it takes until the first is through.
    while round < MOST * 6 || pair.next < CAPACITY {
        assert!(round < MOST * 500, "no more than {} are accepted", pair.next);
        let polls = round % MOST;
        // Without a receiver, with one that has room, and with a full one.
        if round == MOST * 2 {
            receiver = Some(pair.receiver().await);
        }
        let sent = match round % 3 {
            0 => after_polls(polls, pair.sender.send(pair.message())).await == Steps::Ready(Ok(())),
            1 => matches!(
                after_polls(polls, pair.sender.send_tracked(pair.message())).await,
                Steps::Ready(Ok(_))
            ),
            _ => {
                let time = Duration::from_millis(5);
                let sent = after_polls(polls, pair.sender.send_timeout(pair.message(), time)).await;
                sent == Steps::Ready(Ok(()))
            }
        };
        pair.accepted(sent);
        round += 1;
    }
    pair.end(receiver).await;
}

async fn reservations_are_dropped(cluster: Arc<Cluster>) {
    let mut pair = Pair::new(&cluster).await;
    let mut receiver = pair.receiver().await;
    for round in 0..MOST * 5 {
        let polls = round % MOST;
        let sender = pair.sender.clone();
        if let Steps::Ready(permit) = after_polls(polls, sender.reserve()).await {
            let permit = permit.unwrap();
            if round % 2 == 0 {
                permit.send(pair.message()).unwrap();
                pair.accepted(true);
            }
        }
        if let Steps::Ready(permit) = after_polls(polls, sender.clone().reserve_owned()).await {
            drop(permit.unwrap().send(pair.message()).unwrap());
            pair.accepted(true);
        }
        if round % 4 == 3 {
            let waiting = pair.oracle.accepted() - pair.oracle.received();
            pair.oracle.take(&mut receiver, waiting).await;
        }
    }
    pair.end(Some(receiver)).await;
}

async fn receives_are_dropped(cluster: Arc<Cluster>) {
    let mut pair = Pair::new(&cluster).await;
    let mut receiver = pair.receiver().await;
    let log = pair.oracle.log();
    let note = |(handle, number, _): Message| {
        let entry = Entry { handle, number, rerouted: false, redelivered: false };
        log.lock().push(entry);
    };
    for round in 0..MOST * 6 {
        let polls = round % MOST;
        if round % 2 == 0 {
            // What is on its way still has taken all the room.
            if pair.oracle.accepted() == pair.oracle.received() + CAPACITY {
                note(receiver.recv().await.unwrap().unwrap());
            }
            pair.sender.send(pair.message()).await.unwrap();
            pair.accepted(true);
        }
        match round % 3 {
            0 => {
                if let Steps::Ready(found) = after_polls(polls, receiver.recv()).await {
                    note(found.unwrap().unwrap());
                }
            }
            1 => {
                let mut found = Vec::new();
                let _done = after_polls(polls, receiver.recv_many(&mut found, 3)).await;
                found.into_iter().for_each(note);
            }
            _ => {
                if let Steps::Ready(found) = after_polls(polls, receiver.recv_delivery()).await {
                    log.lock().push(Entry::of(&found.unwrap().unwrap()));
                }
            }
        }
        while let Ok(found) = receiver.try_recv() {
            note(found);
        }
    }
    pair.end(Some(receiver)).await;
}

async fn waits_are_dropped(cluster: Arc<Cluster>) {
    let mut pair = Pair::new(&cluster).await;
    let mut receiver = pair.receiver().await;
    for polls in 0..MOST {
        let mut receipt = pair.sender.send_tracked(pair.message()).await.unwrap();
        pair.accepted(true);
        assert_eq!(after_polls(polls, receipt.taken()).await, Steps::Dropped);
        assert_eq!(after_polls(polls, pair.sender.flush()).await, Steps::Dropped);
        assert_eq!(after_polls(polls, pair.sender.clone().close()).await, Steps::Dropped);
        assert_eq!(after_polls(polls, pair.sender.closed()).await, Steps::Dropped);
        assert_eq!(after_polls(polls, pair.sender.wait_for_receivers(2)).await, Steps::Dropped);
        let _late = after_polls(polls, receipt.taken_within(Duration::from_millis(5))).await;
        pair.oracle.take(&mut receiver, 1).await;
        receipt.taken_within(Duration::from_secs(20)).await.unwrap();
    }
    pair.sender.flush().await.unwrap();
    pair.end(Some(receiver)).await;
}

async fn opens_are_dropped(cluster: Arc<Cluster>) {
    let pair = Pair::new(&cluster).await;
    for polls in 0..MOST {
        for node in [&pair.a, &pair.b] {
            drop(
                after_polls(
                    polls,
                    std::future::IntoFuture::into_future(node.receiver::<Message>("n")),
                )
                .await,
            );
            drop(
                after_polls(
                    polls,
                    std::future::IntoFuture::into_future(node.sender::<Message>("n")),
                )
                .await,
            );
        }
    }
    no_ghosts(&pair.a).await;
    pair.end(None).await;
}

async fn hand_backs_are_dropped(cluster: Arc<Cluster>) {
    let mut pair = Pair::new(&cluster).await;
    for polls in 0..MOST {
        let mut receiver = pair.receiver().await;
        for _ in 0..4 {
            pair.sender.send(pair.message()).await.unwrap();
            pair.accepted(true);
        }
        pair.oracle.take(&mut receiver, 1).await;
        let _gone = after_polls(polls, receiver.hand_back()).await;
        no_ghosts(&pair.b).await;
        // What it had goes to the next one.
        let mut next = pair.receiver().await;
        let waiting = pair.oracle.accepted() - pair.oracle.received();
        pair.oracle.take(&mut next, waiting).await;
    }
    pair.end(None).await;
}

async fn shutdowns_are_dropped(cluster: Arc<Cluster>) {
    for polls in 0..MOST {
        let mut pair = Pair::new(&cluster).await;
        let mut receiver = pair.receiver().await;
        for _ in 0..3 {
            pair.sender.send(pair.message()).await.unwrap();
            pair.accepted(true);
        }
        pair.oracle.take(&mut receiver, 1).await;
        // A node whose shutdown is dropped has stopped, abruptly. Nothing of it is left.
        let last = pair.a.clone();
        let _stopped = after_polls(polls, pair.a.clone().shutdown()).await;
        if polls > 0 {
            until("its tasks end", || last.tasks() == 0).await;
            assert!(pair.sender.is_closed());
            assert!(pair.sender.send(pair.message()).await.is_err());
        }
        let ledger = last.ledger("n");
        pair.oracle.check(&[ledger]).await;
        drop((pair.sender, pair.a));
        drop(receiver);
        stop(pair.b).await;
        if polls == 0 {
            let _late = last.shutdown_within(Duration::from_millis(200)).await;
        }
    }
}
