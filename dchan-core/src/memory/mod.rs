//! The reference transport: a network within the process, with faults on request.

mod fault;
mod link;
mod pipe;
#[cfg(test)]
mod tests;
mod transport;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use crate::{Addr, ErrorKind, Transport, TransportError};

pub use fault::Faults;
use link::{End, Link};

/// A network within this process, for tests and simulations. Cheap to clone.
///
/// It does what the contract of [`Transport`] asks for *and no more*: frames of different lanes
/// overtake each other, batches are taken in part, a connection whose halves are dropped loses what is
/// in flight unless its sink was closed *and* its stream was read to the end, and faults happen by
/// chance ([`Faults`]) or on request. All that chance does follows from the seed, so on one thread, under paused time, a run can
/// be repeated.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use dchan_core::MemoryNetwork;
///
/// let network = MemoryNetwork::new(42);
/// let (a, b) = ("a:1".parse()?, "b:1".parse()?);
/// let mut listener = network.transport(&b).listen(&b).await?;
/// let dialled = network.transport(&a).dial(&b).await?;
/// let accepted = listener.accept().await?.ready.await?;
/// assert_eq!((&dialled.peer, &accepted.peer), (&b, &a));
/// assert_eq!(network.connections(&a, &b), 1);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct MemoryNetwork {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Wakes dials that hang: something was healed.
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct State {
    rng: fastrand::Rng,
    buffer: usize,
    next_port: u16,
    listeners: BTreeMap<Addr, mpsc::Sender<Arc<End>>>,
    links: Vec<Weak<Link>>,
    faults: Faults,
    /// Faults of single pairs, the lower address first.
    pair_faults: BTreeMap<(Addr, Addr), Faults>,
    /// From where to where everything vanishes.
    dark: BTreeSet<(Addr, Addr)>,
}

impl MemoryNetwork {
    /// How many bytes may be on their way in each direction of a connection, unless said otherwise.
    pub const BUFFER: usize = 256 * 1024;

    /// A network without faults, whose chance follows from `seed`.
    pub fn new(seed: u64) -> Self {
        Self::with_buffer(seed, Self::BUFFER)
    }

    /// A network that holds up to `buffer` bytes in each direction of a connection: a writer whose
    /// reader does not read waits behind them. 64 bytes are counted for a frame beside its payload,
    /// and a single frame always fits.
    pub fn with_buffer(seed: u64, buffer: usize) -> Self {
        let state = State {
            rng: fastrand::Rng::with_seed(seed),
            buffer,
            next_port: 49152,
            listeners: BTreeMap::new(),
            links: Vec::new(),
            faults: Faults::default(),
            pair_faults: BTreeMap::new(),
            dark: BTreeSet::new(),
        };
        let shared = Shared { state: Mutex::new(state), changed: watch::Sender::new(()) };
        Self { shared: Arc::new(shared) }
    }

    /// The transport of the node at `node`: where its dials come from, and so what the faults of a
    /// pair go by. If `node` has port 0, then the first address that the transport listens at takes
    /// its place.
    pub fn transport(&self, node: &Addr) -> Arc<dyn Transport> {
        Arc::new(transport::MemoryTransport::new(self.clone(), node.clone()))
    }

    /// Sets what goes wrong by chance between any two nodes that have no faults of their own.
    pub fn set_faults(&self, faults: Faults) {
        let mut state = self.shared.state.lock();
        state.faults = faults;
        for link in state.links() {
            link.set_faults(state.faults_of(&link.ends[0], &link.ends[1]));
        }
    }

    /// Sets what goes wrong by chance between two nodes, in both directions.
    pub fn set_faults_between(&self, a: &Addr, b: &Addr, faults: Faults) {
        let mut state = self.shared.state.lock();
        state.links_between(a, b).for_each(|link| link.set_faults(&faults));
        state.pair_faults.insert(pair(a, b), faults);
    }

    /// Cuts all connections between two nodes: what is in flight is lost, and both ends are told.
    /// New connections are possible at once.
    pub fn cut(&self, a: &Addr, b: &Addr) {
        self.shared.state.lock().links_between(a, b).for_each(|link| link.cut());
    }

    /// Cuts all connections.
    pub fn cut_all(&self) {
        self.shared.state.lock().links().for_each(|link| link.cut());
    }

    /// Parts two nodes: whatever one sends to the other vanishes, nobody is told, and dials hang.
    pub fn partition(&self, a: &Addr, b: &Addr) {
        self.black_hole(a, b);
        self.black_hole(b, a);
    }

    /// Lets whatever `from` sends to `to` vanish. Nobody is told; the other direction stays. Dials
    /// hang both ways.
    pub fn black_hole(&self, from: &Addr, to: &Addr) {
        let mut state = self.shared.state.lock();
        state.dark.insert((from.clone(), to.clone()));
        state.links_between(from, to).for_each(|link| link.darken(from));
    }

    /// Breaks the connections between two nodes so that only `seen_by` is told: for `other` they seem
    /// to live on, but what it sends vanishes. New connections are possible at once.
    pub fn half_open(&self, seen_by: &Addr, other: &Addr) {
        self.shared.state.lock().links_between(seen_by, other).for_each(|link| {
            link.half_open(seen_by);
        });
    }

    /// Ends [`partition`](Self::partition), [`black_hole`](Self::black_hole) and
    /// [`half_open`](Self::half_open) between two nodes. A connection that has lost anything to them
    /// breaks now, for both ends; one that has not goes on.
    pub fn heal(&self, a: &Addr, b: &Addr) {
        let mut state = self.shared.state.lock();
        state.dark.retain(|(from, to)| pair(from, to) != pair(a, b));
        state.links_between(a, b).for_each(|link| link.heal());
        self.shared.changed.send_replace(());
    }

    /// Heals every pair. Faults by chance stay: see [`set_faults`](Self::set_faults).
    pub fn heal_all(&self) {
        let mut state = self.shared.state.lock();
        state.dark.clear();
        state.links().for_each(|link| link.heal());
        self.shared.changed.send_replace(());
    }

    /// How many connections there are between two nodes: those that both ends hold, and that neither
    /// has been told to be broken.
    pub fn connections(&self, a: &Addr, b: &Addr) -> usize {
        self.shared.state.lock().links_between(a, b).filter(|link| link.is_up()).count()
    }

    fn bind(&self, at: &Addr) -> Result<(Addr, mpsc::Receiver<Arc<End>>), TransportError> {
        let mut state = self.shared.state.lock();
        let at = if at.port() == 0 { state.free_port(at)? } else { at.clone() };
        if state.listeners.contains_key(&at) {
            return Err(TransportError::new(ErrorKind::InUse, "listen at", &at));
        }
        let (knock, knocks) = mpsc::channel(transport::BACKLOG);
        state.listeners.insert(at.clone(), knock);
        Ok((at, knocks))
    }

    fn unbind(&self, at: &Addr) {
        self.shared.state.lock().listeners.remove(at);
    }

    /// Connects, or hangs for as long as the nodes are parted.
    async fn connect(&self, from: &Addr, to: &Addr) -> Result<Arc<End>, TransportError> {
        let mut changed = self.shared.changed.subscribe();
        let delay = {
            let state = &mut *self.shared.state.lock();
            state.faults_of(from, to).clone().draw_delay(&mut state.rng)
        };
        if delay > Duration::ZERO {
            tokio::time::sleep(delay).await;
        }
        loop {
            changed.mark_unchanged();
            let knock = self.shared.state.lock().knock(from, to)?;
            if let Some(knock) = knock {
                let place = knock
                    .reserve_owned()
                    .await
                    .map_err(|_| TransportError::new(ErrorKind::Unreachable, "dial", to))?;
                // Parted while it waited: then it hangs after all.
                if let Some([mine, theirs]) = self.shared.state.lock().link(from, to) {
                    place.send(theirs);
                    return Ok(mine);
                }
            }
            // The sender of `changed` lives as long as this network: there is always a next change.
            let _ = changed.changed().await;
        }
    }
}

impl State {
    /// The way to the listener, unless the nodes are parted and nobody could tell.
    fn knock(
        &self,
        from: &Addr,
        to: &Addr,
    ) -> Result<Option<mpsc::Sender<Arc<End>>>, TransportError> {
        if self.is_parted(from, to) {
            return Ok(None);
        }
        let found = self.listeners.get(to).cloned();
        found.map(Some).ok_or_else(|| TransportError::new(ErrorKind::Unreachable, "dial", to))
    }

    fn link(&mut self, from: &Addr, to: &Addr) -> Option<[Arc<End>; 2]> {
        if self.is_parted(from, to) {
            return None;
        }
        let faults = self.faults_of(from, to).clone();
        let link = Link::new([from.clone(), to.clone()], self.buffer, faults, self.rng.u64(..));
        self.links.retain(|link| link.strong_count() > 0);
        self.links.push(Arc::downgrade(&link));
        Some(link.split())
    }

    fn is_parted(&self, a: &Addr, b: &Addr) -> bool {
        self.dark.iter().any(|(from, to)| pair(from, to) == pair(a, b))
    }

    fn faults_of(&self, a: &Addr, b: &Addr) -> &Faults {
        self.pair_faults.get(&pair(a, b)).unwrap_or(&self.faults)
    }

    fn free_port(&mut self, at: &Addr) -> Result<Addr, TransportError> {
        for _ in 0..u16::MAX {
            let found = at.with_port(self.next_port);
            self.next_port = self.next_port.checked_add(1).unwrap_or(1024);
            if !self.listeners.contains_key(&found) {
                return Ok(found);
            }
        }
        Err(TransportError::new(ErrorKind::Exhausted, "listen at", at))
    }

    fn links(&self) -> impl Iterator<Item = Arc<Link>> {
        self.links.iter().filter_map(Weak::upgrade)
    }

    fn links_between(&self, a: &Addr, b: &Addr) -> impl Iterator<Item = Arc<Link>> {
        let wanted = pair(a, b);
        self.links().filter(move |link| pair(&link.ends[0], &link.ends[1]) == wanted)
    }
}

fn pair(a: &Addr, b: &Addr) -> (Addr, Addr) {
    if a <= b { (a.clone(), b.clone()) } else { (b.clone(), a.clone()) }
}
