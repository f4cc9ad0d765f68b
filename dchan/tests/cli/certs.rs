//! Certificates are made, and never unmade.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

/// Runs `dchan certs`.
fn certs(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dchan"));
    command.arg("certs").args(args).arg("--dir").arg(dir).output().unwrap()
}

fn said(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// An authority, and certificates from it.
pub(crate) struct Authority(TempDir);

impl Authority {
    pub(crate) fn new() -> Self {
        let this = Self(tempfile::tempdir().unwrap());
        assert!(certs(this.0.path(), &["init"]).status.success());
        this
    }

    /// The options of a node that has a certificate for these hosts.
    pub(crate) fn options(&self, hosts: &[&str]) -> Vec<String> {
        let done = certs(self.0.path(), &[&["issue"], hosts].concat());
        assert!(done.status.success(), "{}", said(&done.stderr));
        let file = |name: &str, kind| self.0.path().join(format!("{name}.{kind}"));
        let files = [("--ca", file("ca", "pem")), ("--cert", file(hosts[0], "pem"))];
        let files = files.into_iter().chain([("--key", file(hosts[0], "key"))]);
        let text = |path: PathBuf| path.into_os_string().into_string().unwrap();
        files.flat_map(|(option, path)| [option.to_owned(), text(path)]).collect()
    }
}

/// All that is in a directory.
fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> = entries.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    all.sort();
    all
}

fn names(dir: &Path) -> Vec<String> {
    let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    contents(dir).into_iter().map(|(path, _)| name(path)).collect()
}

#[test]
fn an_authority_and_certificates_are_made_and_what_comes_next_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("new");
    let init = certs(&dir, &["init"]);
    assert!(init.status.success(), "{}", said(&init.stderr));
    assert!(said(&init.stdout).contains("dchan certs issue HOST --dir"), "{}", said(&init.stdout));
    assert_eq!(names(&dir), ["ca.key", "ca.pem"]);
    let issue = certs(&dir, &["issue", "10.0.0.1", "a.shop"]);
    assert!(issue.status.success(), "{}", said(&issue.stderr));
    for word in ["10.0.0.1, a.shop", "--ca", "--cert", "--key", "renew"] {
        assert!(said(&issue.stdout).contains(word), "{word}: {}", said(&issue.stdout));
    }
    assert_eq!(names(&dir), ["10.0.0.1.key", "10.0.0.1.pem", "ca.key", "ca.pem"]);
    let file = |name| dir.join(name);
    let tls =
        dchan::tls::Tls::from_files(file("ca.pem"), file("10.0.0.1.pem"), file("10.0.0.1.key"));
    assert_eq!(tls.unwrap().names(), ["10.0.0.1", "a.shop"]);
    #[cfg(unix)]
    for (path, _) in contents(&dir) {
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
        let key = path.extension().unwrap() == "key";
        assert!(!key || mode & 0o777 == 0o600, "{} has mode {mode:o}", path.display());
    }
}

#[test]
fn nothing_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    assert!(certs(dir, &["init"]).status.success());
    assert!(certs(dir, &["issue", "a"]).status.success());
    fs::remove_file(dir.join("a.pem")).unwrap();
    fs::write(dir.join("b.pem"), "mine").unwrap();
    let before = contents(dir);
    // All is there, or one of the two; and the name of the authority is no host.
    for args in [&["init"][..], &["issue", "a"], &["issue", "b"], &["issue", "ca"]] {
        let refused = certs(dir, args);
        assert_eq!(refused.status.code(), Some(3), "{args:?}");
        let error = said(&refused.stderr);
        assert!(error.contains("is there already, and nothing is overwritten"), "{error}");
        assert!(refused.stdout.is_empty());
        assert_eq!(contents(dir), before, "{args:?}");
    }
}

#[test]
fn what_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let error = |args: &[&str]| {
        let refused = certs(dir, args);
        assert_eq!(refused.status.code(), Some(3), "{args:?}");
        said(&refused.stderr).to_owned()
    };
    let missing = error(&["issue", "a"]);
    assert!(missing.contains("ca.pem") && missing.contains("`dchan certs init`"), "{missing}");
    assert!(certs(dir, &["init"]).status.success());
    for host in ["a:1", "../a", "a/b", ""] {
        let refused = error(&["issue", host]);
        assert!(refused.contains(&format!("{host:?} is not a host")), "{refused}");
    }
    assert_eq!(names(dir), ["ca.key", "ca.pem"]);
    assert_eq!(certs(dir, &["issue"]).status.code(), Some(2), "no host is wrong usage");
}
