//! How QUIC is set up. `dchan-benches` measures it beside gRPC and TCP.

use std::{sync::Arc, time::Duration};

use quinn::{EndpointConfig, MtuDiscoveryConfig, TransportConfig, VarInt};

/// The streams that one direction has at one time. Lanes beyond share one of them.
pub(crate) const STREAMS: u32 = 1024;
/// How much a peer may send on one stream before this side has read it, in bytes. It is less than
/// [`SEND_WINDOW`], so that one lane whose packet is lost leaves room for the others.
const STREAM_WINDOW: u32 = 3 << 20;
/// The same for all streams together: more than a peer's windows, so that the reserve is of use.
const CONNECTION_WINDOW: u32 = 12 << 20;
/// How much this side sends before it is acknowledged, in bytes, on all lanes together.
pub(crate) const SEND_WINDOW: u64 = 6 << 20;
/// How much may be sent beyond that on the lane of requests, and twice of it on that of control.
pub(crate) const RESERVE: u64 = 1 << 20;
/// A connection that hears nothing for so long is broken. Core's heartbeat decides before that.
const IDLE: Duration = Duration::from_secs(12);
/// How often a connection without traffic says that it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(3);
/// The largest packet that is tried, in bytes, for loopback and networks with jumbo frames. What a path does not
/// carry is found out by probes that may be lost. quinn hands ten packets at a time to the system, which takes
/// no more than 65,507 bytes.
pub(crate) const MTU: u16 = 6550;

/// The settings of all sockets. How large a packet each end takes it tells the other one.
pub(crate) fn endpoint() -> EndpointConfig {
    let mut config = EndpointConfig::default();
    // An error means that it is too small for QUIC.
    let _large_enough = config.max_udp_payload_size(MTU);
    config
}

/// The settings of all connections.
pub(crate) fn config() -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(MTU);
    config
        .max_concurrent_uni_streams(STREAMS.into())
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .send_window(SEND_WINDOW)
        .max_idle_timeout(IDLE.try_into().ok())
        .keep_alive_interval(Some(KEEP_ALIVE))
        .mtu_discovery_config(Some(mtu));
    Arc::new(config)
}
