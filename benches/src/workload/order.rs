use crate::Msg;

/// Checks that messages come in order with none missing.
#[derive(Default)]
pub(super) struct Order {
    pub(super) next: u64,
}

impl Order {
    /// Whether there is more to come.
    #[inline]
    pub(super) fn accept(&mut self, message: &Msg) -> anyhow::Result<bool> {
        if message.is_end() {
            return Ok(false);
        }
        anyhow::ensure!(message.id == self.next, "expected {}, found {}", self.next, message.id);
        self.next += 1;
        Ok(true)
    }
}
