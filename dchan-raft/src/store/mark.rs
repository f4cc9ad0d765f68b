//! How far the log was acknowledged, in a small file beside it.
//!
//! A database that finds its last transaction damaged goes back to the one before it, as it must: after
//! a crash that is what a transaction looks like that nobody was told of. But if it was acknowledged,
//! then the node would forget a vote or an entry that others count on. So the number of each transaction
//! is written here before anybody is told of it. It costs no flush: the file outlives the process, and
//! after a power failure it says less than it might, but nothing wrong. Only the first number is flushed:
//! where it is still 0, nothing was ever acknowledged.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
};

use parking_lot::Mutex;

use crate::seal;

/// The name of the file in the data directory.
pub(crate) const FILE: &str = "raft.mark";

/// Two of these, in turn, each in a sector of its own: one that is written when the power fails leaves
/// the other one whole.
const SLOT: usize = 512;
const LEN: usize = 12;

/// The file that holds the number of the last transaction that was acknowledged.
#[derive(Debug)]
pub(super) struct Mark(Mutex<File>);

/// What a new file holds.
pub(crate) fn empty() -> Vec<u8> {
    let mut bytes = vec![0; 2 * SLOT];
    bytes[..LEN].copy_from_slice(&slot(0));
    bytes[SLOT..][..LEN].copy_from_slice(&slot(0));
    bytes
}

impl Mark {
    /// Opens the file, and tells what it says: nothing, if neither half of it is whole.
    pub(super) fn open(dir: &Path) -> io::Result<(Self, Option<u64>)> {
        let mut file = OpenOptions::new().read(true).write(true).open(dir.join(FILE))?;
        let mut bytes = Vec::new();
        // More than that is not read, whatever the file has become.
        (&mut file).take(2 * SLOT as u64).read_to_end(&mut bytes)?;
        let said = bytes.chunks(SLOT).filter_map(read).max();
        Ok((Self(Mutex::new(file)), said))
    }

    pub(super) fn set(&self, number: u64) -> io::Result<()> {
        let mut file = self.0.lock();
        file.seek(SeekFrom::Start(number % 2 * SLOT as u64))?;
        file.write_all(&slot(number))?;
        if number == 1 { file.sync_data() } else { Ok(()) }
    }
}

fn slot(number: u64) -> Vec<u8> {
    seal::seal(FILE.as_bytes(), number.to_le_bytes().to_vec())
}

fn read(bytes: &[u8]) -> Option<u64> {
    let number = seal::open(FILE.as_bytes(), bytes.get(..LEN)?)?;
    Some(u64::from_le_bytes(number.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn said(dir: &Path) -> Option<u64> {
        Mark::open(dir).unwrap().1
    }

    #[test]
    fn the_last_number_is_read_whichever_half_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        fs::write(&path, empty()).unwrap();
        assert_eq!(said(dir.path()), Some(0));
        let (mark, _) = Mark::open(dir.path()).unwrap();
        for number in 1..=7 {
            mark.set(number).unwrap();
            assert_eq!(said(dir.path()), Some(number));
        }
        let whole = fs::read(&path).unwrap();
        let damaged = |at: &[usize]| {
            let mut bytes = whole.clone();
            at.iter().for_each(|at| bytes[*at] ^= 8);
            fs::write(&path, bytes).unwrap();
            said(dir.path())
        };
        assert_eq!(damaged(&[3]), Some(7), "the older one");
        assert_eq!(damaged(&[SLOT + 3]), Some(6), "the newer one");
        assert_eq!(damaged(&[3, SLOT + 9]), None);
        fs::write(&path, &whole[..LEN - 1]).unwrap();
        assert_eq!(said(dir.path()), None, "cut off");
    }
}
