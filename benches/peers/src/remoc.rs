//! remoc's mpsc over TCP: a typed channel, in which messages go as they are.

use anyhow::Context;
use dchan_benches::{Contender, InTurn, Msg, Ready, Setup, Side};
use remoc::{
    Cfg, Connect, codec,
    rch::{base, mpsc},
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What goes over a connection first: the ends that the sender takes.
type Ends = (mpsc::Sender<Msg>, mpsc::Receiver<Msg>);

/// A channel there, and one back.
pub(crate) struct Remoc;

impl Contender for Remoc {
    type Side = Channels;

    fn name(&self) -> &'static str {
        "remoc"
    }

    fn help(&self) -> &'static str {
        "remoc, rch::mpsc over TCP"
    }

    fn lacks(&self, setup: &Setup) -> Option<String> {
        (setup.senders > 1).then(|| "it has one sender".to_owned())
    }

    async fn listen(&self, setup: &Setup, _: &[String], ready: Ready) -> anyhow::Result<Channels> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        ready.say(listener.local_addr()?);
        let (mut first, _, connection) = over::<Ends, ()>(listener.accept().await?.0).await?;
        let (there, incoming) = mpsc::with_local_buffer(setup.queue());
        let (out, back) = mpsc::with_local_buffer(setup.queue());
        first.send((there, back)).await?;
        Ok(Channels { all: InTurn::new([Channel { out, incoming, connection }]) })
    }

    async fn connect(&self, _: &Setup, to: &[String]) -> anyhow::Result<Channels> {
        let mut all = Vec::new();
        for to in to {
            let socket = TcpStream::connect(to).await?;
            let (_, mut first, connection) = over::<(), Ends>(socket).await?;
            let (out, incoming) = first.recv().await?.context("the receiver has gone")?;
            all.push(Channel { out, incoming, connection });
        }
        Ok(Channels { all: InTurn::new(all) })
    }
}

async fn over<Out: remoc::RemoteSend, In: remoc::RemoteSend>(
    socket: TcpStream,
) -> anyhow::Result<(base::Sender<Out>, base::Receiver<In>, JoinHandle<()>)> {
    socket.set_nodelay(true)?;
    let (read, write) = socket.into_split();
    let connect = Connect::io::<_, _, Out, In, codec::Default>(Cfg::default(), read, write);
    let (connection, out, incoming) = connect.await?;
    let connection = tokio::spawn(async move {
        // Channels hear of what is wrong with it.
        let _ended = connection.await;
    });
    Ok((out, incoming, connection))
}

/// One connection for each receiver.
pub(crate) struct Channels {
    all: InTurn<Channel>,
}

/// A connection, and the channels that it has.
struct Channel {
    out: mpsc::Sender<Msg>,
    incoming: mpsc::Receiver<Msg>,
    connection: JoinHandle<()>,
}

impl Side for Channels {
    async fn send(&mut self, message: Msg) -> anyhow::Result<()> {
        let sent = self.all.turn().out.send(message).await;
        sent.map(drop).ok().context("the receiver has gone")
    }

    async fn recv(&mut self) -> anyhow::Result<Option<Msg>> {
        Ok(self.all.first().incoming.recv().await?)
    }

    async fn end(self) -> anyhow::Result<()> {
        for Channel { out, mut incoming, connection } in self.all {
            drop(out);
            while incoming.recv().await?.is_some() {}
            drop(incoming);
            connection.await?;
        }
        Ok(())
    }
}
