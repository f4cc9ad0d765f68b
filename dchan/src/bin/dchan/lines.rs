use bytes::{Bytes, BytesMut};

/// Cuts a stream of bytes into lines.
#[derive(Debug)]
pub(crate) struct Lines {
    limit: u64,
    /// The beginning of a line whose end has not come.
    begun: BytesMut,
    /// The length of a line that is too long to be kept, so far.
    too_long: u64,
}

/// A line without its newline.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Whole(Bytes),
    /// Longer than the limit: its length.
    TooLong(u64),
}

impl Lines {
    /// Keeps lines of at most `limit` bytes.
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, begun: BytesMut::new(), too_long: 0 }
    }

    /// Adds the lines that end in `chunk` to `lines`.
    pub(crate) fn push(&mut self, mut chunk: Bytes, lines: &mut Vec<Line>) {
        while let Some(at) = memchr::memchr(b'\n', &chunk) {
            let mut line = chunk.split_to(at + 1);
            line.truncate(at);
            lines.push(self.end(line));
        }
        self.begin(&chunk);
    }

    /// The last line, if it has no newline.
    pub(crate) fn finish(mut self) -> Option<Line> {
        let begun = self.too_long > 0 || !self.begun.is_empty();
        begun.then(|| self.end(Bytes::new()))
    }

    fn begin(&mut self, part: &[u8]) {
        let len = self.too_long + (self.begun.len() + part.len()) as u64;
        if self.too_long > 0 || len > self.limit {
            self.too_long = len;
            self.begun = BytesMut::new();
        } else {
            self.begun.extend_from_slice(part);
        }
    }

    fn end(&mut self, rest: Bytes) -> Line {
        if self.begun.is_empty() && self.too_long == 0 && rest.len() as u64 <= self.limit {
            return Line::Whole(rest);
        }
        self.begin(&rest);
        match std::mem::take(&mut self.too_long) {
            0 => Line::Whole(self.begun.split().freeze()),
            len => Line::TooLong(len),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &'static [u8], size: usize, limit: u64) -> Vec<Line> {
        let (mut lines, mut found) = (Lines::new(limit), Vec::new());
        for chunk in text.chunks(size) {
            lines.push(Bytes::from_static(chunk), &mut found);
        }
        found.extend(lines.finish());
        found
    }

    fn whole(text: &'static str) -> Line {
        Line::Whole(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn lines_are_found_wherever_they_are_cut() {
        for size in 1..12 {
            let found = cut(b"one\n\ntwo\nthree", size, 5);
            assert_eq!(found, [whole("one"), whole(""), whole("two"), whole("three")]);
            assert_eq!(cut(b"\n", size, 5), [whole("")]);
            assert_eq!(cut(b"", size, 5), []);
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_counted_and_the_next_is_whole() {
        for size in 1..16 {
            let found = cut(b"four\n123456789\nfive", size, 4);
            assert_eq!(found, [whole("four"), Line::TooLong(9), whole("five")]);
            assert_eq!(cut(b"123456", size, 5), [Line::TooLong(6)]);
        }
    }
}
