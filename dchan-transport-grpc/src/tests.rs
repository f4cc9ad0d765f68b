//! The published protocol holds: whoever has only `proto/dchan.proto` can talk to us.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use dchan_core::{
    Addr, Connection, ErrorKind, Frame, FrameBatch, LaneId, Listener, Received, Transport,
};
use futures::StreamExt;
use http::Uri;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    GrpcTransport,
    codec::{self, Frames},
    http2::Channel,
    plain::{self, transport_client::TransportClient, transport_server},
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

#[test]
fn the_codec_speaks_protobuf() {
    let mut rng = fastrand::Rng::with_seed(1);
    for _ in 0..500 {
        let frames = some_frames(&mut rng);
        let mut ours = BytesMut::new();
        frames.iter().for_each(|frame| codec::put(frame, &mut ours));
        let plain = as_plain(&frames);
        assert_eq!(ours, plain.encode_to_vec());
        assert_eq!(codec::decode(ours.freeze()).unwrap(), Frames(frames));
    }
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
        let _ = codec::decode(bytes.into());
    }
    let long = Frame::new(LaneId(1), vec![0; Frame::MAX + 1].into());
    let many = vec![Frame::new(LaneId(0), Bytes::new()); Frames::MAX_FRAMES + 1];
    for bad in [as_plain(&[long]).encode_to_vec(), as_plain(&many).encode_to_vec(), vec![0xff]] {
        assert!(codec::decode(bad.into()).is_err());
    }
}

#[test]
fn fields_of_later_versions_are_skipped() {
    // Field 9, a varint, in the frame and around it.
    const BYTES: [u8; 8] = [0x48, 1, 0x0a, 4, 0x08, 5, 0x48, 2];
    let frames = codec::decode(Bytes::from_static(&BYTES)).unwrap();
    assert_eq!(frames, Frames(vec![Frame::new(LaneId(5), Bytes::new())]));
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
    let mut client = TransportClient::with_origin(Channel(requests), origin);
    let (say, said) = mpsc::channel(1);
    let hear = client.link(ReceiverStream::new(said)).await.unwrap().into_inner();
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
        plain::Frames { frames: vec![frame(0); Frames::MAX_FRAMES + 1] },
        plain::Frames { frames: vec![frame(Frame::MAX); 5] },
    ];
    for message in over {
        let mut foreign = foreign_client().await;
        foreign.say.send(message).await.unwrap();
        let error = foreign.ours.stream.recv(&mut FrameBatch::new()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Protocol, "{error:?}");
    }
}

/// A foreign server that sends everything back.
struct Echo;

#[tonic::async_trait]
impl transport_server::Transport for Echo {
    type LinkStream = futures::stream::BoxStream<'static, Result<plain::Frames, Status>>;

    async fn link(
        &self,
        call: Request<Streaming<plain::Frames>>,
    ) -> Result<Response<Self::LinkStream>, Status> {
        Ok(Response::new(call.into_inner().boxed()))
    }
}

#[tokio::test]
async fn a_foreign_server_is_understood() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = Addr::from(listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let service = hyper_util::service::TowerToHyperService::new(
            transport_server::TransportServer::new(Echo),
        );
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
