//! A peer that sends what it must not send.

use std::{sync::Arc, time::Duration};

use dchan_conformance::{
    adversary::{
        Adversary, attach_to,
        wire::{self, Attach, Control, Credit, Stamp, Want},
    },
    cluster::{Cluster, Message, PATIENCE, message, until},
};
use dchan_core::{Breach, Receiver, Sender};
use tokio::time::{Instant, timeout};

use crate::pair::Pair;

dchan_conformance::cluster_tests![
    what_breaks_a_lane_ends_the_link_and_nothing_else,
    what_breaks_the_link_is_named,
    lanes_without_number,
    lanes_to_nowhere,
    lanes_that_nobody_knows,
    connections_that_are_history,
    goodbye_in_the_midst,
    a_large_message_that_never_ends,
    credit_that_is_not_given_back,
];

type Frames = Vec<(u64, Vec<u8>)>;

const LANE: u64 = 16;
const PART: usize = 65 * 1024;
/// On a busy machine, the adversary itself may be late with its heartbeats.
const SILENCE: Duration = Duration::from_secs(10);

fn data(frame_no: u64, first_seq: u64, messages: &[Vec<u8>]) -> (u64, Vec<u8>) {
    let stamp = Stamp { frame_no, first_seq, count: messages.len() as u32, settled: 0 };
    (LANE, wire::data(stamp, messages))
}

fn part(frame_no: u64, first: bool, last: bool, total: u64, len: usize) -> (u64, Vec<u8>) {
    let stamp = Stamp { frame_no, first_seq: 0, count: last.into(), settled: 0 };
    (LANE, wire::chunk(stamp, first, last, total, &vec![0; len]))
}

/// What is wrong after a lane was opened, and what it is called.
fn lane_cases(credit: &Credit) -> Vec<(&'static str, Breach, Frames)> {
    use Breach::*;
    let one = || vec![vec![1u8]];
    let many = |count: u64| vec![Vec::new(); count as usize];
    let miscounted = Stamp { count: 2, ..Stamp::default() };
    let want = |want: Want| vec![(LANE, wire::want(&want))];
    vec![
        ("a gap", Order, vec![data(1, 0, &one())]),
        ("a repeat", Order, vec![data(0, 0, &one()), data(0, 1, &one())]),
        ("a number twice", Order, vec![data(0, 0, &one()), data(1, 0, &one())]),
        ("a number skipped", Order, vec![data(0, 5, &one())]),
        ("no credit", Credit, vec![data(0, 0, &many(credit.limit_messages + 1))]),
        ("a wrong count", Undecodable, vec![(LANE, wire::data(miscounted, &one()))]),
        ("no records", Undecodable, vec![data(0, 0, &[])]),
        ("a short stamp", Undecodable, vec![(LANE, vec![2, 0, 0])]),
        ("an unknown kind", Undecodable, vec![(LANE, vec![99])]),
        ("an empty frame", Undecodable, vec![(LANE, vec![])]),
        (
            "a record of 16 MiB",
            TooLarge,
            vec![(LANE, {
                let mut frame = data(0, 0, &one()).1;
                frame[29..32].copy_from_slice(&[0xff; 3]);
                frame
            })],
        ),
        ("half a message", Part, vec![part(0, false, true, 1 << 20, PART)]),
        ("a part that is no part", Part, vec![part(0, true, false, 1 << 20, 10)]),
        ("a last part that is not", Part, vec![part(0, true, true, 1 << 20, PART)]),
        ("2^64 bytes", TooLarge, vec![part(0, true, false, u64::MAX, PART)]),
        (
            "other data in between",
            Part,
            vec![part(0, true, false, 3 * PART as u64, PART), data(1, 0, &one())],
        ),
        (
            "another total",
            Part,
            vec![
                part(0, true, false, 3 * PART as u64, PART),
                part(1, false, false, 4 * PART as u64, PART),
            ],
        ),
        (
            "parts without credit",
            Credit,
            (0..1000).map(|at| part(at, at == 0, false, 60 << 20, PART)).collect(),
        ),
        ("room without end", Credit, want(Want { need_bytes: u64::MAX, ..Want::default() })),
        (
            "more back than there was",
            Credit,
            want(Want { returned_messages: credit.limit_messages + 1, ..Want::default() }),
        ),
        (
            "bytes back that were not",
            Credit,
            want(Want { returned_bytes: u64::MAX, ..Want::default() }),
        ),
        ("data of a lane never opened", UnknownLane, vec![(99, data(0, 0, &one()).1)]),
        ("a wish of a lane never opened", UnknownLane, vec![(99, wire::want(&Want::default()))]),
        ("a lane that is not in use", UnknownLane, vec![(7, vec![])]),
    ]
}

async fn what_breaks_a_lane_ends_the_link_and_nothing_else(cluster: Arc<Cluster>) {
    let pair = Pair::start(&cluster).await;
    // More than it has room for is to fit into a frame.
    let receiver = pair.b.receiver::<Vec<u8>>("bait").capacity(1000).await.unwrap();
    let count = lane_cases(&Credit::default()).len();
    for at in 0..count {
        let mut adversary = pair.adversary().await;
        let credit = adversary.open(LANE, &receiver).await;
        let (what, kind, frames) = lane_cases(&credit).swap_remove(at);
        let before = pair.seen(kind);
        adversary.frames(frames).await;
        until(&format!("{what} is {kind}"), || pair.seen(kind) == before + 1).await;
        adversary.cut().await;
    }
    assert_eq!(pair.breaches().values().sum::<u64>(), count as u64, "{:?}", pair.breaches());
    drop(receiver);
    pair.finish().await;
}

async fn what_breaks_the_link_is_named(cluster: Arc<Cluster>) {
    use Breach::*;
    let pair = Pair::start(&cluster).await;
    let hello = pair.hello();
    let of_99 = wire::Credit { lane: 99, ..wire::Credit::default() };
    let cases: Vec<(Breach, Vec<u8>)> = vec![
        (Undecodable, vec![200, 1, 2]),
        (Undecodable, vec![5, 0xff, 0xff]),
        (Untimely, wire::controls(&[Control::Hello(hello.clone())])),
        (Untimely, wire::controls(&[Control::Welcome(hello)])),
        (Future, wire::controls(&[Control::Received(u64::MAX)])),
        (UnknownLane, wire::controls(&[Control::Credit(of_99)])),
        (UnknownLane, wire::controls(&[Control::Reclaim(1 << 40)])),
        (UnknownLane, wire::controls(&[Control::Stop(0)])),
        (UnknownLane, wire::controls(&[Control::NotFound(1)])),
        (UnknownLane, wire::controls(&[Control::Closed { lane: 0, taken: 0, skipped: vec![] }])),
    ];
    for (kind, frame) in cases {
        let mut adversary = pair.adversary().await;
        let before = pair.seen(kind);
        adversary.frame(wire::CONTROL, frame).await;
        adversary.cut().await;
        pair.sees(kind, before + 1).await;
    }
    pair.finish().await;
}

async fn lanes_without_number(cluster: Arc<Cluster>) {
    let pair = Pair::start_with(&cluster, |config| config.limits.lanes = 600).await;
    let receivers = [
        pair.b.receiver::<Message>("one").await.unwrap(),
        pair.b.receiver::<Message>("two").await.unwrap(),
        pair.b.receiver::<Message>("three").await.unwrap(),
    ];
    let attach_all = |to: &Receiver<Message>, from: u64, count: u64| -> Frames {
        (from..from + count).map(|lane| (lane, wire::attach(&attach_to(to)))).collect()
    };
    // One receiver has room for 256 of a peer, and the whole node for 600.
    let mut adversary = pair.adversary().await;
    adversary.frames(attach_all(&receivers[0], LANE, 257)).await;
    adversary.cut().await;
    pair.sees(Breach::TooManyLanes, 1).await;
    pair.carry_on().await;
    let mut adversary = pair.adversary().await;
    for (receiver, from) in receivers.iter().zip([100, 400, 700]) {
        adversary.frames(attach_all(receiver, from, 201)).await;
    }
    adversary.cut().await;
    pair.sees(Breach::TooManyLanes, 2).await;
    drop(receivers);
    pair.finish().await;
}

async fn lanes_to_nowhere(cluster: Arc<Cluster>) {
    let pair = Pair::start(&cluster).await;
    let mut adversary = pair.adversary().await;
    let count = cluster.kind.scale(20_000, 5_000);
    let nowhere = |at: u64| Attach {
        namespace: format!("nowhere.{at}"),
        receiver: (at, at),
        fresh: true,
        taken: 0,
        wanting: true,
    };
    for from in (0..count).step_by(500) {
        let lanes = (from..from + 500).map(|at| (LANE + at, wire::attach(&nowhere(at))));
        assert!(adversary.frames(lanes).await);
    }
    let closed = |control: &Control| matches!(control, Control::Closed { taken: 0, skipped, .. } if skipped.is_empty());
    all_heard(&mut adversary, count, closed).await;
    // Nothing of them is here: the same ids are as new.
    assert!(adversary.frame(LANE, wire::attach(&nowhere(1))).await);
    all_heard(&mut adversary, count + 1, closed).await;
    // Names that are none.
    for namespace in ["x".repeat(256), String::new(), "a.*".into()] {
        let before = pair.seen(Breach::Undecodable);
        let mut adversary = pair.adversary().await;
        adversary.frame(LANE, wire::attach(&Attach { namespace, ..nowhere(1) })).await;
        adversary.cut().await;
        pair.sees(Breach::Undecodable, before + 1).await;
    }
    let mut not_utf8 = wire::attach(&nowhere(1));
    not_utf8[3] = 0xff;
    let mut other = pair.adversary().await;
    other.frame(LANE, not_utf8).await;
    other.cut().await;
    pair.sees(Breach::Undecodable, 4).await;
    drop((adversary, other));
    pair.finish().await;
}

async fn all_heard(adversary: &mut Adversary, count: u64, is: impl Fn(&Control) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while (adversary.count(&is) as u64) < count {
        assert!(Instant::now() < deadline, "{} of {count}", adversary.count(&is));
        assert!(!adversary.has_ended());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(adversary.count(&is) as u64, count);
}

async fn lanes_that_nobody_knows(cluster: Arc<Cluster>) {
    let pair = Pair::start(&cluster).await;
    let receiver = pair.b.receiver::<Message>("bait").await.unwrap();
    let mut adversary = pair.adversary().await;
    let old = Attach { fresh: false, ..attach_to(&receiver) };
    let count = cluster.kind.scale(20_000, 5_000);
    for from in (0..count).step_by(500) {
        let lanes = (from..from + 500).map(|at| (LANE + at, wire::attach(&old)));
        assert!(adversary.frames(lanes).await);
    }
    all_heard(&mut adversary, count, |control| matches!(control, Control::NotFound(_))).await;
    drop((adversary, receiver));
    pair.finish().await;
}

async fn connections_that_are_history(cluster: Arc<Cluster>) {
    let pair = Pair::start(&cluster).await;
    let mut receiver = pair.b.receiver::<u8>("bait").await.unwrap();
    let hello = pair.hello();
    let mut first = pair.meet(hello.clone()).await.unwrap();
    first.open(LANE, &receiver).await;
    first.frames([data(0, 0, &[vec![1]])]).await;
    assert_eq!(receiver.recv().await, Ok(Some(1)));
    let again = wire::Hello { attempt: 2, ..hello };
    let mut second = pair.meet(again).await.unwrap();
    // What is said in the old one does not count, nor does data before the lane is introduced anew.
    first.frames([data(1, 1, &[vec![9]])]).await;
    first.cut().await;
    second.frames([data(1, 1, &[vec![9]])]).await;
    let attach = Attach { fresh: false, ..attach_to(&receiver) };
    second.frame(LANE, wire::attach(&attach)).await;
    let next = second
        .hear("the lane goes on", |control| match control {
            Control::Resumed { next_frame, credit } => Some((*next_frame, credit.taken)),
            _ => None,
        })
        .await;
    assert_eq!(next, (1, 1));
    second.frames([data(1, 1, &[vec![2]])]).await;
    assert_eq!(receiver.recv().await, Ok(Some(2)));
    assert!(pair.breaches().is_empty(), "{:?}", pair.breaches());
    drop((first, second, receiver));
    pair.finish().await;
}

async fn goodbye_in_the_midst(cluster: Arc<Cluster>) {
    let pair = Pair::start(&cluster).await;
    let mut receiver = pair.b.receiver::<u8>("bait").report_lost_senders().await.unwrap();
    let mut adversary = pair.adversary().await;
    adversary.open(LANE, &receiver).await;
    adversary.frames([data(0, 0, &[vec![1]])]).await;
    assert_eq!(receiver.recv().await, Ok(Some(1)));
    adversary.say(&[Control::Bye]).await;
    assert!(matches!(receiver.recv().await, Err(dchan_core::RecvError::SenderLost { .. })));
    // Nothing more comes of it.
    adversary.frames([data(1, 1, &[vec![2]])]).await;
    adversary.cut().await;
    pair.sees(Breach::UnknownLane, 1).await;
    assert_eq!(receiver.try_recv(), Err(dchan_core::TryRecvError::Empty));
    drop((adversary, receiver));
    pair.finish().await;
}

async fn a_large_message_that_never_ends(cluster: Arc<Cluster>) {
    let pair = Pair::start_with(&cluster, |config| {
        (config.times.silence, config.times.lane) = (PATIENCE, PATIENCE);
    })
    .await;
    let mut receiver = pair.b.receiver::<Message>("bait").await.unwrap();
    let mut adversary = pair.adversary().await;
    adversary.open(LANE, &receiver).await;
    // It gets the room for 32 MiB, and stops in the midst of them.
    let total = 32u64 << 20;
    let wanting = Want { wanting: true, need_bytes: total, ..Want::default() };
    adversary.frame(LANE, wire::want(&wanting)).await;
    adversary
        .hear("there is room", |control| match control {
            Control::Credit(credit) if credit.limit_bytes >= total => Some(()),
            _ => None,
        })
        .await;
    adversary.frames((0..64).map(|at| part(at, at == 0, false, total, PART))).await;
    // Others who send to that very receiver go on at once.
    let sender = pair.a.sender::<Message>("bait").await.unwrap();
    // What it has besides is asked back, and it gives it, as an honest one would.
    let reclaimed = |control: &Control| (*control == Control::Reclaim(LANE)).then_some(());
    adversary.hear("credit is asked back", reclaimed).await;
    let returned_messages = adversary.granted(LANE) - 1;
    adversary.frame(LANE, wire::want(&Want { returned_messages, ..wanting })).await;
    for number in 0..200 {
        send_one(&sender, &mut receiver, number).await;
    }
    assert!(pair.breaches().is_empty(), "{:?}", pair.breaches());
    assert!(!adversary.has_ended());
    drop((adversary, sender, receiver));
    pair.finish().await;
}

async fn send_one(sender: &Sender<Message>, receiver: &mut Receiver<Message>, number: u64) {
    let one = async {
        sender.send(message(1, number, 10_000)).await.unwrap();
        assert_eq!(receiver.recv().await.unwrap().unwrap().1, number);
    };
    timeout(PATIENCE, one).await.expect("there is room for others");
}

async fn credit_that_is_not_given_back(cluster: Arc<Cluster>) {
    let pair = Pair::start_with(&cluster, |config| {
        (config.times.silence, config.times.lane) = (SILENCE, SILENCE);
    })
    .await;
    let mut receiver = pair.b.receiver::<Message>("bait").await.unwrap();
    let mut adversary = pair.adversary().await;
    // It has all the room there is, and keeps it.
    let credit = adversary.open(LANE, &receiver).await;
    assert!(credit.limit_messages > 1000);
    let sender = pair.a.sender::<Message>("bait").await.unwrap();
    for number in 0..200 {
        send_one(&sender, &mut receiver, number).await;
    }
    assert_eq!(adversary.count(|control| *control == Control::Reclaim(LANE)), 1);
    adversary.cut().await;
    pair.sees(Breach::Unanswered, 1).await;
    drop((adversary, sender, receiver));
    pair.finish().await;
}
