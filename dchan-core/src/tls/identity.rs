use std::net::IpAddr;

use crate::Identity;
use rustls::pki_types::CertificateDer;
use x509_parser::{extensions::GeneralName, prelude::FromDer, prelude::X509Certificate};

/// Who the owner of a chain of certificates is, that has been verified.
pub fn identity_of(chain: &[CertificateDer<'_>]) -> Option<Identity> {
    let first = chain.first()?;
    let certificate = first.as_ref().to_vec().into();
    Some(Identity { names: names_of(first), certificate })
}

/// The hosts that a certificate is for.
pub(super) fn names_of(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let Ok(Some(names)) = parsed.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(octets) => ip(octets).map(|ip| ip.to_string()),
        _ => None,
    };
    names.value.general_names.iter().filter_map(name).collect()
}

fn ip(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()
}

/// What an alert of TLS means for somebody who runs a cluster. Peers send the number only.
pub fn explain(alert: u8) -> &'static str {
    match alert {
        42 | 46 => {
            "the peer does not accept our certificate: is it for the host that the peer dialled?"
        }
        45 => "the peer says that our certificate is expired, or not valid yet",
        48 | 51 => "the peer does not know the authority that made our certificate",
        116 => "the peer asks for a certificate, and this node has none",
        120 => "the peer speaks another protocol",
        _ => "the peer refused our part of the TLS handshake",
    }
}
