use std::collections::HashMap;

use bytes::Bytes;
use dchan_core::{Frame, FrameBatch, FrameSink, FrameStream, LaneId, Received};

use crate::failure::{Failure, Outcome, ensure};

/// What is to be sent: the same number of frames on each lane, lane after lane in turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Script {
    pub(super) lanes: usize,
    pub(super) per_lane: usize,
    /// The sizes of the payloads, in turn.
    pub(super) sizes: &'static [usize],
}

impl Script {
    pub(super) fn total(&self) -> usize {
        self.lanes * self.per_lane
    }

    /// The frame at a place in the order of sending.
    pub(super) fn frame(&self, at: usize) -> Frame {
        let nth = at / self.lanes;
        let lane = LaneId(LaneId::FIRST.0 + (at % self.lanes) as u64);
        let size = self.sizes[at % self.sizes.len()];
        let last = nth + 1 == self.per_lane;
        // The place in the order, over and over, so that any mix-up shows.
        let mut payload = (at as u64).to_le_bytes().repeat(size.div_ceil(8));
        payload.truncate(size);
        let payload = Bytes::from(payload);
        Frame { lane, payload, last }
    }

    /// Sends everything, and flushes.
    pub(super) async fn send(&self, sink: &mut Box<dyn FrameSink>) -> Outcome {
        self.send_unflushed(sink).await?;
        sink.send(&mut FrameBatch::new()).await?;
        Ok(())
    }

    /// Sends everything, in batches of many sizes.
    pub(super) async fn send_unflushed(&self, sink: &mut Box<dyn FrameSink>) -> Outcome {
        let mut batch = FrameBatch::new();
        for at in 0..self.total() {
            batch.push(self.frame(at));
            if at % 37 == 0 || at % 101 == 0 {
                sink.send(&mut batch).await?;
            }
        }
        while !batch.is_empty() {
            sink.send(&mut batch).await?;
        }
        Ok(())
    }

    /// Receives everything, and checks it.
    pub(super) async fn recv(&self, stream: &mut Box<dyn FrameStream>) -> Outcome {
        let mut checker = Checker::new(*self);
        while checker.seen < self.total() {
            let ended = !checker.recv_some(stream).await?;
            ensure!(!ended, "the stream ended after {} of {} frames", checker.seen, self.total());
        }
        Ok(())
    }
}

/// Checks what arrives against a script: per lane, as nothing is promised across lanes.
#[derive(Debug)]
pub(super) struct Checker {
    script: Script,
    next: HashMap<LaneId, usize>,
    pub(super) seen: usize,
}

impl Checker {
    pub(super) fn new(script: Script) -> Self {
        Self { script, next: HashMap::new(), seen: 0 }
    }

    /// Receives once. False at the end.
    pub(super) async fn recv_some(&mut self, stream: &mut Box<dyn FrameStream>) -> Outcome<bool> {
        let mut batch = FrameBatch::new();
        let got = stream.recv(&mut batch).await?;
        self.check(got, &mut batch)
    }

    pub(super) fn check(&mut self, got: Received, batch: &mut FrameBatch) -> Outcome<bool> {
        match got {
            Received::End => ensure!(batch.is_empty(), "frames came together with the end"),
            Received::Frames => ensure!(!batch.is_empty(), "recv gave no frame"),
        }
        while let Some(frame) = batch.pop() {
            self.frame(&frame)?;
        }
        Ok(got == Received::Frames)
    }

    fn frame(&mut self, frame: &Frame) -> Outcome {
        let next = self.next.entry(frame.lane).or_insert(0);
        let nth = *next;
        *next += 1;
        self.seen += 1;
        let lane = usize::try_from(frame.lane.0.wrapping_sub(LaneId::FIRST.0));
        let lane = lane.ok().filter(|lane| *lane < self.script.lanes);
        let lane = lane.ok_or_else(|| Failure(format!("lane {} was never used", frame.lane)))?;
        ensure!(nth < self.script.per_lane, "lane {}: more frames than were sent", frame.lane);
        let want = self.script.frame(nth * self.script.lanes + lane);
        if *frame == want {
            return Ok(());
        }
        let place = (0..self.script.per_lane)
            .find(|nth| self.script.frame(nth * self.script.lanes + lane) == *frame);
        let what = match place {
            Some(other) => format!("frame {other} came in its place"),
            None => format!(
                "{} bytes (last: {}) came in place of {} bytes (last: {})",
                frame.payload.len(),
                frame.last,
                want.payload.len(),
                want.last
            ),
        };
        Err(Failure(format!("lane {}, frame {nth}: {what}", frame.lane)))
    }
}
