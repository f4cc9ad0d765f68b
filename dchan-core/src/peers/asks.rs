//! Questions and answers, in frames of the lane for requests.

use std::{collections::HashMap, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::sync::{mpsc::error::TrySendError, oneshot};

use super::Peer;
use crate::{
    Ask, Breach, ErrorKind, Frame, LaneId, Question, RequestError, Requests, link::ProtocolError,
    wire::CHUNK,
};

/// What stands before each part: the number of the question, and what it is.
const HEADER: usize = 9;
const QUESTION: u8 = 1;
const ANSWER: u8 = 2;
/// The other side has too many questions to take this one.
const BUSY: u8 = 3;
/// There will be no answer.
const NONE: u8 = 4;
/// More parts follow.
const MORE: u8 = 0x80;

/// Open questions.
#[derive(Debug, Default)]
pub(crate) struct Asks {
    next: u64,
    /// Asked and not answered.
    open: HashMap<u64, oneshot::Sender<Result<Bytes, RequestError>>>,
    /// Waiting for a connection.
    waiting: Vec<Ask>,
    /// What has come of the question or answer that is on its way here, with its number and kind.
    partial: Option<(u64, u8, BytesMut)>,
    /// Questions of the other side that are being answered.
    taken: usize,
}

impl Asks {
    pub(super) fn are_waiting(&self) -> bool {
        self.waiting.iter().any(|ask| !ask.reply.is_closed())
    }

    /// The connection is gone. Whether open questions were heard is not known.
    pub(super) fn on_down(&mut self) {
        self.partial = None;
        for (_, reply) in self.open.drain() {
            let _gone = reply.send(Err(RequestError::Broken));
        }
    }

    /// Adds a part. Returns the whole, once the last one is here.
    pub(crate) fn put_together(
        &mut self,
        id: u64,
        kind: u8,
        part: Bytes,
    ) -> Result<Option<Bytes>, ProtocolError> {
        let more = kind & MORE != 0;
        let kind = kind & !MORE;
        if !(QUESTION..=NONE).contains(&kind) {
            let what = format!("a request frame of unknown kind {kind}: expected 1 to 4");
            return Err(ProtocolError::new(Breach::Undecodable, what));
        }
        let (begun, of, mut whole) = self.partial.take().unwrap_or((id, kind, BytesMut::new()));
        if (begun, of) != (id, kind) {
            let what = format!(
                "a part of kind {kind} of question {id} in the midst of kind {of} of question {begun}"
            );
            return Err(ProtocolError::new(Breach::Part, what));
        }
        let len = whole.len() + part.len();
        if len > Requests::MAX {
            let what =
                format!("a question or an answer of {len} bytes: expected {}", Requests::MAX);
            return Err(ProtocolError::new(Breach::TooLarge, what));
        }
        if !more && whole.is_empty() {
            return Ok(Some(part));
        }
        whole.extend_from_slice(&part);
        if more {
            self.partial = Some((id, kind, whole));
            return Ok(None);
        }
        Ok(Some(whole.freeze()))
    }

    /// No connection could be made.
    pub(super) fn on_unreachable(&mut self, kind: ErrorKind, reason: &str) {
        for Ask { at, reply, .. } in self.waiting.drain(..) {
            let reason = reason.to_owned();
            let _gone = reply.send(Err(RequestError::Unreachable { at, kind, reason }));
        }
    }
}

impl Peer {
    /// Asks a question, now or as soon as there is a link.
    pub(super) fn ask(self: &Arc<Self>, ask: Ask) {
        let most = self.shared.config.limits.questions;
        let mut asks = self.asks.lock();
        asks.open.retain(|_, reply| !reply.is_closed());
        asks.waiting.retain(|ask| !ask.reply.is_closed());
        if asks.open.len() + asks.waiting.len() >= most {
            let _gone = ask.reply.send(Err(RequestError::Busy));
            return;
        }
        asks.waiting.push(ask);
        drop(asks);
        self.send_waiting();
        if !self.is_up() {
            self.dial_if_wanted();
        }
    }

    /// Sends the questions that waited for a link.
    pub(super) fn send_waiting(&self) {
        let Some(outbox) = self.outbox() else { return };
        let mut asks = self.asks.lock();
        for ask in std::mem::take(&mut asks.waiting) {
            let id = asks.next;
            asks.next += 1;
            asks.open.insert(id, ask.reply);
            outbox.frames(frames(id, QUESTION, &ask.body));
        }
    }

    pub(super) fn on_request_frame(self: &Arc<Self>, payload: Bytes) -> Result<(), ProtocolError> {
        let (Some(id), Some(&kind)) = (payload.get(..8), payload.get(8)) else {
            let what = format!("a request frame of {} bytes: expected {HEADER}", payload.len());
            return Err(ProtocolError::new(Breach::Undecodable, what));
        };
        let id = id.try_into().map(u64::from_le_bytes).unwrap_or_default();
        let mut asks = self.asks.lock();
        let Some(body) = asks.put_together(id, kind, payload.slice(HEADER..))? else {
            return Ok(());
        };
        let answer = match kind {
            QUESTION => {
                let busy = asks.taken >= self.shared.config.limits.questions;
                drop(asks);
                self.on_question(id, body, busy);
                return Ok(());
            }
            ANSWER => Ok(body),
            BUSY => Err(RequestError::Busy),
            _ => Err(RequestError::Broken),
        };
        if id >= asks.next {
            let what = format!("an answer to question {id}, which was never asked");
            return Err(ProtocolError::new(Breach::Future, what));
        }
        if let Some(reply) = asks.open.remove(&id) {
            let _gone = reply.send(answer);
        }
        Ok(())
    }

    fn on_question(self: &Arc<Self>, id: u64, body: Bytes, busy: bool) {
        let (reply, answer) = oneshot::channel();
        let question = Question { from: self.id, body, reply };
        let refused = busy
            || match self.shared.questions.try_send(question) {
                Ok(()) => false,
                Err(TrySendError::Full(_) | TrySendError::Closed(_)) => true,
            };
        let Some(outbox) = self.outbox() else { return };
        if refused {
            outbox.frames(frames(id, BUSY, &Bytes::new()));
            return;
        }
        self.asks.lock().taken += 1;
        let peer = self.clone();
        self.spawn(async move {
            let answer = tokio::select! {
                answer = answer => answer.ok().filter(|answer| answer.len() <= Requests::MAX),
                () = peer.shared.stopping.cancelled() => None,
            };
            peer.asks.lock().taken -= 1;
            match answer {
                Some(answer) => outbox.frames(frames(id, ANSWER, &answer)),
                None => outbox.frames(frames(id, NONE, &Bytes::new())),
            }
        });
    }
}

/// The frames of a question or an answer.
fn frames(id: u64, kind: u8, body: &Bytes) -> Vec<Frame> {
    let parts = body.len().div_ceil(CHUNK).max(1);
    let part = |at: usize| {
        let bytes = &body[at * CHUNK..((at + 1) * CHUNK).min(body.len())];
        let mut payload = BytesMut::with_capacity(HEADER + bytes.len());
        payload.put_u64_le(id);
        payload.put_u8(if at + 1 < parts { kind | MORE } else { kind });
        payload.put_slice(bytes);
        Frame::new(LaneId::REQUESTS, payload.freeze())
    };
    (0..parts).map(part).collect()
}
