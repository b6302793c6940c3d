//! Heads as they are written, and as they are read.

use http::Request;

use super::*;

fn written(request: http::request::Builder, length: usize) -> String {
    let (parts, ()) = request.body(()).unwrap().into_parts();
    String::from_utf8(write(&parts, length).into()).unwrap()
}

fn said(head: &str, method: &Method) -> Result<Option<Head>, Error> {
    read(&Bytes::copy_from_slice(head.as_bytes()), method)
}

fn complete(head: &str) -> Head {
    said(head, &Method::POST).unwrap().unwrap()
}

#[test]
fn a_request_says_where_it_goes_and_how_long_it_is() {
    let post = || Request::post("http://upstream.example:8080/v1/chat?api-version=1").header("x-a", "b");
    assert_eq!(
        written(post(), 7),
        "POST /v1/chat?api-version=1 HTTP/1.1\r\nhost: upstream.example:8080\r\nx-a: b\r\ncontent-length: 7\r\n\r\n"
    );
    assert!(written(post(), 0).ends_with("content-length: 0\r\n\r\n"));
    assert_eq!(written(Request::get("http://upstream.example"), 0), "GET / HTTP/1.1\r\nhost: upstream.example\r\n\r\n");
}

#[test]
fn a_host_is_named_as_it_was_asked_for_and_without_the_schemes_own_port() {
    let host = |url| written(Request::get(url), 0).lines().nth(1).unwrap().to_owned();
    assert_eq!(written(Request::get("http://u.example?x=1"), 0).lines().next().unwrap(), "GET /?x=1 HTTP/1.1");
    assert_eq!(host("http://u.example:80/"), "host: u.example");
    assert_eq!(host("http://u.example:443/"), "host: u.example:443");
    assert_eq!(host("https://u.example:443/"), "host: u.example");
    assert_eq!(host("http://user:secret@[::1]:81/"), "host: [::1]:81");
    let named = written(Request::get("http://127.0.0.1/").header("host", "other"), 0);
    assert_eq!(named, "GET / HTTP/1.1\r\nhost: other\r\n\r\n");
}

#[test]
fn a_bodys_length_is_said_once_whatever_was_said_of_it() {
    let request = Request::post("http://a/").header("content-length", "9").header("transfer-encoding", "gzip");
    assert_eq!(written(request, 1), "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n");
}

#[test]
fn an_answers_head_is_read_once_it_is_there_as_a_whole() {
    let text = "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 2\r\nx-A: 1\r\nX-a:  b c \r\n\r\n";
    for length in 0..text.len() {
        assert!(said(&text[..length], &Method::POST).unwrap().is_none(), "{length}");
    }
    let head = complete(&format!("{text}ok"));
    assert_eq!(
        (head.parts.status, head.parts.version, head.length),
        (StatusCode::TOO_MANY_REQUESTS, Version::HTTP_11, text.len())
    );
    assert_eq!(head.parts.headers.get_all("x-a").iter().collect::<Vec<_>>(), ["1", "b c"]);
}

#[test]
fn interim_answers_are_passed_over_and_a_switch_is_the_last() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
    let head = complete(&format!("{interim}HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
    assert_eq!((head.parts.status, head.parts.headers.contains_key("link")), (StatusCode::OK, false));
    assert!(said(interim, &Method::POST).unwrap().is_none());
    let head = complete("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n");
    assert_eq!((head.parts.status, head.framing.left(), head.stays), (StatusCode::SWITCHING_PROTOCOLS, Some(0), false));
}

#[test]
fn how_long_an_answer_is_can_be_told_in_one_way_only() {
    let framing = |method: &Method, status, headers: &str| {
        said(&format!("HTTP/1.1 {status} X\r\n{headers}\r\n"), method)
            .map(|head| format!("{:?}", head.unwrap().framing))
    };
    let post = |headers| framing(&Method::POST, 200, headers);
    let of_length = |length| format!("{:?}", Framing::Length(length));
    let chunked = format!("{:?}", Framing::Chunked(Chunks::default()));
    let to_close = format!("{:?}", Framing::ToClose { over: false });
    for (headers, expected) in [
        ("content-length: 7\r\n", of_length(7)),
        ("content-length: 7\r\ncontent-length: 7\r\n", of_length(7)),
        ("content-length: 7, 7\r\n", of_length(7)),
        ("transfer-encoding: chunked\r\n", chunked.clone()),
        ("transfer-encoding: gzip, Chunked,\r\n", chunked.clone()),
        ("transfer-encoding: chunked, gzip\r\n", to_close.clone()),
        ("", to_close),
    ] {
        assert_eq!(post(headers).unwrap(), expected, "{headers}");
    }
    for headers in
        ["content-length: 7, 8\r\n", "content-length: +7\r\n", "content-length: \r\n", "content-length: -1\r\n"]
    {
        assert!(matches!(post(headers), Err(Error::Length)), "{headers}");
    }
    for (method, status) in [(Method::HEAD, 200), (Method::POST, 204), (Method::GET, 304)] {
        assert_eq!(
            framing(&method, status, "transfer-encoding: chunked\r\n").unwrap(),
            of_length(0),
            "{method} {status}"
        );
    }
    let old = said("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", &Method::POST);
    assert!(matches!(old, Err(Error::Length)), "{old:?}");
}

#[test]
fn a_connection_stays_where_nothing_else_is_said_and_the_answer_has_an_end() {
    let stays = |head: &str| complete(&format!("{head}\r\n\r\n")).stays;
    assert!(stays("HTTP/1.1 200 OK\r\ncontent-length: 1"));
    assert!(stays("HTTP/1.0 200 OK\r\ncontent-length: 1\r\nconnection: Keep-Alive"));
    assert!(!stays("HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: x, Close"));
    assert!(!stays("HTTP/1.0 200 OK\r\ncontent-length: 1"));
    assert!(!stays("HTTP/1.1 200 OK"));
}

#[test]
fn what_is_no_head_is_refused() {
    for head in
        ["HTTP/2 200 OK\r\n\r\n", "SSH-2.0\r\n\r\n", "HTTP/1.1 200 OK\r\na b: c\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n"]
    {
        assert!(matches!(said(head, &Method::POST), Err(Error::Head(_) | Error::Header(_))), "{head}");
    }
    let many = |count| format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(count));
    assert_eq!(complete(&many(MAX_HEADERS)).parts.headers.len(), MAX_HEADERS);
    assert!(matches!(said(&many(MAX_HEADERS + 1), &Method::POST), Err(Error::Head(httparse::Error::TooManyHeaders))));
}
