//! What honest nodes send, as the fuzzers read it.

use dchan_conformance::adversary::wire::{
    self, Attach, Control, Credit, Hello, Refusal, Stamp, Want,
};

type Seed = (&'static str, Vec<u8>);

pub(crate) fn all() -> Vec<Seed> {
    let mut seeds = Vec::new();
    seeds.extend(frames().into_iter().map(|frame| ("wire", frame)));
    seeds.extend(handshakes().into_iter().map(|words| ("handshake", words)));
    seeds.extend(events().into_iter().map(|events| ("lane_events", events)));
    seeds.extend(parts().into_iter().map(|parts| ("chunk_assembly", parts)));
    seeds.extend(dchan_raft::fuzzing::seeds());
    seeds
}

fn hello() -> Hello {
    Hello {
        version: 1,
        cluster_name: "dchan".into(),
        cluster: Some(1),
        transport: "memory".into(),
        node: 2,
        incarnation: 1,
        boot: 7,
        addr: "127.0.0.1:7001".into(),
        attempt: 1,
    }
}

fn credit() -> Credit {
    Credit { lane: 16, taken: 3, limit_messages: 10, limit_bytes: 1000, skipped: vec![1] }
}

/// Behind a byte that says of which lane they are.
fn frames() -> Vec<Vec<u8>> {
    let controls = [
        Control::Hello(hello()),
        Control::Refuse(Refusal::ClusterName { ours: "a".into(), theirs: "b".into() }, hello()),
        Control::Refuse(Refusal::Name { names: vec!["a".into()], host: "b".into() }, hello()),
        Control::Beat { sent: 1, echo: Some((2, 3)), version: 4 },
        Control::Received(1 << 20),
        Control::Credit(credit()),
        Control::Resumed { next_frame: 2, credit: credit() },
        Control::Reclaim(16),
        Control::Closed { lane: 16, taken: 9, skipped: vec![2, 3] },
        Control::Bye,
    ];
    let attach = Attach {
        namespace: "orders".into(),
        receiver: (1, 1),
        fresh: true,
        taken: 0,
        wanting: true,
    };
    let stamp = Stamp { frame_no: 1, first_seq: 5, count: 2, settled: 4 };
    let part = Stamp { count: 0, ..stamp };
    let lanes = [
        wire::attach(&attach),
        wire::data(stamp, &[vec![1, 2, 3], vec![]]),
        wire::chunk(part, true, false, 100_000, &[0; 32]),
        wire::want(&Want { wanting: true, need_bytes: 1 << 20, ..Want::default() }),
        wire::fin(),
    ];
    let controls = controls.map(|control| [vec![0], wire::encode(&control)].concat());
    let lanes = lanes.map(|frame| [vec![1], frame].concat());
    controls.into_iter().chain(lanes).collect()
}

/// Who listens, whether a certificate was shown, the lane, whether there is more, and the frame.
fn handshakes() -> Vec<Vec<u8>> {
    let words = |listens: u8, proved: u8, control: &Control| {
        [&[listens, proved, 0, 0][..], &wire::encode(control)].concat()
    };
    let refusals = [
        Refusal::Version { ours: 1, theirs: 2 },
        Refusal::Established { attempt: 2, dialler: 1 },
        Refusal::Name { names: vec!["a".into()], host: "b".into() },
        Refusal::Duplicate { ours: 1, theirs: 2 },
    ];
    let mut all = vec![
        words(1, 0, &Control::Hello(hello())),
        words(1, 1, &Control::Hello(hello())),
        words(1, 0, &Control::Hello(Hello { version: 2, ..hello() })),
        words(1, 0, &Control::Hello(Hello { cluster_name: "other".into(), ..hello() })),
        words(0, 0, &Control::Welcome(hello())),
        words(0, 1, &Control::Welcome(hello())),
        words(1, 0, &Control::Bye),
    ];
    all.extend(refusals.map(|refusal| words(0, 0, &Control::Refuse(refusal, hello()))));
    all
}

/// Bytes that decide what happens: see `dchan-core/src/fuzzing/lanes.rs`.
fn events() -> Vec<Vec<u8>> {
    let open = [0, 1, 0, 1];
    let data = [6, 0, 0, 3, 4, 0, 0, 0, 0];
    let take = [1, 1, 200, 1, 200, 1];
    let receiving = [&[1, 4, 5, 5, 0][..], &open, &data, &take, &data, &take].concat();
    let large = [
        &[1, 4, 5, 9, 0][..],
        &open,
        &[13, 0, 0, 0, 1, 2, 9, 9],
        &[11, 0, 0, 2, 9, 9, 0, 1, 1, 0, 0],
    ];
    let start = [3, 255, 6, 0, 0, 0, 0, 0, 0];
    let send = [0, 10, 200, 0, 0, 10, 3, 0, 3, 255];
    let settle = [7, 2, 0, 0, 0, 0];
    vec![
        receiving,
        large.concat(),
        [&[0][..], &start, &send, &settle, &[5], &start, &settle].concat(),
        [&[0][..], &start, &send, &[9, 10, 255], &settle, &[11, 255, 1, 0, 0, 0, 0]].concat(),
    ]
}

/// Parts of messages, parts of questions, and a value of many types.
fn parts() -> Vec<Vec<u8>> {
    let message = [0, 8, 3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let question = [1, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0, 0];
    let value = [2, 5, 3, 4, 1, 1, 0, 1, 14, 2, 2, 104, 105, 6, 1, 7, 4, 0];
    let pair = [2, 7, 3, 2, 1, 2, 1];
    vec![message.to_vec(), question.to_vec(), value.to_vec(), pair.to_vec()]
}
