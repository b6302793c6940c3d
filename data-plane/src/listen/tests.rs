//! Connections with and without manners, over real sockets.

use std::{
    num::NonZeroUsize,
    sync::atomic::{AtomicU32, Ordering},
};

use http_body_util::BodyExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinHandle,
    time::Instant,
};

use super::*;
use crate::{
    attempt::tests::upstream::{Step, Upstream, stream_of, then},
    http::tests::{Draft, recorded, unconfigured},
    options::Drain,
    workers::Workers,
};

const PROMPTLY: Duration = Duration::from_secs(10);
const HEALTHZ: &str = "GET /healthz HTTP/1.1\r\nhost: gateway\r\n\r\n";

/// A listener at work.
struct Served {
    address: SocketAddr,
    door: Arc<Door>,
    closing: CancellationToken,
    _workers: Workers,
    accepting: JoinHandle<()>,
}

impl Served {
    async fn with(limits: Limits) -> Self {
        Self::behind(unconfigured(limits)).await
    }

    async fn behind(door: Arc<Door>) -> Self {
        Self::with_tls(None, door).await
    }

    async fn with_tls(tls: Option<&Tls>, door: Arc<Door>) -> Self {
        let listener = Listener::bind(([127, 0, 0, 1], 0).into(), tls, door.limits).await.unwrap();
        let (address, closing) = (listener.local_addr(), CancellationToken::new());
        let workers = Workers::start(NonZeroUsize::new(2)).unwrap();
        let accepting = tokio::spawn(listener.accept(Arc::clone(&door), workers.roster(), closing.clone()));
        Self { address, door, closing, _workers: workers, accepting }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Everything that is said until the connection is closed, in answer to these bytes.
    async fn answers(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes.as_ref()).await.unwrap();
        until_closed(&mut stream).await
    }
}

async fn until_closed(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    let closed = timeout(PROMPTLY, stream.read_to_end(&mut said)).await.expect("the connection is closed in time");
    // A reset is a close too.
    closed.map_or_else(|error| assert_eq!(error.kind(), io::ErrorKind::ConnectionReset), drop);
    String::from_utf8_lossy(&said).into_owned()
}

/// Reads until the bytes end so.
async fn read_until(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut said = Vec::new();
    while !said.ends_with(end.as_bytes()) {
        let read = timeout(PROMPTLY, stream.read_buf(&mut said)).await.expect("more comes in time").unwrap();
        assert!(read > 0, "closed after {}", String::from_utf8_lossy(&said));
    }
    String::from_utf8(said).unwrap()
}

fn quick() -> Limits {
    Limits { header_time: Duration::from_millis(200), idle_time: Duration::from_millis(400), ..Limits::default() }
}

#[tokio::test]
async fn a_connection_carries_one_request_after_another() {
    let served = Served::with(Limits::default()).await;
    let mut stream = served.connect().await;
    for _ in 0..3 {
        stream.write_all(HEALTHZ.as_bytes()).await.unwrap();
        assert!(read_until(&mut stream, "}").await.starts_with("HTTP/1.1 200 OK\r\n"));
    }
}

#[tokio::test]
async fn pipelined_answers_stay_in_order() {
    let served = Served::with(Limits::default()).await;
    let nowhere = "GET /%2e%2e HTTP/1.1\r\nhost: gateway\r\n\r\n";
    let last = "GET /healthz HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n";
    let answers = served.answers([HEALTHZ, nowhere, last].concat()).await;
    let statuses: Vec<_> = answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["200", "400", "200"]);
}

#[tokio::test]
async fn slow_headers_are_answered_408_and_closed() {
    let served = Served::with(quick()).await;
    let answer = served.answers("GET /healthz HTTP/1.1\r\nhost: gate").await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("request_timeout"), "{answer}");
}

#[tokio::test]
async fn silence_is_closed_without_a_word() {
    let served = Served::with(quick()).await;
    assert_eq!(served.answers("").await, "", "before the first request");
    let mut stream = served.connect().await;
    stream.write_all(HEALTHZ.as_bytes()).await.unwrap();
    read_until(&mut stream, "}").await;
    assert_eq!(until_closed(&mut stream).await, "", "after a request");
}

#[tokio::test]
async fn a_kept_connection_has_the_header_time_anew_for_each_request() {
    let served = Served::with(quick()).await;
    let mut stream = served.connect().await;
    stream.write_all(HEALTHZ.as_bytes()).await.unwrap();
    read_until(&mut stream, "}").await;
    stream.write_all(b"GET /healthz").await.unwrap();
    assert!(until_closed(&mut stream).await.starts_with("HTTP/1.1 408 "));
}

#[tokio::test]
async fn a_request_under_way_is_not_timed_by_the_connection() {
    let upstream = Upstream::play([vec![Step::Hang]]).await;
    let served = Served::behind(Draft::default().route(upstream.address, false).door(quick())).await;
    let mut stream = served.connect().await;
    stream.write_all(b"GET /there HTTP/1.1\r\nhost: gateway\r\n\r\n").await.unwrap();
    upstream.has_seen(1).await;
    let longer_than_any_clock = 2 * (quick().header_time + quick().idle_time);
    assert!(timeout(longer_than_any_clock, stream.read_u8()).await.is_err(), "neither answered nor closed");
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_cancels_the_upstream() {
    let upstream = Upstream::play([vec![Step::Hang]]).await;
    let served = Served::behind(Draft::default().route(upstream.address, false).door(Limits::default())).await;
    let mut stream = served.connect().await;
    stream.write_all(b"GET /there HTTP/1.1\r\nhost: gateway\r\n\r\n").await.unwrap();
    upstream.has_seen(1).await;
    drop(stream);
    upstream.was_left(1).await;
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_its_body_is_recorded_as_gone() {
    let served = Served::behind(Draft::default().client_key().door(Limits::default())).await;
    let mut stream = served.connect().await;
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nx-api-key: sb_test\r\ncontent-type: application/json\r\n";
    stream.write_all(format!("{head}expect: 100-continue\r\ncontent-length: 9\r\n\r\n").as_bytes()).await.unwrap();
    assert_eq!(read_until(&mut stream, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"{").await.unwrap();
    drop(stream);
    let connections = served.door.connections.clone();
    assert_eq!(timeout(PROMPTLY, connections.finish(Drain::default())).await.unwrap(), 0);
    assert_eq!(recorded(&served.door, "abandoned"), 1);
}

#[tokio::test]
async fn what_is_too_large_or_malformed_is_told_so_and_closed() {
    let served = Served::with(Limits { max_headers: 10, ..Limits::default() }).await;
    let request = |target: &str, headers: &str| format!("GET {target} HTTP/1.1\r\nhost: gateway\r\n{headers}\r\n");
    for (request, expected) in [
        (request("/healthz", &"x: 1\r\n".repeat(10)), "431"),
        (request("/healthz", &format!("x: {}\r\n", "1".repeat(64 * 1024))), "431"),
        (request(&format!("/{}", "a".repeat(17 * 1024)), ""), "414"),
        (request("/healthz", "host: another\r\n"), "400"),
        ("GET /healthz HTTP/1.1\r\n\r\n".to_owned(), "400"),
        (request("http://gateway/healthz", ""), "400"),
        (request("/healthz", "x: 1\r\n folded\r\n"), "400"),
        (request("/healthz", "x: \0\r\n"), "400"),
        (request("/healthz", "content-length: 1\r\ncontent-length: 2\r\n"), "400"),
        (request("/healthz", "content-length: +1\r\n"), "400"),
        (request("/healthz", "transfer-encoding: chunked, gzip\r\n"), "400"),
        (request("/healthz", "transfer-encoding: chunked\r\ncontent-length: 0\r\n"), "400"),
        (request("/healthz", "content-length: 0\r\ntransfer-encoding: chunked\r\n"), "400"),
        (request("/healthz", "transfer-encoding: gzip, chunked\r\n"), "400"),
        ("CONNECT example.com:443 HTTP/1.1\r\nhost: example.com\r\n\r\n".to_owned(), "400"),
        ("nonsense\r\n\r\n".to_owned(), "400"),
    ] {
        let answer = served.answers(&request).await;
        let shown: String = request.chars().take(120).collect();
        assert_eq!(answer.get(9..12), Some(expected), "{shown:?} was answered {answer:?}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{shown:?} was answered {answer:?}");
        assert!(
            answer.contains("\r\nx-request-id: ") && answer.contains("\"code\":\""),
            "{shown:?} was answered {answer:?}"
        );
    }
}

#[tokio::test]
async fn what_cannot_be_read_behind_an_answer_is_told_so_too() {
    let served = Served::with(Limits::default()).await;
    let answers = served.answers([HEALTHZ, HEALTHZ, "GET /healthz HTTP/1.1\r\nhost : a\r\n\r\n"].concat()).await;
    let statuses: Vec<_> = answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["200", "200", "400"], "{answers}");
    assert_eq!(answers.matches("x-request-id: ").count(), 3, "{answers}");
    assert!(answers.ends_with('}'), "{answers}");
}

#[tokio::test]
async fn a_length_with_a_coding_is_refused_behind_a_body_too_and_only_there() {
    let upstream = Upstream::play([then(stream_of(&["first"]), Step::Send(b"0\r\n\r\n".to_vec()))]).await;
    let served = Served::behind(Draft::default().route(upstream.address, false).door(Limits::default())).await;
    let first = "POST /there HTTP/1.1\r\nhost: gateway\r\ncontent-length: 3\r\n\r\nabc";
    let both =
        "POST /there HTTP/1.1\r\nhost: gateway\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    let answers = served.answers([first, both].concat()).await;
    upstream.has_seen(1).await;
    assert!(answers.starts_with("HTTP/1.1 200 ") && answers.contains("first"), "{answers}");
    assert!(answers.contains("HTTP/1.1 400 ") && answers.contains("malformed_request"), "{answers}");
}

#[tokio::test]
async fn a_declared_body_over_the_limit_is_refused_before_it_is_sent_and_the_answer_arrives() {
    let served = Served::behind(Draft::default().route(Upstream::nowhere().await, false).door(Limits::default())).await;
    let mut stream = served.connect().await;
    let head = "POST /there HTTP/1.1\r\nhost: gateway\r\ncontent-length: 99999999\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    // Most clients send all they have before they read a word.
    let chunk = vec![b'a'; 64 * 1024];
    for _ in 0..64 {
        if stream.write_all(&chunk).await.is_err() {
            break;
        }
    }
    let answer = until_closed(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn a_client_that_asks_first_is_refused_without_sending_the_body() {
    let served = Served::behind(Draft::default().client_key().door(Limits::default())).await;
    let head =
        "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n";
    let mut stream = served.connect().await;
    stream.write_all(head.as_bytes()).await.unwrap();
    assert!(read_until(&mut stream, "}").await.starts_with("HTTP/1.1 401 "));
}

#[tokio::test]
async fn at_the_limit_a_connection_waits_for_another_to_end() {
    let served = Served::with(Limits { max_connections: 1, ..Limits::default() }).await;
    let mut first = served.connect().await;
    first.write_all(HEALTHZ.as_bytes()).await.unwrap();
    read_until(&mut first, "}").await;
    let mut second = served.connect().await;
    second.write_all(HEALTHZ.as_bytes()).await.unwrap();
    assert!(timeout(Duration::from_millis(200), second.read_u8()).await.is_err(), "it waits");
    drop(first);
    read_until(&mut second, "}").await;
}

#[tokio::test(start_paused = true)]
async fn a_full_descriptor_table_is_asked_again_after_a_while_and_not_at_once() {
    const EMFILE: i32 = 24;
    let (limits, door) = (Limits::default(), unconfigured(Limits::default()));
    let (asked, closing) = (AtomicU32::new(0), CancellationToken::new());
    let full = stream::repeat_with(|| {
        if asked.fetch_add(1, Ordering::Relaxed) == 9 {
            closing.cancel();
        }
        Err(io::Error::from_raw_os_error(EMFILE))
    });
    let started = Instant::now();
    let free = Arc::new(Semaphore::new(1));
    let (carrier, workers) = (Arc::new(Carrier::new(None, limits)), Workers::start(NonZeroUsize::new(1)).unwrap());
    let reception = Reception { carrier, door, roster: workers.roster(), free: Arc::clone(&free) };
    reception.accept(full, closing.clone()).await;
    assert_eq!((asked.load(Ordering::Relaxed), started.elapsed()), (10, 9 * ACCEPT_PAUSE));
    assert_eq!(free.available_permits(), 1, "nobody's place is lost");
}

#[tokio::test]
async fn draining_finishes_a_stream_in_flight_and_ends_idle_connections() {
    let upstream = Upstream::play([then(stream_of(&["first", "last"]), Step::Send(b"0\r\n\r\n".to_vec()))]).await;
    let served = Served::behind(Draft::default().route(upstream.address, false).door(Limits::default())).await;
    let mut idle = served.connect().await;
    idle.write_all(HEALTHZ.as_bytes()).await.unwrap();
    read_until(&mut idle, "}").await;
    let mut streaming = served.connect().await;
    streaming.write_all(b"GET /there HTTP/1.1\r\nhost: gateway\r\n\r\n").await.unwrap();
    upstream.has_seen(1).await;

    served.closing.cancel();
    served.accepting.await.unwrap();
    assert!(TcpStream::connect(served.address).await.is_err(), "the socket is closed");
    let connections = served.door.connections.clone();
    let finishing = tokio::spawn(async move { connections.finish(Drain::default()).await });
    assert_eq!(until_closed(&mut idle).await, "");
    let answer = until_closed(&mut streaming).await;
    assert!(answer.contains("first") && answer.ends_with("last\r\n0\r\n\r\n"), "{answer}");
    drop((idle, streaming));
    assert_eq!(timeout(PROMPTLY, finishing).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn http_2_is_spoken_to_whoever_begins_with_it() {
    let served = Served::with(Limits::default()).await;
    let io = TokioIo::new(served.connect().await);
    let (mut client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let connection = tokio::spawn(connection);
    for _ in 0..2 {
        let request = Request::builder().uri("http://gateway/healthz").body(String::new()).unwrap();
        let answer = client.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert!(answer.into_body().collect().await.is_ok());
    }
    drop(client);
    timeout(PROMPTLY, connection).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn tls_is_spoken_with_the_certificate_and_offers_both_protocols() {
    let dir = tempfile::tempdir().unwrap();
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let tls = Tls { cert: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
    std::fs::write(&tls.cert, cert.pem()).unwrap();
    std::fs::write(&tls.key, signing_key.serialize_pem()).unwrap();
    let served = Served::with_tls(Some(&tls), unconfigured(Limits::default())).await;

    let mut roots = rustls::RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut client = client.with_root_certificates(roots).with_no_client_auth();
    for offered in ["h2", "http/1.1"] {
        client.alpn_protocols = vec![offered.into()];
        let connector = tokio_rustls::TlsConnector::from(Arc::new(client.clone()));
        let name = "localhost".try_into().unwrap();
        let mut stream = connector.connect(name, served.connect().await).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(offered.as_bytes()));
        if offered == "http/1.1" {
            stream.write_all(HEALTHZ.as_bytes()).await.unwrap();
            assert!(read_until(&mut stream, "}").await.starts_with("HTTP/1.1 200 OK\r\n"));
        }
    }
    let plain = served.answers(HEALTHZ).await;
    assert!(!plain.contains("HTTP/1.1 200"), "{plain:?}");
}

#[tokio::test]
async fn what_cannot_be_listened_with_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let bind = async |address: SocketAddr, tls: Option<&Tls>| Listener::bind(address, tls, Limits::default()).await;
    let tls = Tls { cert: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
    let error = bind(([127, 0, 0, 1], 0).into(), Some(&tls)).await.unwrap_err();
    assert!(error.to_string().contains("cert.pem") && error.is_configuration(), "{error}");
    let served = Served::with(Limits::default()).await;
    let error = bind(served.address, None).await.unwrap_err();
    assert!(
        error.to_string().contains(&served.address.to_string()) && error.to_string().contains("--listen"),
        "{error}"
    );
}
