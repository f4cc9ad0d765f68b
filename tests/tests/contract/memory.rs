//! The in-memory network keeps the contract.

use std::sync::Arc;

use async_trait::async_trait;
use dchan_conformance::transport::{Breakable, Held, TransportFixture};
use dchan_core::{Addr, MemoryNetwork, Transport};

struct Memory(MemoryNetwork);

fn addr(text: &str) -> Addr {
    text.parse().expect("an address")
}

#[async_trait]
impl TransportFixture for Memory {
    fn transport(&self) -> Arc<dyn Transport> {
        self.0.transport(&addr("dialler:1"))
    }

    fn listen_at(&self) -> Addr {
        addr("listener:0")
    }

    async fn dead(&self) -> Held {
        Held::new(addr("nobody:1"), ())
    }

    async fn black_hole(&self) -> Held {
        let hole = addr("hole:1");
        self.0.partition(&addr("dialler:1"), &hole);
        Held::new(hole, ())
    }

    async fn breakable(&self, to: &Addr) -> Breakable {
        let network = self.0.clone();
        Breakable { addr: to.clone(), cut: Box::new(move || network.cut_all()) }
    }
}

fn fixture() -> Memory {
    Memory(MemoryNetwork::new(fastrand::u64(..)))
}

mod on_one_thread {
    dchan_conformance::transport_suite!(super::fixture());
}

mod on_many_threads {
    dchan_conformance::transport_suite!(
        super::fixture(),
        flavor = "multi_thread",
        worker_threads = 3
    );
}
