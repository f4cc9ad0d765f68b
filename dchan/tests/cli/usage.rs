//! What the command line says of itself, and wrong usage.

use std::process::{Command, Output};

fn dchan(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dchan")).args(args).env_remove("RUST_LOG").output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn help_tells_of_commands_options_and_exit_codes() {
    let help = dchan(&["--help"]);
    assert!(help.status.success());
    for word in ["node", "recv", "send", "certs", "Exit codes:", "RUST_LOG"] {
        assert!(text(&help.stdout).contains(word), "{word}");
    }
    let options = [
        "--listen",
        "--peers",
        "--cluster",
        "--advertise",
        "--data",
        "--transport",
        "--ca",
        "--cert",
        "--key",
        "--insecure",
    ];
    let of_recv = ["--capacity", "--count", "-v"];
    for (command, more) in [("node", &of_recv[2..]), ("recv", &of_recv), ("send", &of_recv[2..])] {
        let help = dchan(&[command, "--help"]);
        for word in options.iter().chain(more) {
            assert!(text(&help.stdout).contains(word), "{command} {word}");
        }
    }
}

#[test]
fn wrong_usage_is_named() {
    for (args, said) in [
        (&["recv"][..], "NAMESPACE"),
        (&["node", "--listen", "7001", "--peers", "127.0.0.1:7001"], "there is no colon"),
        (&["node", "--listen", "127.0.0.1:0"], "--peers"),
    ] {
        let output = dchan(args);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains(said), "{}", text(&output.stderr));
        assert!(output.stdout.is_empty(), "stdout is for messages");
    }
}

#[test]
fn a_name_that_cannot_be_one_is_refused() {
    let cluster = crate::process::Cluster::start();
    for command in ["recv", "send"] {
        let null = std::process::Stdio::null;
        let mut refused = cluster.run(&[command, "a*"], null(), null());
        refused.ends_with(3);
    }
}
