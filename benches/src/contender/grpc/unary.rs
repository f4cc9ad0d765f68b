use anyhow::Context;
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tonic::{Request, Response, Status, client::Grpc, server};

use super::{
    METHOD,
    connection::{Channel, dial, serve},
    payload::{Item, Plain},
};
use crate::{
    Msg,
    contender::{Contender, Ready, Setup, Side},
};

/// A call for each message, one under way. What goes back is its answer.
pub(in crate::contender) struct Unary;

impl Contender for Unary {
    type Side = End;

    fn name(&self) -> &'static str {
        "tonic-unary"
    }

    fn help(&self) -> &'static str {
        "Bare tonic, a unary call for each message, one under way"
    }

    async fn listen(&self, setup: &Setup, _: &[String], ready: Ready) -> anyhow::Result<End> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        ready.say(listener.local_addr()?);
        let (calls, called) = mpsc::channel(1);
        let both_ways = setup.both_ways;
        let http = serve(listener, move |request| {
            let calls = calls.clone();
            let carry = tower::service_fn(move |call: Request<Item>| {
                answer(call.into_inner(), calls.clone(), both_ways)
            });
            async move { server::Grpc::new(Plain::<Item>::default()).unary(carry, request).await }
        });
        Ok(End::Called { calls: called, owed: None, http: http.await? })
    }

    async fn connect(&self, _: &Setup, to: &[String]) -> anyhow::Result<End> {
        let to = to.first().context("there is no receiver")?;
        Ok(End::Caller { client: dial(to).await?, answer: None })
    }
}

/// A message, and where its answer goes, if there is to be one.
type Call = (Msg, Option<oneshot::Sender<Msg>>);

async fn answer(
    Item(message): Item,
    calls: mpsc::Sender<Call>,
    both_ways: bool,
) -> Result<Response<Item>, Status> {
    let message = message.ok_or_else(|| Status::invalid_argument("there is no message"))?;
    let (answer, answered) = both_ways.then(oneshot::channel).unzip();
    let call = calls.send((message, answer)).await;
    call.map_err(|_| Status::unavailable("nobody listens"))?;
    // The last one has no answer.
    let answer = match answered {
        Some(answered) => answered.await.ok(),
        None => None,
    };
    Ok(Response::new(Item(answer)))
}

/// One end of the connection.
pub(in crate::contender) enum End {
    /// It makes the calls.
    Caller { client: Grpc<Channel>, answer: Option<Msg> },
    /// It answers them.
    Called { calls: mpsc::Receiver<Call>, owed: Option<oneshot::Sender<Msg>>, http: JoinHandle<()> },
}

impl Side for End {
    async fn send(&mut self, message: Msg) -> anyhow::Result<()> {
        match self {
            Self::Caller { client, answer } => {
                client.ready().await?;
                let call = Request::new(Item(Some(message)));
                let codec = Plain::<Item>::default();
                *answer = client.unary(call, METHOD, codec).await?.into_inner().0;
            }
            Self::Called { owed, .. } => {
                let owed = owed.take().context("nobody waits for an answer")?;
                owed.send(message).ok().context("the call has ended")?;
            }
        }
        Ok(())
    }

    async fn recv(&mut self) -> anyhow::Result<Option<Msg>> {
        match self {
            Self::Caller { answer, .. } => Ok(answer.take()),
            Self::Called { calls, owed, .. } => {
                let call = calls.recv().await;
                Ok(call.map(|(message, answer)| {
                    *owed = answer;
                    message
                }))
            }
        }
    }

    async fn end(self) -> anyhow::Result<()> {
        match self {
            Self::Caller { .. } => Ok(()),
            Self::Called { calls, owed, http } => {
                drop((calls, owed));
                // The last answer is on its way until the peer has gone.
                Ok(http.await?)
            }
        }
    }
}
