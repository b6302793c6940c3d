//! The heads of requests and answers as HTTP/1.1 writes them (RFC 9112). It does no IO.

use std::mem::MaybeUninit;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version,
    header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING},
    request, response,
};
use httparse::{ParserConfig, Status};

use super::{
    Error,
    framing::{Chunks, Framing},
};

/// Most headers that an answer may have.
const MAX_HEADERS: usize = 128;

/// Room for what is said of an answer on its way to the client.
const OUR_HEADERS: usize = 8;

/// The head of an answer.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) parts: response::Parts,
    /// How its body's end is told.
    pub(super) framing: Framing,
    /// Whether the upstream keeps the connection open after it.
    pub(super) stays: bool,
    /// How many bytes it took, with those of interim answers before it.
    pub(super) length: usize,
}

/// The head of a request with a body of this length.
pub(super) fn write(request: &request::Parts, length: usize) -> Bytes {
    let mut head = BytesMut::with_capacity(512);
    head.put_slice(request.method.as_str().as_bytes());
    head.put_u8(b' ');
    let target = request.uri.path_and_query().map_or("", |target| target.as_str());
    if !target.starts_with(['/', '*']) {
        head.put_u8(b'/');
    }
    head.put_slice(target.as_bytes());
    head.put_slice(b" HTTP/1.1\r\n");
    if !request.headers.contains_key(HOST) {
        write_host(request, &mut head);
    }
    // The body's own length is stated, whatever else was said of it.
    let told = |name: &HeaderName| *name != CONTENT_LENGTH && *name != TRANSFER_ENCODING;
    for (name, value) in request.headers.iter().filter(|(name, _)| told(name)) {
        write_header(name, value.as_bytes(), &mut head);
    }
    // Only a method that means something by a body says that there is none (RFC 9110, section 8.6).
    if length > 0 || [Method::POST, Method::PUT, Method::PATCH].contains(&request.method) {
        write_header(&CONTENT_LENGTH, length.to_string().as_bytes(), &mut head);
    }
    head.put_slice(b"\r\n");
    head.freeze()
}

fn write_header(name: &HeaderName, value: &[u8], head: &mut BytesMut) {
    head.put_slice(name.as_str().as_bytes());
    head.put_slice(b": ");
    head.put_slice(value);
    head.put_slice(b"\r\n");
}

/// The host, and the port where it is not the scheme's own.
fn write_host(request: &request::Parts, head: &mut BytesMut) {
    let own = if request.uri.scheme_str() == Some("https") { 443 } else { 80 };
    head.put_slice(b"host: ");
    head.put_slice(request.uri.host().unwrap_or_default().as_bytes());
    if let Some(port) = request.uri.port().filter(|port| port.as_u16() != own) {
        head.put_u8(b':');
        head.put_slice(port.as_str().as_bytes());
    }
    head.put_slice(b"\r\n");
}

/// Reads the head of an answer to a request of this method, after any interim answers; `None` = some of it is still to come.
///
/// # Errors
/// Where it is none, or not clear about the length of its body.
pub(super) fn read(bytes: &Bytes, method: &Method) -> Result<Option<Head>, Error> {
    let mut length = 0;
    loop {
        let rest = bytes.slice(length..);
        let mut uninit = [const { MaybeUninit::uninit() }; MAX_HEADERS];
        let mut read = httparse::Response::new(&mut []);
        let parsed = ParserConfig::default()
            .parse_response_with_uninit_headers(&mut read, &rest, &mut uninit)
            .map_err(Error::Head)?;
        let Status::Complete(own) = parsed else { return Ok(None) };
        length += own;
        let status =
            StatusCode::from_u16(read.code.unwrap_or_default()).map_err(|error| Error::Header(error.into()))?;
        // What follows a switch of protocols is no HTTP, whether or not anybody had asked for it.
        if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
            continue;
        }
        let (mut parts, ()) = Response::new(()).into_parts();
        parts.status = status;
        parts.version = if read.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
        parts.headers = headers(&rest, read.headers)?;
        let framing = framing(&parts, method)?;
        let stays =
            stays(&parts) && status != StatusCode::SWITCHING_PROTOCOLS && !matches!(framing, Framing::ToClose { .. });
        return Ok(Some(Head { parts, framing, stays, length }));
    }
}

/// The headers, whose values stay where they are.
fn headers(bytes: &Bytes, read: &[httparse::Header<'_>]) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::with_capacity(read.len() + OUR_HEADERS);
    for header in read {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|error| Error::Header(error.into()))?;
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(header.value));
        headers.append(name, value.map_err(|error| Error::Header(error.into()))?);
    }
    Ok(headers)
}

/// How the end of the body is told (RFC 9112, section 6.3).
fn framing(parts: &response::Parts, method: &Method) -> Result<Framing, Error> {
    let bodiless = [StatusCode::SWITCHING_PROTOCOLS, StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED];
    if *method == Method::HEAD || bodiless.contains(&parts.status) {
        return Ok(Framing::Length(0));
    }
    if let Some(last) = parts.headers.get_all(TRANSFER_ENCODING).iter().flat_map(tokens).last() {
        // Said in two ways, it may be meant to be understood in two ways.
        if parts.version == Version::HTTP_10 || parts.headers.contains_key(CONTENT_LENGTH) {
            return Err(Error::Length);
        }
        let chunked = last.eq_ignore_ascii_case(b"chunked");
        return Ok(if chunked { Framing::Chunked(Chunks::default()) } else { Framing::ToClose { over: false } });
    }
    let mut length = None;
    for said in parts.headers.get_all(CONTENT_LENGTH).iter().flat_map(self::parts) {
        let said = said.iter().all(u8::is_ascii_digit).then(|| std::str::from_utf8(said).ok()?.parse().ok()).flatten();
        let said: u64 = said.ok_or(Error::Length)?;
        if length.replace(said).is_some_and(|before| before != said) {
            return Err(Error::Length);
        }
    }
    Ok(length.map_or(Framing::ToClose { over: false }, Framing::Length))
}

/// Whether the upstream keeps the connection open (RFC 9112, section 9.3).
fn stays(parts: &response::Parts) -> bool {
    let says = |what: &[u8]| {
        let mut said = parts.headers.get_all(CONNECTION).iter().flat_map(tokens);
        said.any(|token| token.eq_ignore_ascii_case(what))
    };
    if parts.version == Version::HTTP_10 { says(b"keep-alive") } else { !says(b"close") }
}

/// The parts of a header's list, of which empty ones say nothing.
fn tokens(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    parts(value).filter(|part| !part.is_empty())
}

fn parts(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests;
