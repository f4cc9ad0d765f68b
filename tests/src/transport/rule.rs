use std::time::Duration;

use futures::future::BoxFuture;

use super::{Failure, Outcome, TransportFixture};

/// How long a rule may take. What the rules call bounded time is less.
const DEADLINE: Duration = Duration::from_secs(60);

/// A rule of the contract, and its check.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The name of the check: `t_ord_1`.
    pub name: &'static str,
    /// The check.
    pub check: for<'a> fn(&'a dyn TransportFixture) -> BoxFuture<'a, Outcome>,
}

impl Rule {
    /// The rule's id in the contract: `T-ORD-1`.
    pub fn id(&self) -> String {
        id_of(self.name)
    }
}

fn id_of(name: &str) -> String {
    name.to_uppercase().replace('_', "-")
}

/// Runs a check with a deadline, and says which rule it was that failed.
pub async fn check(name: &str, check: impl Future<Output = Outcome>) -> Outcome {
    let outcome = tokio::time::timeout(DEADLINE, check).await;
    let failure = match outcome {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(failure)) => failure.0,
        Err(_) => format!("not done after {DEADLINE:?}"),
    };
    let id = id_of(name);
    let text = contract_rules().into_iter().find(|(known, _)| *known == id);
    let text = text.map_or("not in docs/contract.md".into(), |(_, text)| text);
    Err(Failure(format!("{id}: {text}\n  failed: {failure}")))
}

/// The transport's rules as `docs/contract.md` has them: id and text.
pub fn contract_rules() -> Vec<(String, String)> {
    let contract = include_str!("../../../docs/contract.md");
    let section = contract.split("\n## ").find(|part| part.starts_with("Transport"));
    let items = section.into_iter().flat_map(|section| section.split("\n- **").skip(1));
    items
        .filter_map(|item| {
            let (id, text) = item.split_once("**")?;
            let text = text.split("\n\n").next().unwrap_or(text);
            Some((id.to_owned(), text.split_whitespace().collect::<Vec<_>>().join(" ")))
        })
        .collect()
}

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

macro_rules! table {
    ($($name:ident)*) => {
        /// All rules for a transport.
        pub const RULES: &[Rule] = &[$(Rule {
            name: stringify!($name),
            check: |fixture| Box::pin(super::$name(fixture)),
        }),*];
    };
}
__transport_rules!(table,);

/// Runs the suite over a transport: expands to one `#[tokio::test]` for each rule.
///
/// Takes an expression that makes a [`TransportFixture`](crate::transport::TransportFixture), and what
/// `#[tokio::test]` is to be told about its runtime. The crate that calls it needs tokio with its macros.
#[macro_export]
macro_rules! transport_suite {
    ($fixture:expr $(, $($runtime:tt)+)?) => {
        $crate::__transport_rules!($crate::__transport_tests, $fixture; [$($($runtime)+)?]);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __transport_tests {
    ($fixture:expr; $runtime:tt $($name:ident)*) => {$(
        $crate::__transport_test!($fixture; $runtime $name);
    )*};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __transport_test {
    ($fixture:expr; [$($runtime:tt)*] $name:ident) => {
        #[::tokio::test($($runtime)*)]
        async fn $name() {
            let fixture = $fixture;
            let check = $crate::transport::$name(&fixture);
            if let Err(failure) = $crate::transport::check(stringify!($name), check).await {
                panic!("{failure}");
            }
        }
    };
}
