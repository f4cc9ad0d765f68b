use std::{future::pending, mem, sync::Arc};

use async_trait::async_trait;
use dchan_core::{
    Connection, Frame, FrameBatch, FrameSink, FrameStream, LaneId, Received, TransportError,
};
use tokio::{sync::Mutex, task::yield_now};

use super::{beast::Beast, per_frame::PerFrame};

/// What all connections of a transport share.
pub(crate) type Shared = Arc<Mutex<()>>;

/// Breaks a connection's halves.
pub(crate) fn wrap(beast: Beast, lock: &Shared, connection: Connection) -> Connection {
    let ended = Arc::default();
    let mut out = connection.sink;
    if beast == Beast::SendsFromATaskPerFrame {
        out = Box::new(PerFrame::new(out));
    }
    let sink = BrokenSink {
        beast,
        lock: lock.clone(),
        ended: Arc::clone(&ended),
        inner: Some(out),
        held: FrameBatch::new(),
        count: 0,
    };
    let inner = Some(connection.stream);
    let stream = BrokenStream { beast, lock: lock.clone(), ended, inner, after_end: 0, count: 0 };
    Connection::new(sink, stream, connection.peer)
}

#[derive(Debug)]
struct BrokenSink {
    beast: Beast,
    lock: Shared,
    /// The peer's direction has ended.
    ended: Arc<std::sync::atomic::AtomicBool>,
    inner: Option<Box<dyn FrameSink>>,
    held: FrameBatch,
    count: usize,
}

impl BrokenSink {
    fn inner(&mut self) -> &mut Box<dyn FrameSink> {
        self.inner.as_mut().expect("there until it is dropped")
    }

    async fn send_held(&mut self) -> Result<(), TransportError> {
        let inner = self.inner.as_mut().expect("there until it is dropped");
        while !self.held.is_empty() {
            inner.send(&mut self.held).await?;
        }
        Ok(())
    }

    /// Takes what it should not, before the rest goes the right way.
    fn spoil(&mut self, batch: &mut FrameBatch) {
        self.count += 1;
        match self.beast {
            Beast::LosesFrames if self.count.is_multiple_of(20) => drop(batch.pop()),
            Beast::SwallowsTooLarge => {
                while batch.take_where(|frame| frame.payload.len() > Frame::MAX).is_some() {}
            }
            Beast::HoldsBack | Beast::BuffersWithoutEnd => {
                while let Some(frame) = batch.pop() {
                    self.held.push(frame);
                }
            }
            _ => {}
        }
    }
}

#[async_trait]
impl FrameSink for BrokenSink {
    async fn send(&mut self, batch: &mut FrameBatch) -> Result<(), TransportError> {
        self.spoil(batch);
        match self.beast {
            Beast::SharesOneLock => {
                let lock = self.lock.clone();
                let _held = lock.lock().await;
                self.inner().send(batch).await
            }
            Beast::TakesFromTheMiddle if batch.len() > 1 => {
                let first = batch.pop().expect("there are two");
                let sent = self.inner().send(batch).await;
                batch.push_front(first);
                sent
            }
            Beast::TakesNothing if self.count.is_multiple_of(5) => Ok(()),
            Beast::LosesDroppedSends => {
                let mut taken = mem::take(batch);
                let sent = self.inner().send(&mut taken).await;
                *batch = taken;
                sent
            }
            Beast::HoldsBack => {
                let mut ready = FrameBatch::new();
                while self.held.len() > 1 {
                    ready.push(self.held.pop().expect("there are two"));
                }
                while !ready.is_empty() {
                    self.inner().send(&mut ready).await?;
                }
                Ok(())
            }
            Beast::KeepsLoneFrames => {
                self.send_held().await?;
                if batch.len() == 1 && batch.bytes() <= Frame::MAX {
                    mem::swap(batch, &mut self.held);
                    return Ok(());
                }
                self.inner().send(batch).await
            }
            Beast::BuffersWithoutEnd => {
                // Whatever goes at once goes; the rest is kept, however much it is.
                let mut held = mem::take(&mut self.held);
                let sent = tokio::select! {
                    biased;
                    sent = self.inner().send(&mut held) => sent,
                    () = yield_now() => Ok(()),
                };
                self.held = held;
                sent
            }
            Beast::EndsBothWays if self.ended.load(std::sync::atomic::Ordering::Relaxed) => {
                pending().await
            }
            Beast::HidesBreaks => {
                let _ = self.inner().send(batch).await;
                while batch.pop().is_some() {}
                Ok(())
            }
            _ => self.inner().send(batch).await,
        }
    }

    fn is_flushed(&self) -> bool {
        self.beast == Beast::KeepsLoneFrames
    }

    async fn close(mut self: Box<Self>) -> Result<(), TransportError> {
        if self.beast == Beast::KeepsLoneFrames {
            self.send_held().await?;
        }
        let inner = self.inner.take().expect("closed once");
        inner.close().await?;
        if self.beast == Beast::HangsInClose {
            return pending().await;
        }
        Ok(())
    }
}

impl Drop for BrokenSink {
    fn drop(&mut self) {
        if self.beast == Beast::KeepsHalvesAlive {
            mem::forget(self.inner.take());
        }
    }
}

#[derive(Debug)]
struct BrokenStream {
    beast: Beast,
    lock: Shared,
    ended: Arc<std::sync::atomic::AtomicBool>,
    inner: Option<Box<dyn FrameStream>>,
    after_end: usize,
    count: usize,
}

#[async_trait]
impl FrameStream for BrokenStream {
    async fn recv(&mut self, batch: &mut FrameBatch) -> Result<Received, TransportError> {
        if self.beast == Beast::SharesOneLock {
            drop(self.lock.lock().await);
        }
        let mut got = FrameBatch::new();
        let inner = self.inner.as_mut().expect("there until it is dropped");
        let received = inner.recv(&mut got).await;
        if self.beast == Beast::LosesDroppedReceives {
            yield_now().await;
        }
        match received {
            Ok(Received::Frames) => self.spoil(got, batch),
            Ok(Received::End) => {
                self.ended.store(true, std::sync::atomic::Ordering::Relaxed);
                self.after_end += 1;
                if self.beast == Beast::SpeaksAfterTheEnd && self.after_end == 2 {
                    batch.push(Frame::new(LaneId::FIRST, "one more thing".into()));
                    return Ok(Received::Frames);
                }
            }
            Err(_) if self.beast == Beast::HidesBreaks => pending().await,
            Err(_) => {}
        }
        received
    }
}

impl BrokenStream {
    /// Hands frames on, but not as they came.
    fn spoil(&mut self, mut got: FrameBatch, batch: &mut FrameBatch) {
        let mut swapped = None;
        while let Some(mut frame) = got.pop() {
            self.count += 1;
            match self.beast {
                Beast::SwapsFrames if self.count.is_multiple_of(10) && swapped.is_none() => {
                    swapped = Some(frame);
                    continue;
                }
                Beast::RepeatsFrames if self.count.is_multiple_of(10) => batch.push(frame.clone()),
                Beast::CutsPayloads => frame.payload.truncate(Frame::MAX - 1),
                Beast::ForgetsLast => frame.last = false,
                Beast::MixesLanes => frame.lane.0 %= 512,
                _ => {}
            }
            if self.beast == Beast::MergesFrames
                && let Some(before) = batch.take_where(|before| before.lane == frame.lane)
            {
                frame.payload = [before.payload, frame.payload].concat().into();
            }
            batch.push(frame);
        }
        if let Some(frame) = swapped {
            batch.push(frame);
        }
    }
}

impl Drop for BrokenStream {
    fn drop(&mut self) {
        if self.beast == Beast::KeepsHalvesAlive {
            mem::forget(self.inner.take());
        }
    }
}
