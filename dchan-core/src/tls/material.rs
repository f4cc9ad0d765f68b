use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::Resumption,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
    version::TLS13,
};

use super::{TlsError, identity::names_of, provider};

/// What a node shows and believes, at one time.
#[derive(Debug)]
pub(super) struct Material {
    pub(super) client: ClientConfig,
    pub(super) server: ServerConfig,
    pub(super) names: Vec<String>,
}

impl Material {
    /// Checks everything, alone and together.
    pub(super) fn new(ca: &[u8], certificate: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for root in certificates("the authority", ca)? {
            let added = roots.add(root);
            added.map_err(|source| unusable("the certificate of the authority", source))?;
        }
        let chain = certificates("the certificate", certificate)?;
        let names = chain.first().map(names_of).unwrap_or_default();
        if names.is_empty() {
            return Err(TlsError::Nameless);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| TlsError::Pem {
            what: "the key",
            expected: "a private key",
            reason: error.to_string(),
        })?;
        let roots = Arc::new(roots);
        let client = client(roots.clone(), chain.clone(), key.clone_key())?;
        Ok(Self { client, server: server(roots, chain, key)?, names })
    }
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let error = |reason| TlsError::Pem { what, expected: "certificates", reason };
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|source| error(source.to_string()))?;
    if all.is_empty() { Err(error("there is none".into())) } else { Ok(all) }
}

fn client(
    roots: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, TlsError> {
    let mut client = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(|source| unusable("TLS 1.3", source))?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(|source| unusable("the certificate and its key", source))?;
    // A session that is resumed checks no certificate again.
    client.resumption = Resumption::disabled();
    Ok(client)
}

fn server(
    roots: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, TlsError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
    let verifier = verifier.map_err(|source| unusable("the authority", source))?;
    let mut server = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(|source| unusable("TLS 1.3", source))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|source| unusable("the certificate and its key", source))?;
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    Ok(server)
}

pub(super) fn unusable(
    what: &'static str,
    source: impl std::error::Error + Send + Sync + 'static,
) -> TlsError {
    TlsError::Unusable { what, source: source.into() }
}
