//! The log, as Raft wants it.

use std::{fmt::Debug, io, ops::RangeBounds};

use openraft::{
    LogState, OptionalSend, RaftLogReader,
    entry::RaftEntry,
    storage::{IOFlushed, RaftLogStorage},
};

use super::{Op, Store, encode_io};
use crate::types::{Entry, LogId, Types, Vote};

/// How much of the log is sent at once, in bytes. An entry that is larger goes alone.
const REPLICATED: usize = 1 << 20;

impl RaftLogReader<Types> for Store {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<Entry>>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let state = self.inner.state.lock();
        Ok(state.log.range(range).map(|(_, logged)| logged.entry.clone()).collect())
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let state = self.inner.state.lock();
        let mut bytes = 0;
        let fitting = state.log.range(start..end).take_while(|(_, logged)| {
            let first = bytes == 0;
            bytes += logged.len;
            first || bytes <= REPLICATED
        });
        Ok(fitting.map(|(_, logged)| logged.entry.clone()).collect())
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.inner.state.lock().vote)
    }
}

impl RaftLogStorage<Types> for Store {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let state = self.inner.state.lock();
        let last = state.log.last_key_value().map(|(_, logged)| logged.entry.log_id());
        Ok(LogState { last_purged_log_id: state.purged, last_log_id: last.or(state.purged) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let encoded = encode_io(vote)?;
        self.inner.writer.write(Op::Put(vec![("vote", encoded)])).await?;
        self.inner.state.lock().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        let encoded = encode_io(&committed)?;
        self.inner.state.lock().committed = committed;
        // A lost one only means that more is applied again after a restart, once there is a leader.
        self.inner.writer.hint(Op::Hint("committed", encoded)).await
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.inner.state.lock().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut encoded = Vec::new();
        for entry in entries {
            let bytes = encode_io(&entry)?;
            self.inner.state.lock().insert(entry.index(), entry.clone(), bytes.len());
            encoded.push((entry.index(), bytes));
        }
        self.inner.writer.append(Op::Append(encoded), callback).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let from = last.map_or(0, |last| last.index + 1);
        self.inner.state.lock().remove(from..);
        self.inner.writer.write(Op::Truncate(from)).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let encoded = encode_io(&upto)?;
        {
            let mut state = self.inner.state.lock();
            state.purged = Some(upto);
            state.remove(..=upto.index);
        }
        self.inner.writer.write(Op::Purge(upto.index, encoded)).await
    }
}
