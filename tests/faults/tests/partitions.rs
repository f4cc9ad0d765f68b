//! Networks that are parted.

#![allow(clippy::print_stdout)]

use std::future::Future;

use dchan_conformance::cluster::Kind;
use dchan_faults::{Ground, Over, Score, Switch, partitions};

const ACTOR: &str = env!("CARGO_BIN_EXE_dchan-actor");

/// Makes each scenario a test over one network.
macro_rules! over_network {
    ($module:ident, $kind:ident, $ground:ident) => {
        over_network!($module, $kind, $ground,
            [minority, leader, one_way, flapping, black_hole, removed]);
    };
    ($module:ident, $kind:ident, $ground:ident, [$($name:ident),*]) => {
        mod $module {
            use super::{ACTOR, Ground, Kind, Over, partitions, play};
            $(
                #[test]
                fn $name() {
                    let over = Over { kind: Kind::$kind, ground: Ground::$ground };
                    play(over, partitions::$name(over, ACTOR));
                }
            )*
        }
    };
}

over_network!(memory, Memory, Within);
over_network!(tcp, Tcp, Within);
over_network!(grpc, Grpc, Within);
over_network!(tcp_namespaces, Tcp, Namespaces);
over_network!(grpc_namespaces, Grpc, Namespaces);

/// Plays a scenario, if this process may.
fn play(over: Over, scenario: impl Future<Output = Score>) {
    if over.ground == Ground::Namespaces
        && let Err(reason) = Switch::new()
    {
        println!("skipped: no network namespaces here ({reason:#}), only proxies part the network");
        return;
    }
    dchan_faults::log("dchan_faults=warn");
    over.runtime().block_on(scenario).check();
}

/// In paused time ten minutes are nothing. `DCHAN_LONG=1` has them over sockets, too.
#[test]
fn a_long_black_hole() {
    let mut networks = vec![Over { kind: Kind::Memory, ground: Ground::Within }];
    if std::env::var_os("DCHAN_LONG").is_some() {
        let sockets = [Kind::Tcp, Kind::Grpc];
        networks.extend(sockets.map(|kind| Over { kind, ground: Ground::Within }));
    }
    for over in networks {
        play(over, partitions::long_black_hole(over, ACTOR));
    }
}
