//! Puts words into the mouth of hyper, which refuses a head that it cannot read with a bare status: the client is told what every
//! other error tells, in JSON and with a request's id.

use bytes::Bytes;
use http::StatusCode;

use crate::errors::unread;

/// Longer than any head that hyper writes by itself.
const LONGEST: usize = 256;

/// Where hyper's own refusal begins in what it writes, always at the end, and what is sent in its place. No answer of ours looks
/// like it, as each names its exchange.
pub(super) fn find(written: &[u8]) -> Option<(usize, Bytes)> {
    let from = written.len().saturating_sub(LONGEST);
    let tail = written.get(from..)?.strip_suffix(b"\r\n\r\n")?;
    let at = memchr::memmem::rfind(tail, b"HTTP/1.1 4")?;
    let mut lines = tail.get(at..)?.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let status = StatusCode::from_bytes(lines.next()?.get(9..12)?).ok()?;
    let mut empty = false;
    for line in lines {
        match line {
            b"content-length: 0" => empty = true,
            b"connection: close" => {}
            line if line.starts_with(b"date: ") => {}
            _ => return None,
        }
    }
    if empty { Some((from + at, unread::refused(status)?)) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEIRS: &str = "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\
        date: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n";

    #[test]
    fn only_a_refusal_without_a_name_is_put_into_words() {
        let named = THEIRS.replace("date:", "x-request-id: 1\r\ndate:");
        let before = "HTTP/1.1 200 OK\r\nx-request-id: 1\r\ncontent-length: 1\r\n\r\nx";
        for (written, expected) in [
            (THEIRS.to_owned(), Some(0)),
            (format!("{before}{THEIRS}"), Some(before.len())),
            (named, None),
            (before.to_owned(), None),
            (format!("{THEIRS}x"), None),
            (THEIRS.replace("431", "404"), None),
            (THEIRS.replace(": 0", ": 1"), None),
            ("\r\n\r\n".to_owned(), None),
            (String::new(), None),
        ] {
            let found = find(written.as_bytes());
            assert_eq!(found.as_ref().map(|(at, _)| *at), expected, "{written:?}");
            let ours = found.map(|(_, ours)| String::from_utf8(ours.to_vec()).unwrap());
            assert!(ours.is_none_or(|ours| ours.starts_with("HTTP/1.1 431 ") && ours.contains("headers_too_large")));
        }
    }
}
