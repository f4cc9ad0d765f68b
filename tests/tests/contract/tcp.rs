//! The example over plain TCP keeps the contract.

use std::sync::Arc;

use async_trait::async_trait;
use dchan_conformance::{
    tcp::TcpTransport,
    transport::{Breakable, Held, TransportFixture, ip},
};
use dchan_core::{Addr, Transport};

struct Tcp;

/// Too long a frame, the longest that can be announced, a flag that is none.
const GARBAGE: [[u8; 13]; 3] = [
    [0, 2, 0x20, 1, 0, 0, 0, 0, 0, 0, 0, 16, 0],
    [0xff; 13],
    [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 16, 2],
];

#[async_trait]
impl TransportFixture for Tcp {
    fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(TcpTransport)
    }

    fn listen_at(&self) -> Addr {
        ip::listen_at()
    }

    async fn dead(&self) -> Held {
        ip::dead()
    }

    async fn black_hole(&self) -> Held {
        ip::black_hole().await
    }

    async fn breakable(&self, to: &Addr) -> Breakable {
        ip::breakable(to).await
    }

    async fn garble(&self, to: &Addr, nth: usize) -> bool {
        let Some(bytes) = GARBAGE.get(nth) else { return false };
        ip::intrude(to, bytes.to_vec()).await;
        true
    }
}

mod on_one_thread {
    dchan_conformance::transport_suite!(super::Tcp);
}

mod on_many_threads {
    dchan_conformance::transport_suite!(super::Tcp, flavor = "multi_thread", worker_threads = 3);
}
