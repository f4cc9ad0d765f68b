use std::sync::{Arc, OnceLock};

use dchan_core::{
    Addr, ErrorKind, Identity, TransportError,
    tls::{ThrowAway, Tls, identity_of},
};
use quinn::{
    ClientConfig, ServerConfig,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use rustls::pki_types::CertificateDer;

use crate::tuning;

/// What is spoken over QUIC: both ends must say the same.
const PROTOCOL: &[u8] = b"dchan-quic/1";
/// Peers that may wait to be accepted. What they have sent is kept, up to a bound each and in all.
const KNOCKING: usize = 1024;
const KNOCKING_BYTES: u64 = 16 << 10;
const KNOCKING_BYTES_ALL: u64 = 4 << 20;

/// How the ends of a connection prove who they are, if they do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Security {
    tls: Option<Tls>,
    throw_away: Arc<OnceLock<ThrowAway>>,
    insecure: bool,
}

impl Security {
    pub(crate) fn own(&mut self, tls: Tls) {
        self.tls = Some(tls);
    }

    pub(crate) fn insecure(&mut self) {
        self.insecure = true;
    }

    /// For a connection that this node dials.
    pub(crate) fn client(
        &self,
        operation: &'static str,
        to: &Addr,
    ) -> Result<ClientConfig, TransportError> {
        let config = match &self.tls {
            Some(tls) => tls.client(PROTOCOL),
            None => {
                self.is_allowed(operation, to)?;
                self.throw_away(operation, to)?.client(PROTOCOL)
            }
        };
        let config = QuicClientConfig::try_from(config).map_err(refused(operation, to))?;
        let mut config = ClientConfig::new(Arc::new(config));
        config.transport_config(tuning::config());
        Ok(config)
    }

    /// For connections that come in. Certificates may have been renewed: each one asks anew.
    pub(crate) fn server(
        &self,
        operation: &'static str,
        with: &Addr,
    ) -> Result<ServerConfig, TransportError> {
        let config = match &self.tls {
            Some(tls) => tls.server(PROTOCOL),
            None => self.throw_away(operation, with)?.server(PROTOCOL),
        };
        let config = QuicServerConfig::try_from(config).map_err(refused(operation, with))?;
        let mut config = ServerConfig::with_crypto(Arc::new(config));
        config
            .transport_config(tuning::config())
            .max_incoming(KNOCKING)
            .incoming_buffer_size(KNOCKING_BYTES)
            .incoming_buffer_size_total(KNOCKING_BYTES_ALL);
        Ok(config)
    }

    /// Without certificates, other machines are kept out.
    pub(crate) fn is_allowed(
        &self,
        operation: &'static str,
        addr: &Addr,
    ) -> Result<(), TransportError> {
        if self.tls.is_some() || self.insecure || addr.is_loopback() {
            return Ok(());
        }
        Err(TransportError::new(ErrorKind::Refused, operation, addr).because(
            "without certificates there are only loopback addresses: give QuicTransport::tls() the \
             cluster's authority and a certificate for this node, or do without any proof with \
             QuicTransport::insecure()",
        ))
    }

    /// Who the peer has proved to be.
    pub(crate) fn identity(&self, connection: &quinn::Connection) -> Option<Identity> {
        self.tls.as_ref()?;
        let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
        identity_of(&chain)
    }

    fn throw_away(
        &self,
        operation: &'static str,
        with: &Addr,
    ) -> Result<&ThrowAway, TransportError> {
        if let Some(made) = self.throw_away.get() {
            return Ok(made);
        }
        let made = ThrowAway::new().map_err(refused(operation, with))?;
        Ok(self.throw_away.get_or_init(|| made))
    }
}

fn refused<E: std::error::Error + Send + Sync + 'static>(
    operation: &'static str,
    with: &Addr,
) -> impl FnOnce(E) -> TransportError {
    move |error| TransportError::new(ErrorKind::Refused, operation, with).because(error)
}
