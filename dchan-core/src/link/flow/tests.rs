use super::{sim::Sim, *};

const MBIT: u64 = 1_000_000 / 8;
const CEILING: u64 = 16 << 20;

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn nothing_goes_beyond_the_window() {
    let mut flow = Flow::new(CEILING);
    assert_eq!(flow.room(0), LEAST);
    assert_eq!(flow.room(FRAME), FRAME);
    assert_eq!(flow.room(LEAST + 1), 0);
    flow.on_sent(LEAST + 10, millis(1));
    assert_eq!(flow.room(0), 0);
    assert!(!flow.on_received(LEAST + 11, millis(2)), "more than was sent");
    assert_eq!(flow.room(0), 0, "a lie opens nothing");
    assert!(flow.on_received(LEAST + 10, millis(2)));
    assert!(flow.room(0) >= FRAME);
}

/// Of a little traffic, the least round trip was not seen for a while: the queue is let run dry.
fn draining(took: Duration) -> Flow {
    let mut flow = Flow::new(CEILING);
    flow.on_sent(LEAST, Duration::ZERO);
    assert!(flow.on_received(LEAST, secs(1)));
    flow.on_heartbeat(millis(1), secs(1));
    flow.on_heartbeat(took, secs(12));
    assert!(flow.round_trip.is_draining());
    flow
}

#[test]
fn round_trips_that_vary_by_less_than_a_queue_are_all_short() {
    let mut flow = Flow::new(CEILING);
    flow.on_heartbeat(Duration::from_micros(100), secs(1));
    for at in 2..60 {
        flow.on_heartbeat(millis(4), secs(at));
        assert!(!flow.round_trip.is_draining());
    }
}

#[test]
fn what_the_peer_does_not_tell_of_yet_holds_nothing_up() {
    let mut flow = draining(millis(50));
    flow.on_sent(TELL_AFTER - 1, secs(12));
    assert!(flow.room(0) >= FRAME);
    flow.on_sent(2, secs(12));
    assert_eq!(flow.room(0), FRAME - 1, "the peer will tell");
}

#[test]
fn a_clock_that_jumps_does_not_leave_the_window_small() {
    let mut flow = draining(secs(3600));
    flow.on_heartbeat(millis(50), secs(23));
    assert!(!flow.round_trip.is_draining());
    assert!(flow.window >= LEAST);
}

#[test]
fn a_slow_link_is_full_and_heartbeats_hardly_wait() {
    // On the shortest path two frames are all that is ever under way.
    for (delay, most) in [(1, 106), (20, 100), (60, 110)] {
        let mut sim = Sim::new(10 * MBIT, millis(delay), CEILING);
        sim.run(secs(1));
        for _ in 0..6 {
            let seen = sim.run(secs(10));
            assert!(seen.used > 0.9, "{delay} ms: {seen:?}");
            assert!(seen.waited < millis(most), "{delay} ms: {seen:?}");
        }
    }
}

#[test]
fn a_fast_link_opens_within_few_round_trips() {
    for (rate, delay) in [(1000, 5), (1000, 40), (10_000, 1), (100, 100)] {
        let mut sim = Sim::new(rate * MBIT, millis(delay), CEILING);
        sim.run(millis(delay) * 2 * 9);
        let opened = sim.run(secs(1));
        assert!(opened.used > 0.9, "{rate} Mbit/s, {delay} ms: {opened:?}");
        let seen = sim.run(secs(5));
        assert!(seen.used > 0.9, "{rate} Mbit/s, {delay} ms: {seen:?} {:?}", sim.flow);
        assert!(seen.waited < millis(delay) * 2 + millis(20), "{rate}, {delay}: {seen:?}");
    }
}

#[test]
fn on_a_short_path_the_window_makes_up_for_tasks_that_are_late() {
    let mut sim = Sim::new(1 << 30, Duration::ZERO, 4 << 20);
    sim.sluggish = millis(2);
    sim.run(secs(1));
    let seen = sim.run(secs(30));
    assert!(seen.used > 0.99, "{seen:?}");
}

#[test]
fn the_ceiling_holds() {
    let mut sim = Sim::new(10_000 * MBIT, millis(50), 1 << 20);
    sim.run(secs(2));
    assert_eq!(sim.flow.window, 1 << 20);
}

#[test]
fn changes_of_the_rate_are_followed() {
    let mut sim = Sim::new(100 * MBIT, millis(20), CEILING);
    sim.run(secs(5));
    for (rate, within) in [(10, 4), (100, 1), (2, 20), (500, 1), (100, 2)] {
        sim.rate = rate * MBIT;
        sim.run(secs(within));
        let seen = sim.run(secs(20));
        let frame = Duration::from_micros(1_000_000 * 2 * FRAME / (rate * MBIT));
        assert!(seen.used > 0.9, "{rate} Mbit/s: {seen:?}");
        assert!(seen.waited < millis(100).max(frame), "{rate} Mbit/s: {seen:?}");
    }
}

#[test]
fn a_stall_is_survived() {
    let mut sim = Sim::new(100 * MBIT, millis(20), CEILING);
    for _ in 0..3 {
        sim.run(secs(3));
        sim.rate = 0;
        let window = sim.flow.window;
        sim.run(secs(3));
        assert!(sim.flow.window <= window, "nothing comes, nothing grows");
        sim.rate = 100 * MBIT;
        // Unless it lets the queue run dry just then.
        let seen = sim.run(secs(1));
        assert!(seen.used > 0.8, "{seen:?}");
        sim.run(secs(1));
        let seen = sim.run(secs(5));
        assert!(seen.used > 0.9 && seen.waited < millis(100), "{seen:?}");
    }
}

#[test]
fn idling_spoils_nothing() {
    let mut sim = Sim::new(100 * MBIT, millis(20), CEILING);
    sim.run(secs(5));
    let window = sim.flow.window;
    for pause in [millis(1), millis(100), secs(60)] {
        sim.greedy = false;
        let until = sim.now + pause;
        while sim.now < until {
            sim.send(1000);
            sim.run(pause.min(millis(50)));
        }
        sim.run(secs(1));
        assert!(sim.flow.window > window * 9 / 10, "{} after {pause:?}", sim.flow.window);
        sim.greedy = true;
        // It takes a moment to fill the path.
        sim.run(millis(60));
        let seen = sim.run(secs(1));
        assert!(seen.used > 0.9 && seen.waited < millis(100), "after {pause:?}: {seen:?}");
    }
}

#[test]
fn news_that_come_late_and_together_do_not_make_a_path_look_fast() {
    let mut flow = Flow::new(CEILING);
    const LEN: u64 = 20_000;
    for at in 0..5 {
        flow.on_sent(LEN, millis(at * 10));
    }
    flow.on_received(LEN, millis(50));
    for at in 9..14 {
        flow.on_sent(LEN, millis(at * 10));
    }
    flow.on_received(10 * LEN, millis(135));
    // Nine of them, in the time that it took to send them.
    assert_eq!(flow.rate.highest(), Some(9 * LEN * 1000 / 130));
}

#[test]
fn a_longer_path_is_noticed() {
    let mut sim = Sim::new(100 * MBIT, millis(20), CEILING);
    sim.run(secs(5));
    sim.delay = millis(60);
    // Until the old round trip is forgotten, the new one looks like a queue.
    sim.run(secs(13));
    let seen = sim.run(secs(20));
    assert!(seen.used > 0.9 && seen.waited < millis(100), "{seen:?}");
    sim.delay = millis(5);
    sim.run(secs(12));
    let seen = sim.run(secs(20));
    assert!(seen.used > 0.9 && seen.waited < millis(50), "{seen:?}");
}
