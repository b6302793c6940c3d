//! Two connections joined once both have switched to WebSocket: bytes go both ways as they come, never faster than the other side
//! takes them. It never looks into them.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::{
    HeaderMap, HeaderValue, Method, Version,
    header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE},
    request::Parts,
};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split},
    time::{Instant, sleep_until},
};

use crate::{
    exchange::Exchange,
    record::Outcome,
    reply::{Content, Reply},
};

/// The only protocol that is switched to.
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
/// What is under way in each direction at most.
const BUFFER_BYTES: usize = 16 * 1024;

/// The connections to be joined, as an answer's extensions hold them.
#[derive(Debug, Clone)]
pub(crate) struct Ends {
    client: OnUpgrade,
    upstream: OnUpgrade,
    /// Longest silence in both directions together.
    idle: Duration,
}

/// A tunnel, and the exchange that ends with it.
#[derive(Debug)]
pub(crate) struct Tunnel {
    ends: Ends,
    /// What is held until the end for the upstream's sake.
    _content: Content,
    exchange: Box<Exchange>,
    traffic: Arc<Traffic>,
}

/// How a response hands a tunnel to the connection that is to carry it.
#[derive(Debug, Clone)]
pub(crate) struct Handover(Arc<Mutex<Option<Box<Tunnel>>>>);

/// What has passed.
#[derive(Debug)]
struct Traffic {
    since: Instant,
    /// When something last passed, in milliseconds from the beginning.
    last_ms: AtomicU64,
    up: AtomicU64,
    down: AtomicU64,
}

/// Which side broke a direction off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Reading,
    Writing,
}

/// The client's connection, if it asks to speak WebSocket on it (RFC 6455, section 4.1) and may: over HTTP/1.1 and without a body.
pub(crate) fn asked_for(head: &mut Parts) -> Option<OnUpgrade> {
    let Parts { method, version, headers, extensions, .. } = head;
    let mut upgrades = headers.get_all(UPGRADE).iter();
    let is_websocket = upgrades.next().is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let tokens = headers.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let asks = tokens.into_iter().any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"));
    let has_body = headers.contains_key(TRANSFER_ENCODING)
        || headers.get(CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0");
    let may = *method == Method::GET && *version == Version::HTTP_11 && !has_body;
    if is_websocket && upgrades.next().is_none() && asks && may { extensions.remove() } else { None }
}

/// Asks for the switch, or agrees to it.
pub(crate) fn switch(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, WEBSOCKET);
}

/// Makes an answer one after which the two connections are joined.
pub(crate) fn join(reply: &mut Reply, client: OnUpgrade, upstream: OnUpgrade, idle: Duration) {
    switch(reply.headers_mut());
    reply.extensions_mut().insert(Ends { client, upstream, idle });
}

impl Tunnel {
    /// A tunnel through which nothing has passed.
    pub(crate) fn new(ends: Ends, content: Content, exchange: Box<Exchange>) -> Self {
        let traffic = Traffic {
            since: Instant::now(),
            last_ms: AtomicU64::new(0),
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
        };
        Self { ends, _content: content, exchange, traffic: Arc::new(traffic) }
    }

    /// To be found by the connection.
    pub(crate) fn hand_over(self) -> Handover {
        Handover(Arc::new(Mutex::new(Some(Box::new(self)))))
    }

    /// Carries bytes until either side ends, or both are silent for too long.
    pub(crate) async fn run(mut self: Box<Self>) {
        let outcome = self.carry().await;
        self.tell_traffic();
        self.exchange.finish(outcome);
    }

    async fn carry(&mut self) -> Outcome {
        let Ends { client, upstream, idle } = &mut self.ends;
        let Ok((client, upstream)) = tokio::try_join!(client, upstream) else { return Outcome::Abandoned };
        let (from_client, to_client) = split(TokioIo::new(client));
        let (from_upstream, to_upstream) = split(TokioIo::new(upstream));
        let traffic = &*self.traffic;
        // Whatever ends first ends the other: a WebSocket that is closed on one side has nothing more to say on the other.
        tokio::select! {
            ended = pass(from_upstream, to_client, traffic, &traffic.down) => match ended {
                Ok(()) => Outcome::Completed,
                Err(Side::Reading) => Outcome::Broken,
                Err(Side::Writing) => Outcome::Abandoned,
            },
            ended = pass(from_client, to_upstream, traffic, &traffic.up) => match ended {
                Ok(()) => Outcome::Completed,
                Err(Side::Reading) => Outcome::Abandoned,
                Err(Side::Writing) => Outcome::Broken,
            },
            () = traffic.silence(*idle) => Outcome::Broken,
        }
    }

    fn tell_traffic(&mut self) {
        self.exchange.record.bytes_in = Some(self.traffic.up.load(Ordering::Relaxed));
        self.exchange.record.bytes_out = self.traffic.down.load(Ordering::Relaxed);
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        // Where it was cut, the record still says what had passed.
        self.tell_traffic();
    }
}

impl Handover {
    /// The tunnel, for whoever asks first.
    pub(crate) fn take(&self) -> Option<Box<Tunnel>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Traffic {
    fn count(&self, bytes: &AtomicU64, length: usize) {
        bytes.fetch_add(length as u64, Ordering::Relaxed);
        let now = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(now, Ordering::Relaxed);
    }

    /// Waits until nothing has passed for so long.
    async fn silence(&self, idle: Duration) {
        loop {
            let last = self.since + Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
            if last.elapsed() >= idle {
                return;
            }
            sleep_until(last + idle).await;
        }
    }
}

/// Carries one direction to its end.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    traffic: &Traffic,
    bytes: &AtomicU64,
) -> Result<(), Side> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let length = from.read(&mut buffer).await.map_err(|_| Side::Reading)?;
        let Some(piece) = buffer.get(..length).filter(|piece| !piece.is_empty()) else { break };
        to.write_all(piece).await.map_err(|_| Side::Writing)?;
        to.flush().await.map_err(|_| Side::Writing)?;
        traffic.count(bytes, length);
    }
    to.shutdown().await.map_err(|_| Side::Writing)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn is_asked_for(method: Method, version: Version, headers: &[(&str, &str)]) -> bool {
        let mut request = Request::builder().method(method).version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(()).unwrap();
        // There is none without a connection, but an empty one serves as well.
        let upgrade = hyper::upgrade::on(&mut request);
        request.extensions_mut().insert(upgrade);
        asked_for(&mut request.into_parts().0).is_some()
    }

    #[test]
    fn a_handshake_is_known_by_its_head() {
        let usual = [("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")];
        assert!(is_asked_for(Method::GET, Version::HTTP_11, &usual));
        assert!(!is_asked_for(Method::POST, Version::HTTP_11, &usual));
        assert!(!is_asked_for(Method::GET, Version::HTTP_2, &usual));
        assert!(!is_asked_for(Method::GET, Version::HTTP_10, &usual));
        for headers in [
            &[("upgrade", "websocket")][..],
            &[("connection", "upgrade")],
            &[("connection", "upgrade"), ("upgrade", "h2c")],
            &[("connection", "upgrade"), ("upgrade", "websocket, h2c")],
            &[("connection", "upgrade"), ("upgrade", "websocket"), ("upgrade", "h2c")],
            &[("connection", "upgrade"), ("upgrade", "websocket"), ("content-length", "1")],
            &[("connection", "upgrade"), ("upgrade", "websocket"), ("transfer-encoding", "chunked")],
        ] {
            assert!(!is_asked_for(Method::GET, Version::HTTP_11, headers), "{headers:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_counted_from_what_passed_last() {
        let traffic = Traffic {
            since: Instant::now(),
            last_ms: AtomicU64::new(0),
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
        };
        let (idle, begun) = (Duration::from_secs(300), Instant::now());
        tokio::join!(traffic.silence(idle), async {
            tokio::time::sleep(Duration::from_secs(200)).await;
            traffic.count(&traffic.up, 3);
        });
        assert_eq!((begun.elapsed().as_secs(), traffic.up.load(Ordering::Relaxed)), (500, 3));
    }
}
