use super::*;
use crate::rule::table;

/// Hands the names of all checks to a macro.
#[doc(hidden)]
#[macro_export]
macro_rules! __transport_rules {
    ($then:path, $($more:tt)*) => {
        $then! { $($more)*
            t_ord_1 t_whole_1 t_whole_2 t_once_1 t_lanes_1 t_duplex_1
            t_batch_1 t_cancel_1 t_cancel_2 t_flush_1 t_back_1 t_back_2
            t_close_1 t_close_2 t_close_3 t_abort_1 t_abort_2 t_break_1 t_malformed_1 t_tidy_1
            t_dial_1 t_dial_2 t_dial_3 t_listen_1 t_listen_2 t_listen_3 t_accept_1 t_accept_2
            t_cancel_3 t_peer_1
        }
    };
}
__transport_rules!(table, dyn TransportFixture;);

/// Runs the suite over a transport: expands to one `#[tokio::test]` for each rule.
///
/// Takes an expression that makes a [`TransportFixture`](crate::transport::TransportFixture), and what
/// `#[tokio::test]` is to be told about its runtime. The crate that calls it needs tokio with its macros.
#[macro_export]
macro_rules! transport_suite {
    ($fixture:expr $(, $($runtime:tt)+)?) => {
        $crate::__transport_rules!($crate::__rule_tests, transport; $fixture; [$($($runtime)+)?];);
    };
}
