//! Measures dchan beside the bare socket: see the library.

fn main() -> anyhow::Result<()> {
    dchan_benches::run(dchan_benches::Contenders::new())
}
