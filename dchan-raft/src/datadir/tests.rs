use super::*;

#[test]
fn a_node_keeps_its_id_and_never_its_incarnation() {
    let dir = tempfile::tempdir().unwrap();
    let first = DataDir::open(dir.path()).unwrap();
    let (id, one) = (first.node_id(), first.incarnation());
    let two = first.raise().unwrap();
    drop(first);
    let again = DataDir::open(dir.path()).unwrap();
    assert_eq!(again.node_id(), id);
    assert!(one < two && two < again.incarnation());
}

#[test]
fn a_directory_in_use_is_refused_and_the_holder_named() {
    let dir = tempfile::tempdir().unwrap();
    let _held = DataDir::open(dir.path()).unwrap();
    let error = DataDir::open(dir.path()).unwrap_err();
    let DataDirError::InUse { path, holder } = &error else { panic!("{error}") };
    assert_eq!(path, dir.path());
    assert_eq!(*holder, std::process::id().to_string());
}

#[test]
fn a_newer_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("format"), "2").unwrap();
    let error = DataDir::open(dir.path()).unwrap_err();
    assert!(matches!(error, DataDirError::Newer { found: 2, known: 1, .. }), "{error}");
}

#[test]
fn damage_is_named() {
    let dir = tempfile::tempdir().unwrap();
    drop(DataDir::open(dir.path()).unwrap());
    fs::write(dir.path().join("identity"), "no such thing").unwrap();
    let error = DataDir::open(dir.path()).unwrap_err();
    assert!(matches!(error, DataDirError::Damaged { .. }), "{error}");
    fs::remove_file(dir.path().join("identity")).unwrap();
    fs::write(dir.path().join(crate::store::FILE), "").unwrap();
    let error = DataDir::open(dir.path()).unwrap_err();
    assert!(matches!(error, DataDirError::Damaged { .. }), "{error}");
}

#[test]
fn a_copy_repeats_the_id() {
    let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let original = DataDir::open(dir.path()).unwrap();
    for file in ["format", "identity", store::MARK] {
        fs::copy(dir.path().join(file), copy.path().join(file)).unwrap();
    }
    let copied = DataDir::open(copy.path()).unwrap();
    assert_eq!(copied.node_id(), original.node_id());
    assert!(copied.incarnation() > original.incarnation());
}

#[test]
fn a_temporary_directory_goes() {
    let dir = DataDir::temporary().unwrap();
    let path = dir.path().to_owned();
    assert!(path.exists());
    drop(dir);
    assert!(!path.exists());
}

#[test]
fn no_flipped_bit_passes_for_another_identity() {
    let dir = tempfile::tempdir().unwrap();
    drop(DataDir::open(dir.path()).unwrap());
    let path = dir.path().join("identity");
    let whole = fs::read(&path).unwrap();
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &flipped).unwrap();
        let error = DataDir::open(dir.path()).unwrap_err();
        assert!(matches!(error, DataDirError::Damaged { .. }), "bit {bit}: {error}");
    }
    for len in 0..whole.len() {
        fs::write(&path, &whole[..len]).unwrap();
        assert!(DataDir::open(dir.path()).is_err(), "cut off at {len}");
    }
}

#[test]
fn a_part_of_a_directory_is_not_taken_for_a_new_one() {
    for file in ["format", store::MARK] {
        let dir = tempfile::tempdir().unwrap();
        drop(DataDir::open(dir.path()).unwrap());
        fs::remove_file(dir.path().join(file)).unwrap();
        let error = DataDir::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains(file) && error.contains("it is missing"), "{error}");
        assert!(error.contains("start the node with an empty one"), "{error}");
    }
}

#[test]
fn a_directory_that_was_being_made_is_a_new_one() {
    for kept in [&["format"][..], &["format", store::MARK]] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/below");
        drop(DataDir::open(&path).unwrap());
        for entry in fs::read_dir(&path).unwrap() {
            let entry = entry.unwrap();
            if !kept.contains(&entry.file_name().to_str().unwrap()) {
                fs::remove_file(entry.path()).unwrap();
            }
        }
        assert_eq!(DataDir::open(&path).unwrap().incarnation(), Incarnation(1));
    }
}

#[test]
fn a_newer_format_is_named_whatever_else_it_changed() {
    let dir = tempfile::tempdir().unwrap();
    drop(DataDir::open(dir.path()).unwrap());
    fs::write(dir.path().join("format"), "2").unwrap();
    fs::write(dir.path().join("identity"), "of another kind").unwrap();
    fs::remove_file(dir.path().join(store::MARK)).unwrap();
    let error = DataDir::open(dir.path()).unwrap_err();
    assert!(matches!(error, DataDirError::Newer { found: 2, known: 1, .. }), "{error}");
    fs::write(dir.path().join("format"), "0").unwrap();
    let error = DataDir::open(dir.path()).unwrap_err();
    assert!(matches!(error, DataDirError::Damaged { .. }), "{error}");
}
