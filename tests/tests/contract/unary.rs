//! The example out of unary calls keeps the contract.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use dchan_conformance::{
    transport::{Breakable, Held, TransportFixture, ip},
    unary::UnaryTransport,
};
use dchan_core::{Addr, Transport};
use http::Request;
use http_body_util::Full;
use hyper::client::conn::http2::Builder;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

struct Unary;

/// Nothing at all, another protocol, and HTTP/2 that goes wrong after its preface. Calls that go wrong
/// inside are tried below.
const GARBAGE: [&[u8]; 3] = [
    b"",
    b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
];

#[async_trait]
impl TransportFixture for Unary {
    fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(UnaryTransport)
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
        if let Some(bytes) = GARBAGE.get(nth) {
            ip::intrude(to, bytes.to_vec()).await;
            return true;
        }
        let Some(calls) = calls().into_iter().nth(nth - GARBAGE.len()) else { return false };
        call(to, calls).await;
        true
    }
}

/// Calls that nobody should make, each behind an `Open`: path and message.
fn calls() -> Vec<Vec<(&'static str, Vec<u8>)>> {
    // Message 1 with an empty frame; the same with the number 2; the end.
    let [first, second, end] = [[8, 1, 26, 0], [8, 2, 26, 0], [8, 1, 16, 1]].map(Vec::from);
    let long =
        [&[8, 1, 26, 0x85, 0xc0, 8, 18, 0x81, 0xc0, 8][..], &vec![0; 136 * 1024 + 1]].concat();
    let open = || ("Open", vec![]);
    vec![
        vec![open(), open()],
        vec![open(), ("Shove", vec![])],
        vec![open(), ("Push", second)],
        vec![open(), ("Push", vec![8, 1])],
        vec![open(), ("Push", [first, end].concat())],
        vec![open(), ("Push", vec![0xff; 8])],
        vec![open(), ("Push", vec![8, 1, 26, 0xff, 0xff, 0xff, 0xff, 15])],
        vec![open(), ("Push", long)],
        vec![open(), ("Push", vec![0; 600 * 1024])],
    ]
}

/// Makes calls, one after the other, and reads until the listener's side ends the connection.
async fn call(to: &Addr, calls: Vec<(&'static str, Vec<u8>)>) {
    let socket = TcpStream::connect(to.as_str()).await.expect("the listener is there");
    tokio::spawn(async move {
        let http = Builder::new(TokioExecutor::new()).handshake(TokioIo::new(socket));
        let (mut requests, http) = http.await.expect("it is HTTP/2");
        let http = tokio::spawn(http);
        for (path, message) in calls {
            let mut body = vec![0];
            body.extend((message.len() as u32).to_be_bytes());
            body.extend(message);
            let request = Request::post(format!("http://node/dchan.unary.Link/{path}"))
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .body(Full::new(Bytes::from(body)))
                .expect("a request");
            // What the other side makes of it is its own affair.
            let _answer = requests.send_request(request).await;
        }
        // Held until the other side ends it.
        let _ended = http.await;
        drop(requests);
    });
}

mod on_one_thread {
    dchan_conformance::transport_suite!(super::Unary);
}

mod on_many_threads {
    dchan_conformance::transport_suite!(super::Unary, flavor = "multi_thread", worker_threads = 3);
}
