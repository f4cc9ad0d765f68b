//! The published protocol holds: whoever has only `proto/dchan.proto` can talk to us.

use std::{convert::Infallible, time::Duration};

use bytes::{Buf, BufMut, Bytes};
use dchan_core::{
    Addr, Connection, ErrorKind, Frame, FrameBatch, LaneId, Listener, Received, Transport,
};
use http::{Uri, uri::PathAndQuery};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Streaming, body::Body, client::Grpc, server};

use crate::{
    GrpcTransport,
    codec::{self, Decoder, MAX_FRAMES},
    plain::{self, Channel},
};

fn some_frames(rng: &mut fastrand::Rng) -> Vec<Frame> {
    let frame = |rng: &mut fastrand::Rng| Frame {
        lane: LaneId(rng.u64(..) >> rng.u32(..64)),
        payload: vec![rng.u8(..); [0, 1, 127, 128, 20_000][rng.usize(..5)]].into(),
        last: rng.bool(),
    };
    (0..rng.usize(..8)).map(|_| frame(rng)).collect()
}

fn as_plain(frames: &[Frame]) -> plain::Frames {
    let frame = |frame: &Frame| plain::Frame {
        lane: frame.lane.0,
        payload: frame.payload.clone(),
        last: frame.last,
    };
    plain::Frames { frames: frames.iter().map(frame).collect() }
}

/// What is on the wire for a message of protobuf.
fn message(protobuf: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.put_u32(protobuf.len() as u32);
    bytes.extend(protobuf);
    bytes
}

fn batch_of(frames: &[Frame]) -> FrameBatch {
    let mut batch = FrameBatch::new();
    frames.iter().for_each(|frame| batch.push(frame.clone()));
    batch
}

/// Everything that can be decoded, if it comes in pieces of such lengths.
fn decoded(bytes: &[u8], mut piece: impl FnMut() -> usize) -> Result<Vec<Frame>, String> {
    let (mut decoder, mut batch) = (Decoder::default(), FrameBatch::new());
    let mut rest = Bytes::copy_from_slice(bytes);
    while !rest.is_empty() {
        decoder.push(rest.split_to(piece().clamp(1, rest.len())));
        while decoder.next(&mut batch).map_err(|error| error.to_string())? {}
    }
    Ok(std::iter::from_fn(|| batch.pop()).collect())
}

#[test]
fn the_codec_speaks_protobuf() {
    let mut rng = fastrand::Rng::with_seed(1);
    for _ in 0..500 {
        let frames = some_frames(&mut rng);
        let mut batch = batch_of(&frames);
        let ours = codec::encode(&mut batch).whole();
        assert!(batch.is_empty());
        assert_eq!((ours[0], (&ours[1..5]).get_u32() as usize), (0, ours.len() - 5));
        assert_eq!(plain::Frames::decode(&ours[5..]).unwrap(), as_plain(&frames));
        let theirs = message(&as_plain(&frames).encode_to_vec());
        for bytes in [&ours[..], &theirs] {
            assert_eq!(decoded(bytes, || usize::MAX).unwrap(), frames);
            assert_eq!(decoded(bytes, || rng.usize(..5000)).unwrap(), frames);
        }
    }
}

#[test]
fn the_published_protocol_is_the_one_that_is_spoken() {
    use protox::prost_reflect::{DescriptorPool, DynamicMessage};

    let files = protox::compile(["dchan.proto"], ["proto"]).unwrap();
    let pool = DescriptorPool::from_file_descriptor_set(files).unwrap();
    let link = pool.get_service_by_name("dchan.v1.Transport").unwrap().methods().next().unwrap();
    assert_eq!(
        crate::call::PATH,
        format!("/{}/{}", link.parent_service().full_name(), link.name())
    );
    assert!(link.is_client_streaming() && link.is_server_streaming());
    let mut rng = fastrand::Rng::with_seed(4);
    for _ in 0..100 {
        let frames = some_frames(&mut rng);
        let ours = codec::encode(&mut batch_of(&frames)).whole();
        for kind in [link.input(), link.output()] {
            let message = DynamicMessage::decode(kind, &ours[5..]).unwrap();
            assert_eq!(message.unknown_fields().count(), 0);
            assert_eq!(message.transcode_to::<plain::Frames>().unwrap(), as_plain(&frames));
        }
    }
}

#[test]
fn a_batch_becomes_messages_of_limited_size() {
    let large = Frame::new(LaneId(7), vec![1; Frame::MAX].into());
    let (empty, none) = (Frame::new(LaneId(0), Bytes::new()), Vec::new());
    for frames in [vec![large; 5], vec![empty; 2 * MAX_FRAMES + 1], none] {
        let (mut batch, mut wire) = (batch_of(&frames), Vec::new());
        loop {
            let message = codec::encode(&mut batch).whole();
            assert!(message.len() <= crate::http2::MAX_FRAME_SIZE as usize);
            wire.extend(message);
            if batch.is_empty() {
                break;
            }
        }
        assert_eq!(decoded(&wire, || 100_000).unwrap(), frames);
    }
}

#[test]
fn a_payload_is_copied_on_neither_side() {
    let payload = Bytes::from(vec![5; 50_000]);
    let message = codec::encode(&mut batch_of(&[Frame::new(LaneId(3), payload.clone())]));
    let mut slices = [std::io::IoSlice::new(&[]); 3];
    assert_eq!(message.chunks_vectored(&mut slices), 2);
    assert_eq!(slices[1].as_ptr(), payload.as_ptr());
    let whole = { message }.whole();
    let (mut decoder, mut batch) = (Decoder::default(), FrameBatch::new());
    decoder.push(whole.clone());
    assert!(decoder.next(&mut batch).unwrap());
    let end = batch.pop().unwrap().payload.as_ptr_range().end;
    assert_eq!(end, whole.as_ptr_range().end);
}

#[test]
fn what_is_malformed_is_refused_and_nothing_panics() {
    let mut rng = fastrand::Rng::with_seed(2);
    for _ in 0..20_000 {
        let mut bytes = as_plain(&some_frames(&mut rng)).encode_to_vec();
        bytes.truncate(rng.usize(..=bytes.len().min(300)));
        for _ in 0..rng.usize(..3) {
            if !bytes.is_empty() {
                let at = rng.usize(..bytes.len());
                bytes[at] = rng.u8(..);
            }
        }
        let whole = message(&bytes);
        let (at_once, in_pieces) =
            (decoded(&whole, || usize::MAX), decoded(&whole, || rng.usize(..20)));
        assert_eq!(at_once, in_pieces);
    }
    let long = Frame::new(LaneId(1), vec![0; Frame::MAX + 1].into());
    let many = vec![Frame::new(LaneId(0), Bytes::new()); MAX_FRAMES + 1];
    let plain = |frames: &[Frame]| message(&as_plain(frames).encode_to_vec());
    let compressed = [1, 0, 0, 0, 0].to_vec();
    let enormous = [0, 255, 255, 255, 255].to_vec();
    for bad in [plain(&[long]), plain(&many), message(&[0xff]), compressed, enormous] {
        assert!(decoded(&bad, || usize::MAX).is_err());
    }
}

#[test]
fn fields_of_later_versions_are_skipped() {
    // Field 9, a varint, in the frame and around it.
    const BYTES: [u8; 8] = [0x48, 1, 0x0a, 4, 0x08, 5, 0x48, 2];
    let frames = decoded(&message(&BYTES), || usize::MAX).unwrap();
    assert_eq!(frames, [Frame::new(LaneId(5), Bytes::new())]);
}

fn loopback() -> Addr {
    "127.0.0.1:0".parse().unwrap()
}

/// A listener, a foreign client's way to talk to it, and the connection as we see it.
struct Foreign {
    _listener: Box<dyn Listener>,
    say: mpsc::Sender<plain::Frames>,
    hear: Streaming<plain::Frames>,
    ours: Connection,
}

async fn foreign_client() -> Foreign {
    let mut listener = GrpcTransport::new().listen(&loopback()).await.unwrap();
    let at = listener.local_addr();
    let ours = tokio::spawn(async move {
        let ours = listener.accept().await.unwrap().ready.await.unwrap();
        (listener, ours)
    });
    let socket = TcpStream::connect(at.as_str()).await.unwrap();
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (requests, http) = builder.handshake(TokioIo::new(socket)).await.unwrap();
    tokio::spawn(http);
    let origin = Uri::try_from(format!("http://{at}")).unwrap();
    let mut client = Grpc::with_origin(Channel(requests), origin);
    client.ready().await.unwrap();
    let (say, said) = mpsc::channel(1);
    let hear = plain::link(&mut client, ReceiverStream::new(said)).await.unwrap().into_inner();
    let (listener, ours) = ours.await.unwrap();
    Foreign { _listener: listener, say, hear, ours }
}

#[tokio::test]
async fn a_foreign_client_is_understood() {
    let mut foreign = foreign_client().await;
    let frame = Frame { last: true, ..Frame::new(LaneId(17), Bytes::from_static(b"hello")) };
    foreign.say.send(plain::Frames::default()).await.unwrap();
    foreign.say.send(as_plain(std::slice::from_ref(&frame))).await.unwrap();
    let mut batch = FrameBatch::new();
    assert_eq!(foreign.ours.stream.recv(&mut batch).await.unwrap(), Received::Frames);
    assert_eq!(batch.pop(), Some(frame.clone()));

    batch.push(frame.clone());
    foreign.ours.sink.send(&mut batch).await.unwrap();
    assert_eq!(foreign.hear.message().await.unwrap(), Some(as_plain(&[frame])));

    foreign.ours.sink.close().await.unwrap();
    assert_eq!(foreign.hear.message().await.unwrap(), None);
    drop(foreign.say);
    assert_eq!(foreign.ours.stream.recv(&mut batch).await.unwrap(), Received::End);
}

#[tokio::test]
async fn too_much_in_a_message_is_a_protocol_error() {
    let frame = |len: usize| plain::Frame { payload: vec![0; len].into(), ..Default::default() };
    let over = [
        plain::Frames { frames: vec![frame(Frame::MAX + 1)] },
        plain::Frames { frames: vec![frame(0); MAX_FRAMES + 1] },
        plain::Frames { frames: vec![frame(Frame::MAX); 5] },
    ];
    for message in over {
        let mut foreign = foreign_client().await;
        foreign.say.send(message).await.unwrap();
        let error = foreign.ours.stream.recv(&mut FrameBatch::new()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Protocol, "{error:?}");
    }
}

#[tokio::test]
async fn a_foreign_server_is_understood() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = Addr::from(listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        // It sends everything back.
        let service = hyper::service::service_fn(async |request| {
            let echo = tower::service_fn(async |call: Request<Streaming<plain::Frames>>| {
                Ok(Response::new(call.into_inner()))
            });
            let codec = plain::Codec::default();
            Ok::<_, Infallible>(server::Grpc::new(codec).streaming(echo, request).await)
        });
        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        builder.serve_connection(TokioIo::new(socket), service).await
    });
    let mut ours = GrpcTransport::new().dial(&at).await.unwrap();
    let frame = Frame { last: true, ..Frame::new(LaneId(3), vec![9; Frame::MAX].into()) };
    let mut batch = FrameBatch::new();
    batch.push(frame.clone());
    ours.sink.send(&mut batch).await.unwrap();
    assert_eq!(ours.stream.recv(&mut batch).await.unwrap(), Received::Frames);
    assert_eq!(batch.pop(), Some(frame));
    ours.sink.close().await.unwrap();
    assert_eq!(ours.stream.recv(&mut batch).await.unwrap(), Received::End);
}

#[tokio::test]
async fn another_call_is_refused_and_told_why() {
    let mut listener = GrpcTransport::new().listen(&loopback()).await.unwrap();
    let at = listener.local_addr();
    let ours = tokio::spawn(async move { listener.accept().await.unwrap().ready.await });
    let socket = TcpStream::connect(at.as_str()).await.unwrap();
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (requests, http) = builder.handshake(TokioIo::new(socket)).await.unwrap();
    tokio::spawn(http);
    let mut client = Grpc::with_origin(Channel(requests), format!("http://{at}").parse().unwrap());
    client.ready().await.unwrap();
    let other = PathAndQuery::from_static("/other.Service/Method");
    let call = Request::new(futures::stream::pending::<plain::Frames>());
    let refused = client.streaming::<_, _, plain::Frames, _>(call, other, plain::Codec::default());
    let status = refused.await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    assert!(status.message().contains("/dchan.v1.Transport/Link"), "{status}");
    // The right one is welcome still.
    let _said = plain::link(&mut client, futures::stream::pending()).await.unwrap();
    ours.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_server_of_something_else_is_no_peer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = Addr::from(listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let service = hyper::service::service_fn(async |_| {
            let answer = http::Response::builder().status(404).body(Body::empty());
            Ok::<_, Infallible>(answer.unwrap())
        });
        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        builder.serve_connection(TokioIo::new(socket), service).await
    });
    let error = GrpcTransport::new().dial(&at).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(error.source.unwrap().to_string().contains("404"));
}

#[tokio::test]
async fn plain_text_stays_at_home() {
    let everywhere: Addr = "0.0.0.0:0".parse().unwrap();
    let elsewhere: Addr = "192.0.2.1:9".parse().unwrap();
    let transport = GrpcTransport::new();
    for error in [
        transport.listen(&everywhere).await.unwrap_err(),
        transport.dial(&elsewhere).await.unwrap_err(),
    ] {
        assert_eq!(error.kind, ErrorKind::Refused);
        let said = error.source.unwrap().to_string();
        assert!(said.contains("tls()") && said.contains("insecure()"), "{said}");
    }
    assert!(GrpcTransport::new().insecure().listen(&everywhere).await.is_ok());
}

/// A listener that drops connections at any moment of their beginning.
async fn capricious() -> Addr {
    let mut listener = GrpcTransport::new().listen(&"127.0.0.1:0".parse().unwrap()).await.unwrap();
    let addr = listener.local_addr();
    tokio::spawn(async move {
        let mut count = 0;
        while let Ok(incoming) = listener.accept().await {
            count += 1;
            let while_it_lasts = Duration::from_micros(fastrand::u64(0..3000));
            tokio::spawn(async move {
                match count % 3 {
                    0 => drop(incoming),
                    1 => drop(timeout(while_it_lasts, incoming.ready).await),
                    _ => {
                        let connection = incoming.ready.await;
                        tokio::time::sleep(while_it_lasts).await;
                        drop(connection);
                    }
                }
            });
        }
    });
    addr
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dial_ends_with_its_connection_and_so_does_receiving() {
    const LONG: Duration = Duration::from_secs(60);
    let (addr, transport) = (capricious().await, GrpcTransport::new());
    let dial = async || {
        if let Ok(mut connection) = transport.dial(&addr).await {
            while let Ok(Received::Frames) = connection.stream.recv(&mut FrameBatch::new()).await {}
        }
    };
    for round in 0..400 {
        let dials = futures::future::join_all((0..32).map(|_| dial()));
        assert!(timeout(LONG, dials).await.is_ok(), "in round {round}, one never ended");
    }
}
