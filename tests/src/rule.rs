//! The rules of `docs/contract.md`, and how one is checked.

use std::{any::Any, fmt, panic::AssertUnwindSafe, time::Duration};

use futures::{FutureExt, future::BoxFuture};

pub use crate::failure::{Failure, Outcome};
use crate::seed;

/// How long a rule may take. What the rules call bounded time is less.
const DEADLINE: Duration = Duration::from_secs(120);

/// A rule of the contract, and its check, which gets a fixture of the type `F`.
pub struct Rule<F: ?Sized + 'static> {
    /// The name of the check: `t_ord_1`.
    pub name: &'static str,
    /// The check.
    pub check: for<'a> fn(&'a F) -> BoxFuture<'a, Outcome>,
}

impl<F: ?Sized> Rule<F> {
    /// The rule's id in the contract: `T-ORD-1`.
    pub fn id(&self) -> String {
        id_of(self.name)
    }

    /// Runs the check with a seed from [`seed`].
    pub async fn check(&self, seed: u64, fixture: &F) -> Outcome {
        check(self.name, seed, (self.check)(fixture)).await
    }
}

impl<F: ?Sized> fmt::Debug for Rule<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rule").field(&self.id()).finish()
    }
}

fn id_of(name: &str) -> String {
    name.to_uppercase().replace('_', "-")
}

/// Draws a seed, or takes the one in the variable `DCHAN_SEED`, for all chance on this thread: that of
/// the checks, and of a fixture that is made after this and draws from `fastrand`.
pub fn seed() -> u64 {
    let seed = seed::draw();
    fastrand::seed(seed);
    seed
}

/// Runs a check with a deadline. A failure says which rule it was, what was seen, and how it can be had
/// again.
pub async fn check(name: &str, seed: u64, check: impl Future<Output = Outcome>) -> Outcome {
    let check = tokio::time::timeout(DEADLINE, AssertUnwindSafe(check).catch_unwind());
    let seen = match check.await {
        Ok(Ok(Ok(()))) => return Ok(()),
        Ok(Ok(Err(failure))) => failure.0,
        Ok(Err(panic)) => format!("a panic: {}", words_of(&*panic)),
        Err(_) => format!("not done after {DEADLINE:?}"),
    };
    let id = id_of(name);
    let text = contract_rules().into_iter().find(|(known, _)| *known == id);
    let text = text.map_or("not in docs/contract.md".into(), |(_, text)| text);
    let again = seed::VARIABLE;
    Err(Failure(format!("{id}: {text}\n  seen: {seen}\n  repeat with {again}={seed}")))
}

fn words_of(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without words")
}

/// The rules as `docs/contract.md` has them, id and text: those of the transport (`T-…`) and those of
/// the membership (`M-…`).
pub fn contract_rules() -> Vec<(String, String)> {
    let contract = include_str!("../../docs/contract.md");
    let items = contract.split("\n- **").skip(1);
    items
        .filter_map(|item| {
            let (id, text) = item.split_once("**")?;
            let text = text.split("\n\n").next().unwrap_or(text);
            Some((id.to_owned(), text.split_whitespace().collect::<Vec<_>>().join(" ")))
        })
        .collect()
}

/// Makes the table of a suite out of the names of its checks.
macro_rules! table {
    ($fixture:ty; $($name:ident)*) => {
        /// All rules of this suite.
        pub const RULES: &[$crate::rule::Rule<$fixture>] = &[$($crate::rule::Rule {
            name: stringify!($name),
            check: |fixture| Box::pin($name(fixture)),
        }),*];
    };
}
pub(crate) use table;

/// Makes a test of each check of a suite.
#[doc(hidden)]
#[macro_export]
macro_rules! __rule_tests {
    ($suite:ident; $fixture:expr; $runtime:tt; $($name:ident)*) => {$(
        $crate::__rule_test!($suite; $fixture; $runtime; $name);
    )*};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __rule_test {
    ($suite:ident; $fixture:expr; [$($runtime:tt)*]; $name:ident) => {
        #[::tokio::test($($runtime)*)]
        async fn $name() {
            let seed = $crate::rule::seed();
            let fixture = $fixture;
            let check = $crate::$suite::$name(&fixture);
            if let Err(failure) = $crate::rule::check(stringify!($name), seed, check).await {
                panic!("{failure}");
            }
        }
    };
}
