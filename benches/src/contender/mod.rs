//! What is measured.

mod bare;
mod channel;
mod framed;
mod grpc;
mod in_turn;
mod queue;
mod quic;
mod registry;

use crate::Msg;

pub use bare::Bare;
pub(crate) use channel::{End, Over};
pub use in_turn::InTurn;
pub use registry::Contenders;
pub(crate) use registry::Known;

/// Something that carries messages from one process to another.
///
/// In a run, receivers are started one by one: [`listen`](Self::listen) in a process of its own for each. When
/// all are ready, senders are started: [`connect`](Self::connect).
pub trait Contender: Send + Sync + 'static {
    /// One end of it.
    type Side: Side;

    /// What it is called on the command line and in tables: a word.
    fn name(&self) -> &'static str;

    /// What it is, in a line.
    fn help(&self) -> &'static str;

    /// Whether both ends are to be in one process, where [`listen`](Self::listen) and
    /// [`connect`](Self::connect) are called on one value.
    fn in_one_process(&self) -> bool {
        false
    }

    /// What it would need for such a run and has not, in a few words. Nothing, if it can run: that is
    /// what is assumed of one sender and one receiver, and of no others.
    fn lacks(&self, setup: &Setup) -> Option<String> {
        let one_to_one = setup.senders == 1 && setup.receivers == 1;
        (!one_to_one).then(|| "it has one sender and one receiver".to_owned())
    }

    /// A receiver's end. It calls [`Ready::say`] as soon as senders, and further receivers, may come.
    /// `before`: what the receivers have said that were ready before.
    fn listen(
        &self,
        setup: &Setup,
        before: &[String],
        ready: Ready,
    ) -> impl Future<Output = anyhow::Result<Self::Side>> + Send;

    /// A sender's end. `to`: what the receivers have said, in the order of their start. What is sent
    /// goes to all of them in turn, or as the contender sees fit.
    fn connect(
        &self,
        setup: &Setup,
        to: &[String],
    ) -> impl Future<Output = anyhow::Result<Self::Side>> + Send;
}

/// What a contender is to be ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Processes that send.
    pub senders: usize,
    /// Processes that receive.
    pub receivers: usize,
    /// Whether each receiver sends to the one sender, too.
    pub both_ways: bool,
    /// The size of messages, in bytes.
    pub size: usize,
}

impl Setup {
    /// How many messages wait in a queue of those that have one: 1,024, or fewer where these would be more
    /// than 16 MiB.
    pub fn queue(&self) -> usize {
        ((16 << 20) / self.size.max(1)).clamp(16, 1024)
    }
}

/// Tells where a receiver can be reached.
pub struct Ready(Box<dyn FnOnce(String) + Send>);

impl Ready {
    pub(crate) fn new(tell: impl FnOnce(String) + Send + 'static) -> Self {
        Self(Box::new(tell))
    }

    /// The receiver is at `addr`: a word that senders understand.
    pub fn say(self, addr: impl ToString) {
        (self.0)(addr.to_string());
    }
}

/// One end of what carries the messages.
pub trait Side: Send + 'static {
    /// Sends a message, at once or with those that follow. It waits while there is no room.
    fn send(&mut self, message: Msg) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// Lets what was sent go without waiting for more. Those that hold nothing back have nothing to do.
    fn push(&mut self) -> impl Future<Output = anyhow::Result<()>> + Send {
        std::future::ready(Ok(()))
    }

    /// The next message. Nothing, if the senders have ended: those who cannot know that wait.
    ///
    /// While it waits, it lets other futures of its task have a turn every now and then, and it may be
    /// dropped once it is known that no message is left.
    fn recv(&mut self) -> impl Future<Output = anyhow::Result<Option<Msg>>> + Send;

    /// Receives for as long as `take` asks for more, or until the senders have ended. A message that
    /// [`recv`](Self::recv) hands up through some functions is copied by each of them: at 16 bytes that takes a sixth of
    /// the time that a socket needs.
    fn recv_while(
        &mut self,
        mut take: impl FnMut(Msg) -> anyhow::Result<bool> + Send,
    ) -> impl Future<Output = anyhow::Result<()>> + Send {
        async move {
            while let Some(message) = self.recv().await? {
                if !take(message)? {
                    break;
                }
            }
            Ok(())
        }
    }

    /// Waits until all that was sent is there, or surely will be, and checks what can be checked. On a
    /// sender's end it may wait until receivers whose [`recv`](Self::recv) has found nothing have ended.
    fn end(self) -> impl Future<Output = anyhow::Result<()>> + Send;
}
