//! Requests over real connections to an upstream that says, byte for byte, what it is told to.

use std::time::Duration;

use http::Method;
use http_body_util::BodyExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::coop::{consume_budget, has_budget_remaining},
    time::timeout,
};

use super::{super::pool::tls, *};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// An upstream, and the way to it.
struct Place {
    listener: TcpListener,
    http1: Http1,
}

impl Place {
    async fn new(profile: Profile) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener, http1: Http1::new(&profile, tls().unwrap()) }
    }

    fn request(&self, body: String) -> Request<Vec<Bytes>> {
        Request::builder().method(Method::POST).uri(self.url()).body(vec![body.into()]).unwrap()
    }

    fn url(&self) -> String {
        format!("http://{}/v1", self.listener.local_addr().unwrap())
    }

    /// Sends a request and has the upstream answer so, on a connection that is made now.
    async fn ask(&self, answer: &[u8]) -> (Result<Response<Body>, Error>, TcpStream) {
        let script = async {
            let (mut upstream, _) = self.listener.accept().await.unwrap();
            hear(&mut upstream, "hi").await;
            upstream.write_all(answer).await.unwrap();
            upstream
        };
        soon(async { tokio::join!(self.http1.send(self.request("hi".to_owned())), script) }).await
    }

    /// Sends a request over the connection that was kept.
    async fn ask_again(&self, upstream: &mut TcpStream, answer: &[u8]) -> Result<Response<Body>, Error> {
        let script = async {
            hear(upstream, "hi").await;
            upstream.write_all(answer).await.unwrap();
        };
        soon(async { tokio::join!(self.http1.send(self.request("hi".to_owned())), script) }).await.0
    }
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(10), what).await.expect("it is not late")
}

/// Reads until this was said.
async fn hear(upstream: &mut TcpStream, last: &str) -> String {
    let mut heard = Vec::new();
    while !heard.ends_with(last.as_bytes()) {
        assert_ne!(upstream.read_buf(&mut heard).await.unwrap(), 0, "{}", heard.escape_ascii());
    }
    String::from_utf8(heard).unwrap()
}

/// Waits until the gateway has closed the connection.
async fn closed(upstream: &mut TcpStream) {
    assert!(soon(upstream.read(&mut [0; 1])).await.is_ok_and(|length| length == 0));
}

async fn text(answer: Result<Response<Body>, Error>) -> Result<String, crate::upstream::Transport> {
    let body = soon(answer.unwrap().into_body().collect()).await?;
    Ok(String::from_utf8(body.to_bytes().into()).unwrap())
}

#[tokio::test]
async fn a_connection_carries_one_request_after_the_other() {
    let place = Place::new(Profile::default()).await;
    let (answer, mut upstream) = place.ask(OK).await;
    assert_eq!(text(answer).await.unwrap(), "ok");
    for again in [OK, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"] {
        assert_eq!(text(place.ask_again(&mut upstream, again).await).await.unwrap(), "ok");
    }
    assert_eq!(place.ask_again(&mut upstream, b"HTTP/1.1 204 None\r\n\r\n").await.unwrap().status(), 204);
    assert_eq!(text(place.ask_again(&mut upstream, OK).await).await.unwrap(), "ok");
}

#[tokio::test]
async fn an_answer_to_head_has_no_body_however_long_it_says_that_is() {
    let place = Place::new(Profile::default()).await;
    let request = Request::builder().method(Method::HEAD).uri(place.url()).body(Vec::new()).unwrap();
    let script = async {
        let (mut upstream, _) = place.listener.accept().await.unwrap();
        let heard = hear(&mut upstream, "\r\n\r\n").await;
        upstream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n").await.unwrap();
        (upstream, heard)
    };
    let (answer, (mut upstream, heard)) = soon(async { tokio::join!(place.http1.send(request), script) }).await;
    assert!(heard.starts_with("HEAD /v1 HTTP/1.1\r\n") && !heard.contains("content-length"), "{heard}");
    assert_eq!(answer.as_ref().unwrap().headers()["content-length"], "9");
    assert!(http_body::Body::is_end_stream(answer.as_ref().unwrap().body()));
    assert_eq!(text(answer).await.unwrap(), "");
    assert_eq!(text(place.ask_again(&mut upstream, OK).await).await.unwrap(), "ok");
}

#[tokio::test]
async fn chunks_that_came_together_are_handed_on_together() {
    let place = Place::new(Profile::default()).await;
    let (answer, _upstream) =
        place.ask(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n").await;
    let mut body = answer.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "abcd");
    assert!(http_body::Body::is_end_stream(&body));
}

#[tokio::test]
async fn a_connection_that_is_not_clear_of_its_answer_carries_nothing_else() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n"[..],
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ] {
        let place = Place::new(Profile::default()).await;
        let (answer, mut upstream) = place.ask(answer).await;
        assert_eq!(text(answer).await.unwrap(), "ok");
        closed(&mut upstream).await;
        assert_eq!(text(place.ask(OK).await.0).await.unwrap(), "ok", "over a new one");
    }
}

#[tokio::test]
async fn what_an_upstream_says_unasked_or_closes_is_not_used_again() {
    for farewell in [&b""[..], b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n"] {
        let place = Place::new(Profile::default()).await;
        let (answer, mut upstream) = place.ask(OK).await;
        assert_eq!(text(answer).await.unwrap(), "ok");
        upstream.write_all(farewell).await.unwrap();
        if farewell.is_empty() {
            upstream.shutdown().await.unwrap();
        }
        // It is let go of by itself, so that it is not in the way of whoever comes next.
        closed(&mut upstream).await;
        assert_eq!(text(place.ask(OK).await.0).await.unwrap(), "ok");
    }
}

#[tokio::test]
async fn connections_are_kept_as_many_and_as_long_as_the_profile_says() {
    let place = Place::new(Profile { idle_timeout: Duration::from_millis(1), ..Profile::default() }).await;
    let (answer, mut upstream) = place.ask(OK).await;
    assert_eq!(text(answer).await.unwrap(), "ok");
    closed(&mut upstream).await;

    let place = Place::new(Profile { max_idle: 1, ..Profile::default() }).await;
    let ((first, mut kept), (second, mut spare)) = (place.ask(OK).await, place.ask(OK).await);
    assert_eq!((text(first).await.unwrap(), text(second).await.unwrap()), ("ok".to_owned(), "ok".to_owned()));
    closed(&mut spare).await;
    assert_eq!(text(place.ask_again(&mut kept, OK).await).await.unwrap(), "ok");
    drop(place);
    closed(&mut kept).await;
}

#[tokio::test]
async fn an_answer_that_nobody_wants_any_more_ends_its_connection() {
    let place = Place::new(Profile::default()).await;
    let (answer, mut upstream) = place.ask(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok").await;
    drop(answer.unwrap());
    closed(&mut upstream).await;

    let mut waiting = Box::pin(place.http1.send(place.request("hi".to_owned())));
    let mut upstream = soon(async {
        tokio::select! {
            answer = &mut waiting => panic!("nobody has answered: {answer:?}"),
            upstream = async {
                let (mut upstream, _) = place.listener.accept().await.unwrap();
                hear(&mut upstream, "hi").await;
                upstream
            } => upstream,
        }
    })
    .await;
    drop(waiting);
    closed(&mut upstream).await;
}

/// 63 MiB, which no two sockets hold, in an order that shows what is missing.
fn much() -> Vec<u8> {
    Vec::from_iter(0..=250).repeat(256 * 1024)
}

/// An answer of which nothing is read, and what is still to be sent of it once the sockets are full.
async fn unread<'a>(place: &Place, much: &'a [u8]) -> (Body, TcpStream, &'a [u8]) {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", much.len());
    let (answer, upstream) = place.ask(head.as_bytes()).await;
    let mut left = much;
    loop {
        soon(upstream.writable()).await.unwrap();
        match upstream.try_write(left) {
            Ok(length) => left = &left[length..],
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                return (answer.unwrap().into_body(), upstream, left);
            }
        }
        assert!(!left.is_empty(), "all of it was taken for somebody who reads nothing");
    }
}

#[tokio::test]
async fn an_answer_that_nobody_reads_for_a_while_waits_and_is_whole() {
    let (place, much) = (Place::new(Profile::default()).await, much());
    let (mut body, mut upstream, left) = unread(&place, &much).await;
    let first = soon(body.frame()).await.unwrap().unwrap().into_data().unwrap();
    assert!(much.starts_with(&first) && !first.is_empty());
    let (rest, sent) = soon(async { tokio::join!(body.collect(), upstream.write_all(left)) }).await;
    sent.unwrap();
    assert!(rest.unwrap().to_bytes() == much[first.len()..]);
    assert_eq!(text(place.ask_again(&mut upstream, OK).await).await.unwrap(), "ok");
}

#[tokio::test]
async fn who_leaves_an_answer_half_read_leaves_the_upstream_nobody_to_send_to() {
    let (place, much) = (Place::new(Profile::default()).await, much());
    let (mut body, mut upstream, left) = unread(&place, &much).await;
    assert!(soon(body.frame()).await.unwrap().is_ok());
    drop(body);
    let error = soon(upstream.write_all(left)).await.unwrap_err();
    assert!([io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe].contains(&error.kind()), "{error:?}");
    assert_eq!(text(place.ask(OK).await.0).await.unwrap(), "ok", "over a new one");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_taken_for_a_whole_one() {
    for (head, whole) in [("content-length: 3", false), ("transfer-encoding: chunked", false), ("x: y", true)] {
        let place = Place::new(Profile::default()).await;
        let body = if head.starts_with('t') { "2\r\nok\r\n" } else { "ok" };
        let (answer, upstream) = place.ask(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}").as_bytes()).await;
        drop(upstream);
        let mut body = answer.unwrap().into_body();
        assert_eq!(soon(body.frame()).await.unwrap().unwrap().into_data().unwrap(), "ok");
        match soon(body.frame()).await {
            None => assert!(whole, "{head}"),
            Some(Err(_)) => assert!(!whole, "{head}"),
            Some(Ok(frame)) => panic!("{head}: {frame:?}"),
        }
        assert!(soon(body.frame()).await.is_none(), "{head}");
    }
}

#[tokio::test]
async fn where_there_is_no_answer_it_is_said_why() {
    let place = Place::new(Profile::default()).await;
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n", "y".repeat(connection::MAX_HEAD_BYTES));
    for (answer, is_expected) in [
        (&b"SSH-2.0-x\r\n\r\n"[..], (|error| matches!(error, Error::Head(_))) as fn(Error) -> bool),
        (long.as_bytes(), |error| matches!(error, Error::HeadTooLong)),
        (b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", |error| matches!(error, Error::Length)),
    ] {
        let error = place.ask(answer).await.0.err().unwrap();
        assert!(is_expected(error), "{}", answer.escape_ascii());
    }
    let request = place.request("hi".to_owned());
    drop(place.listener);
    let error = place.http1.send(request).await.err().unwrap();
    assert!(error.is_connect() && !error.is_connect_timeout(), "{error:?}");
}

#[tokio::test]
async fn who_refuses_a_request_before_its_end_is_heard() {
    let place = Place::new(Profile::default()).await;
    let script = async {
        let (mut upstream, _) = place.listener.accept().await.unwrap();
        assert_ne!(upstream.read(&mut [0; 64]).await.unwrap(), 0);
        upstream.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno").await.unwrap();
        upstream
    };
    // More than any socket holds.
    let request = place.request("x".repeat(64 * 1024 * 1024));
    let (answer, mut upstream) = soon(async { tokio::join!(place.http1.send(request), script) }).await;
    assert_eq!(answer.as_ref().unwrap().status(), 413);
    assert_eq!(text(answer).await.unwrap(), "no");
    let mut rest = Vec::new();
    soon(upstream.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.len() < 64 * 1024 * 1024, "the rest of it is not sent");
}

#[tokio::test]
async fn what_a_kept_connection_does_not_take_goes_out_over_a_fresh_one() {
    let place = Place::new(Profile::default()).await;
    let (answer, upstream) = place.ask(OK).await;
    assert_eq!(text(answer).await.unwrap(), "ok");
    upstream.set_zero_linger().unwrap();
    // Closed at a time at which nobody here can have heard of it.
    drop(upstream);
    assert_eq!(text(place.ask(OK).await.0).await.unwrap(), "ok");
}

#[tokio::test]
async fn a_closed_connection_is_not_used_though_nobody_has_looked_after_it() {
    let place = Place::new(Profile::default()).await;
    let (answer, upstream) = place.ask(OK).await;
    assert_eq!(text(answer).await.unwrap(), "ok");
    drop(upstream);
    // The runtime hears of it, and who looks after kept connections has not looked yet.
    tokio::task::yield_now().await;
    assert_eq!(text(place.ask(OK).await.0).await.unwrap(), "ok");
}

#[tokio::test]
async fn a_task_that_has_had_its_turn_does_not_take_a_closed_connection_for_a_silent_one() {
    let place = Place::new(Profile::default()).await;
    let (answer, upstream) = place.ask(OK).await;
    assert_eq!(text(answer).await.unwrap(), "ok");
    drop(upstream);
    tokio::task::yield_now().await;
    // To whoever has none left, nothing is ever ready.
    while has_budget_remaining() {
        consume_budget().await;
    }
    assert_eq!(text(place.ask(OK).await.0).await.unwrap(), "ok");
}

#[tokio::test]
async fn who_looks_after_kept_connections_ends_with_them_and_with_their_client() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let place = Place::new(Profile::default()).await;
    let (answer, mut upstream) = place.ask(OK).await;
    assert_eq!((text(answer).await.unwrap().as_str(), tasks()), ("ok", 1));
    upstream.shutdown().await.unwrap();
    closed(&mut upstream).await;
    tokio::task::yield_now().await;
    assert_eq!(tasks(), 0, "there is nothing to look after");

    let (answer, _upstream) = place.ask(OK).await;
    assert_eq!((text(answer).await.unwrap().as_str(), tasks()), ("ok", 1));
    drop(place);
    tokio::task::yield_now().await;
    assert_eq!(tasks(), 0, "there is nobody to look after it for");
}
