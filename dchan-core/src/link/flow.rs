/// Bounds what is on its way to a peer.
///
/// A transport may take megabytes into buffers of its own, behind which everything else would queue. So
/// no more is handed to it than [`Flow::window`] bytes beyond what the peer says has come in.
#[derive(Debug)]
pub(crate) struct Flow {
    sent: u64,
    received: u64,
    window: u64,
}

impl Flow {
    pub(crate) fn new(window: u64) -> Self {
        Self { sent: 0, received: 0, window }
    }

    /// How many bytes may be sent now.
    pub(crate) fn room(&self) -> u64 {
        (self.received + self.window).saturating_sub(self.sent)
    }

    /// How many bytes the peer has not confirmed.
    pub(crate) fn unconfirmed(&self) -> u64 {
        self.sent.saturating_sub(self.received)
    }

    pub(crate) fn on_sent(&mut self, bytes: u64) {
        self.sent += bytes;
    }

    /// The peer says how much has come in. More than was sent is a lie.
    pub(crate) fn on_received(&mut self, total: u64) -> bool {
        self.received = self.received.max(total.min(self.sent));
        total <= self.sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_what_has_come_in_and_the_window() {
        let mut flow = Flow::new(100);
        flow.on_sent(130);
        assert_eq!(flow.room(), 0);
        assert!(flow.on_received(80));
        assert_eq!(flow.room(), 50);
        assert!(!flow.on_received(131));
        assert_eq!(flow.room(), 100);
    }
}
