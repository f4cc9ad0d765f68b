//! Bytes that are almost right.

use fastrand::Rng;

/// The longest input: what matters happens in short ones.
const MOST: usize = 8 * 1024;

/// Something of the corpus with a few things wrong.
pub(crate) fn mutation(corpus: &[Vec<u8>], chance: &mut Rng) -> Vec<u8> {
    let mut bytes = corpus[chance.usize(..corpus.len())].clone();
    for _ in 0..chance.usize(1..=8) {
        change(&mut bytes, corpus, chance);
    }
    bytes.truncate(MOST);
    bytes
}

fn change(bytes: &mut Vec<u8>, corpus: &[Vec<u8>], chance: &mut Rng) {
    let at = chance.usize(..=bytes.len());
    let rest = bytes.len() - at;
    match chance.u8(..8) {
        0 if rest > 0 => bytes[at] ^= 1 << chance.u8(..8),
        1 if rest > 0 => bytes[at] = chance.u8(..),
        2 if rest > 0 => bytes[at] = *chance.choice(&[0, 1, 0x7f, 0x80, 0xff]).unwrap_or(&0),
        3 => bytes.truncate(at),
        4 => drop(bytes.drain(at..at + chance.usize(..=rest.min(16)))),
        5 => {
            let again = bytes[at..at + chance.usize(..=rest.min(64))].to_vec();
            bytes.splice(at..at, again);
        }
        6 => {
            let other = &corpus[chance.usize(..corpus.len())];
            bytes.truncate(at);
            bytes.extend_from_slice(&other[chance.usize(..=other.len())..]);
        }
        _ => {
            let new: Vec<u8> = (0..chance.usize(1..=16)).map(|_| chance.u8(..)).collect();
            bytes.splice(at..at, new);
        }
    }
}
