//! Frames of a connection, as they come in.

use bytes::Bytes;

use super::check_error;
use crate::{
    Frame,
    wire::{Control, LaneFrame},
};

/// Any bytes as a frame of the control lane, or of a lane of messages.
pub fn wire(data: &[u8]) {
    let Some((kind, payload)) = data.split_first() else { return };
    let payload = Bytes::copy_from_slice(&payload[..payload.len().min(Frame::MAX)]);
    if kind & 1 == 0 { control(payload) } else { lane(payload) }
}

fn control(mut payload: Bytes) {
    loop {
        match Control::decode_next(&mut payload) {
            Ok(None) => return,
            Ok(Some(control)) => {
                let mut again: Bytes = control.encode(Vec::new()).into();
                assert_eq!(Control::decode_next(&mut again), Ok(Some(control)));
                assert!(again.is_empty());
            }
            Err(error) => return check_error(&error),
        }
    }
}

fn lane(payload: Bytes) {
    let frame = match LaneFrame::decode(payload.clone()) {
        Ok(frame) => frame,
        Err(error) => return check_error(&error),
    };
    if let Some(again) = frame.encode_plain() {
        let again = LaneFrame::decode(again).expect("what was encoded");
        assert_eq!(format!("{again:?}"), format!("{frame:?}"));
        return;
    }
    match frame {
        LaneFrame::Data(header, records) => match records.check(header.count) {
            Ok(bytes) => {
                let records: Vec<_> = records.collect();
                assert_eq!(records.len(), header.count as usize);
                let sum: usize = records.iter().map(|record| record.body.len()).sum();
                assert_eq!(sum as u64, bytes);
            }
            Err(error) => check_error(&error),
        },
        LaneFrame::Chunk(_, chunk) => assert!(chunk.body.len() < payload.len()),
        other => panic!("{other:?} has no plain form"),
    }
}
