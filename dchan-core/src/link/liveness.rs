use std::time::Duration;

/// Whether a peer is there, counted in our own heartbeats rather than in time: a process that was
/// stopped for an hour, or whose clock was set, does not take the others for dead.
#[derive(Debug)]
pub(crate) struct Liveness {
    quiet: u32,
    suspect_after: u32,
    dead_after: u32,
}

/// What a beat without a sign of life means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Alive,
    /// Choose it no more.
    Suspect,
    /// Give the connection up.
    Dead,
}

impl Liveness {
    pub(crate) fn new(beat: Duration, suspect: Duration, dead: Duration) -> Self {
        let beats = |time: Duration| (time.as_secs_f64() / beat.as_secs_f64()).ceil() as u32;
        let suspect_after = beats(suspect).max(1);
        Self { quiet: 0, suspect_after, dead_after: beats(dead).max(suspect_after + 1) }
    }

    /// One more beat, in which the peer was heard from or not.
    pub(crate) fn on_beat(&mut self, heard: bool) -> Verdict {
        self.quiet = if heard { 0 } else { self.quiet + 1 };
        match self.quiet {
            quiet if quiet >= self.dead_after => Verdict::Dead,
            quiet if quiet >= self.suspect_after => Verdict::Suspect,
            _ => Verdict::Alive,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_counted_in_beats() {
        let millis = Duration::from_millis;
        let mut liveness = Liveness::new(millis(250), millis(750), millis(1500));
        let verdicts: Vec<_> = (0..6).map(|_| liveness.on_beat(false)).collect();
        use Verdict::*;
        assert_eq!(verdicts, [Alive, Alive, Suspect, Suspect, Suspect, Dead]);
        assert_eq!(liveness.on_beat(true), Alive);
    }
}
