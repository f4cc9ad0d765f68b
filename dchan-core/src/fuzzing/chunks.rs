//! What comes in parts, and the values that it is put together to.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Input, check_error};
use crate::{
    Requests, codec,
    lane::{Inbound, Message},
    link::ProtocolError,
    peers::Asks,
    wire::{CHUNK, Chunk, DataHeader, Flags},
};

static ZEROS: [u8; 2 * CHUNK] = [0; 2 * CHUNK];

/// Parts of large messages, parts of questions, or the bytes of a user's value.
pub fn chunk_assembly(data: &[u8]) {
    let mut input = Input::new(data);
    match input.byte() % 3 {
        0 => messages(&mut input),
        1 => questions(&mut input),
        _ => value(input.rest()),
    }
}

/// What has come of a message is never more than it may be in all.
fn messages(input: &mut Input<'_>) {
    let max = 1 << (10 + u32::from(input.byte()) % 12);
    let mut lane = Inbound::default();
    lane.attach(1, 0);
    let (mut frame_no, mut seq, mut total, mut have) = (0, 0, 0, 0);
    while !input.is_empty() {
        if have == 0 {
            total = input.number() % (2 * max);
        }
        let due = total.saturating_sub(have).min(CHUNK as u64);
        let len = input.near(due).min(ZEROS.len() as u64);
        let odd = input.byte();
        let first = (have == 0) ^ (odd == 1);
        let last = (have + len >= total) ^ (odd == 2);
        let header = DataHeader {
            frame_no: input.near(frame_no),
            first_seq: input.near(seq),
            count: input.near(last.into()) as u32,
            settled: 0,
        };
        let body = Bytes::from_static(&ZEROS[..len as usize]);
        let announced = input.near(total);
        let chunk = Chunk { first, last, flags: Flags(odd), total: announced, body };
        match lane.chunk(1, &header, chunk, max) {
            Err(fault) => return check_error(&fault),
            Ok(None) => panic!("it is attached"),
            Ok(Some(None)) => {
                (frame_no, have, total) = (frame_no + 1, have + len, announced);
                assert!(have < total && total <= max, "{have} of {total}, at most {max}");
            }
            Ok(Some(Some(delivery))) => {
                let Message::Large { pieces, .. } = delivery.message else { panic!() };
                let whole = pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
                assert_eq!((whole, whole <= max), (have + len, true));
                (frame_no, seq, have) = (frame_no + 1, seq + 1, 0);
            }
        }
    }
}

fn questions(input: &mut Input<'_>) {
    let (mut asks, mut id, mut kind) = (Asks::default(), 0, 1);
    let mut have = 0;
    while !input.is_empty() {
        if have == 0 {
            (id, kind) = (input.byte().into(), 1 + input.byte() % 4);
        }
        let more = if input.byte() < 200 { 0x80 } else { 0 };
        let len = input.near(CHUNK as u64).min(ZEROS.len() as u64) as usize;
        let (id, kind) = (input.near(id), input.near((kind | more).into()) as u8);
        match asks.put_together(id, kind, Bytes::from_static(&ZEROS[..len])) {
            Err(ProtocolError { .. }) if len > Requests::MAX => unreachable!("no part is so large"),
            Err(error) => return check_error(&error),
            Ok(None) => have += len,
            Ok(Some(whole)) => {
                assert_eq!(whole.len(), have + len);
                have = 0;
            }
        }
        assert!(have <= Requests::MAX);
    }
}

/// A type of everything, as deep as it likes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Value {
    Nothing,
    Number(i64),
    Text(String),
    Bytes(Vec<u8>),
    Maybe(Option<Box<Value>>),
    List(Vec<Value>),
    Map(BTreeMap<u16, Value>),
    Pair((Box<Value>, bool)),
    Empties(Vec<()>),
    Record { next: Box<Value>, wide: u128, c: char },
}

/// Whatever can be decoded can be encoded, and is the same then.
fn value(bytes: &[u8]) {
    let Some(value) = codec::decode::<Value>(bytes) else { return };
    let encode = |value: &Value| {
        codec::encode(value, postcard::ser_flavors::StdVec::new()).expect("as deep as it came")
    };
    let again = encode(&value);
    // Numbers can be written in more bytes than it takes.
    assert!(again.len() <= bytes.len());
    let value_again = codec::decode::<Value>(&again).expect("what was encoded");
    assert_eq!(encode(&value_again), again);
}
