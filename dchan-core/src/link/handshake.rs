//! Who is at the other end, and which of two connections stays.

use bytes::Bytes;

use super::ProtocolError;
use crate::{
    Breach, ErrorKind, Frame, FrameBatch, Identity, LaneId, NodeId, Received, TransportError,
    transport::{Connection, FrameSink, FrameStream},
    wire::{Control, Hello, Refusal, VERSION, shown},
};

/// Why a connection did not come to stand.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Introduction {
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// One of the two sides does not want it. If it is the other, then this is who that is.
    #[error("{0}")]
    Refused(Refusal, Option<Box<Hello>>),
}

impl Introduction {
    /// What there is to count when a stranger came with this, unless nobody is to blame.
    pub(crate) fn breach(&self) -> Option<Breach> {
        match self {
            Self::Transport(error) => match error.kind {
                ErrorKind::Protocol => Some(Breach::Malformed),
                ErrorKind::TimedOut => Some(Breach::Late),
                _ => Some(Breach::Unfinished),
            },
            Self::Protocol(error) => Some(error.kind),
            Self::Refused(refusal, _) => refusal.breach(),
        }
    }

    /// One word for metrics.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Transport(error) => error.kind.word(),
            Self::Protocol(_) => ErrorKind::Protocol.word(),
            Self::Refused(refusal, _) => refusal.word(),
        }
    }
}

/// Which of two connections between the same processes stays: the one with the higher rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rank {
    pub(crate) attempt: u64,
    pub(crate) dialler: NodeId,
}

impl Rank {
    fn beats(self, other: Self) -> bool {
        (self.attempt, std::cmp::Reverse(self.dialler))
            > (other.attempt, std::cmp::Reverse(other.dialler))
    }
}

/// The ranks of the connections to one peer.
#[derive(Debug, Default)]
pub(crate) struct Ranks {
    highest: u64,
    established: Option<Rank>,
}

impl Ranks {
    /// The number of the next attempt to dial.
    pub(crate) fn next_attempt(&mut self) -> u64 {
        self.highest += 1;
        self.highest
    }

    /// Somebody else knows of that attempt.
    pub(crate) fn seen(&mut self, attempt: u64) {
        // A peer cannot push the number out of its range.
        self.highest = self.highest.max(attempt.min(u64::MAX / 2));
    }

    /// Only a connection that stands refuses another one, and only if its rank is as high.
    pub(crate) fn establish(&mut self, rank: Rank) -> Result<(), Rank> {
        self.seen(rank.attempt);
        match self.established {
            Some(standing) if !rank.beats(standing) => Err(standing),
            _ => {
                self.established = Some(rank);
                Ok(())
            }
        }
    }

    /// No connection stands any more.
    pub(crate) fn fall(&mut self) {
        self.established = None;
    }
}

impl Hello {
    /// Whether two nodes can talk at all. `self` is this node; `identity` is what the transport has
    /// proved of the other.
    pub(crate) fn check(&self, theirs: &Hello, identity: Option<&Identity>) -> Result<(), Refusal> {
        if self.version != theirs.version {
            return Err(Refusal::Version { ours: self.version, theirs: theirs.version });
        }
        let host = theirs.addr.host();
        if let Some(identity) = identity
            && !identity.is_for(host)
        {
            let names = identity.names.iter().take(8).map(|name| shown(name)).collect();
            return Err(Refusal::Name { names, host: host.into() });
        }
        if self.cluster_name != theirs.cluster_name {
            let (ours, theirs) = (shown(&self.cluster_name), shown(&theirs.cluster_name));
            return Err(Refusal::ClusterName { ours, theirs });
        }
        if self.transport != theirs.transport {
            let (ours, theirs) = (shown(&self.transport), shown(&theirs.transport));
            return Err(Refusal::Transport { ours, theirs });
        }
        match (self.cluster, theirs.cluster) {
            (Some(ours), Some(theirs)) if ours != theirs => {
                return Err(Refusal::Cluster { ours, theirs });
            }
            _ => {}
        }
        if self.node == theirs.node { Err(Refusal::Oneself) } else { Ok(()) }
    }
}

/// The dialler's part: says who it is and hears who is there.
pub(crate) async fn greet(
    mut connection: Connection,
    mine: &Hello,
) -> Result<(Hello, Connection), Introduction> {
    say(&mut *connection.sink, &Control::Hello(mine.clone())).await?;
    match hear(&mut *connection.stream, &connection.peer).await? {
        Control::Welcome(theirs) => match mine.check(&theirs, connection.identity.as_ref()) {
            Ok(()) => Ok((theirs, connection)),
            Err(refusal) => {
                refuse(connection, refusal.clone(), mine.clone()).await;
                Err(Introduction::Refused(refusal, None))
            }
        },
        Control::Refuse(refusal, theirs) => {
            Err(Introduction::Refused(refusal.mirrored(), Some(theirs)))
        }
        other => Err(unexpected("welcome", &other).into()),
    }
}

/// The listener's part: hears who knocks. One that speaks another version is told so, whatever else is
/// in its hello.
pub(crate) async fn expect_hello(connection: &mut Connection) -> Result<Hello, Introduction> {
    match hear(&mut *connection.stream, &connection.peer).await? {
        Control::Hello(theirs) => Ok(theirs),
        other => Err(unexpected("hello", &other).into()),
    }
}

/// The listener lets the dialler in.
pub(crate) async fn welcome(sink: &mut dyn FrameSink, mine: &Hello) -> Result<(), TransportError> {
    say(sink, &Control::Welcome(mine.clone())).await
}

/// Turns the other side away, tells it why, and waits until it has gone. If it cannot be told, or has gone as soon
/// as it has read that, then this changes nothing: there is no connection either way.
pub(crate) async fn refuse(connection: Connection, refusal: Refusal, mine: Hello) {
    let Connection { mut sink, mut stream, .. } = connection;
    let refusal = Control::Refuse(refusal, Box::new(mine));
    let told = async {
        say(&mut *sink, &refusal).await?;
        sink.close().await
    };
    if told.await.is_ok() {
        // Dropping the connection before might take the refusal back.
        let mut batch = FrameBatch::new();
        while let Ok(Received::Frames) = stream.recv(&mut batch).await {
            batch = FrameBatch::new();
        }
    }
}

fn unexpected(expected: &str, found: &Control) -> ProtocolError {
    not_it(&format!("expected a {expected}, found {}", shown(&format!("{found:?}"))))
}

fn not_it(what: &str) -> ProtocolError {
    ProtocolError::new(Breach::Handshake, what)
}

async fn say(sink: &mut dyn FrameSink, control: &Control) -> Result<(), TransportError> {
    let mut batch = FrameBatch::new();
    batch.push(Frame::new(LaneId::CONTROL, control.encode(Vec::new()).into()));
    while !batch.is_empty() {
        sink.send(&mut batch).await?;
    }
    Ok(())
}

/// The first frame that comes. Nothing may come with it: frames of other lanes can overtake those of
/// the control lane, so each side is silent until it knows that the other has read this one.
async fn hear(stream: &mut dyn FrameStream, peer: &crate::Addr) -> Result<Control, Introduction> {
    let mut batch = FrameBatch::new();
    while batch.is_empty() {
        if stream.recv(&mut batch).await? == Received::End {
            return Err(TransportError::new(ErrorKind::Broken, "shake hands with", peer).into());
        }
    }
    let first = batch.pop().map(|frame| (frame.lane, frame.payload));
    let Some((LaneId::CONTROL, payload)) = first else {
        return Err(not_it("expected a handshake, found another lane's frame").into());
    };
    if !batch.is_empty() {
        return Err(not_it("expected a handshake, found more than that").into());
    }
    let mut rest: Bytes = payload.clone();
    match Control::decode_next(&mut rest) {
        Ok(Some(control)) if rest.is_empty() => Ok(control),
        // Another version may have another hello: its number is where it always was.
        Ok(_) | Err(_) => match Hello::version_of(&payload) {
            Some(theirs) if theirs != VERSION => {
                Err(Introduction::Refused(Refusal::Version { ours: VERSION, theirs }, None))
            }
            _ => Err(not_it(&format!("expected a handshake, found {} other bytes", payload.len()))
                .into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use tokio::time::timeout;

    use super::*;
    use crate::{Addr, Boot, Incarnation, MemoryNetwork, Transport};

    fn hello(node: u64, addr: &Addr) -> Hello {
        Hello {
            version: VERSION,
            cluster_name: "test".into(),
            cluster: None,
            transport: "memory".into(),
            node: NodeId(node),
            incarnation: Incarnation(1),
            boot: Boot(node),
            addr: addr.clone(),
            attempt: 1,
        }
    }

    fn identity(name: &str) -> Identity {
        Identity { names: vec![name.into()], certificate: Bytes::new() }
    }

    /// Both ends of a connection between nodes `a` and `b`.
    async fn connect(a: &Addr, b: &Addr) -> (Connection, Connection) {
        let network = MemoryNetwork::new(1);
        let [from, to]: [Arc<dyn Transport>; 2] = [network.transport(a), network.transport(b)];
        let mut listener = to.listen(b).await.unwrap();
        let accepted = async { listener.accept().await.unwrap().ready.await.unwrap() };
        let (dialled, accepted) = tokio::join!(from.dial(b), accepted);
        (dialled.unwrap(), accepted)
    }

    #[test]
    fn a_name_that_was_not_proved_is_refused() {
        let [a, b] = ["a:1", "b:1"].map(|addr| addr.parse::<Addr>().unwrap());
        let (mine, theirs) = (hello(1, &a), hello(2, &b));
        assert_eq!(mine.check(&theirs, None), Ok(()));
        assert_eq!(mine.check(&theirs, Some(&identity("b"))), Ok(()));
        let refusal = mine.check(&theirs, Some(&identity("c"))).unwrap_err();
        assert_eq!(refusal, Refusal::Name { names: vec!["c".into()], host: "b".into() });
        assert!(!refusal.is_transient());
        let said = refusal.to_string();
        assert_eq!(said, "the certificate is for c, and its node says that it is at b");
    }

    #[tokio::test(start_paused = true)]
    async fn a_dialler_that_refuses_says_why() {
        let [a, b] = ["a:1", "b:1"].map(|addr| addr.parse::<Addr>().unwrap());
        let (dialled, accepted) = connect(&a, &b).await;
        let dialled = dialled.with_identity(identity("c"));
        let (mine, theirs) = (hello(1, &a), hello(2, &b));
        let listening = async {
            let mut accepted = accepted;
            assert_eq!(expect_hello(&mut accepted).await.unwrap(), mine);
            welcome(&mut *accepted.sink, &theirs).await.unwrap();
            hear(&mut *accepted.stream, &a).await.unwrap()
        };
        let both = async { tokio::join!(greet(dialled, &mine), listening) };
        let (greeted, heard) = timeout(Duration::from_secs(5), both).await.unwrap();
        let refusal = Refusal::Name { names: vec!["c".into()], host: "b".into() };
        assert!(matches!(greeted, Err(Introduction::Refused(said, None)) if said == refusal));
        assert_eq!(heard, Control::Refuse(refusal, Box::new(mine.clone())));
    }
}
