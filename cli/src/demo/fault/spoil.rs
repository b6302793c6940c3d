//! Each fault as the script that is played in place of a good answer.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{CONTENT_ENCODING, RETRY_AFTER},
};
use serde_json::{Value, json};

use super::{
    super::{
        answer::{Answer, Events, event},
        script::{EVENT_STREAM, JSON, Script, Step},
    },
    Fault, Wait,
    bytes::{chunk, head, on_two_lines, packed, with_line_ends, with_usage},
};

/// The pause before each piece of a slow answer.
const DRIP: Duration = Duration::from_millis(200);

/// How far ahead the date of `fault-429-date` is.
const SOON: Duration = Duration::from_secs(30);

/// The size of a huge event.
const HUGE: usize = 12 * 1024 * 1024;

/// What a bomb repeats unpacks to this; RFC 1952 lets members of gzip follow one another.
const MEMBER: usize = 64 * 1024;
/// How often.
const MEMBERS: usize = 16 * 1024;

/// What is sent again and again where there is no end.
const FILLER: usize = 16 * 1024;

const BAD_GATEWAY: &str =
    "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>\n";

pub(super) fn spoil(fault: Fault, answer: Answer) -> Script {
    match fault {
        Fault::Refuse => Script::raw([Step::Cut]),
        Fault::Hang => Script::raw([Step::Silence]),
        Fault::EndlessHeaders => {
            let header = format!("x-filler: {}\r\n", "x".repeat(1000));
            Script::raw([Step::Send(Bytes::from_static(b"HTTP/1.1 200 OK\r\n")), Step::Flood(header.into())])
        }
        Fault::Unauthorized => refused(StatusCode::UNAUTHORIZED, "invalid_request_error", "invalid_api_key"),
        Fault::TooManyRequests(wait) => limited(wait),
        Fault::InternalError => refused(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "internal_error"),
        Fault::Unavailable => refused(StatusCode::SERVICE_UNAVAILABLE, "server_error", "overloaded"),
        Fault::HtmlBadGateway => Script::whole("text/html", BAD_GATEWAY).with_status(StatusCode::BAD_GATEWAY),
        Fault::JsonError => Script::json(&failure()),
        Fault::LengthOver | Fault::LengthUnder | Fault::BadChunk | Fault::Gzip | Fault::Bomb => {
            let (content_type, pieces) = pieces(&answer);
            framed(fault, content_type, &pieces)
        }
        _ => match answer {
            Answer::Whole(body) => whole(fault, &body),
            Answer::Events(events) => Script::events(stream(fault, &events)),
        },
    }
}

/// An answer with something wrong around it: its length, its chunks or its encoding.
fn framed(fault: Fault, content_type: &'static str, pieces: &[Bytes]) -> Script {
    let body = Bytes::from(pieces.concat());
    let with_length = |length: usize| {
        let head = head(content_type, &format!("content-length: {length}\r\n"));
        Script::raw([Step::Send(head), Step::Send(body.clone())])
    };
    let encoded =
        |steps| Script::steps(content_type, steps).with_header(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    match fault {
        Fault::LengthOver => with_length(body.len() + 100),
        Fault::LengthUnder => with_length(body.len() / 2),
        Fault::Gzip => encoded(vec![Step::Send(packed(&body))]),
        Fault::Bomb => encoded(vec![Step::Send(packed(&vec![b' '; MEMBER])); MEMBERS]),
        _ => {
            let first = pieces.first().map(|piece| Step::Send(chunk(piece)));
            let head = head(content_type, "transfer-encoding: chunked\r\n");
            Script::raw([Step::Send(head)].into_iter().chain(first).chain([Step::Send(Bytes::from_static(b"zz\r\n"))]))
        }
    }
}

/// What an answer is made of, its first piece up to where a client has seen something of it.
fn pieces(answer: &Answer) -> (&'static str, Vec<Bytes>) {
    match answer {
        Answer::Whole(body) => (JSON, halves(body).into()),
        Answer::Events(events) => {
            let (first, rest): (Vec<_>, Vec<_>) =
                events.all().enumerate().partition(|(number, _)| *number <= events.opening.len());
            let joined = |frames: Vec<(usize, &Bytes)>| -> Bytes {
                frames.into_iter().flat_map(|(_, frame)| frame.iter().copied()).collect()
            };
            (EVENT_STREAM, vec![joined(first), joined(rest)])
        }
    }
}

fn halves(body: &Value) -> [Bytes; 2] {
    let mut first = Bytes::from(body.to_string());
    let second = first.split_off(first.len() / 2);
    [first, second]
}

fn whole(fault: Fault, body: &Value) -> Script {
    let [first, second] = halves(body).map(Step::Send);
    let steps = match fault {
        Fault::HeadersThenSilence => vec![Step::Silence],
        Fault::OneChunkThenSilence => vec![first, Step::Silence],
        Fault::Cut => vec![first, Step::Cut],
        Fault::CutUtf8 => vec![first, Step::Send(HALF_A_CHARACTER), Step::Cut],
        Fault::CutBeforeFinish => vec![first],
        Fault::Slow => vec![Step::Wait(DRIP), first, Step::Wait(DRIP), second],
        Fault::EndlessBody => vec![Step::Send(Bytes::from_static(b"{\"x\":\"")), filler()],
        Fault::ByteByByte => byte_by_byte(body.to_string().as_bytes()),
        Fault::ErrorFirst | Fault::ErrorMid => return Script::json(&failure()),
        _ => return Script::json(body),
    };
    Script::steps(JSON, steps)
}

fn stream(fault: Fault, events: &Events) -> Vec<Step> {
    let opening = || events.opening.iter().cloned().map(Step::Send);
    let content = || events.content.iter().cloned().map(Step::Send);
    let half = events.content.len() / 2;
    let failure = Step::Send(event(&failure()));
    match fault {
        Fault::HeadersThenSilence => vec![Step::Silence],
        Fault::OneChunkThenSilence => opening().chain(content().take(1)).chain([Step::Silence]).collect(),
        Fault::Cut => {
            opening().chain(content().take(half)).chain(cut_within(events, half)).chain([Step::Cut]).collect()
        }
        Fault::CutUtf8 => {
            let broken = cut_within(events, half).chain([Step::Send(HALF_A_CHARACTER), Step::Cut]);
            opening().chain(content().take(half)).chain(broken).collect()
        }
        Fault::CutBeforeFinish => opening().chain(content()).collect(),
        Fault::ErrorFirst => vec![failure],
        Fault::ErrorMid => opening().chain(content().take(half)).chain([failure]).collect(),
        Fault::NoDone => opening().chain(content()).chain(events.finish.iter().cloned().map(Step::Send)).collect(),
        Fault::HugeEvent => opening().chain([Step::Send(huge())]).chain(content()).collect(),
        Fault::EndlessBody => opening().chain([Step::Send(Bytes::from_static(b"data: \"")), filler()]).collect(),
        _ => sound(fault, events),
    }
}

/// Streams that are odd in form only: what they say arrives whole.
fn sound(fault: Fault, events: &Events) -> Vec<Step> {
    let all = events.all().cloned();
    let body = || events.all().flat_map(|frame| frame.iter().copied()).collect::<Vec<u8>>();
    let last = events.opening.len() + events.content.len();
    match fault {
        Fault::Slow => all.flat_map(|frame| [Step::Wait(DRIP), Step::Send(frame)]).collect(),
        Fault::Crlf => all.map(|frame| Step::Send(with_line_ends(&frame, &[b"\r\n"]))).collect(),
        Fault::Cr => all.map(|frame| Step::Send(with_line_ends(&frame, &[b"\r"]))).collect(),
        // Never CR before LF, which together end one line.
        Fault::MixedLines => vec![Step::Send(with_line_ends(&body(), &[b"\r\n", b"\n", b"\r"]))],
        Fault::Bom => [Bytes::from_static(b"\xef\xbb\xbf")].into_iter().chain(all).map(Step::Send).collect(),
        Fault::MultiLine => all.map(|frame| Step::Send(on_two_lines(&frame))).collect(),
        Fault::ByteByByte => byte_by_byte(&body()),
        Fault::UsageOnContent => all
            .enumerate()
            .map(|(number, frame)| Step::Send(if number + 1 == last { with_usage(&frame) } else { frame }))
            .collect(),
        _ => all.map(Step::Send).collect(),
    }
}

/// The first of the two bytes of `é`.
const HALF_A_CHARACTER: Bytes = Bytes::from_static(b"\xc3");

/// Half of the event that would come next.
fn cut_within(events: &Events, number: usize) -> impl Iterator<Item = Step> {
    let next = events.content.iter().chain(&events.finish).nth(number);
    next.map(|next| Step::Send(next.slice(..next.len() / 2))).into_iter()
}

fn byte_by_byte(bytes: &[u8]) -> Vec<Step> {
    bytes.iter().map(|byte| Step::Send(Bytes::copy_from_slice(&[*byte]))).collect()
}

fn filler() -> Step {
    Step::Flood("x".repeat(FILLER).into())
}

/// Put together by hand: to serialize it would take a while.
fn huge() -> Bytes {
    let content = "x".repeat(HUGE);
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{content}\"}}}}]}}\n\n").into()
}

fn limited(wait: Wait) -> Script {
    let date = |at| HeaderValue::from_str(&httpdate::fmt_http_date(at)).ok();
    let (name, value) = match wait {
        Wait::Seconds => (RETRY_AFTER, Some(HeaderValue::from_static("1"))),
        Wait::Date => (RETRY_AFTER, date(SystemTime::now() + SOON)),
        Wait::Millis => (HeaderName::from_static("retry-after-ms"), Some(HeaderValue::from_static("1500"))),
        Wait::Untold => (RETRY_AFTER, None),
        Wait::Past => (RETRY_AFTER, date(SystemTime::UNIX_EPOCH)),
        Wait::Day => (RETRY_AFTER, Some(HeaderValue::from_static("86400"))),
    };
    let script = refused(StatusCode::TOO_MANY_REQUESTS, "requests", "rate_limit_exceeded");
    match value {
        Some(value) => script.with_header(name, value),
        None => script,
    }
}

fn refused(status: StatusCode, kind: &str, code: &str) -> Script {
    Script::json(&error(kind, code)).with_status(status)
}

fn failure() -> Value {
    error("server_error", "internal_error")
}

fn error(kind: &str, code: &str) -> Value {
    json!({ "error": { "message": "The demo upstream fails on request.", "type": kind, "param": null, "code": code } })
}
