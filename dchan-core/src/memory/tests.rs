use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::*;
use crate::{Connection, Frame, FrameBatch, LaneId, Listener, Received};

const LONG: Duration = Duration::from_secs(3600);

struct Pair {
    network: MemoryNetwork,
    a: Addr,
    b: Addr,
    listener: Box<dyn Listener>,
    dialled: Connection,
    accepted: Connection,
}

async fn pair_on(network: MemoryNetwork) -> Pair {
    let (a, b): (Addr, Addr) = ("a:1".parse().unwrap(), "b:1".parse().unwrap());
    let mut listener = network.transport(&b).listen(&b).await.unwrap();
    let dialled = network.transport(&a).dial(&b).await.unwrap();
    let accepted = listener.accept().await.unwrap().ready.await.unwrap();
    assert_eq!(network.connections(&a, &b), 1);
    Pair { network, a, b, listener, dialled, accepted }
}

fn frames(count: u64) -> FrameBatch {
    let mut batch = FrameBatch::new();
    for n in 0..count {
        batch.push(Frame::new(LaneId(n % 7), Bytes::copy_from_slice(&n.to_le_bytes())));
    }
    batch
}

async fn send_all(from: &mut Connection, mut batch: FrameBatch) -> Result<(), ErrorKind> {
    while !batch.is_empty() {
        from.sink.send(&mut batch).await.map_err(|error| error.kind)?;
    }
    Ok(())
}

async fn recv(at: &mut Connection) -> Result<(Received, FrameBatch), ErrorKind> {
    let mut batch = FrameBatch::new();
    let got = at.stream.recv(&mut batch).await.map_err(|error| error.kind)?;
    Ok((got, batch))
}

async fn hangs<T>(future: impl Future<Output = T>) -> bool {
    timeout(LONG, future).await.is_err()
}

/// What arrives of 500 frames, and in which order, until the end.
async fn run(seed: u64) -> Vec<Bytes> {
    let network = MemoryNetwork::with_buffer(seed, 1000);
    network.set_faults(Faults { delay: Duration::ZERO..LONG, cut_every: 400 });
    let mut pair = pair_on(network).await;
    let writer = async {
        let sent = send_all(&mut pair.dialled, frames(500)).await;
        if sent.is_ok() {
            let _ = pair.dialled.sink.close().await;
        }
    };
    let reader = async {
        let mut seen = FrameBatch::new();
        while let Ok(Received::Frames) = pair.accepted.stream.recv(&mut seen).await {}
        seen.iter().map(|frame| frame.payload.clone()).collect()
    };
    tokio::join!(writer, reader).1
}

#[tokio::test(start_paused = true)]
async fn a_seed_repeats_its_run() {
    assert_eq!(run(1).await, run(1).await);
    assert_ne!(run(1).await, run(2).await);
}

#[tokio::test(start_paused = true)]
async fn a_cut_is_seen_at_both_ends() {
    let mut pair = pair_on(MemoryNetwork::new(1)).await;
    send_all(&mut pair.dialled, frames(3)).await.unwrap();
    pair.network.cut(&pair.b, &pair.a);
    assert_eq!(recv(&mut pair.accepted).await.unwrap_err(), ErrorKind::Broken);
    assert_eq!(recv(&mut pair.dialled).await.unwrap_err(), ErrorKind::Broken);
    assert_eq!(send_all(&mut pair.dialled, frames(1)).await.unwrap_err(), ErrorKind::Broken);
    assert_eq!(pair.network.connections(&pair.a, &pair.b), 0);
    assert!(pair.network.transport(&pair.a).dial(&pair.b).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_partition_is_silent_until_it_heals() {
    let mut pair = pair_on(MemoryNetwork::new(1)).await;
    pair.network.partition(&pair.a, &pair.b);
    send_all(&mut pair.dialled, frames(3)).await.unwrap();
    assert!(hangs(recv(&mut pair.accepted)).await && hangs(recv(&mut pair.dialled)).await);
    assert!(hangs(send_all(&mut pair.dialled, frames(10_000))).await, "buffers stay bounded");

    let transport = pair.network.transport(&pair.a);
    let dial = tokio::spawn({
        let to = pair.b.clone();
        async move { transport.dial(&to).await }
    });
    assert!(hangs(pair.listener.accept()).await);
    pair.network.heal(&pair.b, &pair.a);
    assert_eq!(recv(&mut pair.accepted).await.unwrap_err(), ErrorKind::Broken);
    assert_eq!(recv(&mut pair.dialled).await.unwrap_err(), ErrorKind::Broken);
    assert!(dial.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_healed_connection_that_lost_nothing_goes_on() {
    let mut pair = pair_on(MemoryNetwork::new(1)).await;
    pair.network.black_hole(&pair.a, &pair.b);
    send_all(&mut pair.accepted, frames(1)).await.unwrap();
    assert_eq!(recv(&mut pair.dialled).await.unwrap().1.len(), 1, "the other way is open");
    pair.network.heal_all();
    send_all(&mut pair.dialled, frames(1)).await.unwrap();
    assert_eq!(recv(&mut pair.accepted).await.unwrap().1.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_half_open_connection_is_seen_by_one_end_only() {
    let mut pair = pair_on(MemoryNetwork::new(1)).await;
    pair.network.half_open(&pair.a, &pair.b);
    assert_eq!(recv(&mut pair.dialled).await.unwrap_err(), ErrorKind::Broken);
    send_all(&mut pair.accepted, frames(1)).await.unwrap();
    drop(pair.dialled);
    assert!(hangs(recv(&mut pair.accepted)).await);
    assert!(pair.network.transport(&pair.a).dial(&pair.b).await.is_ok());
    pair.network.heal(&pair.a, &pair.b);
    assert_eq!(recv(&mut pair.accepted).await.unwrap_err(), ErrorKind::Broken);
}

/// Sends two frames, closes, and drops the stream: with or without reading it to its end.
async fn close_and_go(read_to_end: bool) -> Result<usize, ErrorKind> {
    let mut pair = pair_on(MemoryNetwork::new(1)).await;
    send_all(&mut pair.dialled, frames(2)).await?;
    pair.dialled.sink.close().await.unwrap();
    pair.accepted.sink.close().await.unwrap();
    if read_to_end {
        let mut none = FrameBatch::new();
        assert_eq!(pair.dialled.stream.recv(&mut none).await.unwrap(), Received::End);
    }
    drop(pair.dialled.stream);
    let mut seen = FrameBatch::new();
    loop {
        match pair.accepted.stream.recv(&mut seen).await {
            Ok(Received::Frames) => {}
            Ok(Received::End) => return Ok(seen.len()),
            Err(error) => return Err(error.kind),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_needs_its_stream_read_to_the_end() {
    assert_eq!(close_and_go(true).await, Ok(2));
    assert_eq!(close_and_go(false).await, Err(ErrorKind::Broken));
}

#[tokio::test(start_paused = true)]
async fn an_abort_is_seen_and_loses_what_is_in_flight() {
    let mut pair = pair_on(MemoryNetwork::new(1)).await;
    send_all(&mut pair.dialled, frames(2)).await.unwrap();
    drop((pair.dialled.sink, pair.dialled.stream));
    assert_eq!(recv(&mut pair.accepted).await.unwrap_err(), ErrorKind::Broken);
}
