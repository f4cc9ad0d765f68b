//! The QUIC transport keeps the contract.

use std::sync::Arc;

use async_trait::async_trait;
use dchan_conformance::transport::{Breakable, Held, TransportFixture, ip, udp};
use dchan_core::{Addr, Transport, tls::ThrowAway};
use dchan_transport_quic::QuicTransport;
use quinn::crypto::rustls::QuicClientConfig;

struct Quic;

/// Too long a frame, the longest that can be announced, an unknown kind, a payload where there is none.
const GARBAGE: [[u8; 12]; 4] = [
    [0, 2, 0x20, 1, 0, 0, 0, 0, 0, 0, 0, 16],
    [0xff; 12],
    [9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16],
    [2, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0],
];

#[async_trait]
impl TransportFixture for Quic {
    fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(QuicTransport::new())
    }

    fn listen_at(&self) -> Addr {
        ip::listen_at()
    }

    async fn dead(&self) -> Held {
        udp::dead().await
    }

    async fn black_hole(&self) -> Held {
        udp::black_hole().await
    }

    async fn breakable(&self, to: &Addr) -> Breakable {
        udp::breakable(to).await
    }

    async fn garble(&self, to: &Addr, nth: usize) -> bool {
        // Each on the first stream, and on a later one.
        let Some(bytes) = GARBAGE.get(nth / 2) else { return false };
        tokio::spawn(intrude(to.clone(), bytes, nth % 2));
        true
    }
}

/// Connects as anybody can, writes to a stream, ends it, and waits until the other side is through.
async fn intrude(to: Addr, bytes: &[u8], skip: usize) {
    let tls = ThrowAway::new().unwrap().client(b"dchan-quic/1");
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    let endpoint = quinn::Endpoint::client(([127, 0, 0, 1], 0).into()).unwrap();
    let to = to.as_str().parse().unwrap();
    let connection = endpoint.connect_with(config, to, "localhost").unwrap().await.unwrap();
    let mut streams = Vec::new();
    for _ in 0..=skip {
        streams.push(connection.open_uni().await.unwrap());
    }
    let stream = &mut streams[skip];
    // Whatever the other side makes of it, it must not wait for us.
    let _ = (stream.write_all(bytes).await, stream.finish());
    connection.closed().await;
}

mod on_one_thread {
    dchan_conformance::transport_suite!(super::Quic);
}

mod on_many_threads {
    dchan_conformance::transport_suite!(super::Quic, flavor = "multi_thread", worker_threads = 3);
}
