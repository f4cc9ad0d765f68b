//! The gRPC transport keeps the contract.

use std::sync::Arc;

use async_trait::async_trait;
use dchan_conformance::transport::{Breakable, Held, TransportFixture, ip};
use dchan_core::{Addr, Transport};
use dchan_transport_grpc::GrpcTransport;

struct Grpc;

/// Nothing at all, another protocol, and HTTP/2 that goes wrong after its preface. Calls that go wrong
/// inside are tried in the transport's own crate.
const GARBAGE: [&[u8]; 4] = [
    b"",
    b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00",
];

#[async_trait]
impl TransportFixture for Grpc {
    fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(GrpcTransport::new())
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
    dchan_conformance::transport_suite!(super::Grpc);
}

mod on_many_threads {
    dchan_conformance::transport_suite!(super::Grpc, flavor = "multi_thread", worker_threads = 3);
}
