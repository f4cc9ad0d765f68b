//! A TCP proxy that counts connections, and breaks them in the ways in which networks do.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
};

use dchan_core::Addr;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

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
    /// Drop the socket of that end only.
    half: [u64; 2],
    heal: u64,
}

impl Proxy {
    pub(super) fn start(target: watch::Receiver<Option<Addr>>) -> Self {
        let listener = bind().expect("a free port");
        let addr = listener.local_addr().expect("a listener has an address").into();
        let shared = Arc::new(Shared {
            target,
            orders: watch::Sender::default(),
            dark: Default::default(),
            live: AtomicUsize::new(0),
        });
        let serving = tokio::spawn(serve(listener, shared.clone()));
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

/// A listener at a free port, without waiting for it.
fn bind() -> std::io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        connections.spawn(connect(near, shared.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn connect(near: TcpStream, shared: Arc<Shared>) {
    let mut orders = shared.orders.subscribe();
    let at_first = *orders.borrow_and_update();
    if shared.is_dark() {
        let _healed = orders.wait_for(|orders| orders.heal != at_first.heal).await;
        return;
    }
    let mut target = shared.target.clone();
    let Ok(at) = target.wait_for(Option::is_some).await.map(|at| at.clone()) else { return };
    let Some(at) = at else { return };
    let Ok(far) = TcpStream::connect(at.as_str()).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let live = Live::new(&shared);
    let (mut near_read, mut near_write) = near.into_split();
    let (mut far_read, mut far_write) = far.into_split();
    let flow = async {
        tokio::try_join!(
            pump(&mut near_read, &mut far_write, &shared.dark[0]),
            pump(&mut far_read, &mut near_write, &shared.dark[1]),
        )
    };
    let told = tokio::select! {
        _ = flow => None,
        told = broken(&mut orders, at_first) => told,
    };
    drop(live);
    // The end that is not told goes on as if nothing had happened.
    match told {
        None => {}
        Some(End::Dialler) => {
            drop((near_read, near_write));
            swallow(far_read, orders, at_first).await;
        }
        Some(End::Node) => {
            drop((far_read, far_write));
            swallow(near_read, orders, at_first).await;
        }
    }
}

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

async fn swallow(
    mut from: impl AsyncRead + Unpin,
    mut orders: watch::Receiver<Orders>,
    at_first: Orders,
) {
    let mut buffer = vec![0; 16 * 1024];
    let read = async { while from.read(&mut buffer).await.is_ok_and(|read| read > 0) {} };
    tokio::select! {
        () = read => {}
        _ = orders.wait_for(|now| now.cut != at_first.cut || now.heal != at_first.heal) => {}
    }
}

async fn pump(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    dark: &AtomicBool,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            // The other direction may go on.
            return to.shutdown().await;
        }
        if dark.load(SeqCst) {
            continue;
        }
        to.write_all(&buffer[..read]).await?;
    }
}
