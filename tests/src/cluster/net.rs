//! What nodes of a test are connected by, and what can go wrong there.

use std::sync::Arc;

use async_trait::async_trait;
use dchan_core::{Addr, Connection, Listener, MemoryNetwork, Transport, TransportError};
use parking_lot::Mutex;

use super::proxy::{End, Proxy};

/// Which transport a test runs over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The network in memory, in paused time.
    Memory,
    /// The example over plain TCP.
    Tcp,
    /// gRPC.
    Grpc,
}

impl Kind {
    /// How many messages a test should move: large numbers take long where bytes go through sockets.
    pub fn scale(self, memory: u64, sockets: u64) -> u64 {
        if self == Self::Memory { memory } else { sockets }
    }
}

/// A network for the nodes of one test. Nodes are known by their places: 0, 1, 2…
#[derive(Debug)]
pub(super) struct Net {
    kind: Kind,
    real: Arc<dyn Transport>,
    memory: MemoryNetwork,
    places: Mutex<Vec<Arc<Place>>>,
}

/// Where a node is.
#[derive(Debug)]
pub(super) struct Place {
    /// Where others reach it.
    pub(super) addr: Addr,
    /// Where it listens.
    pub(super) listen: Addr,
    pub(super) transport: Arc<dyn Transport>,
    proxy: Option<Arc<Proxy>>,
}

impl Net {
    pub(super) fn new(kind: Kind, real: Arc<dyn Transport>, seed: u64) -> Self {
        let memory = MemoryNetwork::new(seed);
        Self { kind, real, memory, places: Mutex::default() }
    }

    pub(super) fn real(&self) -> Arc<dyn Transport> {
        self.real.clone()
    }

    pub(super) fn memory(&self) -> &MemoryNetwork {
        &self.memory
    }

    /// A place for one more node.
    pub(super) async fn add(&self) -> (usize, Arc<Place>) {
        let place = if self.kind == Kind::Memory {
            let index = self.places.lock().len();
            let addr: Addr = format!("n{index}:1").parse().expect("an address");
            let transport = self.memory.transport(&addr);
            Place { listen: addr.clone(), addr, transport, proxy: None }
        } else {
            let proxy = Arc::new(Proxy::start().await);
            let transport = Told { real: self.real.clone(), proxy: proxy.clone() };
            Place {
                addr: proxy.addr.clone(),
                listen: "127.0.0.1:0".parse().expect("an address"),
                transport: Arc::new(transport),
                proxy: Some(proxy),
            }
        };
        let place = Arc::new(place);
        let mut places = self.places.lock();
        places.push(place.clone());
        (places.len() - 1, place)
    }

    fn place(&self, at: usize) -> Arc<Place> {
        self.places.lock()[at].clone()
    }

    /// In memory, does `memory`; else tells the proxies that stand before the two nodes, each with
    /// which of its ends is the first of them.
    fn between(
        &self,
        a: usize,
        b: usize,
        memory: impl Fn(&MemoryNetwork, &Addr, &Addr),
        proxies: impl Fn(&Proxy, End),
    ) {
        let (a, b) = (self.place(a), self.place(b));
        match (&a.proxy, &b.proxy) {
            (Some(before_a), Some(before_b)) => {
                proxies(before_a, End::Node);
                proxies(before_b, End::Dialler);
            }
            _ => memory(&self.memory, &a.addr, &b.addr),
        }
    }

    pub(super) fn cut(&self, a: usize, b: usize) {
        self.between(a, b, MemoryNetwork::cut, |proxy, _| proxy.cut());
    }

    pub(super) fn half_open(&self, told: usize, other: usize) {
        self.between(told, other, MemoryNetwork::half_open, Proxy::half_open);
    }

    pub(super) fn black_hole(&self, from: usize, to: usize) {
        self.between(from, to, MemoryNetwork::black_hole, Proxy::darken);
    }

    pub(super) fn heal(&self, a: usize, b: usize) {
        self.between(a, b, MemoryNetwork::heal, |proxy, _| proxy.heal());
    }

    pub(super) fn connections(&self, a: usize, b: usize) -> usize {
        let (a, b) = (self.place(a), self.place(b));
        match (&a.proxy, &b.proxy) {
            (Some(before_a), Some(before_b)) => before_a.live() + before_b.live(),
            _ => self.memory.connections(&a.addr, &b.addr),
        }
    }
}

/// Tells the proxy before a node where that node really listens.
#[derive(Debug)]
struct Told {
    real: Arc<dyn Transport>,
    proxy: Arc<Proxy>,
}

#[async_trait]
impl Transport for Told {
    fn name(&self) -> &'static str {
        self.real.name()
    }

    async fn listen(&self, at: &Addr) -> Result<Box<dyn Listener>, TransportError> {
        let listener = self.real.listen(at).await?;
        self.proxy.leads_to(listener.local_addr());
        Ok(listener)
    }

    async fn dial(&self, to: &Addr) -> Result<Connection, TransportError> {
        self.real.dial(to).await
    }
}
