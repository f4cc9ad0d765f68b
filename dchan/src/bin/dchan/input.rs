use std::io::{self, Read};

use bytes::BytesMut;
use tokio::sync::mpsc;

use crate::lines::{Line, Lines};

/// How much is read at once, at most.
const BUFFER: usize = 1 << 20;
/// A buffer with less room than this is given up for a new one.
const ENOUGH: usize = 64 << 10;
/// How many batches of lines wait to be sent.
const AHEAD: usize = 4;

/// Lines of stdin, in batches.
pub(crate) type Input = mpsc::Receiver<io::Result<Vec<Line>>>;

/// Reads stdin in a thread of its own, as it cannot be read otherwise.
pub(crate) fn read_stdin(limit: u64) -> io::Result<Input> {
    let (sender, input) = mpsc::channel(AHEAD);
    std::thread::Builder::new().name("stdin".into()).spawn(move || {
        let ended =
            read(io::stdin().lock(), limit, |lines| sender.blocking_send(Ok(lines)).is_ok());
        if let Err(error) = ended {
            // Nobody may be interested any more.
            let _gone = sender.blocking_send(Err(error));
        }
    })?;
    Ok(input)
}

/// Reads to the end, or until `give` has had enough.
fn read(
    mut from: impl Read,
    limit: u64,
    mut give: impl FnMut(Vec<Line>) -> bool,
) -> io::Result<()> {
    let mut lines = Lines::new(limit);
    let mut buffer = BytesMut::new();
    loop {
        if buffer.len() < ENOUGH {
            buffer = BytesMut::zeroed(BUFFER);
        }
        let len = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        lines.push(buffer.split_to(len).freeze(), &mut found);
        if !found.is_empty() && !give(found) {
            return Ok(());
        }
    }
    if let Some(last) = lines.finish() {
        give(vec![last]);
    }
    Ok(())
}
