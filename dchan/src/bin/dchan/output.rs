use std::{
    io::{self, Write},
    time::Duration,
};

use bytes::Bytes;

use crate::stop::Stop;

/// How long a write may hold up stopping.
const PATIENCE: Duration = Duration::from_secs(5);

/// Writes lines to stdout.
#[derive(Debug, Default)]
pub(crate) struct Output {
    buffer: Vec<u8>,
}

/// Why not all lines were written.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// So many were, then it failed.
    Failed { written: usize, error: io::Error },
    /// Nobody reads them, and it is not known how many were.
    Stuck,
}

impl Output {
    /// Writes and flushes these lines at once.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves open how much is written.
    pub(crate) async fn write(&mut self, lines: &[Bytes], stop: &Stop) -> Result<(), WriteError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        for line in lines {
            buffer.extend_from_slice(line);
            buffer.push(b'\n');
        }
        // A pipe that nobody reads would block the runtime.
        let writing = tokio::task::spawn_blocking(move || {
            let (written, result) = write(io::stdout().lock(), &buffer);
            (buffer, written, result)
        });
        let late = async {
            stop.requested().await;
            tokio::time::sleep(PATIENCE).await;
        };
        let (buffer, written, result) = tokio::select! {
            done = writing => done.map_err(|_| WriteError::Stuck)?,
            () = late => return Err(WriteError::Stuck),
        };
        self.buffer = buffer;
        result.map_err(|error| WriteError::Failed { written: whole(lines, written), error })
    }
}

/// Writes until all is written or it fails. Returns how many bytes were.
fn write(mut to: impl Write, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < bytes.len() {
        match to.write(&bytes[written..]) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(len) => written += len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, to.flush())
}

/// How many lines are whole in so many bytes.
fn whole(lines: &[Bytes], mut bytes: usize) -> usize {
    let fits = |line: &&Bytes| {
        let rest = bytes.checked_sub(line.len() + 1);
        bytes = rest.unwrap_or(0);
        rest.is_some()
    };
    lines.iter().take_while(fits).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lines_count_as_written() {
        let lines = [Bytes::from_static(b"one"), Bytes::new(), Bytes::from_static(b"two")];
        let counts: Vec<usize> = (0..=9).map(|bytes| whole(&lines, bytes)).collect();
        assert_eq!(counts, [0, 0, 0, 0, 1, 2, 2, 2, 2, 3]);
    }

    #[test]
    fn a_write_that_fails_says_how_far_it_came() {
        let mut room = [0; 4];
        let (written, result) = write(&mut room[..], b"one\ntwo\n");
        assert_eq!((written, result.unwrap_err().kind()), (4, io::ErrorKind::WriteZero));
    }
}
