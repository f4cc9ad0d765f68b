//! What hostile peers make a node hold, in bytes of heap, measured and held against the limits.
//!
//! Counts are of the whole process, so this is its only test: what the honest pair and the adversary hold
//! themselves is in them, too. `DCHAN_MEMORY_ALL=1` also measures what takes long.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "hostile/pair.rs"]
#[allow(dead_code, reason = "it is shared with the tests of what is refused")]
mod pair;

use std::{
    alloc::System,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use cap::Cap;
use dchan_conformance::{
    adversary::{
        Adversary, attach_to, reach,
        wire::{self, Attach, Control, Stamp, Want},
    },
    cluster::{Cluster, Kind, Message, until},
    tcp::TcpTransport,
};
use dchan_core::{
    Addr, Breach, Config, Connection, Frame, FrameBatch, LaneId, Receiver, Transport,
    tls::ThrowAway,
};
use dchan_transport_grpc::GrpcTransport;
use dchan_transport_quic::QuicTransport;
use pair::Pair;
use quinn::{ClientConfig, Endpoint, crypto::rustls::QuicClientConfig};
use tokio::{net::TcpStream, runtime::Builder, time::timeout};

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const LANE: u64 = 16;
/// A part of a large message, in bytes.
const PART: usize = 65 * KIB;
/// What each receiver has room for, in bytes, and messages.
const CAPACITY: usize = MIB;
const MESSAGE: usize = 4 * MIB;
/// The largest message of whole parts.
const LARGEST: usize = MESSAGE / PART * PART;
const LANES: usize = 2000;
const HANDSHAKES: usize = 64;
/// What the honest pair, the runtime and the test itself hold now and not then.
const REST: usize = 2 * MIB;
/// Frames that may wait for a peer that does not read, and what each costs: the answer, a place in a
/// queue that doubles, and the question.
const UNREAD: (usize, usize) = (64 * KIB, 512);

#[test]
fn what_an_attack_makes_a_node_hold_is_bounded() {
    let real: [(Kind, Arc<dyn Transport>); 3] = [
        (Kind::Tcp, Arc::new(TcpTransport)),
        (Kind::Grpc, Arc::new(GrpcTransport::new())),
        (Kind::Quic, Arc::new(QuicTransport::new())),
    ];
    for (kind, real) in real {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(attack(Cluster::new(kind, real)));
    }
}

fn set(config: &mut Config) {
    config.times.handshake = Duration::from_secs(1);
    config.limits.message = MESSAGE as u64;
    config.limits.lanes = LANES;
    config.limits.handshakes = HANDSHAKES;
}

/// What the two ends of one connection hold, at most, of what is on its way.
fn connection(kind: Kind) -> usize {
    match kind {
        Kind::Memory | Kind::Tcp => MIB,
        // Pieces of HTTP/2 and what gathers them, and the windows of both ends.
        Kind::Grpc => 6 * MIB,
        // The windows for what comes and what goes, and what its socket reads into.
        Kind::Quic => (12 + 6 + 4) * MIB,
    }
}

/// What the two ends hold of a connection that is in its handshake.
fn handshake(kind: Kind) -> usize {
    match kind {
        // The example reads into a large buffer from the beginning.
        Kind::Memory | Kind::Tcp => 272 * KIB,
        Kind::Grpc => 32 * KIB,
        Kind::Quic => 256 * KIB,
    }
}

async fn attack(cluster: Cluster) {
    let kind = cluster.kind;
    let pair = Pair::start_with(&cluster, set).await;
    let receiver = pair.b.receiver::<Message>("bait").capacity_bytes(CAPACITY).await.unwrap();
    pair.carry_on().await;
    let once = connection(kind) + REST;
    let watch = async |what: &str, most: usize, attack| measure(kind, what, most, attack).await;
    watch("a frame of 4 GiB is announced", once, Box::pin(announced(&pair, &receiver))).await;
    watch("parts without end", once + CAPACITY + MESSAGE, Box::pin(parts(&pair, &receiver))).await;
    let most = once + LANES * KIB;
    watch("lanes without number", most, Box::pin(lanes(&pair))).await;
    watch("credit and wishes without end", once, Box::pin(wishes(&pair, &receiver))).await;
    let most = once + UNREAD.0 * UNREAD.1;
    // Over the others, windows and the system take some megabytes of them first, a few bytes at a time.
    if kind == Kind::Grpc || std::env::var_os("DCHAN_MEMORY_ALL").is_some() {
        watch("answers that nobody reads", most, Box::pin(unread(&pair))).await;
    }
    let most = REST + 4 * HANDSHAKES * handshake(kind);
    watch("handshakes that nobody ends", most, Box::pin(half_open(kind, &pair))).await;
    drop(receiver);
    pair.finish().await;
}

/// Watches the heap while something happens.
async fn measure(
    kind: Kind,
    what: &str,
    most: usize,
    attack: std::pin::Pin<Box<dyn Future<Output = ()> + '_>>,
) {
    let (before, began) = (HEAP.allocated(), tokio::time::Instant::now());
    let (peak, over) = (Arc::new(AtomicUsize::new(before)), Arc::new(AtomicBool::new(false)));
    let watching = std::thread::spawn({
        let (peak, over) = (peak.clone(), over.clone());
        move || {
            while !over.load(SeqCst) {
                peak.fetch_max(HEAP.allocated(), SeqCst);
                std::thread::park_timeout(Duration::from_micros(200));
            }
        }
    });
    attack.await;
    over.store(true, SeqCst);
    watching.join().unwrap();
    let grown = peak.load(SeqCst) - before;
    let took = began.elapsed();
    println!("{kind:?}: {what}: {} KiB, of {} KiB at most, in {took:.1?}", grown / KIB, most / KIB);
    assert!(grown <= most, "{kind:?}: {what}: {grown} bytes, of {most} at most");
}

async fn adversary(pair: &Pair) -> Adversary {
    let at = Addr::from(pair.door());
    Adversary::meet(&*pair.transport(), &at, pair.hello()).await.expect("it is welcome")
}

fn part(at: u64, of: u64, total: usize) -> (u64, Vec<u8>) {
    let (first, last) = (at.is_multiple_of(of), at % of == of - 1);
    let stamp = Stamp { frame_no: at, first_seq: at / of, count: last.into(), settled: 0 };
    (LANE, wire::chunk(stamp, first, last, total as u64, &vec![0; PART]))
}

async fn announced(pair: &Pair, receiver: &Receiver<Message>) {
    let mut adversary = adversary(pair).await;
    adversary.open(LANE, receiver).await;
    let before = pair.seen(Breach::TooLarge);
    let stamp = Stamp::default();
    let claim = wire::chunk(stamp, true, false, 4 << 30, &vec![0; PART]);
    adversary.frame(LANE, claim).await;
    adversary.cut().await;
    pair.sees(Breach::TooLarge, before + 1).await;
}

/// Large messages, one behind the other. There is credit for the first.
async fn parts(pair: &Pair, receiver: &Receiver<Message>) {
    let mut adversary = adversary(pair).await;
    adversary.open(LANE, receiver).await;
    let need_bytes = LARGEST as u64;
    adversary.frame(LANE, wire::want(&Want { wanting: true, need_bytes, ..Want::default() })).await;
    let granted = |control: &Control| {
        matches!(control, Control::Credit(credit) if credit.limit_bytes >= need_bytes).then_some(())
    };
    adversary.hear("there is room", granted).await;
    let of = (LARGEST / PART) as u64;
    for at in 0..100 * of {
        if !adversary.frames([part(at, of, LARGEST)]).await {
            break;
        }
    }
    adversary.cut().await;
    pair.sees(Breach::Credit, 1).await;
}

async fn lanes(pair: &Pair) {
    let mut receivers = Vec::new();
    for at in 0..LANES / 200 + 1 {
        receivers.push(pair.b.receiver::<Message>(&format!("bait.{at}")).await.unwrap());
    }
    let mut adversary = adversary(pair).await;
    for (at, receiver) in receivers.iter().enumerate() {
        let from = LANE + 200 * at as u64;
        let attach: Attach = attach_to(receiver);
        let frames = (from..from + 200).map(|lane| (lane, wire::attach(&attach)));
        if !adversary.frames(frames).await {
            break;
        }
    }
    adversary.cut().await;
    pair.sees(Breach::TooManyLanes, 1).await;
}

/// All of it is allowed.
async fn wishes(pair: &Pair, receiver: &Receiver<Message>) {
    let mut adversary = adversary(pair).await;
    adversary.open(LANE, receiver).await;
    let want = wire::want(&Want { wanting: true, ..Want::default() });
    let received = wire::controls(&vec![Control::Received(0); 100]);
    for _ in 0..200 {
        let wants = std::iter::repeat_n((LANE, want.clone()), 100);
        let words = std::iter::repeat_n((wire::CONTROL, received.clone()), 10);
        assert!(adversary.frames(wants.chain(words)).await);
    }
    pair.carry_on().await;
    assert!(!adversary.has_ended());
}

/// Asks, and does not listen, until that is what ends it: on a busy machine it may have been silent for too
/// long first.
async fn unread(pair: &Pair) {
    for attempt in 1.. {
        let counted = until("it is counted", || pair.seen(Breach::Unread) > 0);
        tokio::select! {
            () = ask_only(pair) => {}
            () = counted => return,
        }
        let counted = until("it is counted", || pair.seen(Breach::Unread) > 0);
        if timeout(Duration::from_secs(5), counted).await.is_ok() {
            return;
        }
        assert!(attempt < 10, "{:?}", pair.b.metrics().peers);
    }
}

async fn ask_only(pair: &Pair) {
    let connection = reach(&*pair.transport(), &Addr::from(pair.door())).await;
    let Connection { mut sink, mut stream, .. } = connection;
    let mut batch = FrameBatch::new();
    let hello = wire::encode(&Control::Hello(pair.hello()));
    batch.push(Frame::new(LaneId(wire::CONTROL), hello.into()));
    sink.send(&mut batch).await.unwrap();
    sink.send(&mut batch).await.unwrap();
    let mut heard = FrameBatch::new();
    stream.recv(&mut heard).await.unwrap();
    // The end of it may not be heard of either.
    for from in (0..).step_by(500) {
        for id in from..from + 500 {
            let question = wire::request(id, 1, b"why");
            batch.push(Frame::new(LaneId(wire::REQUESTS), question.into()));
        }
        while !batch.is_empty() {
            if sink.send(&mut batch).await.is_err() {
                return;
            }
        }
    }
}

/// Four times as many as there are places.
async fn half_open(kind: Kind, pair: &Pair) {
    let before = pair.refused();
    let count = 4 * HANDSHAKES;
    if kind == Kind::Quic {
        let tls = ThrowAway::new().unwrap().client(b"dchan-quic/1");
        let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into()).unwrap();
        let mut held = Vec::new();
        for _ in 0..count {
            let dialling = endpoint.connect_with(config.clone(), pair.door(), "localhost").unwrap();
            // Those that are in say nothing there.
            if let Ok(Ok(connection)) = timeout(Duration::from_millis(100), dialling).await {
                held.push(connection);
            }
        }
        until("all are counted", || pair.refused() >= before + count as u64).await;
        return;
    }
    let mut held = Vec::new();
    for _ in 0..count {
        held.push(TcpStream::connect(pair.door()).await.unwrap());
    }
    until("all are counted", || pair.refused() >= before + count as u64).await;
}
