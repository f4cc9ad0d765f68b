//! What one could take instead of dchan, in one table with it.
//!
//! It is `dchan-benches` with more contenders, and has the same command line.

mod nats;
mod remoc;
mod zenoh;
mod zmq;

use dchan_benches::Contenders;

fn main() -> anyhow::Result<()> {
    dchan_benches::run(contenders())
}

fn contenders() -> Contenders {
    let mut all = Contenders::new();
    all.add(zmq::Zmq);
    all.add(zenoh::Zenoh);
    all.add(remoc::Remoc);
    all.add(nats::Nats);
    all.by_default("grpc,zmq,zenoh,remoc,nats")
}

#[cfg(test)]
mod tests {
    use super::contenders;

    async fn try_out(name: &str) {
        contenders().try_out(name).await.unwrap_or_else(|error| panic!("{name}: {error:#}"));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn zmq() {
        try_out("zmq").await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn zenoh() {
        try_out("zenoh").await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn remoc() {
        try_out("remoc").await;
    }

    /// Without its server on the PATH this tries nothing.
    #[tokio::test(flavor = "multi_thread")]
    async fn nats() {
        try_out("nats").await;
    }
}
