//! Both ends of one lane, for those who count what a message costs.

use std::sync::Arc;

use serde::{Serialize, de::DeserializeOwned};

use super::lanes::{Nobody, namespace, receiver};
use crate::{
    FrameBatch, LaneId, NodeId, codec,
    inbox::{Body, Core, InPlace, Inbox, Next, Source},
    lane::{Amount, Epoch, Outbound, SlotId},
    wire::{Attach, Credit, Flags, LaneFrame, Records, Resumed},
};

/// The one connection that there is.
const EPOCH: Epoch = 1;

/// The largest message.
const LARGEST: u64 = 1 << 20;

/// Both ends of one lane with nothing between them: no task, no link, no network. Messages that are
/// larger than a chunk do not fit.
#[derive(Debug)]
pub struct Pair {
    sender: Outbound,
    inbox: Arc<Inbox>,
    in_place: InPlace,
    slot: SlotId,
    frames: FrameBatch,
    /// What the receiver works through, and how far it is.
    present: Records,
    so_far: Amount,
    /// The bytes of frames of which nobody took notice.
    lost: u64,
}

impl Pair {
    /// A lane that stands, to a receiver with room for so many messages and bytes.
    ///
    /// # Panics
    ///
    /// If there is no room at all.
    pub fn new(messages: u64, bytes: u64) -> Self {
        let capacity = Amount::new(messages, bytes);
        let inbox = Inbox::new(receiver(), namespace(), capacity, LARGEST, false);
        let upstream = Arc::new(Nobody);
        let source = Source::Remote { node: NodeId(2), lane: LaneId::FIRST, upstream };
        let attach = Attach {
            namespace: namespace(),
            receiver: receiver(),
            fresh: true,
            taken: 0,
            wanting: true,
        };
        let slot = inbox.with(|core| core.open(source, EPOCH, &attach)).expect("it is open");
        let mut sender = Outbound::new(LaneId::FIRST, namespace(), receiver());
        let mut frames = FrameBatch::new();
        sender.poll(EPOCH, &mut frames, usize::MAX);
        frames.pop().expect("it introduces itself");
        let (present, so_far) = Default::default();
        let in_place = InPlace::default();
        let mut pair = Self { sender, inbox, in_place, slot, frames, present, so_far, lost: 0 };
        let resumed = Resumed { next_frame: 0, credit: pair.granted() };
        pair.sender.on_resumed(EPOCH, &resumed).expect("an honest answer");
        assert!(pair.sender.credit() > 0);
        pair
    }

    /// Accepts a message. `false` if there is no credit for it.
    ///
    /// # Panics
    ///
    /// If it cannot be encoded.
    #[inline]
    pub fn send<T: Serialize>(&mut self, value: &T) -> bool {
        if self.sender.credit() == 0 {
            return false;
        }
        let accepted = self
            .sender
            .accept(Flags::default(), None, LARGEST, |writer| codec::encode(value, writer));
        accepted.expect("a message that can be encoded");
        true
    }

    /// Hands what was accepted, in frames of which nobody takes notice, and settles it as if it had been
    /// taken. Returns how many messages there were.
    ///
    /// # Panics
    ///
    /// If the lane does not believe that.
    pub fn hand_to_nobody(&mut self) -> u64 {
        let before = self.sender.handed();
        self.sender.poll(EPOCH, &mut self.frames, usize::MAX);
        while let Some(frame) = self.frames.pop() {
            self.lost += frame.payload.len() as u64;
        }
        let mut credit = self.granted();
        let handed = self.sender.handed();
        credit.taken = handed;
        credit.limit_messages += handed;
        credit.limit_bytes += self.lost;
        self.sender.on_credit(EPOCH, &credit).expect("an honest answer");
        handed - before
    }

    /// Hands what was accepted to the receiver. Returns how many messages there were.
    ///
    /// # Panics
    ///
    /// If the receiver refuses a frame.
    pub fn hand(&mut self) -> u64 {
        let before = self.sender.handed();
        self.sender.poll(EPOCH, &mut self.frames, usize::MAX);
        while let Some(frame) = self.frames.pop() {
            let LaneFrame::Data(header, records) = LaneFrame::decode(frame.payload).expect("ours")
            else {
                continue;
            };
            let put =
                |core: &mut Core| core.data(self.slot, EPOCH, &header, records, &self.in_place);
            self.inbox.with(put).expect("an honest frame");
        }
        self.sender.handed() - before
    }

    /// The next message that was handed. When there is none, the sender hears of what was taken.
    ///
    /// # Panics
    ///
    /// If it is not of this type.
    #[inline]
    pub fn recv<T: DeserializeOwned>(&mut self) -> Option<T> {
        loop {
            if let Some(record) = self.present.next() {
                assert!(self.inbox.claim(self.so_far.messages + 1), "nobody hands it back");
                self.so_far += Amount::new(1, record.body.len() as u64);
                self.inbox.advance(self.so_far);
                return Some(codec::decode(&record.body).expect("what was encoded"));
            }
            self.so_far = Amount::default();
            let Next::Batch(batch) = self.inbox.next() else {
                let credit = self.granted();
                self.sender.on_credit(EPOCH, &credit).expect("an honest answer");
                return None;
            };
            let Body::Records(records) = batch.body else { unreachable!("no large ones") };
            self.present = records;
        }
    }

    /// Whether all that was accepted is settled.
    pub fn is_settled(&self) -> bool {
        self.sender.unsettled() == 0 && self.sender.ledger().balances()
    }

    fn granted(&self) -> Credit {
        let credit = self.inbox.with(|core| core.credit(self.slot, LaneId::FIRST, EPOCH));
        credit.expect("it is attached")
    }
}

/// A value as it goes into a lane, behind what is in the buffer.
///
/// # Panics
///
/// If it cannot be encoded.
pub fn encode<T: Serialize>(value: &T, buffer: Vec<u8>) -> Vec<u8> {
    let into = postcard::ser_flavors::ExtendFlavor::new(buffer);
    codec::encode(value, into).expect("a value that can be encoded")
}
