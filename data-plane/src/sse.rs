//! Server-sent events as bytes: cuts a stream into events, whatever its chunks and line endings, and frames them exactly on the way
//! out. It never looks into the data.
//!
//! The format: <https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream>.

use std::mem;

use bytes::{Buf, Bytes, BytesMut};
use memchr::{memchr, memchr2, memchr2_iter};

use crate::splice::{self, Edit};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Largest event that is held, in bytes: what one image in base64 may take.
pub(crate) const MAX_EVENT_BYTES: usize = 10 * 1024 * 1024;

/// An event is longer than [`MAX_EVENT_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event is larger than {MAX_EVENT_BYTES} bytes")]
pub(crate) struct TooLong;

/// Cuts a stream of chunks into events. An event that arrives within one chunk is not copied.
#[derive(Debug, Default)]
pub(crate) struct Framer {
    buffer: Bytes,
    /// How far the buffer is known not to hold the end of an event.
    scanned: usize,
    /// Where the line that is being scanned begins.
    line: usize,
    /// Whether a line with something in it was seen: blank lines before an event belong to it.
    content: bool,
    /// The last event ended in a carriage return that was the last byte there was; a line feed that follows belongs to it.
    after_return: bool,
    /// Whether the place for a byte order mark is past.
    begun: bool,
}

impl Framer {
    /// Takes the next chunk.
    pub(crate) fn push(&mut self, mut chunk: Bytes) {
        if self.after_return && !chunk.is_empty() {
            self.after_return = false;
            if chunk.starts_with(b"\n") {
                chunk.advance(1);
            }
        }
        if self.buffer.is_empty() {
            self.buffer = chunk;
        } else {
            let mut joined = BytesMut::from(mem::take(&mut self.buffer));
            joined.extend_from_slice(&chunk);
            self.buffer = joined.freeze();
        }
    }

    /// The next event that is there as a whole.
    ///
    /// # Errors
    /// [`TooLong`] where what is held is over the limit and still no whole event.
    pub(crate) fn next(&mut self) -> Result<Option<Event>, TooLong> {
        if !self.past_byte_order_mark() {
            return Ok(None);
        }
        while let Some(end) = self.find_end() {
            (self.scanned, self.line, self.content) = (0, 0, false);
            if let Some(event) = Event::read(self.buffer.split_to(end)) {
                return Ok(Some(event));
            }
        }
        if self.buffer.len() > MAX_EVENT_BYTES { Err(TooLong) } else { Ok(None) }
    }

    /// What is left once the stream has ended: an event whose final blank line is missing, and which may be cut short.
    pub(crate) fn finish(&mut self) -> Option<Event> {
        Event::read(mem::take(&mut self.buffer))
    }

    fn past_byte_order_mark(&mut self) -> bool {
        if !self.begun {
            if self.buffer.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(&self.buffer) {
                return false;
            }
            if self.buffer.starts_with(BYTE_ORDER_MARK) {
                self.buffer.advance(BYTE_ORDER_MARK.len());
            }
            self.begun = true;
        }
        true
    }

    fn find_end(&mut self) -> Option<usize> {
        while let Some(found) = self.buffer.get(self.scanned..).and_then(|rest| memchr2(b'\n', b'\r', rest)) {
            let at = self.scanned + found;
            let blank = at == self.line;
            let ends = blank && self.content;
            let next = match (self.buffer.get(at), self.buffer.get(at + 1)) {
                (Some(b'\r'), Some(b'\n')) => at + 2,
                (Some(b'\r'), None) if ends => {
                    self.after_return = true;
                    at + 1
                }
                (Some(b'\r'), None) => {
                    self.scanned = at;
                    return None;
                }
                _ => at + 1,
            };
            (self.scanned, self.line) = (next, next);
            if ends {
                return Some(next);
            }
            self.content |= !blank;
        }
        self.scanned = self.buffer.len();
        None
    }
}

/// One event, or one run of comments, framed as it goes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    bytes: Bytes,
    data: Option<Bytes>,
    /// Where the data begins in what goes out, where it is of one line.
    data_at: Option<usize>,
}

impl Event {
    /// Reads one event. Bytes that are exact as they are stay as they are; `None` where nothing is left to send.
    fn read(raw: Bytes) -> Option<Self> {
        let bytes = if is_exact(&raw) { raw } else { reframed(&raw)? };
        let mut lines = lines(&bytes).filter_map(|line| field(line, b"data"));
        let mut data_at = None;
        let data = lines.next().map(|first| match lines.next() {
            None => {
                // What is empty may be nowhere.
                data_at = (!first.is_empty()).then(|| first.as_ptr().addr() - bytes.as_ptr().addr());
                bytes.slice_ref(first)
            }
            Some(second) => {
                let all: Vec<&[u8]> = [first, second].into_iter().chain(lines).collect();
                all.join(&b'\n').into()
            }
        });
        Some(Self { bytes, data, data_at })
    }

    /// The data, its lines joined; `None` for comments and for fields without data.
    pub(crate) fn data(&self) -> Option<&Bytes> {
        self.data.as_ref()
    }

    /// Whether the event is of this type.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        lines(&self.bytes).filter_map(|line| field(line, b"event")).last() == Some(name.as_bytes())
    }

    /// What goes out.
    pub(crate) fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// How many bytes go out.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// What goes out with these edits of its data, which are of one line each.
    pub(crate) fn with_edits(&self, mut edits: Vec<Edit>) -> Bytes {
        if let Some(at) = self.data_at {
            edits.iter_mut().for_each(|edit| edit.span = edit.span.start + at..edit.span.end + at);
            return splice::pieces(&self.bytes, edits).concat().into();
        }
        let data = self.data.as_ref().map(|data| splice::pieces(data, edits).concat()).unwrap_or_default();
        self.with_data(&data)
    }

    fn with_data(&self, data: &[u8]) -> Bytes {
        let mut out = BytesMut::with_capacity(self.bytes.len() + data.len());
        for line in lines(&self.bytes).filter(|line| field(line, b"data").is_none()) {
            out.extend_from_slice(line);
            out.extend_from_slice(b"\n");
        }
        for line in data.split(|byte| *byte == b'\n') {
            out.extend_from_slice(b"data: ");
            out.extend_from_slice(line);
            out.extend_from_slice(b"\n");
        }
        out.extend_from_slice(b"\n");
        out.freeze()
    }
}

/// Lines with something in them, whatever their endings.
fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut start = 0;
    let ends = memchr2_iter(b'\n', b'\r', bytes).chain([bytes.len()]);
    let lines = ends.map(move |end| bytes.get(mem::replace(&mut start, end + 1)..end).unwrap_or_default());
    lines.filter(|line| !line.is_empty())
}

/// The value of a line if it is this field.
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    match line.strip_prefix(name)? {
        [] => Some(&[]),
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        _ => None,
    }
}

/// `id` and `retry` are for browsers that reconnect; after either of them some SDKs take the next comment for an event.
fn is_stripped(line: &[u8]) -> bool {
    field(line, b"id").is_some() || field(line, b"retry").is_some()
}

/// Data without the space that OpenAI's streams have after the colon, and that simple clients rely on.
fn unspaced(line: &[u8]) -> Option<&[u8]> {
    line.strip_prefix(b"data:").filter(|value| !value.starts_with(b" "))
}

fn is_exact(raw: &[u8]) -> bool {
    let inexact = |line| is_stripped(line) || unspaced(line).is_some();
    raw.ends_with(b"\n\n") && memchr(b'\r', raw).is_none() && !lines(raw).any(inexact)
}

fn reframed(raw: &[u8]) -> Option<Bytes> {
    let mut out = BytesMut::with_capacity(raw.len() + 3);
    for line in lines(raw).filter(|line| !is_stripped(line)) {
        match unspaced(line) {
            Some(value) => {
                out.extend_from_slice(b"data: ");
                out.extend_from_slice(value);
            }
            None => out.extend_from_slice(line),
        }
        out.extend_from_slice(b"\n");
    }
    if out.is_empty() {
        return None;
    }
    out.extend_from_slice(b"\n");
    Some(out.freeze())
}

#[cfg(test)]
mod tests;
