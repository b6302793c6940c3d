//! WebSockets: what the gateway asks of a handshake, what it passes on, and how a tunnel is joined, counted and ended. The upstream
//! is an echo, since a tunnel is bytes and nothing else.

use std::net::SocketAddr;

use serde_json::{Value, json};
use signalbox_proto::{
    admin::v1::{Provider, Route, route::Destination},
    config::v1::Universal,
};
use signalbox_tests::{
    Answer, CLIENT_KEY, Draft, Setup, System, Upstream,
    draft::{millis, provider, route},
    logs,
    wait::{eventually, soon},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

/// An upstream that agrees to every handshake and says back what it is told.
struct Echo {
    addr: SocketAddr,
    heads: mpsc::UnboundedReceiver<String>,
    ended: mpsc::UnboundedReceiver<()>,
}

impl Echo {
    async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let ((tell, heads), (end, ended)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let (tell, end) = (tell.clone(), end.clone());
                tokio::spawn(async move {
                    drop(tell.send(head(&mut socket).await));
                    let agreed = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                                  sec-websocket-accept: accepted\r\nsec-websocket-protocol: realtime\r\n\r\nhello";
                    drop(socket.write_all(agreed.as_bytes()).await);
                    let mut buffer = [0; 4096];
                    while let Ok(length @ 1..) = socket.read(&mut buffer).await {
                        if &buffer[..length] == b"bye" || socket.write_all(&buffer[..length]).await.is_err() {
                            break;
                        }
                    }
                    end.send(()).unwrap_or_default();
                });
            }
        });
        Self { addr, heads, ended }
    }

    async fn head(&mut self) -> String {
        soon("a handshake at the upstream", self.heads.recv()).await.unwrap()
    }

    async fn ended(&mut self) {
        soon("the end of the tunnel at the upstream", self.ended.recv()).await.unwrap();
    }
}

/// Reads up to the blank line after a head.
async fn head(from: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        match soon("a head", from.read_u8()).await {
            Ok(byte) => bytes.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(bytes).unwrap().to_ascii_lowercase()
}

async fn said(from: &mut TcpStream, expected: &str) {
    let mut bytes = vec![0; expected.len()];
    soon("bytes through the tunnel", from.read_exact(&mut bytes)).await.unwrap();
    assert_eq!(String::from_utf8(bytes).unwrap(), expected);
}

fn handshake(path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nhost: gateway\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-key: dGhlIHNhbXBsZQ==\r\nsec-websocket-version: 13\r\n{more}\r\n"
    )
}

async fn open(system: &System, path: &str, more: &str) -> (TcpStream, String) {
    let mut socket = TcpStream::connect(system.data_plane().addr()).await.unwrap();
    socket.write_all(handshake(path, more).as_bytes()).await.unwrap();
    let head = head(&mut socket).await;
    (socket, head)
}

fn bearer() -> String {
    format!("authorization: Bearer {CLIENT_KEY}\r\n")
}

async fn system() -> (System, Echo) {
    let (system, echo) = (System::start().await, Echo::start().await);
    system.apply(Draft::new().upstream("main", &format!("http://{}/v1", echo.addr))).await;
    (system, echo)
}

#[tokio::test]
async fn a_realtime_session_is_joined_to_its_models_provider_and_recorded_at_its_end() {
    let (system, mut echo) = system().await;
    let path = "/v1/realtime?a=%7e&model=main%2Frt-1&b";
    let (mut socket, head) = open(&system, path, &bearer()).await;
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    for line in
        ["connection: upgrade", "upgrade: websocket", "sec-websocket-accept: accepted", "x-signalbox-provider: main"]
    {
        assert!(head.contains(line), "{line} in {head}");
    }
    let seen = echo.head().await;
    assert!(seen.starts_with("get /v1/realtime?a=%7e&model=rt-1&b http/1.1"), "{seen}");
    for line in ["upgrade: websocket", "sec-websocket-key: dghlihnhbxbszq==", "authorization: bearer sk-main"] {
        assert!(seen.contains(line), "{line} in {seen}");
    }
    assert!(!seen.contains(CLIENT_KEY));
    said(&mut socket, "hello").await;
    for text in ["a frame", "another"] {
        socket.write_all(text.as_bytes()).await.unwrap();
        said(&mut socket, text).await;
    }
    assert!(system.data_plane().metric("signalbox_requests_in_flight", &[]).await >= 1.0);
    let id = head.lines().find_map(|line| line.strip_prefix("x-request-id: ")).unwrap().to_owned();
    drop(socket);
    echo.ended().await;
    let line = eventually("a line in the access log", async || logs::access(&id)).await;
    for (field, expected) in [
        ("request.operation", json!("/realtime")),
        ("response.status", json!(101)),
        ("request.bytes", json!("a frameanother".len())),
        ("response.bytes", json!("helloa frameanother".len())),
        ("model.served", json!("rt-1")),
        ("credential.name", json!("providers/main/credentials/main")),
    ] {
        assert_eq!(line.get(field), Some(&expected), "{field} of {line}");
    }
}

#[tokio::test]
async fn a_browsers_key_among_the_subprotocols_is_known_and_goes_no_further() {
    let (system, mut echo) = system().await;
    let protocols = format!("sec-websocket-protocol: realtime, openai-insecure-api-key.{CLIENT_KEY}\r\n");
    let (mut socket, head) = open(&system, "/v1/realtime?model=main/rt-1", &protocols).await;
    assert!(head.starts_with("http/1.1 101 ") && head.contains("sec-websocket-protocol: realtime"), "{head}");
    let seen = echo.head().await;
    assert!(seen.contains("sec-websocket-protocol: realtime\r\n") && !seen.contains("insecure"), "{seen}");
    socket.write_all(b"bye").await.unwrap();
    said(&mut socket, "hello").await;
    assert_eq!(soon("the end of the tunnel", socket.read(&mut [0; 1])).await.unwrap(), 0);
    system.data_plane().recorded("completed", 1).await;
}

#[tokio::test]
async fn what_is_no_handshake_or_has_no_key_is_refused() {
    let (system, mut echo) = system().await;
    let known = bearer();
    let usual = "connection: Upgrade\r\nupgrade: websocket\r\n";
    for (request, status, code) in [
        (handshake("/v1/realtime?model=main/m", ""), 401, "missing_api_key"),
        (handshake("/v1/realtime", &known), 400, "missing_parameter"),
        (handshake("/v1/realtime?model=main/m&model=main/n", &known), 400, "repeated_parameter"),
        (handshake("/v1/realtime?model=nobody/m", &known), 404, "model_not_found"),
        (handshake("/v1/realtime?model=main/m", &known).replace(usual, ""), 426, "upgrade_required"),
        (handshake("/v1/realtime?model=main/m", &known).replace("websocket\r\n", "h2c\r\n"), 426, "upgrade_required"),
        (handshake("/v1/chat/completions", &known), 405, "method_not_allowed"),
    ] {
        let mut raw = system.data_plane().raw().await;
        raw.send(request).await;
        let answer = raw.answer().await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (status, code));
        assert_eq!(answer.headers.get("upgrade").is_some(), status == 426);
    }
    assert!(echo.heads.try_recv().is_err(), "nothing went upstream");
}

#[tokio::test]
async fn another_answer_to_a_handshake_passes_and_an_unasked_switch_does_not() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    system.apply(Draft::new().upstream("main", &upstream.url()).route(route("raw", &upstream.url()))).await;
    upstream.answer(Answer::error(400));
    let (_socket, head) = open(&system, "/v1/realtime?model=main/m", &bearer()).await;
    assert!(head.starts_with("http/1.1 400 ") && !head.contains("upgrade"), "{head}");
    let unasked = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    upstream.answer(Answer::raw(unasked));
    assert_eq!(system.client().chat("main/m").await.status, 502);
    upstream.answer(Answer::raw(unasked));
    assert_eq!(system.client().get("/raw/x").await.status, 502);
}

#[tokio::test]
async fn a_route_passes_a_websocket_and_no_other_protocol() {
    let (system, mut echo) = system().await;
    system.apply(Draft::new().route(route("ws", &format!("http://{}/base", echo.addr)))).await;
    let (mut socket, answer) = open(&system, "/ws/chat?x=1", "authorization: Bearer own\r\n").await;
    assert!(answer.starts_with("http/1.1 101 "), "{answer}");
    let seen = echo.head().await;
    assert!(seen.starts_with("get /base/chat?x=1 ") && seen.contains("authorization: bearer own"), "{seen}");
    said(&mut socket, "hello").await;
    socket.write_all(b"frame").await.unwrap();
    said(&mut socket, "frame").await;
    let universal = Universal { allowed_ranges: vec!["127.0.0.0/8".to_owned()] };
    let named = Route { destination: Some(Destination::Universal(universal)), ..route("named", "") };
    system.apply(Draft::new().route(named)).await;
    let (mut socket, answer) = open(&system, &format!("/named/http://{}/chat", echo.addr), "").await;
    assert!(answer.starts_with("http/1.1 101 "), "{answer}");
    assert!(echo.head().await.starts_with("get /chat "));
    said(&mut socket, "hello").await;
    let upstream = Upstream::start().await;
    system.apply(Draft::new().route(route("plain", &upstream.url()))).await;
    upstream.answer(Answer::json(200, &Value::Null));
    let mut raw = system.data_plane().raw().await;
    raw.send(handshake("/plain/x", "").replace("upgrade: websocket", "upgrade: h2c")).await;
    assert_eq!(raw.answer().await.unwrap().status, 200);
    assert_eq!(upstream.only().header("upgrade"), None);
}

#[tokio::test]
async fn a_tunnel_in_which_nothing_passes_is_ended() {
    let (system, mut echo) = (System::start().await, Echo::start().await);
    let mut idle: Provider = provider("idle", &format!("http://{}/v1", echo.addr));
    idle.timeouts.get_or_insert_default().stream_idle = millis(200);
    system.apply(Draft::new().provider(idle)).await;
    let (mut socket, _) = open(&system, "/v1/realtime?model=idle/m", &bearer()).await;
    said(&mut socket, "hello").await;
    assert_eq!(soon("the end of the tunnel", socket.read(&mut [0; 1])).await.unwrap(), 0);
    echo.ended().await;
    system.data_plane().recorded("broken", 1).await;
}

#[tokio::test]
async fn a_stop_waits_for_a_tunnel_and_cuts_it_when_the_grace_time_is_over() {
    let mut setup = Setup::default();
    setup.drain.grace = std::time::Duration::from_millis(300);
    let (mut system, mut echo) = (setup.start().await, Echo::start().await);
    system.apply(Draft::new().upstream("main", &format!("http://{}/v1", echo.addr))).await;
    let (mut socket, _) = open(&system, "/v1/realtime?model=main/m", &bearer()).await;
    said(&mut socket, "hello").await;
    system.data_plane().ask_to_stop();
    socket.write_all(b"still here").await.unwrap();
    said(&mut socket, "still here").await;
    let plane = system.data_planes.first_mut().unwrap();
    soon("the stop", plane.ended()).await;
    echo.ended().await;
}
