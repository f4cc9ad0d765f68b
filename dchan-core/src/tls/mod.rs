//! TLS for transports: who this node is, and whom it believes.
//!
//! A cluster has a certificate authority of its own, and each node a certificate from it, for the host of
//! the address that the node advertises. Both ends of a connection show theirs ([`Tls`]); core compares
//! the name with what the peer says of itself. [`Authority`] makes such certificates.
//!
//! A transport asks [`Tls::client`] and [`Tls::server`] anew for each connection, so that renewed certificates
//! count, and reports who the peer has proved to be: [`identity_of`].
//!
//! ```
//! use dchan_core::tls::{Authority, Tls};
//!
//! let authority = Authority::new()?;
//! let issued = authority.issue(["127.0.0.1"])?;
//! let tls = Tls::from_pem(authority.certificate_pem(), issued.certificate_pem(), issued.key_pem())?;
//! assert_eq!(tls.names(), ["127.0.0.1"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod authority;
mod config;
mod error;
mod identity;
mod material;
mod throw_away;

pub use authority::{Authority, Issued};
pub use config::Tls;
pub use error::{AuthorityError, TlsError};
pub use identity::{explain, identity_of};
pub use throw_away::ThrowAway;

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};

/// The algorithms of all connections: one provider for all, however the program that we are part of has
/// set its own.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
