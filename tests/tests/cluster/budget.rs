//! What a node holds for all receivers together, and who waits when that is used up.

use std::{sync::Arc, time::Duration};

use dchan_conformance::cluster::{
    Cluster, Message, Oracle, PATIENCE, Steps, after_polls, message, stop, until,
};
use dchan_core::{Node, Receiver, SendTimeoutError, Sender, TrySendError};
use tokio::time::{Instant, sleep};

dchan_conformance::cluster_tests![
    stopped_receivers_share_the_budget,
    room_goes_to_whoever_waits,
    room_that_went_to_another_is_not_used,
    all_who_wait_have_their_turn,
    room_is_waited_for_once_a_permit_is_dropped,
    permits_are_kept_when_there_is_no_room,
    what_is_handed_back_counts_until_it_is_taken,
    large_messages_pass_a_small_budget,
];

/// What every receiver may have in any case.
const MINIMUM: u64 = 64 << 10;
const SIZE: usize = 1000;

/// A channel from one node to another, and what is known of it.
struct Channel {
    name: String,
    oracle: Oracle,
    sender: Sender<Message>,
    next: u64,
}

impl Channel {
    async fn open(name: &str, from: &Node, to: &Node) -> (Self, Receiver<Message>) {
        let receiver = to.receiver(name).await.unwrap();
        let sender = from.sender(name).await.unwrap();
        (Self { name: name.into(), oracle: Oracle::new(), sender, next: 0 }, receiver)
    }

    fn message(&self) -> Message {
        message(0, self.next, SIZE)
    }

    fn note(&mut self) {
        self.oracle.note_accepted(0, self.next);
        self.next += 1;
    }

    async fn send(&mut self) {
        self.sender.send(self.message()).await.unwrap();
        self.note();
    }

    /// Sends for as long as there is room. Returns how many bytes are held then.
    async fn fill(&mut self) -> u64 {
        let before = self.next;
        // The first one waits for the lane.
        self.send().await;
        while self.sender.try_send(self.message()).is_ok() {
            self.note();
        }
        (self.next - before) * SIZE as u64
    }

    /// Waits until there is no receiver. What is accepted until then waits for the next one.
    async fn is_alone(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.sender.try_send(self.message()) {
                Ok(()) => self.note(),
                Err(TrySendError::NoReceiver(_)) => return,
                Err(_) => {}
            }
            assert!(Instant::now() < deadline, "there is still somebody to take it");
            sleep(Duration::from_millis(2)).await;
        }
    }

    async fn settle(&self, from: &Node) {
        self.oracle.settle(from, &self.name).await;
    }
}

async fn nodes(cluster: &Cluster, retained: u64) -> (Node, Node) {
    let a = cluster.node_with(|config| config.limits.retained = retained).await;
    (a, cluster.node().await)
}

async fn stopped_receivers_share_the_budget(cluster: Arc<Cluster>) {
    const COUNT: u64 = 8;
    const BUDGET: u64 = 256 << 10;
    let (a, b) = nodes(&cluster, BUDGET).await;
    let mut stopped = Vec::new();
    for index in 0..COUNT {
        let (channel, receiver) = Channel::open(&format!("stopped{index}"), &a, &b).await;
        // More than the receiver has room for: it would hold 1 MiB.
        let sending = channel.oracle.send(&channel.sender, 0, 0..1500, |_| SIZE);
        stopped.push((channel, receiver, sending));
    }
    let held = |channel: &Channel| channel.oracle.accepted() * SIZE as u64;
    let all_held = || stopped.iter().map(|(channel, ..)| held(channel)).sum::<u64>();
    let (flowing, receiver) = Channel::open("flowing", &a, &b).await;
    let _receiving = flowing.oracle.receive(receiver);
    let starved =
        || stopped.iter().find(|(channel, ..)| held(channel) + SIZE as u64 <= MINIMUM * 9 / 10);
    // What is left of the last block may not be worth lending.
    let lent = || a.metrics().retained.bytes + MINIMUM / 4 >= BUDGET;
    let deadline = Instant::now() + PATIENCE;
    // Until all is used, and the others have not got any further while a good deal went by.
    for round in 0.. {
        let before = all_held();
        let numbers = round * 500..(round + 1) * 500;
        flowing.oracle.send(&flowing.sender, 0, numbers, |_| SIZE).await.unwrap();
        flowing.settle(&a).await;
        if before == all_held() && before > BUDGET && starved().is_none() && lent() {
            break;
        }
        let late = Instant::now() > deadline;
        assert!(
            !late,
            "{:?} is starved: {:?}",
            starved().map(|it| &it.0.name),
            a.metrics().retained
        );
    }
    let most = BUDGET + COUNT * (MINIMUM + SIZE as u64);
    assert!(all_held() <= most, "{} bytes are held: at most {most}", all_held());
    let shown = a.metrics().retained;
    assert!(shown.limit == BUDGET && shown.waiting > 0, "{shown:?}");

    let mut receiving = Vec::new();
    for (channel, receiver, sending) in stopped {
        receiving.push(channel.oracle.receive(receiver));
        sending.await.unwrap();
        channel.settle(&a).await;
    }
    // The last turns in line are those of lanes that need nothing any more, and give it back.
    until("nothing is lent", || {
        let shown = a.metrics().retained;
        (shown.bytes, shown.waiting) == (0, 0)
    })
    .await;
    stop(b).await;
    for receiving in receiving {
        receiving.await.unwrap();
    }
    stop(a).await;
}

async fn room_goes_to_whoever_waits(cluster: Arc<Cluster>) {
    let (a, b) = nodes(&cluster, MINIMUM).await;
    let (mut first, first_receiver) = Channel::open("first", &a, &b).await;
    let (mut other, other_receiver) = Channel::open("other", &a, &b).await;
    let has = first.fill().await;
    assert!((MINIMUM * 3 / 2..=2 * MINIMUM + 1000).contains(&has), "all there is: {has}");
    let has = other.fill().await;
    assert!((MINIMUM * 3 / 4..=MINIMUM + 1000).contains(&has), "the minimum: {has}");

    for channel in [&first, &other] {
        let sent = channel.sender.try_send(channel.message());
        assert!(matches!(sent, Err(TrySendError::Full(_))), "{sent:?}");
        let sent = channel.sender.send_timeout(channel.message(), Duration::from_millis(5)).await;
        assert!(matches!(sent, Err(SendTimeoutError::Timeout(_))), "{sent:?}");
        for polls in 1..4 {
            let sent = after_polls(polls, channel.sender.send(channel.message())).await;
            assert!(matches!(sent, Steps::Dropped), "{sent:?}");
        }
    }
    // One that was first and is gone does not keep the next from being woken.
    let gone = other.oracle.send(&other.sender, 7, 0..1, |_| SIZE);
    let waiting = other.sender.clone();
    let message = other.message();
    let waiting = tokio::spawn(async move { waiting.send(message).await });
    tokio::task::yield_now().await;
    gone.abort();
    let _aborted = gone.await;
    assert!(!waiting.is_finished());
    let receiving = first.oracle.receive(first_receiver);
    // Nothing of its own channel is taken.
    waiting.await.unwrap().unwrap();
    other.note();
    // The room of the first comes free as its receiver gets on.
    let mut more = 0;
    while more <= MINIMUM / 2 {
        more += other.fill().await;
    }
    first.settle(&a).await;
    first.fill().await;
    first.settle(&a).await;
    let other_receiving = other.oracle.receive(other_receiver);
    other.settle(&a).await;
    stop(a).await;
    stop(b).await;
    receiving.await.unwrap();
    other_receiving.await.unwrap();
}

/// What a lane had once may be another's by the time that it has messages again.
async fn room_that_went_to_another_is_not_used(cluster: Arc<Cluster>) {
    let (a, b) = nodes(&cluster, MINIMUM).await;
    let (mut first, mut first_receiver) = Channel::open("first", &a, &b).await;
    let (mut other, other_receiver) = Channel::open("other", &a, &b).await;
    let has = first.fill().await;
    assert!(has > MINIMUM * 3 / 2, "all there is: {has}");
    first.oracle.take(&mut first_receiver, has / SIZE as u64).await;
    first.settle(&a).await;
    let has = other.fill().await;
    assert!(has > MINIMUM * 3 / 2, "it is the other's: {has}");
    let has = first.fill().await;
    assert!(has <= MINIMUM + SIZE as u64, "there is no more than the minimum: {has}");
    let receiving = [first.oracle.receive(first_receiver), other.oracle.receive(other_receiver)];
    first.settle(&a).await;
    other.settle(&a).await;
    stop(a).await;
    stop(b).await;
    for receiving in receiving {
        receiving.await.unwrap();
    }
}

async fn all_who_wait_have_their_turn(cluster: Arc<Cluster>) {
    let (a, b) = nodes(&cluster, 4 * MINIMUM).await;
    let (mut first, mut first_receiver) = Channel::open("first", &a, &b).await;
    let (mut other, other_receiver) = Channel::open("other", &a, &b).await;
    let count = first.fill().await / SIZE as u64;
    other.fill().await;
    // Each of them uses up more than comes free at one time.
    let waiting = [7, 8].map(|handle| other.oracle.send(&other.sender, handle, 0..1, |_| 100_000));
    first.oracle.take(&mut first_receiver, count / 2).await;
    until("one is through", || waiting.iter().any(|sent| sent.is_finished())).await;
    first.oracle.take(&mut first_receiver, count - count / 2).await;
    for sent in waiting {
        sent.await.unwrap();
    }
    first.settle(&a).await;
    let receiving = other.oracle.receive(other_receiver);
    other.settle(&a).await;
    drop(first_receiver);
    stop(b).await;
    stop(a).await;
    receiving.await.unwrap();
}

async fn room_is_waited_for_once_a_permit_is_dropped(cluster: Arc<Cluster>) {
    let (a, b) = nodes(&cluster, MINIMUM).await;
    let (mut first, first_receiver) = Channel::open("first", &a, &b).await;
    first.fill().await;
    // The receiver has room for ten: some are here, and permits hold the rest.
    let receiver = b.receiver("other").capacity(10).await.unwrap();
    let sender = a.sender::<Message>("other").await.unwrap();
    let oracle = Oracle::new();
    let permit = sender.reserve().await.unwrap();
    let others = [sender.reserve().await.unwrap(), sender.reserve().await.unwrap()];
    oracle.send(&sender, 0, 0..7, |_| 10_000).await.unwrap();
    let waiting = oracle.send(&sender, 1, 0..1, |_| 10);
    tokio::task::yield_now().await;
    // Now the receiver has room, but this node has none.
    drop(permit);
    let receiving = first.oracle.receive(first_receiver);
    waiting.await.unwrap();
    first.settle(&a).await;
    drop(others);
    let other_receiving = oracle.receive(receiver);
    oracle.settle(&a, "other").await;
    stop(b).await;
    stop(a).await;
    receiving.await.unwrap();
    other_receiving.await.unwrap();
}

async fn permits_are_kept_when_there_is_no_room(cluster: Arc<Cluster>) {
    let (a, b) = nodes(&cluster, MINIMUM).await;
    let (mut channel, receiver) = Channel::open("n", &a, &b).await;
    let sender = channel.sender.clone();
    let permits = [sender.reserve().await.unwrap(), sender.reserve().await.unwrap()];
    let dropped = sender.reserve().await.unwrap();
    channel.fill().await;
    assert!(matches!(after_polls(3, sender.reserve()).await, Steps::Dropped));
    drop(dropped);
    assert!(matches!(sender.try_send(channel.message()), Err(TrySendError::Full(_))));
    for permit in permits {
        permit.send(channel.message()).unwrap();
        channel.note();
    }
    let waiting = sender.clone();
    let waiting = tokio::spawn(async move { waiting.reserve_owned().await.map(drop) });
    let receiving = channel.oracle.receive(receiver);
    waiting.await.unwrap().unwrap();
    channel.send().await;
    channel.settle(&a).await;
    stop(b).await;
    stop(a).await;
    receiving.await.unwrap();
}

async fn what_is_handed_back_counts_until_it_is_taken(cluster: Arc<Cluster>) {
    let (a, b) = nodes(&cluster, 2 * MINIMUM).await;
    let (mut channel, mut receiver) = Channel::open("n", &a, &b).await;
    let (mut other, mut other_receiver) = Channel::open("m", &a, &b).await;
    // To another process, and to this one.
    for next in [&b, &a, &b] {
        let has = channel.fill().await;
        assert!(has > 2 * MINIMUM, "nothing of the round before counts any more: {has}");
        receiver.hand_back().await;
        channel.is_alone().await;
        let has = other.fill().await;
        assert!(has <= MINIMUM + 1000, "what has no receiver is held, too: {has}");
        other.oracle.take(&mut other_receiver, has / SIZE as u64).await;
        other.settle(&a).await;
        let receiving = channel.oracle.receive(next.receiver("n").await.unwrap());
        channel.settle(&a).await;
        receiving.abort();
        let _aborted = receiving.await;
        channel.is_alone().await;
        receiver = b.receiver("n").await.unwrap();
    }
    let receiving = channel.oracle.receive(receiver);
    channel.settle(&a).await;
    drop(other_receiver);
    stop(b).await;
    receiving.await.unwrap();
    stop(a).await;
}

async fn large_messages_pass_a_small_budget(cluster: Arc<Cluster>) {
    let (a, b) = nodes(&cluster, MINIMUM).await;
    let mut sending = Vec::new();
    let mut channels = Vec::new();
    for name in ["one", "two", "three"] {
        let (channel, receiver) = Channel::open(name, &a, &b).await;
        let sizes = |n| if n % 3 == 0 { 3 << 20 } else { n as usize * 1000 };
        sending.push(channel.oracle.send(&channel.sender, 0, 0..12, sizes));
        channels.push((channel.oracle.receive(receiver), channel));
    }
    for sending in sending {
        sending.await.unwrap();
    }
    for (receiving, channel) in channels {
        channel.settle(&a).await;
        receiving.abort();
        let _aborted = receiving.await;
    }
    stop(a).await;
    stop(b).await;
}
