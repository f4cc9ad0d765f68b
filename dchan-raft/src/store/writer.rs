//! The one who writes: what is asked while it is at work goes into one transaction, with one flush.

use std::{io, thread};

use openraft::storage::IOFlushed;
use parking_lot::Mutex;
use redb::{Database, Durability, WriteTransaction};
use tokio::sync::{mpsc, oneshot};

use super::{LOG, META};
use crate::{Writes, types::Types};

/// How many writes go into one transaction at most; as many wait.
const BATCH: usize = 1024;

#[derive(Debug)]
pub(super) enum Op {
    Put(Vec<(&'static str, Vec<u8>)>),
    Append(Vec<(u64, Vec<u8>)>),
    /// Removes entries from this one on.
    Truncate(u64),
    /// Removes entries up to this one, and notes that.
    Purge(u64, Vec<u8>),
    /// Like `Put`, but nobody waits for it to be on disk.
    Hint(&'static str, Vec<u8>),
}

pub(super) struct Writer {
    to: To,
    writes: Writes,
}

enum To {
    Thread { jobs: Option<mpsc::Sender<Job>>, thread: Option<thread::JoinHandle<()>> },
    Inline(Box<Mutex<Database>>),
}

struct Job {
    op: Op,
    done: Done,
}

enum Done {
    Nobody,
    Reply(oneshot::Sender<io::Result<()>>),
    Raft(IOFlushed<Types>),
}

impl Writer {
    pub(super) fn new(database: Database, writes: Writes) -> io::Result<Self> {
        let to = match writes {
            Writes::Inline => To::Inline(Box::new(Mutex::new(database))),
            Writes::Thread => {
                let (jobs, queue) = mpsc::channel(BATCH);
                let builder = thread::Builder::new().name("dchan-raft-store".into());
                let thread = builder.spawn(move || run(&database, queue))?;
                To::Thread { jobs: Some(jobs), thread: Some(thread) }
            }
        };
        Ok(Self { to, writes })
    }

    pub(super) fn writes(&self) -> Writes {
        self.writes
    }

    /// Returns when it is on disk.
    pub(super) async fn write(&self, op: Op) -> io::Result<()> {
        let (reply, written) = oneshot::channel();
        self.submit(Job { op, done: Done::Reply(reply) }).await?;
        written.await.map_err(|_| stopped())?
    }

    /// Returns at once; `flushed` is told when it is on disk.
    pub(super) async fn append(&self, op: Op, flushed: IOFlushed<Types>) -> io::Result<()> {
        self.submit(Job { op, done: Done::Raft(flushed) }).await
    }

    /// Returns at once, and nobody is told.
    pub(super) async fn hint(&self, op: Op) -> io::Result<()> {
        self.submit(Job { op, done: Done::Nobody }).await
    }

    async fn submit(&self, job: Job) -> io::Result<()> {
        match &self.to {
            To::Inline(database) => {
                commit(&database.lock(), vec![job]);
                Ok(())
            }
            To::Thread { jobs, .. } => {
                let jobs = jobs.as_ref().ok_or_else(stopped)?;
                jobs.send(job).await.map_err(|_| stopped())
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let To::Thread { jobs, thread } = &mut self.to {
            jobs.take();
            // The file must be closed when this returns. It is a matter of one flush at most.
            if let Some(Err(_)) = thread.take().map(thread::JoinHandle::join) {
                tracing::error!("the thread that writes to the data directory has panicked");
            }
        }
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Writer").field(&self.writes).finish()
    }
}

fn run(database: &Database, mut queue: mpsc::Receiver<Job>) {
    while let Some(first) = queue.blocking_recv() {
        let mut jobs = vec![first];
        while jobs.len() < BATCH
            && let Ok(next) = queue.try_recv()
        {
            jobs.push(next);
        }
        commit(database, jobs);
    }
}

fn commit(database: &Database, jobs: Vec<Job>) {
    let result = transact(database, &jobs);
    if let Err(error) = &result {
        tracing::error!(%error, "cannot write to the data directory");
    }
    for job in jobs {
        let result = result.as_ref().copied().map_err(|e| io::Error::other(e.to_string()));
        match job.done {
            Done::Nobody => {}
            // Whoever asked may have gone.
            Done::Reply(reply) => drop(reply.send(result)),
            Done::Raft(flushed) => flushed.io_completed(result),
        }
    }
}

fn transact(database: &Database, jobs: &[Job]) -> Result<(), redb::Error> {
    let mut write = database.begin_write()?;
    if jobs.iter().all(|job| matches!(job.op, Op::Hint(..))) {
        write.set_durability(Durability::None)?;
    }
    for job in jobs {
        perform(&write, &job.op)?;
    }
    write.commit()?;
    Ok(())
}

fn perform(write: &WriteTransaction, op: &Op) -> Result<(), redb::Error> {
    match op {
        Op::Put(pairs) => {
            let mut meta = write.open_table(META)?;
            for (key, value) in pairs {
                meta.insert(key, value.as_slice())?;
            }
        }
        Op::Hint(key, value) => {
            write.open_table(META)?.insert(key, value.as_slice())?;
        }
        Op::Append(entries) => {
            let mut log = write.open_table(LOG)?;
            for (index, entry) in entries {
                log.insert(index, entry.as_slice())?;
            }
        }
        Op::Truncate(from) => write.open_table(LOG)?.retain_in(*from.., |_, _| false)?,
        Op::Purge(upto, purged) => {
            write.open_table(META)?.insert("purged", purged.as_slice())?;
            write.open_table(LOG)?.retain_in(..=*upto, |_, _| false)?;
        }
    }
    Ok(())
}

fn stopped() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the store has stopped")
}
