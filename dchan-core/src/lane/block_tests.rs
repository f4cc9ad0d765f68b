use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::{Frame, wire::CHUNK};

const MAX: u64 = 64 << 20;

fn put(pending: &mut Pending, body: &[u8]) -> Result<u64, EncodeFault> {
    pending.append(Flags::default(), MAX, |writer| {
        writer.write(body);
        Ok(())
    })
}

fn header(block: &Block) -> DataHeader {
    DataHeader { frame_no: 0, first_seq: 0, count: block.count, settled: 0 }
}

/// All bodies that wait, oldest first; parts of a large message as they are.
fn bodies(pending: &mut Pending) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(block) = pending.pop_front() {
        let stamped = block.clone().stamp(&header(&block));
        if block.part.is_some() {
            all.push(stamped.part_body().to_vec());
        } else {
            all.extend(stamped.records().map(|record| record.body.to_vec()));
        }
    }
    all
}

#[test]
fn messages_come_out_as_they_went_in() {
    let mut pending = Pending::default();
    let sent: Vec<Vec<u8>> = (0..500u32).map(|n| vec![n as u8; n as usize * 7 % 900]).collect();
    sent.iter().for_each(|body| assert_eq!(put(&mut pending, body), Ok(body.len() as u64)));
    assert_eq!(pending.messages(), 500);
    assert_eq!(bodies(&mut pending), sent);
    assert!(pending.is_empty() && pending.messages() == 0);
}

#[test]
fn an_error_leaves_no_trace() {
    for before in [&[][..], &[b"before".as_slice()][..]] {
        for written in [0, 10, CHUNK, CHUNK + 1, 3 * CHUNK] {
            let mut pending = Pending::default();
            before.iter().for_each(|body| assert!(put(&mut pending, body).is_ok()));
            let failed = pending.append(Flags::default(), MAX, |writer| {
                writer.write(&vec![7; written]);
                Err(postcard::Error::SerializeBufferFull)
            });
            assert_eq!(failed, Err(EncodeFault::Encode(postcard::Error::SerializeBufferFull)));
            put(&mut pending, b"after").unwrap();
            let mut expected = before.iter().map(|body| body.to_vec()).collect::<Vec<_>>();
            expected.push(b"after".to_vec());
            assert_eq!(bodies(&mut pending), expected, "{written} bytes written");
        }
    }
}

#[test]
fn a_panic_leaves_no_trace() {
    let mut pending = Pending::default();
    put(&mut pending, b"before").unwrap();
    for written in [10, 2 * CHUNK] {
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            pending.append(Flags::default(), MAX, |writer| {
                writer.write(&vec![7; written]);
                panic!("the user's Serialize")
            })
        }));
        assert!(panicked.is_err());
    }
    put(&mut pending, b"after").unwrap();
    assert_eq!(pending.messages(), 2);
    assert_eq!(bodies(&mut pending), [b"before".to_vec(), b"after".to_vec()]);
}

#[test]
fn too_large_names_size_and_limit() {
    for (len, max) in [(11, 10), (CHUNK + 1, CHUNK), (3 * CHUNK, 2 * CHUNK), (CHUNK, 7)] {
        let mut pending = Pending::default();
        let encode = |writer: &mut RecordWriter<'_>| {
            // Byte by byte and in large pieces.
            writer.write(&vec![1; len - 5]);
            (0..5).for_each(|_| writer.write(&[2]));
            Ok(())
        };
        let fault = pending.append(Flags::default(), max as u64, encode);
        let len = len as u64;
        assert_eq!(fault, Err(EncodeFault::TooLarge { len }));
        assert!(pending.is_empty());
        assert_eq!(pending.append(Flags::default(), len, encode), Ok(len));
    }
}

#[test]
fn what_is_above_a_chunk_goes_in_parts() {
    for (len, parts) in [(CHUNK, 0), (CHUNK + 1, 2), (2 * CHUNK, 2), (10 * CHUNK, 10)] {
        let body: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
        let mut pending = Pending::default();
        put(&mut pending, b"small").unwrap();
        // In pieces that do not fit the parts.
        let written = pending.append(Flags::TRACKED, MAX, |writer| {
            body.chunks(50_001).for_each(|piece| writer.write(piece));
            Ok(())
        });
        assert_eq!(written, Ok(len as u64));
        assert_eq!(pending.messages(), 2);
        if parts > 0 {
            assert!(pending.front().unwrap().part.is_none());
            pending.pop_front();
            assert_eq!(pending.large_bytes(), len as u64);
            check_parts(&mut pending, parts, &body);
        } else {
            assert_eq!(bodies(&mut pending), [b"small".to_vec(), body]);
        }
    }
}

fn check_parts(pending: &mut Pending, parts: usize, body: &[u8]) {
    let mut found = Vec::new();
    for at in 0..parts {
        let block = pending.pop_front().unwrap();
        let (first, last) = (at == 0, at + 1 == parts);
        let total = body.len() as u64;
        assert_eq!(block.part, Some(Part { first, last, flags: Flags::TRACKED, total }));
        assert_eq!(block.count, u32::from(last));
        let stamped = block.clone().stamp(&header(&block));
        assert!(stamped.payload.len() <= Frame::MAX);
        assert_eq!(stamped.part_body().len() as u64, stamped.bytes);
        found.extend_from_slice(&stamped.part_body());
    }
    assert!(pending.is_empty() && found == body);
}

#[test]
fn no_frame_is_above_the_limit() {
    for small in [0, 1, 29, 100, CHUNK - 50, CHUNK - 30, CHUNK - 5, CHUNK - 1, CHUNK] {
        let mut pending = Pending::default();
        (0..4).for_each(|n| assert!(put(&mut pending, &vec![1; [small, CHUNK][n % 2]]).is_ok()));
        while let Some(block) = pending.pop_front() {
            let stamped = block.clone().stamp(&header(&block));
            assert!(stamped.payload.len() <= Frame::MAX, "{} bytes", stamped.payload.len());
        }
    }
}

#[test]
fn a_block_splits_between_messages() {
    for (messages, bytes, expected) in
        [(1, 100, 1), (2, 100, 2), (100, 9, 2), (100, 10, 3), (3, 100, 3), (0, 100, 0), (100, 2, 0)]
    {
        let mut pending = Pending::default();
        let sent = [&b"abc"[..], b"defg", b"hij", b"k"];
        sent.iter().for_each(|body| assert!(put(&mut pending, body).is_ok()));
        let head = pending.split_front(Amount::new(messages, bytes));
        assert_eq!(head.as_ref().map_or(0, |head| head.count), expected);
        assert_eq!(pending.messages(), 4 - u64::from(expected));
        let mut found = Vec::new();
        if let Some(head) = head {
            let stamped = head.clone().stamp(&header(&head));
            assert_eq!(stamped.records().map(|r| r.body.len() as u64).sum::<u64>(), stamped.bytes);
            found.extend(stamped.records().map(|record| record.body.to_vec()));
        }
        found.extend(bodies(&mut pending).into_iter().take(4));
        assert_eq!(found, sent, "{messages} messages, {bytes} bytes");
    }
}

#[test]
fn what_was_stamped_can_go_back_and_be_stamped_again() {
    let mut pending = Pending::default();
    put(&mut pending, b"one").unwrap();
    put(&mut pending, b"two").unwrap();
    let block = pending.pop_front().unwrap();
    let stamped = block.stamp(&DataHeader { frame_no: 9, first_seq: 4, count: 2, settled: 3 });
    assert!(!stamped.is_settled_by(5) && stamped.is_settled_by(6));
    // A connection may still hold it.
    let held = stamped.payload.clone();
    pending.push_front(stamped.unstamp());
    put(&mut pending, b"three").unwrap();
    assert_eq!(pending.messages(), 3);
    assert_eq!(bodies(&mut pending), [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]);
    assert_eq!(held[1], 9, "what a connection holds stays as it is");
}

#[test]
fn a_quiet_lane_gives_its_room_back() {
    let mut pending = Pending::default();
    assert!(!pending.has_spare_room());
    (0..100).for_each(|_| assert!(put(&mut pending, &[1; 5_000]).is_ok()));
    let large = pending.arena.capacity();
    pending.release();
    assert_eq!(pending.arena.capacity(), large, "not while messages wait");
    bodies(&mut pending);
    assert!(pending.has_spare_room());
    pending.release();
    assert_eq!(pending.arena.capacity(), 0);
    put(&mut pending, b"again").unwrap();
    assert!((1..=1024).contains(&pending.arena.capacity()));
    assert_eq!(bodies(&mut pending), [b"again".to_vec()]);
}

#[test]
fn buffers_are_used_again() {
    for (len, on_their_way) in
        [(20, 1), (1_000, 1), (1_000, 9), (30_000, 3), (CHUNK, 20), (3 * CHUNK, 9)]
    {
        let (mut pending, mut retained) = (Pending::default(), VecDeque::new());
        let mut made = [0; 2];
        for made in &mut made {
            for _ in 0..1_000 {
                put(&mut pending, &vec![7; len]).unwrap();
                while let Some(block) = pending.pop_front() {
                    let header = header(&block);
                    retained.push_back(block.stamp(&header));
                }
                while retained.len() > on_their_way {
                    let settled = retained.pop_front().unwrap();
                    let body = &settled.payload[HEADER + Chunk::FIELDS..];
                    assert!(body.iter().all(|byte| *byte == 7), "it was overwritten");
                    drop(settled);
                    pending.recycle();
                }
            }
            *made = pending.arena.made;
        }
        assert_eq!(made[0], made[1], "{len} bytes, {on_their_way} on their way");
    }
}

#[test]
fn a_quiet_lane_gives_small_buffers_back_too() {
    let (mut pending, mut retained) = (Pending::default(), Vec::new());
    for _ in 0..100 {
        put(&mut pending, &[1; 100]).unwrap();
        let block = pending.pop_front().unwrap();
        let header = header(&block);
        retained.push(block.stamp(&header));
    }
    retained.clear();
    pending.recycle();
    assert!(pending.arena.kept() > 3);
    assert!(pending.has_spare_room());
    pending.release();
    assert_eq!(pending.arena.kept(), 0);
}

#[test]
fn no_more_buffers_are_kept_than_were_in_use() {
    let (mut pending, mut retained) = (Pending::default(), Vec::new());
    for _ in 0..1_000 {
        put(&mut pending, &[1; CHUNK]).unwrap();
        let block = pending.pop_front().unwrap();
        let header = header(&block);
        retained.push(block.stamp(&header));
    }
    retained.clear();
    pending.recycle();
    assert!(pending.arena.kept() <= 64, "{}", pending.arena.kept());
}
