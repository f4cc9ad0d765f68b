use std::{fmt, net::SocketAddr, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// Where a node can be reached: `host:port`, checked, without a scheme.
///
/// The host is a DNS name, an IPv4 address, or an IPv6 address in brackets.
///
/// ```
/// use dchan_core::Addr;
///
/// let addr: Addr = "127.0.0.1:7001".parse()?;
/// assert_eq!((addr.host(), addr.port()), ("127.0.0.1", 7001));
/// assert!("7001".parse::<Addr>().is_err());
/// # Ok::<(), dchan_core::AddrError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Addr(Arc<str>);

impl Addr {
    /// The length of the longest address, in bytes: a DNS name has at most 253.
    pub const MAX: usize = 260;

    /// The host, without the brackets of an IPv6 address: a name for TLS.
    pub fn host(&self) -> &str {
        let (host, _) = split(&self.0).unwrap_or((&self.0, ""));
        host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        split(&self.0).and_then(|(_, port)| port.parse().ok()).unwrap_or(0)
    }

    /// The same host with another port.
    #[must_use]
    pub fn with_port(&self, port: u16) -> Self {
        let host = split(&self.0).map_or(&*self.0, |(host, _)| host);
        Self(format!("{host}:{port}").into())
    }

    /// Whether only processes of the same machine can reach it: an IP address of the loopback range,
    /// or `localhost`.
    pub fn is_loopback(&self) -> bool {
        match self.host().parse::<std::net::IpAddr>() {
            Ok(ip) => ip.is_loopback(),
            Err(_) => self.host().eq_ignore_ascii_case("localhost"),
        }
    }

    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn split(text: &str) -> Option<(&str, &str)> {
    text.rsplit_once(':')
}

/// Why a text is not an [`Addr`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an address: expected host:port, {reason}")]
pub struct AddrError {
    text: String,
    reason: &'static str,
}

impl FromStr for Addr {
    type Err = AddrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |reason| {
            // What a peer sent is not echoed at any length.
            Err(AddrError { text: text.chars().take(Self::MAX).collect(), reason })
        };
        if text.len() > Self::MAX {
            return refuse("at most 260 bytes");
        }
        let Some((host, port)) = split(text) else {
            return refuse("but there is no colon");
        };
        if port.parse::<u16>().is_err() || !port.bytes().all(|b| b.is_ascii_digit()) {
            return refuse("with a port from 0 to 65535");
        }
        let known = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
            Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                !host.is_empty()
                    && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
            }
        };
        if known {
            Ok(Self(text.into()))
        } else {
            refuse("with a DNS name, an IPv4 address or an IPv6 address in brackets as the host")
        }
    }
}

impl TryFrom<String> for Addr {
    type Error = AddrError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl TryFrom<&str> for Addr {
    type Error = AddrError;
    fn try_from(text: &str) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Addr> for String {
    fn from(addr: Addr) -> Self {
        addr.0.as_ref().into()
    }
}

impl From<SocketAddr> for Addr {
    fn from(addr: SocketAddr) -> Self {
        Self(addr.to_string().into())
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked() {
        for good in ["127.0.0.1:0", "[::1]:7001", "node-1.shop.internal:65535", "localhost:1"] {
            assert_eq!(good.parse::<Addr>().unwrap().to_string(), good);
        }
        for bad in
            ["", "7001", "host:", ":1", "host:65536", "host:+1", "http://host:1", "::1:80", "a b:1"]
        {
            assert!(bad.parse::<Addr>().is_err(), "{bad}");
        }
    }

    #[test]
    fn parts_are_found() {
        let addr: Addr = "[::1]:7001".parse().unwrap();
        assert_eq!((addr.host(), addr.port()), ("::1", 7001));
        assert!(addr.is_loopback());
        assert_eq!(addr.with_port(9).to_string(), "[::1]:9");
        assert!(!"0.0.0.0:1".parse::<Addr>().unwrap().is_loopback());
    }
}
