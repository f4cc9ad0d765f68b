//! The same over each transport, with certificates and without.

use std::process::{Command, Stdio};

use crate::{
    certs::Authority,
    files::through_three_processes,
    process::{Cluster, until},
};

const TRANSPORTS: [&str; 2] = ["grpc", "quic"];

/// How nodes at 127.0.0.1 are started.
fn options(transport: &str, authority: Option<&Authority>) -> Vec<String> {
    let mut options = vec!["--transport".to_owned(), transport.to_owned()];
    options.extend(authority.into_iter().flat_map(|authority| authority.options(&["127.0.0.1"])));
    options
}

fn a_file_arrives(options: &[String]) {
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    through_three_processes(20_000, &options);
}

#[test]
fn a_file_arrives_over_quic() {
    a_file_arrives(&options("quic", None));
}

#[test]
fn a_file_arrives_over_quic_with_certificates() {
    a_file_arrives(&options("quic", Some(&Authority::new())));
}

#[test]
fn a_file_arrives_over_grpc_with_certificates() {
    a_file_arrives(&options("grpc", Some(&Authority::new())));
}

/// Who has no certificate of the authority does not become part of the cluster, and both sides say why.
fn strangers_stay_outside(transport: &str, stranger: Option<&Authority>, [here, there]: [&str; 2]) {
    let cluster = Cluster::start_with(options(transport, Some(&Authority::new())));
    let mut command = cluster.program();
    command.args(["node", "-vv", "--listen", "127.0.0.1:0", "--peers", &cluster.founder]);
    command.args(options(transport, stranger));
    let stderr = cluster.path("stranger");
    command.stderr(std::fs::File::create(&stderr).unwrap()).stdin(Stdio::null());
    let outside = crate::process::Process::new(command.spawn().unwrap(), stderr);
    until(&format!("{here:?} is said over {transport}"), || outside.stderr().contains(here));
    until(&format!("{there:?} is said over {transport}"), || {
        cluster.founder_said().contains(there)
    });
    assert!(!outside.stderr().contains("ready"), "{}", outside.stderr());
}

#[test]
fn who_has_no_certificate_stays_outside() {
    strangers_stay_outside("grpc", None, ["the peer speaks TLS", "does not speak TLS"]);
    strangers_stay_outside("quic", None, ["asks for a certificate", "peer sent no certificates"]);
}

#[test]
fn who_has_one_from_another_authority_stays_outside() {
    for transport in TRANSPORTS {
        let why = ["UnknownIssuer", "does not know the authority"];
        strangers_stay_outside(transport, Some(&Authority::new()), why);
    }
}

/// What a command says that is refused at once.
fn refused(args: &[&str], code: i32) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dchan"));
    let output = command.args(args).env_remove("RUST_LOG").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

#[test]
fn other_addresses_need_certificates() {
    let (home, away) = ("127.0.0.1:0", "192.0.2.1:7001");
    for transport in TRANSPORTS {
        for (listen, peers) in [(away, away), (home, away), ("0.0.0.0:0", "127.0.0.1:7001")] {
            let mut args = vec!["node", "--transport", transport, "--listen", listen];
            args.extend(["--advertise", "127.0.0.1:7001", "--peers", peers]);
            let said = refused(&args, 3);
            for word in ["not a loopback address", "--ca", "dchan certs init", "--insecure"] {
                assert!(said.contains(word), "{word}: {said}");
            }
        }
    }
}

#[test]
fn certificates_that_will_not_do_are_named() {
    let authority = Authority::new();
    let node = ["node", "--listen", "127.0.0.1:0", "--peers", "127.0.0.1:7001"];
    let with = |options: &[&str], code| refused(&[&node, options].concat(), code);
    let options = authority.options(&["192.0.2.1"]);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let said = with(&options, 3);
    assert!(said.contains("is for 192.0.2.1") && said.contains("certs issue 127.0.0.1"), "{said}");
    let said = with(&["--ca", "/no/ca.pem", "--cert", "/no/a.pem", "--key", "/no/a.key"], 3);
    assert!(said.contains("cannot read /no/ca.pem"), "{said}");
    for half in [&options[..2], &options[..4], &options[2..]] {
        assert!(with(half, 2).contains("required"));
    }
    assert!(with(&[&options[..], &["--insecure"]].concat(), 2).contains("cannot be used with"));
    assert!(with(&["--transport", "pigeon"], 2).contains("grpc, quic"));
}
