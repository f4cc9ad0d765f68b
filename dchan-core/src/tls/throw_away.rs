use std::sync::Arc;

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime},
    version::TLS13,
};

use super::{TlsError, material::unusable, provider};

/// Encryption without proof of anything, for a transport that cannot do without: a key that is made now
/// and kept nowhere, and belief in whoever answers. Good for addresses that nobody else can reach.
#[derive(Clone, Debug)]
pub struct ThrowAway {
    client: ClientConfig,
    server: ServerConfig,
}

impl ThrowAway {
    /// Makes a key.
    ///
    /// # Errors
    ///
    /// The system has no good randomness.
    pub fn new() -> Result<Self, TlsError> {
        let what = "a throw-away key";
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
        let made = made.map_err(|source| unusable(what, source))?;
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())
            .map_err(|reason| TlsError::Pem { what, expected: "a key", reason: reason.into() })?;
        let mut client = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(|source| unusable("TLS 1.3", source))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Credulous(provider())))
            .with_no_client_auth();
        client.resumption = Resumption::disabled();
        let server = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(|source| unusable("TLS 1.3", source))?
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .map_err(|source| unusable(what, source))?;
        Ok(Self { client, server })
    }

    /// For a connection that this node dials.
    pub fn client(&self, protocol: &[u8]) -> ClientConfig {
        let mut client = self.client.clone();
        client.alpn_protocols = vec![protocol.to_vec()];
        client
    }

    /// For a connection that comes in.
    pub fn server(&self, protocol: &[u8]) -> ServerConfig {
        let mut server = self.server.clone();
        server.alpn_protocols = vec![protocol.to_vec()];
        server
    }
}

/// Believes whoever answers.
#[derive(Debug)]
struct Credulous(Arc<CryptoProvider>);

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
