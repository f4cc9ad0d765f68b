//! A bare stream of quinn's, with its own defaults, behind a queue: what one would write first.

use std::net::SocketAddr;

use anyhow::Context;
use bytes::BytesMut;
use quinn::{ClientConfig, Connection, Endpoint, RecvStream, SendStream, ServerConfig};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
};
use tokio::{sync::mpsc, task::JoinHandle};

use super::{
    Contender, InTurn, Ready, Setup, Side,
    framed::{self, BATCH},
};
use crate::Msg;

/// The name in the certificate.
const NAME: &str = "localhost";

/// quinn, one stream each way.
pub(super) struct Quinn;

impl Contender for Quinn {
    type Side = Streams;

    fn name(&self) -> &'static str {
        "quinn"
    }

    fn help(&self) -> &'static str {
        "Bare quinn, one stream behind a queue and a task that writes"
    }

    fn lacks(&self, setup: &Setup) -> Option<String> {
        (setup.senders > 1).then(|| "it has one sender".to_owned())
    }

    async fn listen(&self, setup: &Setup, _: &[String], ready: Ready) -> anyhow::Result<Streams> {
        let own = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
        let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
        let config = ServerConfig::with_single_cert(vec![own.cert.der().clone()], key.into())?;
        let endpoint = Endpoint::server(config, "127.0.0.1:0".parse()?)?;
        ready.say(serde_json::to_string(&(endpoint.local_addr()?, own.cert.der().as_ref()))?);
        let connection = endpoint.accept().await.context("the endpoint is closed")?.await?;
        let (out, incoming) = connection.accept_bi().await?;
        let stream = Stream::new(endpoint, connection, out, incoming, setup.queue());
        Ok(Streams { all: InTurn::new([stream]), connected: false })
    }

    async fn connect(&self, setup: &Setup, to: &[String]) -> anyhow::Result<Streams> {
        let mut all = Vec::new();
        for to in to {
            let (addr, certificate): (SocketAddr, Vec<u8>) = serde_json::from_str(to)?;
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from(certificate))?;
            let mut endpoint = Endpoint::client("127.0.0.1:0".parse()?)?;
            endpoint.set_default_client_config(ClientConfig::with_root_certificates(roots.into())?);
            let connection = endpoint.connect(addr, NAME)?.await?;
            let (out, incoming) = connection.open_bi().await?;
            all.push(Stream::new(endpoint, connection, out, incoming, setup.queue()));
        }
        Ok(Streams { all: InTurn::new(all), connected: true })
    }
}

/// One connection for each receiver.
pub(super) struct Streams {
    all: InTurn<Stream>,
    /// Whether this end has connected: it closes.
    connected: bool,
}

/// A stream each way, and what they are part of.
struct Stream {
    endpoint: Endpoint,
    connection: Connection,
    out: mpsc::Sender<Msg>,
    writer: JoinHandle<anyhow::Result<()>>,
    incoming: RecvStream,
    read: BytesMut,
}

impl Stream {
    fn new(
        endpoint: Endpoint,
        connection: Connection,
        out: SendStream,
        incoming: RecvStream,
        queue: usize,
    ) -> Self {
        let (queue, queued) = mpsc::channel(queue);
        let writer = tokio::spawn(write(queued, out));
        Self { endpoint, connection, out: queue, writer, incoming, read: framed::buffer() }
    }
}

/// Writes what is queued, as soon as nothing more is or there is enough.
async fn write(mut queue: mpsc::Receiver<Msg>, mut to: SendStream) -> anyhow::Result<()> {
    let mut out = Vec::with_capacity(2 * BATCH);
    while let Some(message) = queue.recv().await {
        message.put(&mut out)?;
        while out.len() < BATCH
            && let Ok(message) = queue.try_recv()
        {
            message.put(&mut out)?;
        }
        to.write_all(&out).await?;
        out.clear();
    }
    Ok(to.finish()?)
}

impl Side for Streams {
    async fn send(&mut self, message: Msg) -> anyhow::Result<()> {
        self.all.turn().out.send(message).await.ok().context("the writer has ended")
    }

    async fn recv(&mut self) -> anyhow::Result<Option<Msg>> {
        let Stream { incoming, read, .. } = self.all.first();
        framed::read(incoming, read).await
    }

    async fn recv_while(
        &mut self,
        take: impl FnMut(Msg) -> anyhow::Result<bool> + Send,
    ) -> anyhow::Result<()> {
        let Stream { incoming, read, .. } = self.all.first();
        framed::read_while(incoming, read, take).await
    }

    async fn end(self) -> anyhow::Result<()> {
        for stream in self.all {
            let Stream { endpoint, connection, out, writer, mut incoming, mut read } = stream;
            let rest = async { framed::read_while(&mut incoming, &mut read, |_| Ok(true)).await };
            let finish = async {
                drop(out);
                writer.await?
            };
            // What is not read when the connection is closed is lost: so the end that is connected to finishes once it
            // has read everything, and the other one closes then.
            if self.connected {
                finish.await?;
                rest.await?;
                connection.close(0u8.into(), b"done");
            } else {
                rest.await?;
                finish.await?;
            }
            connection.closed().await;
            endpoint.wait_idle().await;
        }
        Ok(())
    }
}
