use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Chain {
    next: Option<Box<Chain>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Tree {
    Leaf,
    One(Box<Tree>),
    Pair(Box<Tree>, Box<Tree>),
    Many(Vec<Tree>),
    Named { child: Option<Box<Tree>>, text: String },
    Map(BTreeMap<String, Tree>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Through(Option<Box<Through>>);

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Nothing;

fn encoded<T: Serialize>(value: &T) -> postcard::Result<Vec<u8>> {
    encode(value, postcard::ser_flavors::StdVec::new())
}

fn chain(len: u32) -> Chain {
    (0..len).fold(Chain::default(), |next, _| Chain { next: Some(Box::new(next)) })
}

#[test]
fn what_is_too_deep_is_an_error_on_both_sides() {
    // Each link is a struct and an option: the innermost has no option within it.
    let deepest = chain(MAX_DEPTH / 2 - 1);
    let bytes = encoded(&deepest).unwrap();
    assert_eq!(bytes, postcard::to_stdvec(&deepest).unwrap());
    assert_eq!(decode::<Chain>(&bytes), Some(deepest));
    let deeper = chain(MAX_DEPTH / 2);
    let error = encoded(&deeper).unwrap_err();
    assert_eq!(reason(&error), "it is nested more than 128 deep");
    assert_eq!(decode::<Chain>(&postcard::to_stdvec(&deeper).unwrap()), None);
}

#[test]
fn no_bytes_use_up_the_stack() {
    for byte in 1..6 {
        let bytes = vec![byte; 1 << 20];
        assert!(decode::<Chain>(&bytes).is_none());
        assert!(decode::<Tree>(&bytes).is_none());
        assert!(decode::<Through>(&bytes).is_none());
        assert!(decode::<Vec<Tree>>(&bytes).is_none());
    }
}

#[test]
fn no_list_is_longer_than_its_bytes() {
    let many = postcard::to_stdvec(&u64::MAX).unwrap();
    assert_eq!(decode::<Vec<()>>(&many), None);
    assert_eq!(decode::<Vec<Nothing>>(&many), None);
    assert_eq!(decode::<HashMap<(), ()>>(&many), None);
    assert_eq!(decode::<Vec<u8>>(&many), None);
    let few = encoded(&vec![(); 1000]).unwrap();
    assert_eq!(decode(&few), Some(vec![(); 1000]));
    let bytes = encoded(&vec![7u8; 5000]).unwrap();
    assert_eq!(decode(&bytes), Some(vec![7u8; 5000]));
}

#[test]
fn what_is_announced_sets_nothing_aside() {
    // Such a map sets aside whatever it is told: that ends the process.
    let endless = postcard::to_stdvec(&(1u64 << 56)).unwrap();
    assert_eq!(decode::<imbl::OrdMap<String, String>>(&endless), None);
    let many: imbl::OrdMap<u32, ()> = (0..9000u32).map(|at| (at, ())).collect();
    assert_eq!(decode(&encoded(&many).unwrap()), Some(many));
}

#[test]
fn what_is_left_over_is_an_error() {
    assert_eq!(decode::<u8>(&[1]), Some(1));
    assert_eq!(decode::<u8>(&[1, 2]), None);
}

fn tree() -> impl Strategy<Value = Tree> {
    Just(Tree::Leaf).prop_recursive(8, 64, 4, |inner| {
        let boxed = inner.clone().prop_map(Box::new);
        prop_oneof![
            boxed.clone().prop_map(Tree::One),
            (boxed.clone(), boxed.clone()).prop_map(|(a, b)| Tree::Pair(a, b)),
            prop::collection::vec(inner.clone(), 0..4).prop_map(Tree::Many),
            (prop::option::of(boxed), "[a-z]{0,5}")
                .prop_map(|(child, text)| Tree::Named { child, text }),
            prop::collection::btree_map("[a-z]{0,5}", inner, 0..3).prop_map(Tree::Map),
        ]
    })
}

/// All sorts of values.
type Zoo =
    (Tree, (i8, u16, i32, u64), (f32, f64, bool, char), String, Vec<u8>, Option<()>, [u8; 3]);

proptest! {
    #[test]
    fn it_is_postcard(tree in tree(), numbers: (i8, u16, i32, u64), text: String, bytes: Vec<u8>) {
        let some = bytes.len().is_multiple_of(2).then_some(());
        let zoo: Zoo = (tree, numbers, (1.5, -2.5, true, 'ß'), text, bytes, some, [1, 2, 3]);
        let encoded = encoded(&zoo).unwrap();
        prop_assert_eq!(&encoded, &postcard::to_stdvec(&zoo).unwrap());
        prop_assert_eq!(decode::<Zoo>(&encoded), Some(zoo));
    }
}
