/// Bytes that decide what happens. When they are used up, everything is 0.
#[derive(Debug)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub fn flag(&mut self) -> bool {
        self.byte() & 1 != 0
    }

    /// Up to that many bytes.
    pub fn bytes(&mut self, most: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// A number: mostly the one that is due, or near it, and at times any.
    pub fn near(&mut self, due: u64) -> u64 {
        match self.byte() {
            0..=199 => due,
            200..=219 => due.wrapping_add(1),
            220..=239 => due.wrapping_sub(1),
            240..=247 => self.byte().into(),
            _ => self.number(),
        }
    }

    /// A number of any size: as many bytes of it as the first one says, or one close to the largest.
    pub fn number(&mut self) -> u64 {
        let size = self.byte();
        if size >= 0xf0 {
            return u64::MAX - u64::from(size & 0xf);
        }
        self.bytes(usize::from(size % 9)).iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }
}
