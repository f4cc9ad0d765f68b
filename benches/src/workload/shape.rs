//! Several senders, or several receivers. The driver says when to begin, asks how many messages have
//! come so far, and says when that was all.

use std::{
    io::{BufRead, stdin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::oneshot;

use super::Source;
use crate::{Msg, Point, Side, clock, report::Report};

/// The case in which the last receiver's process is stopped.
pub(crate) const ONE_STOPPED: &str = "one stopped";

/// Where the number of the sender is in the number of a message.
const SENDER: u32 = 40;

/// Sends when it is told to, as the sender of that number.
pub(crate) async fn send(
    point: &Point,
    mut side: impl Side,
    number: u64,
) -> anyhow::Result<Report> {
    println!("ready");
    tokio::task::spawn_blocking(|| crate::report::line(&mut stdin().lock(), "go")).await??;
    let mut report = Report::default();
    for message in Source::numbered(point, number << SENDER) {
        report.count += 1;
        report.sum = report.sum.wrapping_add(message.id);
        side.send(message).await?;
    }
    side.push().await?;
    println!("sent {}", report.count);
    side.end().await?;
    Ok(report)
}

/// Receives until it is told that this was all.
pub(crate) async fn receive(point: &Point, mut side: impl Side) -> anyhow::Result<Report> {
    let setup = point.setup();
    let mut orders = Orders::new(setup.senders, setup.receivers == 1);
    let count = Arc::new(AtomicU64::new(0));
    let mut stop = answer(count.clone());
    let mut sum = 0u64;
    loop {
        tokio::select! {
            biased;
            message = side.recv() => {
                let Some(message) = message? else {
                    // The driver knows whether that was all.
                    (&mut stop).await?;
                    break;
                };
                orders.accept(&message)?;
                sum = sum.wrapping_add(message.id);
                count.fetch_add(1, Ordering::Relaxed);
            }
            stopped = &mut stop => {
                stopped?;
                break;
            }
        }
    }
    side.end().await?;
    Ok(Report { count: count.load(Ordering::Relaxed), sum, ..Report::default() })
}

/// Answers the driver in a thread of its own, however busy this process is, until it says that this was
/// all.
fn answer(count: Arc<AtomicU64>) -> oneshot::Receiver<()> {
    let (stop, stopped) = oneshot::channel();
    std::thread::spawn(move || {
        for line in stdin().lock().lines() {
            match line.as_deref() {
                Ok("count") => println!("count {} {}", count.load(Ordering::Relaxed), clock::now()),
                Ok("stop") => break,
                // The driver is gone, or says what it should not: whoever waits hears of it.
                _ => return,
            }
        }
        // If nobody waits, then receiving has failed, and that is told.
        let _heard = stop.send(());
    });
    stopped
}

/// Checks that messages of each sender come in order. One receiver gets all of them; of several, each
/// gets some.
struct Orders {
    next: Vec<u64>,
    all: bool,
}

impl Orders {
    fn new(senders: usize, all: bool) -> Self {
        Self { next: vec![0; senders], all }
    }

    fn accept(&mut self, message: &Msg) -> anyhow::Result<()> {
        let (sender, number) = (message.id >> SENDER, message.id & ((1 << SENDER) - 1));
        let next = self.next.get_mut(sender as usize);
        let Some(next) = next else { anyhow::bail!("a message of sender {sender}") };
        let fits = if self.all { number == *next } else { number >= *next };
        anyhow::ensure!(fits, "expected {next} of sender {sender}, found {number}");
        *next = number + 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_of_each_sender() {
        let message = |sender: u64, number| Msg { id: sender << SENDER | number, body: Vec::new() };
        let mut all = Orders::new(2, true);
        for fits in [message(0, 0), message(1, 0), message(1, 1)] {
            all.accept(&fits).expect("in order");
        }
        for wrong in [message(1, 1), message(0, 2), message(2, 0)] {
            all.accept(&wrong).expect_err("out of order");
        }
        let mut some = Orders::new(1, false);
        some.accept(&message(0, 5)).expect("others have the first ones");
        some.accept(&message(0, 4)).expect_err("backwards");
    }
}
