//! A proxy that counts connections, and breaks them in the ways in which networks do.

mod bytes;
mod frames;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
};

use dchan_core::{Addr, Transport};
use tokio::sync::watch;

/// What a proxy carries on.
#[derive(Clone, Debug)]
pub(super) enum Carrier {
    /// The bytes of TCP connections.
    Bytes,
    /// The frames of connections of this transport, for one that is not over TCP. To both ends of a
    /// connection the proxy is the peer, as it is over TCP: so that a cut reaches them at once.
    Frames(Arc<dyn Transport>),
}

/// One end of a connection, as the proxy sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Who dialled.
    Dialler,
    /// The node that the proxy stands before.
    Node,
}

/// A road to a node.
#[derive(Debug)]
pub(super) struct Proxy {
    pub(super) addr: Addr,
    shared: Arc<Shared>,
    serving: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    /// Where the node really listens.
    target: watch::Receiver<Option<Addr>>,
    orders: watch::Sender<Orders>,
    /// What that end sends vanishes.
    dark: [AtomicBool; 2],
    live: AtomicUsize,
}

/// What all connections of that time are told: a change of a number is the order.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Orders {
    cut: u64,
    /// Drop the connection of that end only.
    half: [u64; 2],
    heal: u64,
}

impl Proxy {
    pub(super) fn start(carrier: &Carrier, target: watch::Receiver<Option<Addr>>) -> Self {
        let shared = Arc::new(Shared {
            target,
            orders: watch::Sender::default(),
            dark: Default::default(),
            live: AtomicUsize::new(0),
        });
        let (addr, serving) = match carrier {
            Carrier::Bytes => {
                let listener = bytes::bind().expect("a free port");
                let addr = listener.local_addr().expect("a listener has an address").into();
                (addr, tokio::spawn(bytes::serve(listener, shared.clone())))
            }
            Carrier::Frames(transport) => {
                let listener = frames::listen(&**transport);
                let addr = listener.local_addr();
                let serving = frames::serve(listener, transport.clone(), shared.clone());
                (addr, tokio::spawn(serving))
            }
        };
        Self { addr, shared, serving }
    }

    /// How many connections there are.
    pub(super) fn live(&self) -> usize {
        self.shared.live.load(SeqCst)
    }

    /// Cuts all connections.
    pub(super) fn cut(&self) {
        self.shared.orders.send_modify(|orders| orders.cut += 1);
    }

    /// Breaks all connections so that only that end is told.
    pub(super) fn half_open(&self, told: End) {
        self.shared.orders.send_modify(|orders| orders.half[told as usize] += 1);
    }

    /// What that end sends vanishes from now on. New connections hang.
    pub(super) fn darken(&self, from: End) {
        self.shared.dark[from as usize].store(true, SeqCst);
    }

    /// Ends all that. Connections that may have lost something break.
    pub(super) fn heal(&self) {
        let was_dark = self.shared.dark.iter().filter(|dark| dark.swap(false, SeqCst)).count() > 0;
        self.shared.orders.send_modify(|orders| {
            orders.heal += 1;
            orders.cut += u64::from(was_dark);
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Counts a connection for as long as it lives.
struct Live<'a>(&'a AtomicUsize);

impl<'a> Live<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.live.fetch_add(1, SeqCst);
        Self(&shared.live)
    }
}

impl Drop for Live<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Shared {
    fn is_dark(&self) -> bool {
        self.dark.iter().any(|dark| dark.load(SeqCst))
    }

    /// Waits until it is known where the node listens, or `None` if it never will. A connection that is
    /// begun in the dark hangs until it is healed, and then fails.
    async fn find(&self, orders: &mut watch::Receiver<Orders>, at_first: Orders) -> Option<Addr> {
        if self.is_dark() {
            let _healed = orders.wait_for(|orders| orders.heal != at_first.heal).await;
            return None;
        }
        let mut target = self.target.clone();
        target.wait_for(Option::is_some).await.ok()?.clone()
    }
}

/// Waits until the connection is cut: `None`, or broken for one end only.
async fn broken(orders: &mut watch::Receiver<Orders>, at_first: Orders) -> Option<End> {
    let changed = orders.wait_for(|now| (now.cut, now.half) != (at_first.cut, at_first.half)).await;
    let now = changed.map_or(at_first, |now| *now);
    if now.cut != at_first.cut {
        return None;
    }
    if now.half[0] != at_first.half[0] { Some(End::Dialler) } else { Some(End::Node) }
}

/// Lets the end that was not told go on as if nothing had happened, until the road is cut or healed.
async fn swallow(
    reading: impl Future<Output = ()>,
    mut orders: watch::Receiver<Orders>,
    at_first: Orders,
) {
    tokio::select! {
        () = reading => {}
        _ = orders.wait_for(|now| now.cut != at_first.cut || now.heal != at_first.heal) => {}
    }
}
