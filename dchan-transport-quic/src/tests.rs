//! What the suite for all transports does not ask: lanes of their own, the reserve, migration, bounds.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use dchan_core::{
    Addr, Connection, ErrorKind, Frame, FrameBatch, FrameSink, FrameStream, LaneId, Received,
    Transport, tls::ThrowAway,
};
use futures::FutureExt;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use tokio::{net::UdpSocket, time::timeout};

use crate::{
    QuicTransport, dial::knock, security::Security, tuning, tuning::STREAMS, unit, unit::Decoder,
};

const PATIENCE: Duration = Duration::from_secs(30);

fn loopback() -> Addr {
    "127.0.0.1:0".parse().unwrap()
}

fn frame(lane: u64, len: usize) -> Frame {
    Frame::new(LaneId(lane), Bytes::from(vec![lane as u8; len]))
}

fn batch(frames: impl IntoIterator<Item = Frame>) -> FrameBatch {
    let mut batch = FrameBatch::new();
    frames.into_iter().for_each(|frame| batch.push(frame));
    batch
}

/// Takes what the sink takes without waiting.
fn fill(sink: &mut dyn FrameSink, frame: impl Fn() -> Frame) -> usize {
    let mut taken = 0;
    loop {
        let mut batch = batch([frame()]);
        match sink.send(&mut batch).now_or_never() {
            Some(sent) => sent.unwrap(),
            None => return taken,
        }
        taken += 1;
    }
}

/// Fills a sink until it waits for long.
async fn fill_up(sink: &mut dyn FrameSink, lane: u64) {
    loop {
        let mut batch = batch([frame(lane, Frame::MAX)]);
        match timeout(Duration::from_millis(500), sink.send(&mut batch)).await {
            Ok(sent) => sent.unwrap(),
            Err(_) => return,
        }
    }
}

async fn receive(stream: &mut dyn FrameStream) -> FrameBatch {
    let mut batch = FrameBatch::new();
    let received = timeout(PATIENCE, stream.recv(&mut batch)).await.unwrap().unwrap();
    assert_eq!(received, Received::Frames);
    batch
}

/// A foreign server, and our connection to it. What it does not read, stays.
async fn foreign_server() -> (quinn::Endpoint, quinn::Connection, Connection) {
    let tls = ThrowAway::new().unwrap().server(b"dchan-quic/1");
    let mut config =
        quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
    config.transport_config(tuning::config());
    let endpoint = quinn::Endpoint::server(config, ([127, 0, 0, 1], 0).into()).unwrap();
    let at = Addr::from(endpoint.local_addr().unwrap());
    let accepting = async {
        let connection = endpoint.accept().await.unwrap().await.unwrap();
        connection.open_uni().await.unwrap().write_all(&unit::ready()).await.unwrap();
        connection
    };
    let transport = QuicTransport::new();
    let (connection, ours) = tokio::join!(accepting, transport.dial(&at));
    (endpoint, connection, ours.unwrap())
}

#[tokio::test]
async fn packets_become_as_large_as_the_path_and_both_ends_take() {
    let (_endpoint, foreign, _ours) = foreign_server().await;
    let mut stream = foreign.open_uni().await.unwrap();
    let grown = async {
        // The search ends when it is that close.
        while foreign.stats().path.current_mtu + 20 < tuning::MTU {
            stream.write_all(&[0]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, grown).await.unwrap();
}

#[tokio::test]
async fn a_lane_that_nobody_reads_leaves_the_others_free() {
    let (_endpoint, foreign, mut ours) = foreign_server().await;
    fill_up(&mut *ours.sink, 16).await;
    let mut mixed = batch((0..20).flat_map(|_| [frame(16, 1000), frame(17, 1000), frame(0, 10)]));
    while mixed.len() > 20 {
        timeout(PATIENCE, ours.sink.send(&mut mixed)).await.unwrap().unwrap();
    }
    assert!(mixed.iter().all(|frame| frame.lane == LaneId(16)));
    // The control lane is on the first stream; the third lane has the fifth: lane 16 has the fourth.
    for (nth, lane, frames) in [(0, 0, 20), (3, 16, 0), (4, 17, 20)] {
        let mut stream = loop {
            let stream = timeout(PATIENCE, foreign.accept_uni()).await.unwrap().unwrap();
            if stream.id().index() == nth {
                break stream;
            }
        };
        let (mut decoder, mut seen) = (Decoder::default(), 0);
        while seen < frames {
            let read = timeout(PATIENCE, stream.read_chunk(usize::MAX, true)).await.unwrap();
            decoder.push(&read.unwrap().unwrap().bytes);
            while let Some(unit) = decoder.next().unwrap() {
                match unit {
                    unit::Unit::Frame(frame) => assert_eq!(frame.lane, LaneId(lane)),
                    other => assert_eq!((other, nth), (unit::Unit::Ready, 0)),
                }
                seen += 1;
            }
        }
        // It would be told to stop, if it were dropped.
        std::mem::forget(stream);
    }
}

/// Leads datagrams on until it is told to stop, without anybody noticing.
async fn road(to: SocketAddr) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let near = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let far = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = near.local_addr().unwrap();
    let leading = tokio::spawn(async move {
        let (mut there, mut back) = (vec![0; 1 << 16], vec![0; 1 << 16]);
        let mut from = None;
        loop {
            tokio::select! {
                Ok((len, source)) = near.recv_from(&mut there) => {
                    from = Some(source);
                    let _lost = far.send_to(&there[..len], to).await;
                }
                Ok((len, _)) = far.recv_from(&mut back) => {
                    let _lost = near.send_to(&back[..len], from.unwrap()).await;
                }
            }
        }
    });
    (at, leading)
}

#[tokio::test]
async fn control_and_requests_go_when_data_fills_the_window() {
    let mut listener = QuicTransport::new().listen(&loopback()).await.unwrap();
    let (at, leading) = road(listener.local_addr().as_str().parse().unwrap()).await;
    let accepting = async { listener.accept().await.unwrap().ready.await.unwrap() };
    let transport = QuicTransport::new();
    let at = at.into();
    let (ours, _theirs) = tokio::join!(transport.dial(&at), accepting);
    let mut ours = ours.unwrap();
    // From here on nothing is acknowledged.
    leading.abort();
    let lanes = [16, 17, 18, 19];
    for lane in lanes {
        fill(&mut *ours.sink, || frame(lane, Frame::MAX));
    }
    assert_eq!(fill(&mut *ours.sink, || frame(20, 1000)), 1, "data is stuck");
    let requests = fill(&mut *ours.sink, || frame(1, 64 * 1024));
    assert!(requests >= 15, "{requests} frames of requests");
    let control = fill(&mut *ours.sink, || frame(0, 1000));
    assert!(control >= 1000, "{control} frames of control, behind requests");
}

#[tokio::test]
async fn a_peer_that_moves_keeps_its_lanes() {
    let transport = QuicTransport::new();
    let mut listener = transport.listen(&loopback()).await.unwrap();
    let at = listener.local_addr();
    let dialling = async {
        let (link, first) = knock(&at, &Security::default()).await.unwrap();
        let endpoint = link.socket.endpoint.clone();
        (endpoint, link.stand("dial", Some(first), None).await.unwrap())
    };
    let accepting = async { listener.accept().await.unwrap().ready.await.unwrap() };
    let ((endpoint, mut ours), mut theirs) = tokio::join!(dialling, accepting);
    let total = 2000;
    let sending = async {
        for nth in 0..total {
            if nth % 500 == 250 {
                let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
                endpoint.rebind(socket).unwrap();
            }
            let mut frames = batch([16, 17].map(|lane| {
                Frame::new(LaneId(lane), Bytes::from(u64::to_le_bytes(nth).repeat(1000)))
            }));
            while !frames.is_empty() {
                ours.sink.send(&mut frames).await.unwrap();
            }
        }
        ours.sink.send(&mut FrameBatch::new()).await.unwrap();
    };
    let receiving = async {
        let mut seen = [0u64; 2];
        while seen != [total; 2] {
            let mut frames = receive(&mut *theirs.stream).await;
            while let Some(frame) = frames.pop() {
                let next = &mut seen[frame.lane.0 as usize - 16];
                assert_eq!(frame.payload, next.to_le_bytes().repeat(1000));
                *next += 1;
            }
        }
    };
    timeout(PATIENCE, async { tokio::join!(sending, receiving) }).await.unwrap();
    // And the other way, to where it is now.
    theirs.sink.send(&mut batch([frame(18, 5)])).await.unwrap();
    assert_eq!(receive(&mut *ours.stream).await.pop(), Some(frame(18, 5)));
}

#[tokio::test]
async fn there_are_more_lanes_than_streams() {
    let transport = QuicTransport::new();
    let mut listener = transport.listen(&loopback()).await.unwrap();
    let at = listener.local_addr();
    let accepting = async { listener.accept().await.unwrap().ready.await.unwrap() };
    let (ours, mut theirs) = tokio::join!(transport.dial(&at), accepting);
    let mut ours = ours.unwrap();
    let lanes = 16..16 + 3 * u64::from(STREAMS);
    let sending = async {
        for (nth, last) in [(0, false), (1, false), (2, true)] {
            let frames = lanes.clone().map(|lane| Frame { last, ..frame(lane, nth) });
            let mut frames = batch(frames);
            while !frames.is_empty() {
                ours.sink.send(&mut frames).await.unwrap();
            }
        }
        ours.sink.send(&mut FrameBatch::new()).await.unwrap();
    };
    let receiving = async {
        let mut seen = std::collections::HashMap::new();
        let mut left = 3 * lanes.clone().count();
        while left > 0 {
            let mut frames = receive(&mut *theirs.stream).await;
            while let Some(frame) = frames.pop() {
                let next = seen.entry(frame.lane).or_insert(0);
                assert_eq!((frame.payload.len(), frame.last), (*next, *next == 2));
                *next += 1;
                left -= 1;
            }
        }
    };
    tokio::join!(sending, receiving);
}

#[tokio::test]
async fn a_peer_opens_no_more_streams_than_it_may() {
    let mut listener = QuicTransport::new().listen(&loopback()).await.unwrap();
    let at = listener.local_addr().as_str().parse().unwrap();
    let accepting =
        tokio::spawn(async move { listener.accept().await.unwrap().ready.await.unwrap() });
    let tls = ThrowAway::new().unwrap().client(b"dchan-quic/1");
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    let endpoint = quinn::Endpoint::client(([127, 0, 0, 1], 0).into()).unwrap();
    let foreign = endpoint.connect_with(config, at, "localhost").unwrap().await.unwrap();
    let theirs = accepting.await.unwrap();
    let mut streams = Vec::new();
    while let Some(stream) = foreign.open_uni().now_or_never() {
        streams.push(stream.unwrap());
    }
    assert_eq!(streams.len(), STREAMS as usize);
    assert!(foreign.open_bi().now_or_never().is_none(), "no streams in both directions");
    // Frames that are begun on all of them and never end.
    let (header, _) = unit::pieces(frame(16, Frame::MAX));
    let begun = [&header[..], &[0; Frame::MAX - 1]].concat();
    let writing = async {
        for stream in &mut streams {
            // It is cut off on the way.
            let _cut = stream.write_all(&begun).await;
        }
    };
    let mut batch = FrameBatch::new();
    // What is dropped then lets the writer go.
    let receiving = async { timeout(PATIENCE, { theirs }.stream.recv(&mut batch)).await.unwrap() };
    let (received, ()) = tokio::join!(receiving, writing);
    assert_eq!(received.unwrap_err().kind, ErrorKind::Protocol);
    assert!(batch.is_empty());
}

#[tokio::test]
async fn without_certificates_it_stays_at_home() {
    let everywhere: Addr = "0.0.0.0:0".parse().unwrap();
    let elsewhere: Addr = "192.0.2.1:9".parse().unwrap();
    let transport = QuicTransport::new();
    for error in [
        transport.listen(&everywhere).await.unwrap_err(),
        transport.dial(&elsewhere).await.unwrap_err(),
    ] {
        assert_eq!(error.kind, ErrorKind::Refused);
        let said = error.source.unwrap().to_string();
        assert!(said.contains("tls()") && said.contains("insecure()"), "{said}");
    }
    assert!(QuicTransport::new().insecure().listen(&everywhere).await.is_ok());
}

#[tokio::test]
async fn whoever_knocks_when_all_is_over_is_turned_away_at_once() {
    for _ in 0..10 {
        let transport = QuicTransport::new();
        let mut listener = transport.listen(&loopback()).await.unwrap();
        let at = listener.local_addr();
        let accepting = async { listener.accept().await.unwrap().ready.await.unwrap() };
        let (ours, theirs) = tokio::join!(transport.dial(&at), accepting);
        // The socket lives on for a moment, so that the peer hears of the end of its connection.
        drop((ours.unwrap(), theirs, listener));
        let dialled = timeout(Duration::from_secs(2), transport.dial(&at)).await;
        let error = dialled.expect("an answer").unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unreachable, "{error}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_before_it_stands_breaks_no_rule() {
    let mut listener = QuicTransport::new().listen(&loopback()).await.unwrap();
    let at = listener.local_addr();
    let accepting =
        tokio::spawn(async move { listener.accept().await.unwrap().ready.await.unwrap() });
    let (link, first) = knock(&at, &Security::default()).await.unwrap();
    link.connection.close(0u8.into(), b"");
    let error = link.stand("dial", Some(first), None).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Broken, "{error}");
    drop(accepting.await.unwrap());
}
