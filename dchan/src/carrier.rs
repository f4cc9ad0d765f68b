use std::sync::Arc;

use dchan_core::Transport;

/// What carries the messages of a node.
#[derive(Debug)]
pub(crate) enum Carrier {
    /// One's own, which decides for itself what it does.
    Own(Arc<dyn Transport>),
    /// One of ours.
    #[cfg(any(feature = "grpc", feature = "quic"))]
    Ours(Ours),
}

impl Carrier {
    /// What is used if nothing is chosen, if there is anything.
    pub(crate) fn first() -> Option<Self> {
        #[cfg(feature = "grpc")]
        let first = Some(Self::Ours(Ours::Grpc));
        #[cfg(all(feature = "quic", not(feature = "grpc")))]
        let first = Some(Self::Ours(Ours::Quic));
        #[cfg(not(any(feature = "grpc", feature = "quic")))]
        let first = None;
        first
    }
}

#[cfg(any(feature = "grpc", feature = "quic"))]
pub(crate) use ours::{Ours, Protection};

#[cfg(any(feature = "grpc", feature = "quic"))]
mod ours {
    use std::sync::Arc;

    use dchan_core::{Addr, Transport, tls::Tls};

    use crate::StartError;

    /// The transports that dchan comes with.
    #[derive(Clone, Copy, Debug)]
    pub(crate) enum Ours {
        #[cfg(feature = "grpc")]
        Grpc,
        #[cfg(feature = "quic")]
        Quic,
    }

    /// How one of them is protected.
    #[derive(Debug, Default)]
    pub(crate) struct Protection {
        pub(crate) tls: Option<Tls>,
        pub(crate) insecure: bool,
    }

    impl Ours {
        pub(crate) fn with(self, Protection { tls, insecure }: Protection) -> Arc<dyn Transport> {
            // They have the same methods.
            macro_rules! protected {
                ($transport:expr) => {{
                    let transport = $transport;
                    let transport = if insecure { transport.insecure() } else { transport };
                    Arc::new(if let Some(tls) = tls { transport.tls(tls) } else { transport })
                }};
            }
            match self {
                #[cfg(feature = "grpc")]
                Self::Grpc => protected!(dchan_transport_grpc::GrpcTransport::new()),
                #[cfg(feature = "quic")]
                Self::Quic => protected!(dchan_transport_quic::QuicTransport::new()),
            }
        }
    }

    impl Protection {
        /// Whether it is enough for a node that others reach at `me`, and for its peers. The transports
        /// refuse the same, but one by one, when the node is long under way.
        pub(crate) fn check<'a>(
            &self,
            me: &'a Addr,
            others: impl IntoIterator<Item = &'a Addr>,
        ) -> Result<(), StartError> {
            let host = me.host();
            match &self.tls {
                Some(tls) if tls.is_for(host) => Ok(()),
                Some(tls) => {
                    Err(StartError::Certificate { names: tls.names(), host: host.to_owned() })
                }
                None if self.insecure => Ok(()),
                None => match [me].into_iter().chain(others).find(|addr| !addr.is_loopback()) {
                    Some(addr) => Err(StartError::Unprotected { addr: addr.clone() }),
                    None => Ok(()),
                },
            }
        }
    }
}
