//! The one who writes: what is asked while it is at work goes into one transaction, with one flush.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};

use openraft::storage::IOFlushed;
use parking_lot::Mutex;
use redb::{Database, Durability, WriteTransaction};
use tokio::sync::{mpsc, oneshot};

use super::{LOG, META, NUMBER, encode_io, mark::Mark, sealed, sealed_entry};
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
    Inline(Box<Mutex<Disk>>),
}

/// The database, and what is known of it.
struct Disk {
    database: Database,
    mark: Mark,
    /// Of the last transaction that is on disk.
    number: u64,
    /// Why nothing is written any more. A disk that failed once is not trusted again: nobody knows what
    /// became of what was written before.
    failed: Option<String>,
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
    pub(super) fn new(
        database: Database,
        mark: Mark,
        number: u64,
        writes: Writes,
    ) -> io::Result<Self> {
        let mut disk = Disk { database, mark, number, failed: None };
        let to = match writes {
            Writes::Inline => To::Inline(Box::new(Mutex::new(disk))),
            Writes::Thread => {
                let (jobs, queue) = mpsc::channel(BATCH);
                let builder = thread::Builder::new().name("dchan-raft-store".into());
                let thread = builder.spawn(move || run(&mut disk, queue))?;
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
            To::Inline(disk) => {
                disk.lock().commit(vec![job]);
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

fn run(disk: &mut Disk, mut queue: mpsc::Receiver<Job>) {
    while let Some(first) = queue.blocking_recv() {
        let mut jobs = vec![first];
        while jobs.len() < BATCH
            && let Ok(next) = queue.try_recv()
        {
            jobs.push(next);
        }
        disk.commit(jobs);
    }
}

impl Disk {
    fn commit(&mut self, jobs: Vec<Job>) {
        if self.failed.is_none() {
            // A panic would leave those without an answer who wait for one.
            let done = catch_unwind(AssertUnwindSafe(|| self.transact(&jobs)));
            let done = done.unwrap_or_else(|_| Err(io::Error::other("the database has panicked")));
            if let Err(error) = done {
                tracing::error!(%error, "cannot write to the data directory");
                self.failed = Some(error.to_string());
            }
        }
        for job in jobs {
            let result = self.failed.clone().map_or(Ok(()), |reason| Err(io::Error::other(reason)));
            match job.done {
                Done::Nobody => {}
                // Whoever asked may have gone.
                Done::Reply(reply) => drop(reply.send(result)),
                Done::Raft(flushed) => flushed.io_completed(result),
            }
        }
    }

    fn transact(&mut self, jobs: &[Job]) -> io::Result<()> {
        if jobs.iter().all(|job| matches!(job.op, Op::Hint(..))) {
            return self.write(jobs, Durability::None, None).map_err(io::Error::other);
        }
        let number = self.number + 1;
        let encoded = encode_io(&number)?;
        let written = self.write(jobs, Durability::Immediate, Some(&encoded));
        written.map_err(io::Error::other)?;
        self.number = number;
        // Before anybody is told of it.
        self.mark.set(number)
    }

    fn write(
        &self,
        jobs: &[Job],
        durability: Durability,
        number: Option<&[u8]>,
    ) -> Result<(), redb::Error> {
        let mut write = self.database.begin_write()?;
        write.set_durability(durability)?;
        for job in jobs {
            perform(&write, &job.op)?;
        }
        if let Some(number) = number {
            put(&write, NUMBER, number)?;
        }
        write.commit()?;
        Ok(())
    }
}

fn perform(write: &WriteTransaction, op: &Op) -> Result<(), redb::Error> {
    match op {
        Op::Put(pairs) => {
            for (name, value) in pairs {
                put(write, name, value)?;
            }
        }
        Op::Hint(name, value) => put(write, name, value)?,
        Op::Append(entries) => {
            let mut log = write.open_table(LOG)?;
            for (index, entry) in entries {
                log.insert(index, sealed_entry(*index, entry).as_slice())?;
            }
        }
        Op::Truncate(from) => write.open_table(LOG)?.retain_in(*from.., |_, _| false)?,
        Op::Purge(upto, purged) => {
            put(write, "purged", purged)?;
            write.open_table(LOG)?.retain_in(..=*upto, |_, _| false)?;
        }
    }
    Ok(())
}

fn put(write: &WriteTransaction, name: &str, value: &[u8]) -> Result<(), redb::Error> {
    write.open_table(META)?.insert(name, sealed(name, value).as_slice())?;
    Ok(())
}

fn stopped() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the store has stopped")
}
