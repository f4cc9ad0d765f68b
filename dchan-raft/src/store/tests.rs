//! Raft's own suite, on our store.

use std::sync::Arc;

use dchan_core::{ClusterId, Timers, View};
use openraft::{
    StorageError,
    testing::log::{StoreBuilder, Suite},
};
use tokio::sync::watch;

use super::{Machine, Store};
use crate::{DataDir, Writes, runtime, types::Types};

struct Fresh(Writes);

impl StoreBuilder<Types, Store, Machine> for Fresh {
    async fn build(&self) -> Result<((), Store, Machine), StorageError<Types>> {
        let dir = Arc::new(DataDir::temporary().expect("a directory"));
        let backend = super::backend(&dir).expect("a file");
        let store = Store::open(dir, self.0, backend).expect("a store");
        let published = Arc::new(watch::Sender::new(Arc::new(View::default())));
        let machine = Machine::new(&store, ClusterId(1), published, Arc::default(), None);
        Ok(((), store, machine))
    }
}

#[tokio::test]
async fn the_suite_passes_with_a_thread() {
    runtime::scope(1, Timers::default(), Suite::test_all(Fresh(Writes::Thread))).await.unwrap();
}

#[tokio::test]
async fn the_suite_passes_inline() {
    runtime::scope(1, Timers::default(), Suite::test_all(Fresh(Writes::Inline))).await.unwrap();
}
