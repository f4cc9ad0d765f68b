use std::{any::Any, fmt, sync::Arc};

use async_trait::async_trait;
use dchan_core::{Addr, Transport};

/// What the suite needs to know about a transport.
///
/// A fresh fixture is made for each test. [`ip`](super::ip) has what a transport over TCP needs for
/// the methods about faults.
#[async_trait]
pub trait TransportFixture: Sync {
    /// The transport. One is asked for per test, for both ends.
    fn transport(&self) -> Arc<dyn Transport>;

    /// Where to listen: an address with port 0.
    fn listen_at(&self) -> Addr;

    /// An address where nobody listens.
    async fn dead(&self) -> Held;

    /// An address where a dial hangs.
    async fn black_hole(&self) -> Held;

    /// Another address for the listener at `to`, whose connections can be broken underneath.
    async fn breakable(&self, to: &Addr) -> Breakable;

    /// Connects to the listener at `to`, sends the `nth` kind of bytes that are no frames, and ends
    /// its direction. False if there is no `nth` kind.
    async fn garble(&self, to: &Addr, nth: usize) -> bool {
        let _ = (to, nth);
        false
    }
}

/// An address that stays as it is for as long as this is held.
pub struct Held {
    /// The address.
    pub addr: Addr,
    _guard: Box<dyn Any + Send + Sync>,
}

impl Held {
    /// An address, and what holds it.
    pub fn new(addr: Addr, guard: impl Any + Send + Sync) -> Self {
        Self { addr, _guard: Box::new(guard) }
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("addr", &self.addr).finish_non_exhaustive()
    }
}

/// An address whose connections can be broken.
pub struct Breakable {
    /// The address.
    pub addr: Addr,
    /// Breaks them.
    pub cut: Box<dyn FnOnce() + Send + Sync>,
}

impl fmt::Debug for Breakable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breakable").field("addr", &self.addr).finish_non_exhaustive()
    }
}
