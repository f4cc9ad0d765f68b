use std::sync::Arc;

use async_trait::async_trait;
use dchan_core::{FrameBatch, FrameSink, TransportError};
use tokio::{
    sync::Mutex,
    task::{JoinSet, yield_now},
};

/// How many tasks there are: enough to hold more than a transport may, few enough for this machine.
const TASKS: usize = 600;

/// Sends each frame from a task of its own, as if frames found their order by themselves.
#[derive(Debug)]
pub(crate) struct PerFrame {
    inner: Arc<Mutex<Box<dyn FrameSink>>>,
    tasks: JoinSet<()>,
}

impl PerFrame {
    pub(crate) fn new(inner: Box<dyn FrameSink>) -> Self {
        Self { inner: Arc::new(Mutex::new(inner)), tasks: JoinSet::new() }
    }

    async fn all(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

#[async_trait]
impl FrameSink for PerFrame {
    async fn send(&mut self, batch: &mut FrameBatch) -> Result<(), TransportError> {
        if batch.is_empty() {
            self.all().await;
            return self.inner.lock().await.send(batch).await;
        }
        while let Some(frame) = batch.pop() {
            if self.tasks.len() == TASKS {
                self.tasks.join_next().await;
            }
            let (inner, turns) = (self.inner.clone(), fastrand::u8(..4));
            self.tasks.spawn(async move {
                for _ in 0..turns {
                    yield_now().await;
                }
                let mut one = FrameBatch::new();
                one.push(frame);
                let mut inner = inner.lock().await;
                while !one.is_empty() && inner.send(&mut one).await.is_ok() {}
            });
        }
        Ok(())
    }

    async fn close(mut self: Box<Self>) -> Result<(), TransportError> {
        self.all().await;
        let inner = Arc::into_inner(self.inner).expect("all tasks have ended");
        inner.into_inner().close().await
    }
}
