//! NATS with a server of its own, which the first receiver starts. The server drops what a slow receiver
//! does not take, so receivers tell the sender how much they have taken, and it waits.

use std::{net::TcpListener, process::Stdio, time::Duration};

use anyhow::Context;
use async_nats::{Client, Subscriber};
use dchan_benches::{Contender, Msg, Ready, Setup, Side};
use futures::StreamExt;
use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

const SERVER: &str = "nats-server";
/// The subjects there and back, and that of what receivers have taken.
const THERE: &str = "there";
const BACK: &str = "back";
const TAKEN: &str = "taken";
/// How long the server may take to come, and a message to be taken.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long what is left may take to go.
const GOODBYE: Duration = Duration::from_secs(2);

/// Core NATS: publish, and a queue group of those who receive.
pub(crate) struct Nats;

impl Contender for Nats {
    type Side = End;

    fn name(&self) -> &'static str {
        "nats"
    }

    fn help(&self) -> &'static str {
        "Core NATS, a queue group, and credit so that nothing is lost"
    }

    fn lacks(&self, setup: &Setup) -> Option<String> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        if !std::env::split_paths(&path).any(|dir| dir.join(SERVER).is_file()) {
            return Some(format!("there is no {SERVER} on the PATH"));
        }
        (setup.senders > 1).then(|| "its credit is for one sender".to_owned())
    }

    async fn listen(&self, setup: &Setup, before: &[String], ready: Ready) -> anyhow::Result<End> {
        let (server, at) = match before {
            [] => start().await.map(|(server, at)| (Some(server), at))?,
            [at, ..] => (None, at.clone()),
        };
        let client = connect(&at).await?;
        let incoming = client.queue_subscribe(THERE, "all".into()).await?;
        round_trip(&client).await?;
        ready.say(at);
        let credit = match setup.both_ways {
            true => Credit::None,
            false => Credit::Given { taken: 0, step: step(setup) },
        };
        Ok(End { server, client, out: BACK, incoming, credit })
    }

    async fn connect(&self, setup: &Setup, to: &[String]) -> anyhow::Result<End> {
        let client = connect(&to[0]).await?;
        let (from, credit) = match setup.both_ways {
            true => (BACK, Credit::None),
            false => (TAKEN, Credit::Used { left: STEPS * step(setup), step: step(setup) }),
        };
        let incoming = client.subscribe(from).await?;
        round_trip(&client).await?;
        Ok(End { server: None, client, out: THERE, incoming, credit })
    }
}

async fn start() -> anyhow::Result<(Child, String)> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let mut server = Command::new(SERVER);
    server.args(["-c", "/dev/stdin"]).stdin(Stdio::piped()).stderr(Stdio::null());
    let mut server = server.kill_on_drop(true).spawn()?;
    let config = format!("host: 127.0.0.1\nport: {port}\nmax_payload: 4MB\n");
    server.stdin.take().context("no input")?.write_all(config.as_bytes()).await?;
    Ok((server, format!("127.0.0.1:{port}")))
}

async fn connect(at: &str) -> anyhow::Result<Client> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match async_nats::connect(at).await {
            Ok(client) => return Ok(client),
            Err(error) if Instant::now() > deadline => return Err(error.into()),
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Waits until the server has all that was said before, subscriptions too: it takes what a client says in turn.
async fn round_trip(client: &Client) -> anyhow::Result<()> {
    let inbox = client.new_inbox();
    let mut echo = client.subscribe(inbox.clone()).await?;
    client.publish(inbox, "".into()).await?;
    echo.next().await.context("the server has gone").map(drop)
}

/// How many steps of credit there are.
const STEPS: u64 = 16;

/// How many messages a receiver takes before it says so. All steps together are not more than the server
/// would hold, which is about 16 MiB here.
fn step(setup: &Setup) -> u64 {
    ((1 << 20) / setup.size.max(1) as u64).clamp(1, 1024)
}

/// What keeps the sender from sending more than is taken, if messages go one way.
enum Credit {
    /// A receiver says so, each time that it has taken as much as a step.
    Given { taken: u64, step: u64 },
    /// The sender may send so many more.
    Used { left: u64, step: u64 },
    /// One message at a time, there and back.
    None,
}

/// A client, and the server if this end has started it.
pub(crate) struct End {
    server: Option<Child>,
    client: Client,
    out: &'static str,
    incoming: Subscriber,
    credit: Credit,
}

impl Side for End {
    async fn send(&mut self, message: Msg) -> anyhow::Result<()> {
        if let Credit::Used { left, step } = &mut self.credit {
            if *left == 0 {
                let taken = timeout(PATIENCE, self.incoming.next()).await;
                taken.context("nobody takes anything")?.context("the server has gone")?;
                *left += *step;
            }
            *left -= 1;
        }
        Ok(self.client.publish(self.out, message.encode()?.into()).await?)
    }

    async fn recv(&mut self) -> anyhow::Result<Option<Msg>> {
        let message = self.incoming.next().await.context("the server has gone")?;
        if let Credit::Given { taken, step } = &mut self.credit {
            *taken += 1;
            if *taken == *step {
                *taken = 0;
                self.client.publish(TAKEN, "".into()).await?;
            }
        }
        Msg::decode(&message.payload).map(Some)
    }

    async fn end(self) -> anyhow::Result<()> {
        // What is only in the socket is lost if the process ends with messages that it has not read. If the
        // server has gone, then everything was received: nobody stops it before.
        let _gone = timeout(GOODBYE, round_trip(&self.client)).await;
        match self.server {
            Some(mut server) => Ok(server.kill().await?),
            None => Ok(()),
        }
    }
}
