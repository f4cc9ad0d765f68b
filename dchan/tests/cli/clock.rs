//! Clocks that jump by an hour while lines flow: those of the processes, not of the machine.

use std::{
    fs::{self, File},
    io::Write,
    path::PathBuf,
    process::{ChildStdin, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{
    founders::Founders,
    process::{Process, plainly, until},
};

const HOUR: i64 = 3600;

/// Whose clocks jump, and how far they are ahead then.
type Jump<'a> = (&'a [usize], i64);

/// A cluster with clocks of its own: a plain node, a receiver and a sender.
struct Clocked {
    nodes: Vec<Process>,
    feeding: JoinHandle<u64>,
    enough: Arc<AtomicBool>,
    /// Last, as what the processes have said lies there.
    founders: Founders,
}

/// What stands before the clocks of a process; none if it cannot be made here.
fn library(founders: &Founders) -> Option<PathBuf> {
    let (source, library) = (founders.path("clock.c"), founders.path("clock.so"));
    fs::write(&source, include_str!("clock.c")).unwrap();
    let mut command = Command::new("cc");
    let made = command.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).output();
    let made = made.is_ok_and(|made| made.status.success()) && cfg!(target_env = "gnu");
    if !made {
        plainly("there is no C compiler here: jumps of the clock are tested in paused time only");
    }
    made.then_some(library)
}

/// Lines at a steady pace, until it is told to stop. Returns how many.
fn feed(mut input: ChildStdin, enough: Arc<AtomicBool>) -> u64 {
    let mut count = 0;
    while !enough.load(Relaxed) {
        writeln!(input, "{count}").unwrap();
        count += 1;
        thread::sleep(Duration::from_millis(1));
    }
    count
}

impl Clocked {
    /// `variable` is the name of the clock.
    fn start(variable: &str) -> Option<Self> {
        let founders = Founders::new();
        let library = library(&founders)?;
        let start = |at: usize, args: &[&str], stdin, stdout| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_dchan"));
            command.args(founders.args(at, args)).env("LD_PRELOAD", &library);
            command.env(variable, founders.path(&format!("clock{at}")));
            founders.spawn(&mut command, stdin, stdout)
        };
        let to = File::create(founders.path("to")).unwrap();
        let nodes = [
            start(0, &["node", "-v"], Stdio::null(), Stdio::null()),
            start(1, &["recv", "lines", "-v"], Stdio::null(), to.into()),
            start(2, &["send", "lines", "-v"], Stdio::piped(), Stdio::null()),
        ];
        let mut nodes: Vec<Process> = nodes.into_iter().map(Process::ready).collect();
        let (input, enough) = (nodes[2].child.stdin.take().unwrap(), Arc::default());
        let feeding = thread::spawn({
            let enough = Arc::clone(&enough);
            move || feed(input, enough)
        });
        Some(Self { nodes, feeding, enough, founders })
    }

    fn jump(&self, (whose, ahead): Jump<'_>) {
        for at in whose {
            // At once: a file that is empty for a moment would be a jump of its own.
            let (new, clock) = (self.founders.path("new"), format!("clock{at}"));
            fs::write(&new, ahead.to_string()).unwrap();
            fs::rename(new, self.founders.path(&clock)).unwrap();
        }
        self.flows_on();
    }

    fn flows_on(&self) {
        let received = || fs::metadata(self.founders.path("to")).unwrap().len();
        let before = received();
        until("it flows on", || received() > before + 2000);
    }

    fn said(&self, what: &str) -> usize {
        self.nodes.iter().map(|node| node.stderr().matches(what).count()).sum()
    }

    /// The list can be changed.
    fn somebody_comes(&self) -> Process {
        self.founders.joiner(&["recv", "late"], Stdio::null(), Stdio::null()).ready()
    }

    /// All lines have arrived, once and in order, and nobody was taken off the list.
    fn end(mut self) {
        self.flows_on();
        assert_eq!(self.said("taken off the list"), 0);
        self.enough.store(true, Relaxed);
        let count = self.feeding.join().unwrap();
        let mut send = self.nodes.pop().unwrap();
        send.ends_with(0);
        send.has_ledger(count, count, 0);
        let expected: String = (0..count).map(|number| format!("{number}\n")).collect();
        let to = self.founders.path("to");
        until("all is written", || fs::read_to_string(&to).unwrap() == expected);
    }
}

/// The hour that it is, or was, or will be, as the log says it.
fn hour(ahead: i64) -> String {
    let ahead = format!("{ahead:+} seconds");
    let date = Command::new("date").args(["-u", "-d", &ahead, "+%Y-%m-%dT%H:"]).output().unwrap();
    String::from_utf8(date.stdout).unwrap().trim().to_owned()
}

/// The clock on the wall of one, and of all, jumps there and back: no link notices.
#[test]
fn nothing_happens_when_the_clock_on_the_wall_jumps() {
    let Some(clocked) = Clocked::start("TEST_WALL_CLOCK") else { return };
    let silent = clocked.said("reason=silent");
    for one in [&[0][..], &[1], &[2]] {
        for ahead in [HOUR, -HOUR, 0] {
            clocked.jump((one, ahead));
        }
    }
    let mut late = Vec::new();
    for ahead in [HOUR, -HOUR, 0] {
        let before = hour(ahead);
        clocked.jump((&[0, 1, 2], ahead));
        late.push(clocked.somebody_comes());
        // It has jumped, or else this would show nothing.
        let jumped = || clocked.said(&before) + clocked.said(&hour(ahead)) > 0;
        until("its log has the time", jumped);
    }
    assert_eq!(clocked.said("reason=silent"), silent);
    clocked.end();
}

/// The clock that times everything, which only ever goes forwards, jumps for one alone: whatever that one
/// believes to be late, nothing goes astray.
#[test]
fn nothing_goes_astray_when_the_clock_of_one_jumps_ahead() {
    let Some(clocked) = Clocked::start("TEST_STEADY_CLOCK") else { return };
    for at in 0..3 {
        let mut ahead = 0;
        // It may be led again before it looks: it has jumped, or else this would show nothing.
        until("it notices", || {
            ahead += HOUR;
            clocked.jump((&[at], ahead));
            clocked.nodes[at].stderr().contains("no leader with a majority answers")
        });
        drop(clocked.somebody_comes());
    }
    clocked.jump((&[0, 1, 2], 1000 * HOUR));
    drop(clocked.somebody_comes());
    clocked.end();
}
