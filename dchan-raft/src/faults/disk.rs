//! A disk in memory that fails, lies and loses power when it is told to.

use std::{io, sync::Arc};

use parking_lot::Mutex;
use redb::StorageBackend;

/// What a disk writes as a whole, in bytes.
const SECTOR: usize = 512;

/// A disk. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk(Arc<Mutex<State>>);

/// A disk as a process has it open. It is of no use once the power was lost.
#[derive(Debug)]
pub(super) struct Attached {
    disk: Disk,
    power: u64,
}

#[derive(Debug, Default)]
struct State {
    /// What is there after the power was lost.
    durable: Vec<u8>,
    /// What a process reads.
    cached: Vec<u8>,
    unsynced: Vec<Step>,
    power: u64,
    steps: u64,
    /// From this step on nothing is written.
    fails: Option<(u64, io::ErrorKind)>,
    /// It says that it has flushed, and has not.
    lies: bool,
}

#[derive(Debug)]
enum Step {
    Write(usize, Vec<u8>),
    Len(usize),
}

impl Step {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Len(len) => bytes.resize(*len, 0),
            Self::Write(at, data) => {
                let end = at + data.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[*at..end].copy_from_slice(data);
            }
        }
    }
}

impl Disk {
    pub(super) fn attach(&self) -> Attached {
        Attached { disk: self.clone(), power: self.0.lock().power }
    }

    /// Nothing is written any more after so many steps.
    pub(super) fn fail_after(&self, steps: u64, how: io::ErrorKind) {
        let mut state = self.0.lock();
        state.fails = Some((state.steps + steps, how));
    }

    pub(super) fn has_failed(&self) -> bool {
        let state = self.0.lock();
        state.fails.is_some_and(|(at, _)| state.steps > at)
    }

    pub(super) fn mend(&self) {
        self.0.lock().fails = None;
    }

    pub(super) fn lie(&self) {
        self.0.lock().lies = true;
    }

    /// What was not flushed is lost, or written in part, in any order, torn at sectors.
    pub(super) fn lose_power(&self, rng: &mut fastrand::Rng) {
        let state = &mut *self.0.lock();
        let keep = *rng.choice(&[0.0, 0.5, 0.9]).unwrap_or(&0.0);
        for step in state.unsynced.drain(..) {
            match step {
                Step::Len(_) => {
                    if rng.f64() < keep {
                        step.apply(&mut state.durable);
                    }
                }
                Step::Write(at, data) => {
                    for (sector, part) in data.chunks(SECTOR).enumerate() {
                        if rng.f64() < keep {
                            let part = Step::Write(at + sector * SECTOR, part.to_vec());
                            part.apply(&mut state.durable);
                        }
                    }
                }
            }
        }
        state.cached.clone_from(&state.durable);
        state.power += 1;
        state.fails = None;
    }
}

impl Attached {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.disk.0.lock();
        if state.power != self.power {
            return Err(io::Error::other("no power"));
        }
        act(&mut state)
    }

    fn change(&self, act: impl FnOnce(&mut State)) -> io::Result<()> {
        self.with(|state| {
            state.steps += 1;
            match state.fails {
                Some((at, how)) if state.steps > at => Err(how.into()),
                _ => {
                    act(state);
                    Ok(())
                }
            }
        })
    }
}

impl StorageBackend for Attached {
    fn len(&self) -> io::Result<u64> {
        self.with(|state| Ok(state.cached.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.with(|state| {
            let (at, len) = (offset as usize, out.len());
            let bytes = state.cached.get(at..at + len).ok_or(io::ErrorKind::UnexpectedEof)?;
            out.copy_from_slice(bytes);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(|state| {
            let step = Step::Len(len as usize);
            step.apply(&mut state.cached);
            state.unsynced.push(step);
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.change(|state| {
            if !state.lies {
                state.unsynced.clear();
                state.durable.clone_from(&state.cached);
            }
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(|state| {
            let step = Step::Write(offset as usize, data.to_vec());
            step.apply(&mut state.cached);
            state.unsynced.push(step);
        })
    }
}
