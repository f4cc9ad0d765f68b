//! gRPC transport for dchan.
