//! Bare calls of gRPC, under the settings of HTTP/2 that dchan's own have.

mod connection;
mod payload;
mod stream;
mod unary;

use http::uri::PathAndQuery;

pub(super) use payload::{Batch, Item};
pub(super) use stream::Streamed;
pub(super) use unary::Unary;

/// The one method that there is.
const METHOD: PathAndQuery = PathAndQuery::from_static("/bench.Bench/Carry");
