//! The gRPC transport keeps the contract.

use std::sync::Arc;

use async_trait::async_trait;
use dchan_conformance::transport::{Breakable, Held, TransportFixture, ip};
use dchan_core::{
    Addr, Transport,
    tls::{Authority, Tls},
};
use dchan_transport_grpc::GrpcTransport;

struct Grpc(GrpcTransport);

fn plain() -> Grpc {
    Grpc(GrpcTransport::new())
}

fn encrypted() -> Grpc {
    let authority = Authority::new().expect("an authority");
    let issued = authority.issue(["127.0.0.1"]).expect("a certificate");
    let (ca, own, key) = (authority.certificate_pem(), issued.certificate_pem(), issued.key_pem());
    Grpc(GrpcTransport::new().tls(Tls::from_pem(ca, own, key).expect("they go together")))
}

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
        Arc::new(self.0.clone())
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
    dchan_conformance::transport_suite!(super::plain());
}

mod on_many_threads {
    dchan_conformance::transport_suite!(
        super::plain(),
        flavor = "multi_thread",
        worker_threads = 3
    );
}

mod encrypted {
    dchan_conformance::transport_suite!(super::encrypted());
}
