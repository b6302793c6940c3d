//! What faults do to bytes: line ends, compression, and heads that no server would write. Pure.

use std::io::Write as _;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use serde_json::{Map, Value, json};

use super::super::answer::event;

/// The head of a 200 up to its blank line, with these lines beside the content type.
pub(super) fn head(content_type: &str, lines: &str) -> Bytes {
    format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\n{lines}\r\n").into()
}

/// One chunk of a chunked body.
pub(super) fn chunk(bytes: &[u8]) -> Bytes {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat().into()
}

/// Ends lines in these ways in turn. JSON holds no bare line feed, so that every one here ends a line.
pub(super) fn with_line_ends(text: &[u8], ends: &[&[u8]]) -> Bytes {
    let mut ends = ends.iter().cycle();
    let lines = text.split_inclusive(|byte| *byte == b'\n').map(|line| match line.strip_suffix(b"\n") {
        Some(line) => [line, ends.next().copied().unwrap_or_default()].concat(),
        None => line.to_vec(),
    });
    lines.collect::<Vec<_>>().concat().into()
}

/// An event whose JSON begins on one line and goes on in the next.
pub(super) fn on_two_lines(frame: &Bytes) -> Bytes {
    match frame.iter().position(|byte| *byte == b'{') {
        Some(at) => {
            let (first, second) = frame.split_at(at + 1);
            [first, b"\ndata: ", second].concat().into()
        }
        None => frame.clone(),
    }
}

/// An event with a usage beside what it says.
pub(super) fn with_usage(frame: &Bytes) -> Bytes {
    let chunk = frame.strip_prefix(b"data: ").and_then(|json| serde_json::from_slice::<Map<String, Value>>(json).ok());
    let Some(mut chunk) = chunk else { return frame.clone() };
    chunk.insert("usage".to_owned(), json!({ "prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5 }));
    event(&Value::Object(chunk))
}

/// As gzip.
pub(super) fn packed(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    #[expect(clippy::expect_used, reason = "a vector takes everything")]
    let packed = encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("writing to a vector does not fail");
    packed.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_take_turns() {
        let ended = with_line_ends(b"a\n\nb\n\nc", &[b"\r\n", b"\n", b"\r"]);
        assert_eq!(ended, Bytes::from_static(b"a\r\n\nb\r\r\nc"));
    }

    #[test]
    fn an_event_on_two_lines_is_the_same_json() {
        let frame = on_two_lines(&Bytes::from_static(b"data: {\"a\":1}\n\n"));
        assert_eq!(frame, Bytes::from_static(b"data: {\ndata: \"a\":1}\n\n"));
        let done = Bytes::from_static(b"data: [DONE]\n\n");
        assert_eq!(on_two_lines(&done), done);
    }

    #[test]
    fn usage_goes_beside_what_an_event_says() {
        let frame = with_usage(&Bytes::from_static(b"data: {\"a\":1}\n\n"));
        let data: Value = serde_json::from_slice(frame.strip_prefix(b"data: ").unwrap()).unwrap();
        assert_eq!((&data["a"], &data["usage"]["total_tokens"]), (&json!(1), &json!(5)));
    }
}
