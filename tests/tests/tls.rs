//! Who is let in, and who is not, over both transports that encrypt.
#![allow(clippy::unwrap_used)]

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use dchan_conformance::cluster::{Message, Oracle, stop, until};
use dchan_core::{
    Addr, Connection, ErrorKind, FrameBatch, Incarnation, Incoming, Listener, Node, NodeId,
    NodeOptions, StaticMembership, Transport, TransportError,
    tls::{Authority, Issued, ThrowAway, Tls},
};
use dchan_transport_grpc::GrpcTransport;
use dchan_transport_quic::QuicTransport;
use time::OffsetDateTime;
use tokio::{io::AsyncReadExt, net::TcpStream};

/// What a test runs over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Grpc,
    Quic,
}

impl Kind {
    fn with(self, tls: Tls) -> Arc<dyn Transport> {
        match self {
            Self::Grpc => Arc::new(GrpcTransport::new().tls(tls)),
            Self::Quic => Arc::new(QuicTransport::new().tls(tls)),
        }
    }

    fn without(self) -> Arc<dyn Transport> {
        match self {
            Self::Grpc => Arc::new(GrpcTransport::new()),
            Self::Quic => Arc::new(QuicTransport::new()),
        }
    }
}

macro_rules! over_both {
    ($($name:ident),* $(,)?) => {
        mod grpc {
            $(#[tokio::test] async fn $name() { super::$name(super::Kind::Grpc).await; })*
        }
        mod quic {
            $(#[tokio::test] async fn $name() { super::$name(super::Kind::Quic).await; })*
        }
    };
}

over_both![
    both_ends_know_who_the_other_is,
    another_authority_is_refused,
    a_certificate_out_of_its_time_is_refused,
    the_name_of_another_node_is_refused,
    no_certificate_is_refused,
    the_two_kinds_do_not_mix,
    a_renewed_certificate_counts_at_once,
    a_cluster_speaks_tls,
    a_node_that_borrows_a_certificate_stays_outside,
];

fn loopback() -> Addr {
    "127.0.0.1:0".parse().unwrap()
}

fn tls(authority: &Authority, issued: &Issued) -> Tls {
    Tls::from_pem(authority.certificate_pem(), issued.certificate_pem(), issued.key_pem()).unwrap()
}

/// A configuration for a node at that host.
fn node_at(authority: &Authority, host: &str) -> Tls {
    tls(authority, &authority.issue([host]).unwrap())
}

/// What both ends come to.
async fn meet(
    dialler: &Arc<dyn Transport>,
    listener: &Arc<dyn Transport>,
) -> [Result<Connection, TransportError>; 2] {
    let mut listener = listener.listen(&loopback()).await.unwrap();
    let at = listener.local_addr();
    let accepting = async { listener.accept().await.unwrap().ready.await };
    let (dialled, accepted) = tokio::join!(dialler.dial(&at), accepting);
    [dialled, accepted]
}

/// An error with all that is below it.
fn said(error: &TransportError) -> String {
    let mut said = error.to_string();
    let mut below = error.source();
    while let Some(error) = below {
        said = format!("{said}: {error}");
        below = error.source();
    }
    said
}

/// Both ends refuse, and say why.
async fn refused(
    dialler: &Arc<dyn Transport>,
    listener: &Arc<dyn Transport>,
    [at_dialler, at_listener]: [&str; 2],
) {
    let [dialled, accepted] = meet(dialler, listener).await;
    for (end, result, reason) in
        [("dialler", dialled, at_dialler), ("listener", accepted, at_listener)]
    {
        let error = result.expect_err(end);
        let said = said(&error);
        assert_eq!(error.kind, ErrorKind::Refused, "{end}: {said}");
        assert!(said.contains(reason), "{end}: {reason:?} is not in: {said}");
    }
}

async fn both_ends_know_who_the_other_is(kind: Kind) {
    let authority = Authority::new().unwrap();
    let one = tls(&authority, &authority.issue(["127.0.0.1", "one.shop"]).unwrap());
    let two = node_at(&authority, "127.0.0.1");
    let [dialled, accepted] = meet(&kind.with(one), &kind.with(two)).await.map(Result::unwrap);
    let names = |connection: &Connection| connection.identity.clone().unwrap().names;
    assert_eq!(names(&dialled), ["127.0.0.1"]);
    assert_eq!(names(&accepted), ["127.0.0.1", "one.shop"]);
    let [dialled, accepted] = meet(&kind.without(), &kind.without()).await.map(Result::unwrap);
    assert_eq!((dialled.identity, accepted.identity), (None, None), "nothing was proved");
}

async fn another_authority_is_refused(kind: Kind) {
    let [ours, other] = [Authority::new().unwrap(), Authority::new().unwrap()];
    let insider = kind.with(node_at(&ours, "127.0.0.1"));
    let outsider = kind.with(node_at(&other, "127.0.0.1"));
    let why = ["UnknownIssuer", "does not know the authority"];
    refused(&insider, &outsider, why).await;
    refused(&outsider, &insider, why).await;
    // One that believes our authority, and has no certificate from it.
    let issued = other.issue(["127.0.0.1"]).unwrap();
    let believer =
        Tls::from_pem(ours.certificate_pem(), issued.certificate_pem(), issued.key_pem()).unwrap();
    let why = ["does not know the authority", "UnknownIssuer"];
    refused(&kind.with(believer), &insider, why).await;
}

async fn a_certificate_out_of_its_time_is_refused(kind: Kind) {
    let authority = Authority::new().unwrap();
    let now = OffsetDateTime::now_utc();
    let (hour, day) = (time::Duration::HOUR, time::Duration::DAY);
    let good = kind.with(node_at(&authority, "127.0.0.1"));
    for (from, until, why) in
        [(now - day, now - hour, "expired"), (now + hour, now + day, "not valid yet")]
    {
        let issued = authority.issue_between(["127.0.0.1"], from, until).unwrap();
        let bad = kind.with(tls(&authority, &issued));
        let why = [why, "expired, or not valid yet"];
        refused(&good, &bad, why).await;
        refused(&bad, &good, [why[1], why[0]]).await;
    }
}

async fn the_name_of_another_node_is_refused(kind: Kind) {
    let authority = Authority::new().unwrap();
    let good = kind.with(node_at(&authority, "127.0.0.1"));
    for host in ["127.0.0.2", "one.shop", "localhost"] {
        let bad = kind.with(node_at(&authority, host));
        refused(&good, &bad, ["not valid for name", "does not accept our certificate"]).await;
    }
}

async fn no_certificate_is_refused(kind: Kind) {
    let authority = Authority::new().unwrap();
    let good = kind.with(node_at(&authority, "127.0.0.1"));
    match kind {
        Kind::Quic => {
            let why = ["asks for a certificate", "peer sent no certificates"];
            refused(&kind.without(), &good, why).await;
        }
        // Our own transport has a certificate, or speaks no TLS at all: this is another program.
        Kind::Grpc => {
            let mut listener = good.listen(&loopback()).await.unwrap();
            let to = listener.local_addr();
            let intruding = async {
                let tls = Arc::new(ThrowAway::new().unwrap().client(b"h2"));
                let socket = TcpStream::connect(to.as_str()).await.unwrap();
                let name = "localhost".try_into().unwrap();
                let connector = tokio_rustls::TlsConnector::from(tls);
                let mut socket = connector.connect(name, socket).await.unwrap();
                socket.read(&mut [0; 64]).await.unwrap_err().to_string()
            };
            let accepting = async { listener.accept().await.unwrap().ready.await };
            let (heard, accepted) = tokio::join!(intruding, accepting);
            assert!(heard.contains("CertificateRequired"), "{heard}");
            let error = accepted.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Refused);
            assert!(said(&error).contains("peer sent no certificates"), "{}", said(&error));
        }
    }
}

async fn the_two_kinds_do_not_mix(kind: Kind) {
    let authority = Authority::new().unwrap();
    let with = kind.with(node_at(&authority, "127.0.0.1"));
    let without = kind.without();
    match kind {
        Kind::Grpc => {
            let [plain, speaks] = ["does not speak TLS", "the peer speaks TLS"];
            refused(&without, &with, [speaks, plain]).await;
            refused(&with, &without, [plain, speaks]).await;
        }
        Kind::Quic => {
            let why = ["invalid peer certificate", "does not know the authority"];
            refused(&with, &without, why).await;
        }
    }
}

async fn a_renewed_certificate_counts_at_once(kind: Kind) {
    let authority = Authority::new().unwrap();
    let (one, two) = (node_at(&authority, "127.0.0.1"), node_at(&authority, "127.0.0.1"));
    let [dialler, listener] = [kind.with(one.clone()), kind.with(two.clone())];
    let mut listening = listener.listen(&loopback()).await.unwrap();
    let at = listening.local_addr();
    let mut certificates = Vec::new();
    let mut before = Vec::new();
    for _ in 0..3 {
        let accepting = async { listening.accept().await.unwrap().ready.await.unwrap() };
        let (dialled, accepted) = tokio::join!(dialler.dial(&at), accepting);
        for connection in [dialled.unwrap(), accepted] {
            certificates.push(connection.identity.clone().unwrap().certificate);
            before.push(connection);
        }
        for tls in [&one, &two] {
            let issued = authority.issue(["127.0.0.1"]).unwrap();
            let ca = authority.certificate_pem();
            tls.replace(ca, issued.certificate_pem(), issued.key_pem()).unwrap();
        }
    }
    certificates.sort();
    certificates.dedup();
    assert_eq!(certificates.len(), 6, "each time another one, on both sides");
    // Connections that stood before still do.
    for pair in before.chunks_mut(2) {
        let [dialled, accepted] = pair else { unreachable!("pairs") };
        let mut batch = FrameBatch::new();
        batch.push(dchan_core::Frame::new(dchan_core::LaneId(16), vec![1].into()));
        dialled.sink.send(&mut batch).await.unwrap();
        dialled.sink.send(&mut batch).await.unwrap();
        accepted.stream.recv(&mut batch).await.unwrap();
        assert_eq!(batch.len(), 1);
    }
}

/// Starts a node at 127.0.0.1.
async fn start(list: &Arc<StaticMembership>, id: u64, transport: Arc<dyn Transport>) -> Node {
    let mut options = NodeOptions::new(loopback());
    (options.id, options.incarnation) = (NodeId(id), Incarnation(1));
    Node::start(options, transport, list.member()).await.unwrap()
}

async fn a_cluster_speaks_tls(kind: Kind) {
    let authority = Authority::new().unwrap();
    let list = StaticMembership::new();
    let mut nodes = Vec::new();
    for id in 1..=3 {
        let transport = kind.with(node_at(&authority, "127.0.0.1"));
        nodes.push(start(&list, id, transport).await);
    }
    let oracle = Oracle::new();
    let receiving = oracle.receive(nodes[0].receiver("n").await.unwrap());
    let sender = nodes[1].sender::<Message>("n").await.unwrap();
    oracle.send(&sender, 0, 0..3000, |n| n as usize % 5000).await.unwrap();
    oracle.settle(&nodes[1], "n").await;
    receiving.abort();
    for node in nodes {
        stop(node).await;
    }
}

/// Counts those who are let in by the transport.
#[derive(Debug)]
struct Counting(Arc<dyn Transport>, Arc<AtomicUsize>);

#[async_trait]
impl Transport for Counting {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    async fn listen(&self, at: &Addr) -> Result<Box<dyn Listener>, TransportError> {
        Ok(Box::new(CountingListener(self.0.listen(at).await?, self.1.clone())))
    }

    async fn dial(&self, to: &Addr) -> Result<Connection, TransportError> {
        self.0.dial(to).await
    }
}

#[derive(Debug)]
struct CountingListener(Box<dyn Listener>, Arc<AtomicUsize>);

#[async_trait]
impl Listener for CountingListener {
    fn local_addr(&self) -> Addr {
        self.0.local_addr()
    }

    async fn accept(&mut self) -> Result<Incoming, TransportError> {
        let Incoming { peer, ready, .. } = self.0.accept().await?;
        let count = self.1.clone();
        Ok(Incoming::new(peer, async move {
            let connection = ready.await?;
            count.fetch_add(1, SeqCst);
            Ok(connection)
        }))
    }
}

async fn a_node_that_borrows_a_certificate_stays_outside(kind: Kind) {
    let authority = Authority::new().unwrap();
    let list = StaticMembership::new();
    let let_in = Arc::new(AtomicUsize::new(0));
    let good = kind.with(node_at(&authority, "127.0.0.1"));
    let a = start(&list, 1, Arc::new(Counting(good, let_in.clone()))).await;
    // The authority made its certificate, for another host than it says to be at.
    let borrowed = kind.with(node_at(&authority, "127.0.0.2"));
    let b = start(&list, 2, borrowed).await;
    let _receiver = a.receiver::<Message>("n").await.unwrap();
    let sender = b.sender::<Message>("n").await.unwrap();
    let waiting = tokio::spawn(async move {
        sender.send((0, 0, vec![0].into())).await.unwrap();
    });
    until("it has tried again and again", || let_in.load(SeqCst) > 3).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let linked = |node: &Node| node.links().borrow().values().any(|link| link.alive);
    assert!(!linked(&a) && !linked(&b), "it is let in");
    assert!(!waiting.is_finished());
    let ledger = b.ledger("n");
    assert_eq!((ledger.accepted, ledger.taken), (0, 0), "{ledger}");
    waiting.abort();
    drop((a, b));
}
