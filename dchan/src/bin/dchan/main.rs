//! The command line of dchan: a node, a sender and a receiver of lines, and certificates for them.

mod args;
mod certs;
mod exit;
mod input;
mod lines;
mod log;
mod node;
mod output;
mod progress;
mod recv;
mod send;
mod stop;

use std::{io::Write, process::ExitCode, time::Duration};

use clap::Parser;

use crate::{
    args::{Args, Command},
    exit::{Exit, Failure},
    stop::Stop,
};

fn main() -> ExitCode {
    let args = Args::parse();
    log::init(args.verbose);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&Failure::new(Exit::Start, error)).into(),
    };
    let exit = runtime.block_on(run(args.command));
    // A thread that reads a terminal or writes to a stuck pipe cannot be stopped.
    runtime.shutdown_timeout(Duration::from_millis(100));
    exit.into()
}

async fn run(command: Command) -> Exit {
    let stop = match Stop::on_signals() {
        Ok(stop) => stop,
        Err(error) => return fail(&Failure::new(Exit::Start, error)),
    };
    let done = match command {
        Command::Node(args) => node::run(args, stop).await,
        Command::Recv(args) => recv::run(args, stop).await,
        Command::Send(args) => send::run(args, stop).await,
        Command::Certs(command) => certs::run(&command),
    };
    done.unwrap_or_else(|failure| fail(&failure))
}

fn fail(failure: &Failure) -> Exit {
    // Nobody may be there to read it.
    let _gone = writeln!(std::io::stderr(), "error: {:#}", failure.error);
    failure.exit
}
