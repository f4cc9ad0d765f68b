use super::*;
use crate::rule::table;

/// Hands the names of all checks to a macro.
#[doc(hidden)]
#[macro_export]
macro_rules! __membership_rules {
    ($then:path, $($more:tt)*) => {
        $then! { $($more)*
            m_start_1 m_start_2 m_apply_1 m_apply_2 m_apply_3 m_apply_4
            m_node_1 m_node_2 m_gone_1 m_receiver_1 m_view_1 m_status_1 m_leave_1 m_leave_2
        }
    };
}
__membership_rules!(table, dyn MembershipFixture;);

/// Runs the suite over a membership: expands to one `#[tokio::test]` for each rule.
///
/// Takes an expression that makes a [`MembershipFixture`](crate::membership::MembershipFixture), and what
/// `#[tokio::test]` is to be told about its runtime. The crate that calls it needs tokio with its macros.
#[macro_export]
macro_rules! membership_suite {
    ($fixture:expr $(, $($runtime:tt)+)?) => {
        $crate::__membership_rules!($crate::__rule_tests, membership; $fixture; [$($($runtime)+)?];);
    };
}
