//! Each contender carries what the driver asks it for, though in one process.

use tokio::task::JoinSet;

use crate::Contenders;

#[tokio::test(flavor = "multi_thread")]
async fn every_contender_carries_everything_that_it_can() {
    let contenders = Contenders::new();
    let mut trials = JoinSet::new();
    for name in contenders.names() {
        let contenders = contenders.clone();
        trials.spawn(async move {
            contenders.try_out(name).await.unwrap_or_else(|error| panic!("{name}: {error:#}"));
        });
    }
    trials.join_all().await;
}

#[test]
#[should_panic = "two contenders are called bare"]
fn names_are_free() {
    Contenders::new().add(crate::Bare);
}
