//! How HTTP/2 is set up, on both sides. It is no part of the interface: `dchan-benches` measures bare
//! calls under the same settings.

use h2::{client, server};

/// How much a peer may send before this side has read it, in bytes: on a stream, and on a connection.
/// Small windows stall: a round trip passes before more may come.
pub const STREAM_WINDOW: u32 = 4 << 20;
/// See [`STREAM_WINDOW`].
pub const CONNECTION_WINDOW: u32 = 8 << 20;
/// How large a piece of HTTP/2 is, in bytes: room for a whole message as a rule. The default of 16 KiB
/// costs a third of the throughput.
pub const MAX_FRAME_SIZE: u32 = 256 * 1024;
/// How much HTTP/2 holds back on the sending side, in bytes.
pub const SEND_BUFFER: usize = 256 * 1024;
/// How many bytes of headers a call may have.
const MAX_HEADERS: u32 = 16 * 1024;

/// The side that dials.
pub(crate) fn client() -> client::Builder {
    let mut builder = client::Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME_SIZE)
        .max_send_buffer_size(SEND_BUFFER)
        .max_header_list_size(MAX_HEADERS)
        .enable_push(false);
    builder
}

/// The side that is dialled: one call a connection.
pub(crate) fn server() -> server::Builder {
    let mut builder = server::Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME_SIZE)
        .max_send_buffer_size(SEND_BUFFER)
        .max_header_list_size(MAX_HEADERS)
        .max_concurrent_streams(1);
    builder
}
