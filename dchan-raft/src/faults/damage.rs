//! Files that are not as they were written: each is refused, or makes no difference.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use dchan_core::Membership;
use openraft::{RaftLogReader, storage::RaftLogStorage};

use super::rounds;
use crate::{
    DataDir, DataDirError, Writes,
    net::{Cluster, config},
    store::{Belonging, Store, backend},
    types::{Entry, LogId, Vote},
};

type Image = BTreeMap<PathBuf, Vec<u8>>;

/// All that a node remembers.
#[derive(Debug, PartialEq)]
struct Memory {
    node: u64,
    vote: Option<Vote>,
    purged: Option<LogId>,
    log: Vec<Entry>,
    belonging: Belonging,
    snapshot: Option<Vec<u8>>,
}

fn image_of(dir: &Path) -> Image {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let files = files.filter(|entry| entry.file_name() != "lock");
    files.map(|entry| (entry.file_name().into(), fs::read(entry.path()).unwrap())).collect()
}

async fn recall(image: &Image) -> Result<Memory, DataDirError> {
    let path = tempfile::tempdir().unwrap();
    for (name, bytes) in image {
        fs::write(path.path().join(name), bytes).unwrap();
    }
    let dir = DataDir::open(path.path())?;
    let node = dir.node_id().0;
    let backend = backend(&dir)?;
    let mut store = Store::open(Arc::new(dir), Writes::Inline, backend)?;
    Ok(Memory {
        node,
        vote: store.read_vote().await.unwrap(),
        purged: store.get_log_state().await.unwrap().last_purged_log_id,
        log: store.try_get_log_entries(..).await.unwrap(),
        belonging: store.belonging(),
        snapshot: fs::read(path.path().join("snapshot")).ok(),
    })
}

/// The files of a node that has lived a little: while it runs, which is how a killed one leaves them, and
/// after it has stopped.
async fn seasoned() -> [Image; 2] {
    let mut config = config(1);
    config.limits.log_entries = 20;
    config.limits.kept_entries = 5;
    let cluster = Cluster::new(config);
    let node = cluster.start(1).await;
    for counter in 0..50 {
        node.raft.apply(vec![node.receiver(counter)]).await.unwrap();
    }
    let path = cluster.path(1);
    let killed = image_of(&path);
    node.raft.leave(std::time::Duration::from_secs(5)).await.unwrap();
    node.kill();
    // Free once the last task is gone.
    while matches!(DataDir::open(&path), Err(DataDirError::InUse { .. })) {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    [killed, image_of(&path)]
}

/// What was noticed, and what made no difference.
#[derive(Debug, Default)]
struct Tally {
    refused: u64,
    harmless: u64,
}

impl Tally {
    async fn count(&mut self, what: &str, image: &Image, whole: &Memory) {
        match recall(image).await {
            Ok(memory) => {
                assert_eq!(memory, *whole, "{what} was not noticed");
                self.harmless += 1;
            }
            Err(DataDirError::Damaged { .. } | DataDirError::Newer { .. }) => self.refused += 1,
            Err(error) => panic!("{what}: {error:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_flipped_bit_is_refused_or_makes_no_difference() {
    let mut tally = Tally::default();
    for (at, image) in seasoned().await.into_iter().enumerate() {
        let whole = recall(&image).await.unwrap();
        assert!(whole.snapshot.is_some() && whole.purged.is_some() && !whole.log.is_empty());
        for seed in 0..rounds(40) {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut flipped = image.clone();
            // The small files as often as the large ones.
            let (name, bytes) = flipped.iter_mut().nth(rng.usize(0..image.len())).unwrap();
            // Most of a database is room that is not used.
            let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
            let place = *rng.choice(&used).unwrap();
            bytes[place] ^= 1 << rng.u8(0..8);
            let what = format!("image {at}, seed {seed}: a bit of {} at {place}", name.display());
            tally.count(&what, &flipped, &whole).await;
        }
    }
    eprintln!("flipped bits: {tally:?}");
    assert!(tally.refused > 0);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_cut_off_or_missing_is_refused() {
    let mut tally = Tally::default();
    for (at, image) in seasoned().await.into_iter().enumerate() {
        let whole = recall(&image).await.unwrap();
        for seed in 0..rounds(20) {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut cut = image.clone();
            let (name, bytes) = cut.iter_mut().nth(rng.usize(0..image.len())).unwrap();
            let len = rng.usize(0..bytes.len());
            bytes.truncate(len);
            let what = format!("image {at}, seed {seed}: {} cut off at {len}", name.display());
            tally.count(&what, &cut, &whole).await;
        }
        for missing in image.keys() {
            let mut rest = image.clone();
            rest.remove(missing);
            let error = recall(&rest).await.unwrap_err();
            let said = error.to_string();
            assert!(matches!(error, DataDirError::Damaged { .. }), "{missing:?}: {said}");
            assert!(said.contains("start the node with an empty one"), "{said}");
        }
    }
    eprintln!("files cut off: {tally:?}");
    assert!(tally.refused > 0);
}

/// Each file is whole, but not all are of one time.
#[tokio::test(start_paused = true)]
async fn an_older_log_is_not_taken_for_the_last_one() {
    let [earlier, later] = seasoned().await;
    for file in ["raft.redb", "snapshot"] {
        let mut mixed = later.clone();
        mixed.insert(file.into(), earlier[Path::new(file)].clone());
        if mixed == later {
            continue;
        }
        let error = recall(&mixed).await.unwrap_err();
        assert!(matches!(error, DataDirError::Damaged { .. }), "{file}: {error}");
    }
    let said = {
        let mut mixed = later.clone();
        mixed.insert("raft.redb".into(), earlier[Path::new("raft.redb")].clone());
        recall(&mixed).await.unwrap_err().to_string()
    };
    assert!(said.contains("is the last one that was acknowledged"), "{said}");
}
