use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use time::{Duration, OffsetDateTime};

use super::AuthorityError;

/// How long the authority of a cluster is good.
const YEARS: Duration = Duration::days(3650);
/// How long a node's certificate is good, unless said otherwise.
const YEAR: Duration = Duration::days(365);
/// Clocks differ: a certificate is good from a while ago.
const SKEW: Duration = Duration::hours(1);

/// The certificate authority of one cluster. Whoever has its key can be any node.
#[derive(Debug)]
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate of one node, and its key.
#[derive(Clone, Debug)]
pub struct Issued {
    certificate: String,
    key: String,
}

impl Authority {
    /// A new authority, good for ten years.
    ///
    /// # Errors
    ///
    /// The system has no good randomness.
    pub fn new() -> Result<Self, AuthorityError> {
        let key = KeyPair::generate()?;
        // Two authorities of one name would be taken for each other, until a signature is wrong.
        let mut params = params(&format!("dchan authority {:016x}", fastrand::u64(..)), YEARS);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { certificate, issuer: Issuer::new(params, key) })
    }

    /// An authority that was made before.
    ///
    /// # Errors
    ///
    /// They are not a certificate and a key, in PEM.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, AuthorityError> {
        let unusable = |what| move |source| AuthorityError::Unusable { what, source };
        let key = KeyPair::from_pem(key).map_err(unusable("key"))?;
        let issuer = Issuer::from_ca_cert_pem(certificate, key).map_err(unusable("certificate"))?;
        Ok(Self { certificate: certificate.to_owned(), issuer })
    }

    /// A certificate for a node at these hosts, good for a year.
    ///
    /// # Errors
    ///
    /// There is no host, or one that is none.
    pub fn issue(
        &self,
        hosts: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Issued, AuthorityError> {
        let now = OffsetDateTime::now_utc();
        self.issue_between(hosts, now - SKEW, now + YEAR)
    }

    /// A certificate that is good from one time to another.
    ///
    /// # Errors
    ///
    /// There is no host, or one that is none.
    pub fn issue_between(
        &self,
        hosts: impl IntoIterator<Item = impl AsRef<str>>,
        from: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<Issued, AuthorityError> {
        let names: Result<Vec<_>, _> = hosts.into_iter().map(|host| name(host.as_ref())).collect();
        let names = names?;
        if names.is_empty() {
            return Err(AuthorityError::NoHost);
        }
        let mut params = params("dchan node", YEAR);
        (params.not_before, params.not_after) = (from, until);
        params.subject_alt_names = names;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Issued { certificate, key: key.serialize_pem() })
    }

    /// Its certificate, in PEM: every node has it.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate
    }

    /// Its key, in PEM: no node needs it.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }
}

impl Issued {
    /// The certificate, in PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate
    }

    /// Its key, in PEM.
    pub fn key_pem(&self) -> &str {
        &self.key
    }
}

fn params(name: &str, good: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let now = OffsetDateTime::now_utc();
    (params.not_before, params.not_after) = (now - SKEW, now + good);
    params
}

fn name(host: &str) -> Result<SanType, AuthorityError> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(ip));
    }
    let refused = || AuthorityError::Host { host: host.to_owned() };
    // The same hosts as in an address.
    let dns = format!("{host}:0").parse::<crate::Addr>().is_ok() && !host.starts_with('[');
    if !dns {
        return Err(refused());
    }
    Ok(SanType::DnsName(host.try_into().map_err(|_| refused())?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::Tls;

    #[test]
    fn certificates_are_for_the_hosts_they_were_issued_for() {
        let authority = Authority::new().unwrap();
        let again = Authority::from_pem(authority.certificate_pem(), &authority.key_pem()).unwrap();
        for authority in [&authority, &again] {
            let issued = authority.issue(["node-1.shop", "10.0.0.1", "::1"]).unwrap();
            let ca = authority.certificate_pem();
            let tls = Tls::from_pem(ca, issued.certificate_pem(), issued.key_pem()).unwrap();
            assert_eq!(tls.names(), ["node-1.shop", "10.0.0.1", "::1"]);
        }
    }

    #[test]
    fn what_is_no_host_is_named() {
        let authority = Authority::new().unwrap();
        let said = |hosts: &[&str]| authority.issue(hosts).unwrap_err().to_string();
        assert_eq!(said(&[]), "no host to make a certificate for: expected at least one");
        for host in ["", "a:1", "[::1]", "a b", "../x"] {
            assert!(said(&["a", host]).contains(&format!("{host:?} is not a host")), "{host}");
        }
    }

    #[test]
    fn a_key_of_another_is_refused() {
        let authority = Authority::new().unwrap();
        let [one, other] = [authority.issue(["a"]).unwrap(), authority.issue(["a"]).unwrap()];
        let refused =
            Tls::from_pem(authority.certificate_pem(), one.certificate_pem(), other.key_pem());
        assert!(refused.unwrap_err().to_string().contains("the certificate and its key"));
        let no_key = Tls::from_pem(authority.certificate_pem(), one.certificate_pem(), "");
        assert!(no_key.unwrap_err().to_string().contains("expected a private key in PEM"));
    }
}
