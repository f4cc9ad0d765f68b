//! Channels that span a cluster.
