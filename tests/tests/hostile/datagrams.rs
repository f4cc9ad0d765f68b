//! Datagrams of strangers, sent to the port that a node listens at, and strangers who speak QUIC.

use std::{collections::HashSet, net::SocketAddr, sync::Arc, time::Duration};

use dchan_conformance::cluster::{Cluster, until};
use dchan_core::{Addr, Breach, Frame, tls::ThrowAway};
use quinn::{ClientConfig, Endpoint, crypto::rustls::QuicClientConfig};
use tokio::{
    net::UdpSocket,
    time::{sleep, timeout},
};

use crate::pair::Pair;

dchan_conformance::datagram_tests![
    noise_is_not_even_answered,
    what_looks_like_quic_is_none,
    datagrams_that_are_sent_again,
    handshakes_that_nobody_ends,
    streams_of_garbage,
    a_connection_that_says_nothing,
    another_protocol,
];

/// How long a handshake may take in these tests.
const HANDSHAKE: Duration = Duration::from_secs(1);
/// Datagrams of a kind.
const MANY: usize = 3000;
/// The least that a client's first datagram has, in bytes.
const INITIAL: usize = 1200;
const PROTOCOL: &[u8] = b"dchan-quic/1";

async fn pair(cluster: &Cluster) -> Pair {
    Pair::start_with(cluster, |config| config.times.handshake = HANDSHAKE).await
}

/// Sends datagrams, not faster than the other side can read.
async fn throw(socket: &UdpSocket, to: SocketAddr, datagrams: impl Iterator<Item = Vec<u8>>) {
    for (at, datagram) in datagrams.enumerate() {
        // What its system has no room for is lost, like on any network.
        let _lost = socket.send_to(&datagram, to).await;
        if at % 16 == 15 {
            sleep(Duration::from_millis(1)).await;
        }
    }
}

fn random(chance: &mut fastrand::Rng, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    chance.fill(&mut bytes);
    bytes
}

async fn noise_is_not_even_answered(cluster: Arc<Cluster>) {
    let pair = pair(&cluster).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut chance = fastrand::Rng::with_seed(cluster.seed);
    // The high bits say what a packet is: these are none.
    let noise = (0..MANY).map(|_| {
        let len = chance.usize(0..1500);
        let mut bytes = random(&mut chance, len);
        bytes.first_mut().into_iter().for_each(|first| *first &= 0x3f);
        bytes
    });
    throw(&socket, pair.door(), noise).await;
    pair.carry_on().await;
    assert!(pair.breaches().is_empty(), "{:?}", pair.breaches());
    assert!(socket.try_recv(&mut [0; 1500]).is_err(), "noise is answered");
    pair.finish().await;
}

/// Long headers of all kinds and versions, with whatever follows.
async fn what_looks_like_quic_is_none(cluster: Arc<Cluster>) {
    let pair = pair(&cluster).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut chance = fastrand::Rng::with_seed(cluster.seed);
    let packets = (0..MANY).map(|at| {
        let len = [INITIAL, 100, 20, 7][chance.usize(..4)];
        let mut bytes = random(&mut chance, len);
        // Version 1, negotiation, one from the past, and any; lengths of ids that fit, and not.
        let version = [1, 0, 0xff00_001d, chance.u32(..)][at % 4];
        bytes[0] = 0xc0 | bytes[0] & 0x3f;
        bytes[1..5].copy_from_slice(&version.to_be_bytes());
        bytes[5] = [8, 20, 21, 0xff][chance.usize(..4)];
        bytes
    });
    throw(&socket, pair.door(), packets).await;
    // Short headers of connections that nobody has.
    let packets = (0..MANY).map(|_| {
        let mut bytes = random(&mut chance, 100);
        bytes[0] = 0x40 | bytes[0] & 0x3f;
        bytes
    });
    throw(&socket, pair.door(), packets).await;
    pair.carry_on().await;
    pair.finish().await;
}

/// The first datagrams that decent nodes send, `count` of them.
async fn first_datagrams(pair: &Pair, count: usize) -> Vec<Vec<u8>> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = Addr::from(socket.local_addr().unwrap());
    let transport = pair.transport();
    let (mut datagrams, mut ids) = (Vec::new(), HashSet::new());
    while datagrams.len() < count {
        let (transport, at) = (transport.clone(), at.clone());
        let dialling = tokio::spawn(async move { transport.dial(&at).await });
        let mut buffer = [0; 9000];
        loop {
            let (len, _) = socket.recv_from(&mut buffer).await.unwrap();
            // It asks with nothing whether anybody is there, and says of the same id that it gives up.
            if len > 0 && ids.insert(buffer[5..14].to_vec()) {
                datagrams.push(buffer[..len].to_vec());
                break;
            }
        }
        dialling.abort();
    }
    assert!(datagrams.iter().all(|datagram| datagram.len() >= INITIAL));
    datagrams
}

async fn datagrams_that_are_sent_again(cluster: Arc<Cluster>) {
    let pair = pair(&cluster).await;
    let first = first_datagrams(&pair, 1).await.swap_remove(0);
    let mut chance = fastrand::Rng::with_seed(cluster.seed);
    // The very same, from one place and from many.
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    throw(&socket, pair.door(), (0..MANY).map(|_| first.clone())).await;
    for _ in 0..50 {
        let elsewhere = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        throw(&elsewhere, pair.door(), std::iter::once(first.clone())).await;
    }
    // Cut off anywhere, and with a bit that is wrong.
    let cut_off = (0..first.len()).map(|at| first[..at].to_vec());
    throw(&socket, pair.door(), cut_off).await;
    let flipped = (0..MANY).map(|_| {
        let mut bytes = first.clone();
        bytes[chance.usize(..first.len())] ^= 1 << chance.u8(..8);
        bytes
    });
    throw(&socket, pair.door(), flipped).await;
    // It leads to a handshake that nobody ends.
    until("it is counted", || pair.seen(Breach::Late) > 0).await;
    pair.carry_on().await;
    pair.finish().await;
}

async fn handshakes_that_nobody_ends(cluster: Arc<Cluster>) {
    let pair = pair(&cluster).await;
    let most = 600;
    let firsts = first_datagrams(&pair, most).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    // Those that come too early for a place, or stay too long in it, and none else.
    let counted = || pair.seen(Breach::Crowded) + pair.seen(Breach::Late);
    for round in 0.. {
        // More than there are places: each is told apart by its id.
        throw(&socket, pair.door(), firsts.iter().cloned()).await;
        pair.carry_on().await;
        let all = until("they are counted", || counted() > most as u64 * 9 / 10);
        if timeout(HANDSHAKE * 5, all).await.is_ok() {
            break;
        }
        // Most of them were lost, on a busy machine.
        assert!(round < 10, "{:?}", pair.breaches());
    }
    assert_eq!(counted(), pair.refused(), "{:?}", pair.breaches());
    // Who is decent gets in.
    drop(pair.adversary().await);
    pair.finish().await;
}

/// A client of another make, through with TLS.
async fn stranger(pair: &Pair, protocol: &[u8]) -> Result<Stranger, quinn::ConnectionError> {
    let tls = ThrowAway::new().unwrap().client(protocol);
    let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into()).unwrap();
    let connection = endpoint.connect_with(config, pair.door(), "localhost").unwrap().await?;
    Ok(Stranger { connection, _endpoint: endpoint })
}

struct Stranger {
    connection: quinn::Connection,
    _endpoint: Endpoint,
}

impl Stranger {
    async fn is_thrown_out(&self) {
        let closed = timeout(Duration::from_secs(20), self.connection.closed()).await;
        closed.expect("a stranger is thrown out");
    }

    /// Writes the same to so many streams, as far as it may.
    async fn write(&self, streams: usize, bytes: &[u8]) {
        let mut open = Vec::new();
        for _ in 0..streams {
            let stream = timeout(Duration::from_millis(200), self.connection.open_uni()).await;
            let Ok(Ok(mut stream)) = stream else { break };
            // It may be thrown out meanwhile, or have to wait for room.
            let _cut = timeout(Duration::from_millis(200), stream.write_all(bytes)).await;
            open.push(stream);
        }
        self.is_thrown_out().await;
    }
}

async fn streams_of_garbage(cluster: Arc<Cluster>) {
    let pair = pair(&cluster).await;
    let mut chance = fastrand::Rng::with_seed(cluster.seed);
    let noise = random(&mut chance, 100_000);
    // 16 MiB are announced; a frame is begun; the lane of a handshake has none.
    let announced = [&[0, 0xff, 0xff, 0xff][..], &[0; 8]].concat();
    let begun = [&[0, 1, 0xff, 0xff][..], &[0; 8], &[0; 100]].concat();
    let hello = [&[0, 0, 0, 4][..], &[0; 8], b"spam"].concat();
    const { assert!(0x1_ffff <= Frame::MAX) };
    let kinds = [Breach::Malformed, Breach::Malformed, Breach::Late, Breach::Handshake];
    for (bytes, kind) in
        [&[&[0xff][..], &noise].concat(), &announced, &begun, &hello].into_iter().zip(kinds)
    {
        for streams in [1, 2000] {
            let before = pair.seen(kind);
            stranger(&pair, PROTOCOL).await.unwrap().write(streams, bytes).await;
            pair.sees(kind, before + 1).await;
        }
    }
    pair.finish().await;
}

async fn a_connection_that_says_nothing(cluster: Arc<Cluster>) {
    let pair = pair(&cluster).await;
    let silent = stranger(&pair, PROTOCOL).await.unwrap();
    let streams = stranger(&pair, PROTOCOL).await.unwrap();
    // Streams that are opened, and nothing in them.
    streams.write(2000, &[]).await;
    silent.is_thrown_out().await;
    pair.sees(Breach::Late, 2).await;
    pair.finish().await;
}

async fn another_protocol(cluster: Arc<Cluster>) {
    let pair = pair(&cluster).await;
    let refused = stranger(&pair, b"h3").await.err().expect("it is refused");
    assert!(refused.to_string().contains("protocol"), "{refused}");
    pair.sees(Breach::Unfinished, 1).await;
    pair.finish().await;
}
