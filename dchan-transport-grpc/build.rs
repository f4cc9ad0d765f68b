//! Compiles `proto/dchan.proto` without protoc.

use std::{env, error::Error, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let files = protox::compile(["dchan.proto"], ["proto"])?;

    // The service, over frames as dchan has them: its codec copies a payload once a side at most.
    tonic_prost_build::configure()
        .build_transport(false)
        .codec_path("crate::codec::FramesCodec")
        .extern_path(".dchan.v1.Frames", "crate::codec::Frames")
        .extern_path(".dchan.v1.Frame", "dchan_core::Frame")
        .compile_fds(files.clone())?;

    // The messages as everybody else has them: tests hold the codec to them.
    let plain = out.join("plain");
    std::fs::create_dir_all(&plain)?;
    tonic_prost_build::configure()
        .build_transport(false)
        .bytes(".")
        .out_dir(plain)
        .compile_fds(files)?;
    Ok(())
}
