use std::{path::PathBuf, sync::Arc};

use dchan_core::{
    Addr, Config, ConfigError, Incarnation, Membership, NodeId, NodeOptions,
    StartError as NodeError, Transport,
};

#[cfg(any(feature = "grpc", feature = "quic"))]
use crate::carrier::{Ours, Protection};
use crate::{Node, StartError, bound::Bound, carrier::Carrier};

/// A node to be started.
///
/// # Founders
///
/// The founders of a cluster are the nodes that found it and vote on its list. All founders must name the
/// same ones, in the same spelling. Founding waits until all of them are there; after that a majority is
/// enough.
///
/// - By default a node is a founder, together with its [`peers`](Self::peers). The list may contain the
///   node itself or leave it out: that is the same. A node without peers founds a cluster alone.
/// - After [`join`](Self::join) it is not: it joins the cluster of its peers, without a vote.
///
/// A node that has a [`data_dir`](Self::data_dir) from an earlier life comes back to the cluster that it
/// was in, whatever this says.
#[derive(Debug)]
#[must_use = "a node starts with `start`"]
pub struct Builder {
    listen: String,
    advertise: Option<String>,
    peers: Vec<String>,
    joins: bool,
    transport: Option<Carrier>,
    #[cfg(any(feature = "grpc", feature = "quic"))]
    protection: Protection,
    data_dir: Option<PathBuf>,
    tags: Vec<(String, String)>,
    config: Config,
    #[cfg(feature = "raft")]
    raft: dchan_raft::RaftConfig,
    membership: Option<Arc<dyn Membership>>,
}

/// The addresses of a node, checked.
struct Addrs {
    listen: Addr,
    advertise: Option<Addr>,
    peers: Vec<Addr>,
}

impl Builder {
    pub(crate) fn new(listen: String) -> Self {
        Self {
            listen,
            advertise: None,
            peers: Vec::new(),
            joins: false,
            transport: Carrier::first(),
            #[cfg(any(feature = "grpc", feature = "quic"))]
            protection: Protection::default(),
            data_dir: None,
            tags: Vec::new(),
            config: Config::default(),
            #[cfg(feature = "raft")]
            raft: dchan_raft::RaftConfig::new("", []),
            membership: None,
        }
    }

    /// The name of the cluster, from 1 to 255 bytes. Nodes of other clusters are refused. Default
    /// `dchan`.
    pub fn cluster(mut self, name: impl Into<String>) -> Self {
        self.config.cluster_name = name.into();
        self
    }

    /// The founders of the cluster, as `host:port`: at most 15. See [Founders](Self#founders).
    pub fn peers(mut self, peers: impl IntoIterator<Item = impl ToString>) -> Self {
        self.peers = peers.into_iter().map(|peer| peer.to_string()).collect();
        self
    }

    /// Joins the cluster of the peers without a vote, instead of founding one with them.
    pub fn join(mut self) -> Self {
        self.joins = true;
        self
    }

    /// Where others can reach this node, as `host:port`, if that is not where it listens: behind a proxy,
    /// or if it listens at all addresses. Default: where it listens.
    pub fn advertise(mut self, addr: impl ToString) -> Self {
        self.advertise = Some(addr.to_string());
        self
    }

    /// Where the node keeps what it must remember: who it is, and its part of the list. It is made if it
    /// is not there, and locked while the node runs. Messages are not stored. Default: a temporary
    /// directory, so that the node is a new one each time.
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(path.into());
        self
    }

    /// A label that others see in the [`View`](crate::View).
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.push((key.into(), value.into()));
        self
    }

    /// Carries messages over gRPC: one stream for each pair of nodes. That is the default.
    #[cfg(feature = "grpc")]
    pub fn grpc(mut self) -> Self {
        self.transport = Some(Carrier::Ours(Ours::Grpc));
        self
    }

    /// Carries messages over QUIC: one connection for each pair of nodes, and in it a stream for each
    /// channel, so that none waits for what another has lost. All nodes of a cluster use the same.
    ///
    /// ```no_run
    /// # #[cfg(feature = "raft")]
    /// # async fn start() -> Result<(), Box<dyn std::error::Error>> {
    /// use dchan::{Node, tls::Tls};
    ///
    /// let tls = Tls::from_files("certs/ca.pem", "certs/10.0.0.1.pem", "certs/10.0.0.1.key")?;
    /// let node = Node::builder("10.0.0.1:7001").quic().tls(tls).start().await?;
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "quic")]
    pub fn quic(mut self) -> Self {
        self.transport = Some(Carrier::Ours(Ours::Quic));
        self
    }

    /// Encrypts everything, and lets only those in who have a certificate of the same authority, for the
    /// host that they advertise. `dchan certs` makes such certificates.
    ///
    /// Without it a node keeps to loopback addresses, unless [`insecure`](Self::insecure) says otherwise.
    #[cfg(any(feature = "grpc", feature = "quic"))]
    pub fn tls(mut self, tls: dchan_core::tls::Tls) -> Self {
        self.protection.tls = Some(tls);
        self
    }

    /// Allows any address without certificates: whoever can reach it can read and send everything. With
    /// certificates it means nothing.
    #[cfg(any(feature = "grpc", feature = "quic"))]
    pub fn insecure(mut self) -> Self {
        self.protection.insecure = true;
        self
    }

    /// Changes limits and times.
    ///
    /// ```
    /// let builder = dchan::Node::builder("127.0.0.1:0").config(|c| c.limits.message = 1 << 20);
    /// ```
    pub fn config(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Changes the limits and times of Raft. The cluster's name and founders are set by
    /// [`cluster`](Self::cluster) and [`peers`](Self::peers).
    #[cfg(feature = "raft")]
    pub fn raft(mut self, change: impl FnOnce(&mut dchan_raft::RaftConfig)) -> Self {
        change(&mut self.raft);
        self
    }

    /// Uses a transport of one's own. Whether it encrypts is its own business: it decides where it
    /// listens.
    pub fn transport(mut self, transport: Arc<dyn Transport>) -> Self {
        self.transport = Some(Carrier::Own(transport));
        self
    }

    /// Uses another membership than Raft. Then the node has a random id, and `data_dir`, `peers` and
    /// `join` mean nothing.
    pub fn membership(mut self, membership: Arc<dyn Membership>) -> Self {
        self.membership = Some(membership);
        self
    }

    /// Starts the node, and returns once it is part of the cluster: a founder waits for all the others.
    ///
    /// # Errors
    ///
    /// See [`StartError`]. Nothing is left running.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops what was started.
    pub async fn start(mut self) -> Result<Node, StartError> {
        self.config.check()?;
        let addrs = self.addrs()?;
        let transport = self.take_transport()?;
        let bound = Bound::listen(transport, &addrs.listen).await;
        let (transport, local) = bound.map_err(NodeError::Listen)?;
        // In the spelling that others know it by.
        let me = addrs.advertise.unwrap_or_else(|| addrs.listen.with_port(local.port()));
        let (identity, membership) = self.take_membership(&me, addrs.peers)?;
        let mut options = NodeOptions::new(addrs.listen);
        if let Some((id, incarnation)) = identity {
            (options.id, options.incarnation) = (id, incarnation);
        }
        options.advertise = Some(me);
        options.tags = self.tags.into_iter().collect();
        options.config = self.config;
        Ok(Node::new(dchan_core::Node::start(options, transport, membership).await?))
    }

    /// Checks the addresses, alone and together, and that the node may be there.
    fn addrs(&self) -> Result<Addrs, StartError> {
        let listen = parse("listen", &self.listen)?;
        let advertise = self.advertise.as_deref().map(|addr| parse("advertise", addr));
        let advertise: Option<Addr> = advertise.transpose()?;
        match &advertise {
            None if is_wildcard(&listen) => {
                let found = format!("missing, and the node listens at {listen}");
                let expected = "an address that others can reach";
                return Err(ConfigError::new("advertise", found, expected).into());
            }
            Some(addr) if is_wildcard(addr) || addr.port() == 0 => {
                let expected = "an address that others can reach";
                return Err(ConfigError::new("advertise", addr.as_str(), expected).into());
            }
            _ => {}
        }
        let peers: Result<Vec<Addr>, _> = self.peers.iter().map(|p| parse("peers", p)).collect();
        let peers = peers?;
        if let Some(peer) = peers.iter().find(|peer| peer.port() == 0) {
            return Err(ConfigError::new("peers", peer.as_str(), "ports from 1 to 65535").into());
        }
        if self.joins && peers.is_empty() {
            return Err(ConfigError::new("peers", "empty", "the founders to join").into());
        }
        #[cfg(any(feature = "grpc", feature = "quic"))]
        if let Some(Carrier::Ours(_)) = self.transport {
            let me = advertise.as_ref().unwrap_or(&listen);
            self.protection.check(me, [&listen].into_iter().chain(&peers))?;
        }
        Ok(Addrs { listen, advertise, peers })
    }

    /// The transport that was chosen.
    fn take_transport(&mut self) -> Result<Arc<dyn Transport>, StartError> {
        match self.transport.take() {
            None => Err(StartError::NoTransport),
            #[cfg(any(feature = "grpc", feature = "quic"))]
            Some(Carrier::Own(_)) if self.protection.tls.is_some() => Err(StartError::TlsOfOwn),
            Some(Carrier::Own(transport)) => Ok(transport),
            #[cfg(any(feature = "grpc", feature = "quic"))]
            Some(Carrier::Ours(ours)) => Ok(ours.with(std::mem::take(&mut self.protection))),
        }
    }

    fn take_membership(&mut self, me: &Addr, peers: Vec<Addr>) -> Result<Member, StartError> {
        if let Some(membership) = self.membership.take() {
            return Ok((None, membership));
        }
        self.raft_membership(me, peers)
    }

    #[cfg(feature = "raft")]
    fn raft_membership(&mut self, me: &Addr, peers: Vec<Addr>) -> Result<Member, StartError> {
        use dchan_raft::{DataDir, RaftMembership};

        let mut founders = peers;
        if !self.joins {
            founders.push(me.clone());
        }
        let mut config = self.raft.clone();
        config.cluster.clone_from(&self.config.cluster_name);
        config.founders = founders;
        let dir = match &self.data_dir {
            Some(path) => DataDir::open(path)?,
            None => DataDir::temporary()?,
        };
        let identity = (dir.node_id(), dir.incarnation());
        let membership = RaftMembership::new(dir, config)?;
        Ok((Some(identity), Arc::new(membership)))
    }

    #[cfg(not(feature = "raft"))]
    fn raft_membership(&mut self, _me: &Addr, _peers: Vec<Addr>) -> Result<Member, StartError> {
        Err(StartError::NoMembership)
    }
}

/// Who the node is, if the membership knows, and the membership.
type Member = (Option<(NodeId, Incarnation)>, Arc<dyn Membership>);

fn parse(field: &'static str, text: &str) -> Result<Addr, StartError> {
    text.parse().map_err(|source| StartError::Addr { field, source })
}

/// Whether it stands for all addresses of the machine.
fn is_wildcard(addr: &Addr) -> bool {
    addr.host().parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(builder: Builder) -> String {
        builder.addrs().err().unwrap().to_string()
    }

    #[test]
    fn a_wrong_setting_is_named_with_its_value_and_range() {
        let builder = || Builder::new("127.0.0.1:0".into());
        let said = refused(Builder::new("7001".into()));
        assert_eq!(
            said,
            "listen: \"7001\" is not an address: expected host:port, but there is no colon"
        );
        let said = refused(Builder::new("0.0.0.0:1".into()));
        assert!(said.starts_with("advertise is missing"), "{said}");
        let said = refused(builder().advertise("127.0.0.1:0"));
        assert_eq!(said, "advertise is 127.0.0.1:0: expected an address that others can reach");
        let said = refused(builder().peers(["127.0.0.1:0"]));
        assert_eq!(said, "peers is 127.0.0.1:0: expected ports from 1 to 65535");
        assert_eq!(refused(builder().join()), "peers is empty: expected the founders to join");
    }

    #[cfg(any(feature = "grpc", feature = "quic"))]
    mod protection {
        use dchan_core::tls::{Authority, Tls};

        use super::*;

        fn take(mut builder: Builder) -> Result<Arc<dyn Transport>, StartError> {
            builder.addrs()?;
            builder.take_transport()
        }

        fn tls(host: &str) -> Tls {
            let authority = Authority::new().unwrap();
            let issued = authority.issue([host]).unwrap();
            let ca = authority.certificate_pem();
            Tls::from_pem(ca, issued.certificate_pem(), issued.key_pem()).unwrap()
        }

        #[test]
        fn without_certificates_a_node_stays_at_home() {
            let at = |listen: &str| Builder::new(listen.into());
            let cases = || {
                [
                    at("192.0.2.1:1"),
                    at("127.0.0.1:1").advertise("192.0.2.1:1"),
                    at("127.0.0.1:1").peers(["127.0.0.1:2", "192.0.2.1:1"]),
                ]
            };
            for builder in cases() {
                let said = take(builder).unwrap_err().to_string();
                let says = |word| said.contains(word);
                assert!(says("192.0.2.1:1") && says("`tls`") && says("`insecure`"), "{said}");
            }
            for builder in cases() {
                take(builder.insecure()).unwrap();
            }
            take(at("localhost:1").peers(["[::1]:1", "127.1.2.3:1"])).unwrap();
        }

        #[test]
        fn the_certificate_must_be_the_nodes_own() {
            let at = |listen: &str| Builder::new(listen.into()).tls(tls("192.0.2.1"));
            take(at("192.0.2.1:1").peers(["192.0.2.2:1"])).unwrap();
            take(at("0.0.0.0:1").advertise("192.0.2.1:7")).unwrap();
            for builder in [at("192.0.2.2:1"), at("192.0.2.1:1").advertise("a.shop:1").insecure()] {
                let said = take(builder).unwrap_err().to_string();
                assert!(said.starts_with("the certificate is for 192.0.2.1, and others"), "{said}");
            }
        }

        #[test]
        fn a_transport_of_ones_own_has_no_use_for_certificates() {
            let own = dchan_core::MemoryNetwork::new(1).transport(&"a:1".parse().unwrap());
            let builder = || Builder::new("a:1".into()).transport(own.clone());
            assert_eq!(take(builder()).unwrap().name(), own.name());
            assert!(matches!(take(builder().tls(tls("a"))), Err(StartError::TlsOfOwn)));
        }
    }
}
