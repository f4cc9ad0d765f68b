//! Who is caught by which rule.

use std::{
    collections::BTreeSet,
    fmt::{self, Debug},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use dchan_conformance::rule::Outcome;
use tokio::runtime::Builder;

/// One of the zoo, and the rules that are about what it does.
pub(crate) type Row<B> = (B, &'static [&'static str]);

/// Rules that differ in their numbers only, and what they are called together.
type Group = (String, Vec<&'static str>);

/// Which rules each of the zoo fails.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Table {
    suite: &'static str,
    /// The rules of a group stand together, under its name: T-CLOSE-1 is 1 under CLOSE.
    groups: Vec<Group>,
    rows: Vec<(String, Failed)>,
}

/// The rules that one of the zoo fails.
#[derive(Debug, Default, PartialEq, Eq)]
struct Failed {
    always: BTreeSet<&'static str>,
    /// It depends on what happens to stand in one batch, say: nobody is caught by these for certain.
    sometimes: BTreeSet<&'static str>,
}

impl Table {
    /// Tries every rule on every beast, in paused time.
    pub(crate) fn new<B: Copy + Debug + Sync>(
        suite: &'static str,
        rules: &[&'static str],
        zoo: &[Row<B>],
        check: impl AsyncFn(&'static str, B) -> Outcome + Sync,
    ) -> Self {
        let fails = |beast, rule| {
            let paused = Builder::new_current_thread().enable_all().start_paused(true).build();
            paused.unwrap().block_on(check(rule, beast)).is_err()
        };
        let row = |(beast, _): &Row<B>| {
            let always = rules.iter().copied().filter(|rule| fails(*beast, rule)).collect();
            (format!("{beast:?}"), Failed { always, ..Failed::default() })
        };
        Self { suite, groups: groups(rules), rows: on_all_cores(zoo, row) }
    }

    /// The table that is checked in.
    pub(crate) fn checked_in(suite: &'static str, rules: &[&'static str]) -> Self {
        let groups = groups(rules);
        let columns: Vec<_> = groups.iter().flat_map(|(_, rules)| rules).copied().collect();
        let lines = include_str!("../../../docs/teeth.md").lines();
        let lines = lines.skip_while(|line| line.split_whitespace().next() != Some(suite));
        let row = |line: &str| {
            let mut cells = line.split_whitespace();
            let name = cells.next().unwrap().to_owned();
            let cells: Vec<_> = cells.collect();
            assert_eq!(cells.len(), columns.len(), "{name} has a cell for each rule");
            let marked = |mark| {
                let marked = columns.iter().zip(&cells).filter(move |(_, cell)| **cell == mark);
                marked.map(|(rule, _)| *rule).collect()
            };
            (name, Failed { always: marked("x"), sometimes: marked("~") })
        };
        let rows = lines.skip(2).take_while(|line| !line.starts_with("```")).map(row).collect();
        Self { suite, groups, rows }
    }

    /// Where this is not what is expected: in words.
    pub(crate) fn differences(&self, expected: &Self) -> Vec<String> {
        let names =
            |table: &Self| -> Vec<_> { table.rows.iter().map(|(n, _)| n.clone()).collect() };
        assert_eq!(names(self), names(expected), "the zoo");
        let rows = self.rows.iter().zip(&expected.rows);
        let differ = rows.flat_map(|((name, failed), (_, expected))| {
            let (failed, certain) = (&failed.always, &expected.always);
            let escaped = certain.difference(failed).map(move |r| format!("{name} escapes {r}"));
            let more = failed.difference(certain).filter(|r| !expected.sometimes.contains(*r));
            escaped.chain(more.map(move |r| format!("{name} fails {r}")))
        });
        differ.collect()
    }

    /// That each of the zoo is caught by the rules that are about it, and that there is somebody for
    /// each rule.
    pub(crate) fn bites<B: Debug>(&self, zoo: &[Row<B>]) {
        for ((name, failed), (beast, about)) in self.rows.iter().zip(zoo) {
            assert_eq!(*name, format!("{beast:?}"), "the zoo is in this order");
            assert!(
                about.iter().all(|rule| failed.always.contains(rule)),
                "{name} escapes one of {about:?}"
            );
        }
        assert_eq!(self.rows.len(), zoo.len());
        let about: BTreeSet<_> = zoo.iter().flat_map(|(_, about)| *about).copied().collect();
        let rules = self.groups.iter().flat_map(|(_, rules)| rules).copied().collect();
        assert_eq!(about, rules, "there is somebody for each rule");
    }
}

fn groups(rules: &[&'static str]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for rule in rules {
        let group = rule[2..rule.len() - 2].to_uppercase();
        match groups.iter_mut().find(|(known, _)| *known == group) {
            Some((_, rules)) => rules.push(*rule),
            None => groups.push((group, vec![*rule])),
        }
    }
    groups
}

/// The rows of a table, worked out by as many threads as there are cores.
fn on_all_cores<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { return done };
            done.push((at, work(item)));
        }
    };
    let mut done: Vec<(usize, R)> = thread::scope(|threads| {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..cores).map(|_| threads.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, row)| row).collect()
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.rows.iter().map(|(name, _)| name.len());
        let name = names.max().unwrap_or(0).max(self.suite.len());
        let mut line = |head: &str, cells: &dyn Fn(&Group) -> String| {
            let mut line = format!("{head:name$}");
            for group in &self.groups {
                let width = group.0.len().max(2 * group.1.len() - 1);
                line += &format!("  {:width$}", cells(group));
            }
            writeln!(f, "{}", line.trim_end())
        };
        line(self.suite, &|(group, _)| group.clone())?;
        line("", &|(_, rules)| joined(rules, |rule| &rule[rule.len() - 1..]))?;
        for (beast, failed) in &self.rows {
            let cell = |rule: &'static str| if failed.always.contains(rule) { "x" } else { "." };
            line(beast, &|(_, rules)| joined(rules, cell))?;
        }
        Ok(())
    }
}

fn joined(rules: &[&'static str], cell: impl Fn(&'static str) -> &'static str) -> String {
    rules.iter().map(|rule| cell(rule)).collect::<Vec<_>>().join(" ")
}
