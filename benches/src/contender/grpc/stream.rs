use std::marker::PhantomData;

use anyhow::Context;
use futures::StreamExt;
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};
use tonic::{Request, Response, Status, Streaming, server};

use super::{
    METHOD,
    connection::{dial, serve},
    payload::{Payload, Plain},
};
use crate::{
    Msg,
    contender::{Contender, InTurn, Ready, Setup, Side},
};

/// One call with a stream in each direction, behind a queue.
pub(in crate::contender) struct Streamed<P> {
    name: &'static str,
    help: &'static str,
    payload: PhantomData<fn() -> P>,
}

impl<P> Streamed<P> {
    pub(in crate::contender) fn new(name: &'static str, help: &'static str) -> Self {
        Self { name, help, payload: PhantomData }
    }
}

impl<P: Payload> Contender for Streamed<P> {
    type Side = Calls<P>;

    fn name(&self) -> &'static str {
        self.name
    }

    fn help(&self) -> &'static str {
        self.help
    }

    fn lacks(&self, setup: &Setup) -> Option<String> {
        (setup.senders > 1).then(|| "it has one sender".to_owned())
    }

    async fn listen(&self, setup: &Setup, _: &[String], ready: Ready) -> anyhow::Result<Calls<P>> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        ready.say(listener.local_addr()?);
        let (calls, mut called) = mpsc::channel(1);
        let queue = setup.queue();
        let http = serve(listener, move |request| {
            let calls = calls.clone();
            let streams = tower::service_fn(move |call: Request<Streaming<P>>| {
                let calls = calls.clone();
                async move {
                    let (out, queued) = mpsc::channel(queue);
                    let call = calls.send((call.into_inner(), out)).await;
                    call.map_err(|_| Status::unavailable("nobody listens"))?;
                    Ok::<_, Status>(Response::new(P::pack(queued).map(Ok)))
                }
            });
            async move { server::Grpc::new(Plain::<P>::default()).streaming(streams, request).await }
        });
        let http = http.await?;
        let (incoming, out) = called.recv().await.context("nobody called")?;
        let (out, incoming) = (InTurn::new([out]), vec![incoming]);
        Ok(Calls { out, incoming, rest: None, http: Some(http) })
    }

    async fn connect(&self, setup: &Setup, to: &[String]) -> anyhow::Result<Calls<P>> {
        let (mut out, mut incoming) = (Vec::new(), Vec::new());
        for to in to {
            let (queue, queued) = mpsc::channel(setup.queue());
            let call = Request::new(P::pack(queued));
            let answer = dial(to).await?.streaming(call, METHOD, Plain::<P>::default()).await?;
            out.push(queue);
            incoming.push(answer.into_inner());
        }
        Ok(Calls { out: InTurn::new(out), incoming, rest: None, http: None })
    }
}

/// One end of a call, or of some.
pub(in crate::contender) struct Calls<P> {
    out: InTurn<mpsc::Sender<Msg>>,
    incoming: Vec<Streaming<P>>,
    /// What was received and not all taken.
    rest: Option<P>,
    /// What answers the call, on that end.
    http: Option<JoinHandle<()>>,
}

impl<P: Payload> Side for Calls<P> {
    async fn send(&mut self, message: Msg) -> anyhow::Result<()> {
        self.out.turn().send(message).await.context("the call has ended")
    }

    async fn recv(&mut self) -> anyhow::Result<Option<Msg>> {
        let mut next = None;
        let take = |message| {
            next = Some(message);
            Ok(false)
        };
        self.recv_while(take).await?;
        Ok(next)
    }

    async fn recv_while(
        &mut self,
        mut take: impl FnMut(Msg) -> anyhow::Result<bool> + Send,
    ) -> anyhow::Result<()> {
        loop {
            while let Some(message) = self.rest.as_mut().map_or(Ok(None), P::unpack)? {
                if !take(message)? {
                    return Ok(());
                }
            }
            self.rest = self.incoming[0].message().await?;
            if self.rest.is_none() {
                return Ok(());
            }
        }
    }

    async fn end(mut self) -> anyhow::Result<()> {
        drop(self.out);
        for incoming in &mut self.incoming {
            // All messages were counted before: a peer may be gone before its last word is out.
            while let Ok(Some(_)) = incoming.message().await {}
        }
        drop(self.incoming);
        match self.http {
            // The last word is on its way until the peer has gone.
            Some(http) => Ok(http.await?),
            None => Ok(()),
        }
    }
}
