//! What nodes of a test are connected by, and what can go wrong there.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use dchan_core::{Addr, Connection, Listener, MemoryNetwork, Transport, TransportError};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::proxy::{Carrier, End, Proxy};

/// Which transport a test runs over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The network in memory, in paused time.
    Memory,
    /// The example over plain TCP.
    Tcp,
    /// gRPC.
    Grpc,
    /// QUIC.
    Quic,
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
    roads: Arc<Roads>,
}

/// Where a node is.
#[derive(Debug)]
pub(super) struct Place {
    /// Where others reach it.
    pub(super) addr: Addr,
    /// Where it listens.
    pub(super) listen: Addr,
    pub(super) transport: Arc<dyn Transport>,
}

impl Net {
    pub(super) fn new(kind: Kind, real: Arc<dyn Transport>, seed: u64) -> Self {
        let memory = MemoryNetwork::new(seed);
        let carrier = match kind {
            Kind::Quic => Carrier::Frames(real.clone()),
            _ => Carrier::Bytes,
        };
        Self { kind, real, memory, places: Mutex::default(), roads: Arc::new(Roads::new(carrier)) }
    }

    pub(super) fn real(&self) -> Arc<dyn Transport> {
        self.real.clone()
    }

    pub(super) fn memory(&self) -> &MemoryNetwork {
        &self.memory
    }

    /// A place for one more node.
    pub(super) fn add(&self) -> (usize, Arc<Place>) {
        let mut places = self.places.lock();
        let index = places.len();
        let place = if self.kind == Kind::Memory {
            let addr: Addr = format!("n{index}:1").parse().expect("an address");
            let transport = self.memory.transport(&addr);
            Place { listen: addr.clone(), addr, transport }
        } else {
            let addr = self.roads.add(index);
            let listen = "127.0.0.1:0".parse().expect("an address");
            let transport =
                Travelling { index, real: self.real.clone(), roads: self.roads.clone() };
            Place { addr, listen, transport: Arc::new(transport) }
        };
        let place = Arc::new(place);
        places.push(place.clone());
        (index, place)
    }

    /// In memory, does `memory`; else tells both roads between the two, each with which of its ends
    /// is the first of them.
    fn between(
        &self,
        a: usize,
        b: usize,
        memory: impl Fn(&MemoryNetwork, &Addr, &Addr),
        proxies: impl Fn(&Proxy, End),
    ) {
        if self.kind == Kind::Memory {
            let [a, b] = [a, b].map(|at| self.places.lock()[at].addr.clone());
            memory(&self.memory, &a, &b);
        } else {
            proxies(&self.roads.between(b, a), End::Node);
            proxies(&self.roads.between(a, b), End::Dialler);
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

    pub(super) fn door(&self, index: usize) -> Addr {
        if self.kind == Kind::Memory {
            return self.places.lock()[index].listen.clone();
        }
        self.roads.listens(index).expect("the node listens")
    }

    pub(super) fn connections(&self, a: usize, b: usize) -> usize {
        if self.kind == Kind::Memory {
            let places = self.places.lock();
            return self.memory.connections(&places[a].addr, &places[b].addr);
        }
        self.roads.between(a, b).live() + self.roads.between(b, a).live()
    }
}

/// The proxies: one for each node that dials and each that it dials, so that what breaks between two
/// touches no third.
#[derive(Debug)]
struct Roads {
    carrier: Carrier,
    ends: Mutex<Vec<RoadEnd>>,
    proxies: Mutex<HashMap<(usize, usize), Arc<Proxy>>>,
}

/// What is known of a node that can be dialled.
#[derive(Debug)]
struct RoadEnd {
    addr: Addr,
    /// Where it really listens.
    listens: watch::Sender<Option<Addr>>,
    /// Keeps the address that others know it by; who is not of the network is led on, too.
    _gate: Proxy,
}

impl Roads {
    fn new(carrier: Carrier) -> Self {
        Self { carrier, ends: Mutex::default(), proxies: Mutex::default() }
    }

    fn add(&self, index: usize) -> Addr {
        let listens = watch::Sender::new(None);
        let gate = Proxy::start(&self.carrier, listens.subscribe());
        let addr = gate.addr.clone();
        let mut ends = self.ends.lock();
        assert_eq!(ends.len(), index, "places are added in order");
        ends.push(RoadEnd { addr: addr.clone(), listens, _gate: gate });
        addr
    }

    fn leads_to(&self, index: usize, listens: Addr) {
        self.ends.lock()[index].listens.send_replace(Some(listens));
    }

    fn listens(&self, index: usize) -> Option<Addr> {
        self.ends.lock()[index].listens.borrow().clone()
    }

    fn between(&self, dialler: usize, node: usize) -> Arc<Proxy> {
        let mut proxies = self.proxies.lock();
        let start = || {
            let listens = self.ends.lock()[node].listens.subscribe();
            Arc::new(Proxy::start(&self.carrier, listens))
        };
        proxies.entry((dialler, node)).or_insert_with(start).clone()
    }

    /// Where the dialler's own road to that address begins.
    fn from(&self, dialler: usize, to: &Addr) -> Option<Addr> {
        let node = self.ends.lock().iter().position(|end| end.addr == *to)?;
        Some(self.between(dialler, node).addr.clone())
    }
}

/// The real transport of one node, which takes the node's own roads.
#[derive(Debug)]
struct Travelling {
    index: usize,
    real: Arc<dyn Transport>,
    roads: Arc<Roads>,
}

#[async_trait]
impl Transport for Travelling {
    fn name(&self) -> &'static str {
        self.real.name()
    }

    async fn listen(&self, at: &Addr) -> Result<Box<dyn Listener>, TransportError> {
        let listener = self.real.listen(at).await?;
        self.roads.leads_to(self.index, listener.local_addr());
        Ok(listener)
    }

    async fn dial(&self, to: &Addr) -> Result<Connection, TransportError> {
        let road = self.roads.from(self.index, to);
        self.real.dial(road.as_ref().unwrap_or(to)).await
    }
}
