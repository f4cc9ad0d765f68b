use std::fmt;

use dchan_core::{MembershipError, TransportError};

/// What a rule's check comes back with.
pub type Outcome<T = ()> = Result<T, Failure>;

/// What was done against a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(pub String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<TransportError> for Failure {
    fn from(error: TransportError) -> Self {
        Self(format!("unexpected error: {error} ({error:?})"))
    }
}

impl From<MembershipError> for Failure {
    fn from(error: MembershipError) -> Self {
        Self(format!("unexpected error: {error} ({error:?})"))
    }
}

/// Fails the rule unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($why:tt)+) => {
        if !$condition {
            return Err($crate::rule::Failure(format!($($why)+)));
        }
    };
}
pub(crate) use ensure;
