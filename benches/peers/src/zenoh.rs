//! zenoh between two peers over TCP, found without scouting. A publisher waits when there is no room.

use std::net::TcpListener;

use anyhow::anyhow;
use dchan_benches::{Contender, Msg, Ready, Setup, Side};
use zenoh::{
    Config, Session,
    handlers::{FifoChannel, FifoChannelHandler},
    pubsub::{Publisher, Subscriber},
    qos::CongestionControl,
    sample::Sample,
};

/// The keys there and back.
const THERE: &str = "bench/there";
const BACK: &str = "bench/back";

/// Publish and subscribe.
pub(crate) struct Zenoh;

impl Contender for Zenoh {
    type Side = End;

    fn name(&self) -> &'static str {
        "zenoh"
    }

    fn help(&self) -> &'static str {
        "zenoh, peer to peer, blocking congestion control"
    }

    fn lacks(&self, setup: &Setup) -> Option<String> {
        (setup.receivers > 1).then(|| "each subscriber has all messages".to_owned())
    }

    async fn listen(&self, setup: &Setup, _: &[String], ready: Ready) -> anyhow::Result<End> {
        // A session does not tell which port it has: find a free one first.
        let at = format!("tcp/{}", TcpListener::bind("127.0.0.1:0")?.local_addr()?);
        let session = open("listen", &at).await?;
        let incoming = subscribe(&session, THERE, setup).await?;
        ready.say(at);
        let out = match setup.both_ways {
            true => Some(publish(&session, BACK).await?),
            false => None,
        };
        Ok(End { session, out, incoming: Some(incoming) })
    }

    async fn connect(&self, setup: &Setup, to: &[String]) -> anyhow::Result<End> {
        let session = open("connect", &to[0]).await?;
        let incoming = match setup.both_ways {
            true => Some(subscribe(&session, BACK, setup).await?),
            false => None,
        };
        let out = Some(publish(&session, THERE).await?);
        Ok(End { session, out, incoming })
    }
}

async fn open(direction: &str, at: &str) -> anyhow::Result<Session> {
    let mut config = Config::default();
    let endpoints = format!("{direction}/endpoints");
    for (key, value) in [
        ("mode", "\"peer\""),
        ("scouting/multicast/enabled", "false"),
        ("scouting/gossip/enabled", "false"),
        ("listen/endpoints", "[]"),
        (&endpoints, &format!("[\"{at}\"]")),
    ] {
        config.insert_json5(key, value).map_err(said)?;
    }
    zenoh::open(config).await.map_err(said)
}

async fn subscribe(
    session: &Session,
    key: &'static str,
    setup: &Setup,
) -> anyhow::Result<Incoming> {
    let subscriber = session.declare_subscriber(key).with(FifoChannel::new(setup.queue()));
    subscriber.await.map_err(said)
}

/// A publisher that has a subscriber.
async fn publish(session: &Session, key: &'static str) -> anyhow::Result<Publisher<'static>> {
    let publisher = session.declare_publisher(key).congestion_control(CongestionControl::Block);
    let publisher = publisher.await.map_err(said)?;
    matching(&publisher, true).await?;
    Ok(publisher)
}

/// Waits until there is a subscriber, or none.
async fn matching(publisher: &Publisher<'_>, any: bool) -> anyhow::Result<()> {
    let changes = publisher.matching_listener().await.map_err(said)?;
    while publisher.matching_status().await.map_err(said)?.matching() != any {
        changes.recv_async().await.map_err(|error| anyhow!("{error}"))?;
    }
    Ok(())
}

type Incoming = Subscriber<FifoChannelHandler<Sample>>;

/// A session, and what it has declared.
pub(crate) struct End {
    session: Session,
    out: Option<Publisher<'static>>,
    incoming: Option<Incoming>,
}

impl Side for End {
    async fn send(&mut self, message: Msg) -> anyhow::Result<()> {
        let out = self.out.as_ref().ok_or_else(|| anyhow!("this side does not send"))?;
        out.put(message.encode()?).await.map_err(said)
    }

    async fn recv(&mut self) -> anyhow::Result<Option<Msg>> {
        let incoming = self.incoming.as_ref();
        let incoming = incoming.ok_or_else(|| anyhow!("this side does not receive"))?;
        let sample = incoming.recv_async().await.map_err(|error| anyhow!("{error}"))?;
        Msg::decode(&sample.payload().to_bytes()).map(Some)
    }

    async fn end(self) -> anyhow::Result<()> {
        if let Some(incoming) = self.incoming {
            incoming.undeclare().await.map_err(said)?;
        }
        if let Some(out) = self.out {
            // Closing loses what is on its way: the receiver goes first, when it has everything.
            matching(&out, false).await?;
            out.undeclare().await.map_err(said)?;
        }
        self.session.close().await.map_err(said)
    }
}

fn said(error: zenoh::Error) -> anyhow::Error {
    anyhow!(error)
}
