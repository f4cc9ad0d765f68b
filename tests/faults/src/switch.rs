//! A network of its own for each actor, and a switch between them.

use std::{
    net::Ipv4Addr,
    process::{Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use anyhow::{Context, ensure};

/// Where packets go that are to be lost: nobody has that address.
const NOBODY: &str = "02:ff:ff:ff:ff:ff";

/// Network namespaces that are joined by a bridge, in a namespace of its own: nothing outside is
/// touched. Dropped, it takes them down.
///
/// Who has which hardware address is fixed. So to send what goes from one namespace to another to
/// nobody is all it takes to lose it, without a word to either.
#[derive(Debug)]
pub struct Switch {
    name: String,
    ports: usize,
}

impl Switch {
    /// Makes a switch without ports.
    ///
    /// # Errors
    ///
    /// This process may not make network namespaces, or there is no `ip`.
    pub fn new() -> anyhow::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let (process, next) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let switch = Self { name: format!("dchan-{process}-{next}"), ports: 0 };
        ip(&format!("netns add {}", switch.name))?;
        switch.within("link add bridge type bridge")?;
        switch.within("link set bridge up")?;
        Ok(switch)
    }

    /// Whether this process may make one. If not, it says why not, once.
    #[allow(clippy::print_stdout, reason = "for whoever reads the output of a test")]
    pub fn is_permitted() -> bool {
        static PERMITTED: OnceLock<bool> = OnceLock::new();
        *PERMITTED.get_or_init(|| match Self::new() {
            Ok(_) => true,
            Err(reason) => {
                println!("no network namespaces here ({reason:#}): proxies part the network");
                false
            }
        })
    }

    /// Joins one more namespace.
    ///
    /// # Errors
    ///
    /// See [`new`](Self::new).
    pub fn add(&mut self) -> anyhow::Result<()> {
        let new = self.ports;
        let (namespace, mac) = (self.namespace(new), mac(new));
        ip(&format!("netns add {namespace}"))?;
        self.ports += 1;
        self.within(&format!(
            "link add port{new} type veth peer name eth0 address {mac} netns {namespace}"
        ))?;
        self.within(&format!("link set port{new} master bridge up"))?;
        ip(&format!("-n {namespace} addr add {}/24 dev eth0", self.ip(new)))?;
        ip(&format!("-n {namespace} link set lo up"))?;
        ip(&format!("-n {namespace} link set eth0 up"))?;
        for old in 0..new {
            self.lead(old, new, &mac)?;
            self.lead(new, old, &self::mac(old))?;
        }
        Ok(())
    }

    /// The name of a namespace.
    pub fn namespace(&self, port: usize) -> String {
        format!("{}-{port}", self.name)
    }

    /// The address there.
    pub fn ip(&self, port: usize) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, port as u8 + 1)
    }

    /// What goes from one namespace to another is lost.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn black_hole(&self, from: usize, to: usize) -> anyhow::Result<()> {
        self.lead(from, to, NOBODY)
    }

    /// Ends that, both ways.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn heal(&self, a: usize, b: usize) -> anyhow::Result<()> {
        self.lead(a, b, &mac(b))?;
        self.lead(b, a, &mac(a))
    }

    fn lead(&self, from: usize, to: usize, mac: &str) -> anyhow::Result<()> {
        let (namespace, ip_to) = (self.namespace(from), self.ip(to));
        ip(&format!("-n {namespace} neigh replace {ip_to} lladdr {mac} dev eth0 nud permanent"))
    }

    fn within(&self, what: &str) -> anyhow::Result<()> {
        ip(&format!("-n {} {what}", self.name))
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        let ports = (0..self.ports).map(|port| self.namespace(port));
        for namespace in ports.chain([self.name.clone()]) {
            // It was made by this process, and nobody else needs it.
            let _gone = ip(&format!("netns del {namespace}"));
        }
    }
}

fn mac(port: usize) -> String {
    format!("02:00:00:00:00:{:02x}", port + 1)
}

fn ip(arguments: &str) -> anyhow::Result<()> {
    let mut command = Command::new("ip");
    command.args(arguments.split(' ')).stdin(Stdio::null());
    let output = command.output().context("cannot run ip")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {arguments}: {}", said.trim());
    Ok(())
}
