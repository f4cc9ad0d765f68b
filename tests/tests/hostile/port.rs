//! Bytes of strangers, sent to the port that a node listens at.

use std::{sync::Arc, time::Duration};

use dchan_conformance::{
    adversary::wire::{self, Control},
    cluster::{Cluster, Kind, PATIENCE, until},
};
use dchan_core::{Addr, Breach, Frame, FrameBatch, LaneId};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::pair::Pair;

dchan_conformance::stream_tests![
    noise_is_no_handshake,
    a_handshake_that_breaks_off,
    silence_is_given_up,
    one_byte_at_a_time_is_too_slow,
    a_browser_is_not_welcome,
    what_is_announced_is_not_set_aside,
    a_crowd_of_strangers,
];

/// How long a handshake may take in these tests.
const HANDSHAKE: Duration = Duration::from_secs(1);
/// How long a stranger waits to be thrown out.
const THROWN_OUT: Duration = Duration::from_secs(20);

async fn pair(cluster: &Cluster) -> Pair {
    Pair::start_with(cluster, |config| config.times.handshake = HANDSHAKE).await
}

/// Sends bytes, and waits until the other side hangs up. What it said.
async fn send_raw(to: &Addr, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(to.as_str()).await.unwrap();
    // It may hang up before it has heard everything.
    let _broken = socket.write_all(bytes).await;
    hung_up(socket).await
}

async fn hung_up(mut socket: TcpStream) -> Vec<u8> {
    let mut heard = Vec::new();
    let reading = async {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = socket.read(&mut buffer).await {
            heard.extend_from_slice(&buffer[..read]);
        }
    };
    timeout(THROWN_OUT, reading).await.expect("a stranger is thrown out");
    heard
}

/// What a decent node sends first, byte for byte.
async fn real_handshake(pair: &Pair) -> Vec<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = Addr::from(listener.local_addr().unwrap());
    let (transport, hello) = (pair.transport(), pair.hello());
    let dialling = tokio::spawn(async move {
        // Over gRPC nobody answers, so that the hello itself is never sent.
        let Ok(mut connection) = transport.dial(&at).await else { return };
        let mut batch = FrameBatch::new();
        batch.push(Frame::new(LaneId(0), wire::encode(&Control::Hello(hello)).into()));
        connection.sink.send(&mut batch).await.unwrap();
        connection.sink.send(&mut batch).await.unwrap();
        std::future::pending::<()>().await;
    });
    let (mut socket, _) = listener.accept().await.unwrap();
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        // Until it says no more, once it has begun.
        let limit = if bytes.len() > 20 { Duration::from_millis(300) } else { PATIENCE };
        match timeout(limit, socket.read(&mut buffer)).await {
            Ok(Ok(read @ 1..)) => bytes.extend_from_slice(&buffer[..read]),
            _ => break,
        }
    }
    dialling.abort();
    assert!(bytes.len() > 20, "{bytes:?}");
    bytes
}

async fn noise_is_no_handshake(cluster: Arc<Cluster>) {
    let pair = pair(&cluster).await;
    let mut chance = fastrand::Rng::with_seed(cluster.seed);
    for at in 0..8 {
        let mut noise = vec![0; 1 << 20];
        chance.fill(&mut noise);
        send_raw(pair.addr(), &noise).await;
        until("it is counted", || pair.refused() > at).await;
    }
    pair.finish().await;
}

async fn a_handshake_that_breaks_off(cluster: Arc<Cluster>) {
    let pair = pair(&cluster).await;
    let bytes = real_handshake(&pair).await;
    for at in 1..=5 {
        let before = pair.refused();
        let mut socket = TcpStream::connect(pair.addr().as_str()).await.unwrap();
        socket.write_all(&bytes[..bytes.len() * at / 6]).await.unwrap();
        if at % 2 == 0 {
            // It hangs up itself.
            drop(socket);
        } else {
            hung_up(socket).await;
        }
        until("it is counted", || pair.refused() > before).await;
    }
    pair.finish().await;
}

async fn silence_is_given_up(cluster: Arc<Cluster>) {
    let pair = pair(&cluster).await;
    send_raw(pair.addr(), b"").await;
    pair.sees(Breach::Late, 1).await;
    pair.finish().await;
}

async fn one_byte_at_a_time_is_too_slow(cluster: Arc<Cluster>) {
    let pair = pair(&cluster).await;
    let bytes = real_handshake(&pair).await;
    let (mut read, mut write) =
        TcpStream::connect(pair.addr().as_str()).await.unwrap().into_split();
    let dribbling = tokio::spawn(async move {
        for byte in bytes {
            if write.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(HANDSHAKE / 5).await;
        }
    });
    let mut heard = Vec::new();
    let _reset = timeout(THROWN_OUT, read.read_to_end(&mut heard)).await.expect("it is thrown out");
    pair.sees(Breach::Late, 1).await;
    dribbling.abort();
    pair.finish().await;
}

async fn a_browser_is_not_welcome(cluster: Arc<Cluster>) {
    let pair = pair(&cluster).await;
    send_raw(pair.addr(), b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    until("it is counted", || pair.refused() == 1).await;
    pair.finish().await;
}

/// A frame of 4 GiB, as the transport would announce it.
fn announced(kind: Kind) -> Vec<u8> {
    if kind == Kind::Tcp {
        return [&[0xff; 4][..], &[0; 9], b"and so on"].concat();
    }
    let literal = |name: &str, value: &str| {
        let len = |text: &str| vec![text.len() as u8];
        [vec![0], len(name), name.into(), len(value), value.into()].concat()
    };
    let frame = |kind: u8, flags: u8, stream: u32, body: &[u8]| {
        let len = (body.len() as u32).to_be_bytes();
        [&len[1..], &[kind, flags], &stream.to_be_bytes(), body].concat()
    };
    let headers = [
        literal(":method", "POST"),
        literal(":scheme", "http"),
        literal(":path", "/dchan.v1.Transport/Link"),
        literal(":authority", "localhost"),
        literal("content-type", "application/grpc"),
        literal("te", "trailers"),
    ];
    let message = [&[0, 0xff, 0xff, 0xff, 0xff][..], &[0x0a, 0xff]].concat();
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, 0, &[]),
        frame(1, 4, 1, &headers.concat()),
        frame(0, 0, 1, &message),
    ]
    .concat()
}

async fn what_is_announced_is_not_set_aside(cluster: Arc<Cluster>) {
    let pair = pair(&cluster).await;
    send_raw(pair.addr(), &announced(cluster.kind)).await;
    pair.sees(Breach::Malformed, 1).await;
    pair.finish().await;
}

async fn a_crowd_of_strangers(cluster: Arc<Cluster>) {
    let pair = pair(&cluster).await;
    // As many as there are places, and as many again; they come and stay.
    let mut sockets = Vec::new();
    for _ in 0..500 {
        sockets.push(TcpStream::connect(pair.addr().as_str()).await.unwrap());
    }
    pair.carry_on().await;
    until("all are counted", || pair.refused() >= 500).await;
    assert!(pair.seen(Breach::Crowded) > 0 || pair.seen(Breach::Late) >= 500);
    drop(sockets);
    pair.finish().await;
}
