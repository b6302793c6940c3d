//! Errors that a library made on this port: they get what all of ours have, a reason and words that say what to do. It looks at statuses
//! and never at messages.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response, request::Parts};
use http_body_util::BodyExt as _;
use signalbox_proto::DESCRIPTORS;
use tokio::time::timeout;
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service};

use super::error::Error;

/// The library's own answer to a passed deadline cannot be added to, so that ours comes before it.
const AHEAD: Duration = Duration::from_millis(5);

/// Methods that are named to whoever calls one that there is not.
const MAX_NEAR: usize = 3;

/// How alike such a method is, between 0 and 1.
const NEAR: f64 = 0.93;

/// What a library refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Foreign {
    /// There is no such method.
    #[error("`{path}` is no method")]
    UnknownMethod {
        /// As it was called.
        path: String,
        /// Those that may have been meant.
        near: Vec<String>,
    },
    /// The message is compressed, and not as can be read here.
    #[error("the message is compressed in a way that is not read here")]
    Compressed,
    /// The bytes are no message of the method's.
    #[error("{problem}")]
    Undecodable {
        /// As the library says it.
        problem: String,
    },
    /// The message is longer than allowed.
    #[error("{problem}")]
    TooLarge {
        /// As the library says it.
        problem: String,
    },
    /// The caller's deadline has passed.
    #[error("the deadline of the call has passed")]
    Deadline,
    /// What has its code as its only reason.
    #[error("{message}")]
    Plain {
        /// The code.
        code: Code,
        /// As the library says it.
        message: String,
    },
}

/// Sees to it that every error has an ErrorInfo.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Informed;

impl<S> Layer<S> for Informed {
    type Service = Informing<S>;

    fn layer(&self, inner: S) -> Informing<S> {
        Informing { inner }
    }
}

/// A service behind [`Informed`].
#[derive(Debug, Clone)]
pub(crate) struct Informing<S> {
    inner: S,
}

impl<S> Service<Request<Body>> for Informing<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let deadline = deadline(&parts.headers);
        let called = Arc::new(Called::new(&parts));
        let answer = self.inner.call(Request::from_parts(parts, body));
        Box::pin(async move {
            let response = match deadline {
                None => answer.await?,
                Some(deadline) => match timeout(deadline.saturating_sub(AHEAD), answer).await {
                    Ok(answered) => answered?,
                    Err(_) => Status::from(Error::from(Foreign::Deadline)).into_http(),
                },
            };
            Ok(called.informed(response))
        })
    }
}

/// What a call says about itself.
#[derive(Debug)]
struct Called {
    path: String,
    compressed: bool,
}

impl Called {
    fn new(parts: &Parts) -> Self {
        let encoding = parts.headers.get("grpc-encoding");
        Self { path: parts.uri.path().to_owned(), compressed: encoding.is_some_and(|encoding| encoding != "identity") }
    }

    /// An answer whose error, now or at its end, has an ErrorInfo.
    fn informed(self: Arc<Self>, mut response: Response<Body>) -> Response<Body> {
        if response.headers().contains_key(Status::GRPC_STATUS) {
            self.inform(response.headers_mut());
            return response;
        }
        response.map(|body| {
            let at_its_end = body.map_frame(move |frame| match frame.into_trailers() {
                Ok(mut trailers) => {
                    self.inform(&mut trailers);
                    http_body::Frame::trailers(trailers)
                }
                Err(frame) => frame,
            });
            Body::new(at_its_end)
        })
    }

    fn inform(&self, headers: &mut HeaderMap) {
        let Some(status) = Status::from_header_map(headers) else { return };
        if status.code() == Code::Ok || !status.details().is_empty() {
            return;
        }
        let informed = Status::from(Error::from(self.explain(&status)));
        // What cannot be a header is left as it was.
        let _unwritable = informed.add_header(headers);
    }

    /// What the library means: ours never come without details.
    fn explain(&self, status: &Status) -> Foreign {
        let problem = || status.message().to_owned();
        match status.code() {
            Code::Unimplemented if self.compressed => Foreign::Compressed,
            Code::Unimplemented => Foreign::UnknownMethod { path: self.path.clone(), near: near(&self.path) },
            Code::Internal => Foreign::Undecodable { problem: problem() },
            Code::OutOfRange | Code::ResourceExhausted => Foreign::TooLarge { problem: problem() },
            Code::DeadlineExceeded => Foreign::Deadline,
            code => Foreign::Plain { code, message: problem() },
        }
    }
}

/// The methods that may have been meant.
fn near(path: &str) -> Vec<String> {
    let methods = DESCRIPTORS.services().flat_map(|service| service.methods().collect::<Vec<_>>());
    let admin = methods.filter(|method| method.full_name().starts_with("signalbox.admin."));
    let paths = admin.map(|method| format!("/{}/{}", method.parent_service().full_name(), method.name()));
    let mut near: Vec<_> = paths
        .map(|method| (strsim::normalized_levenshtein(path, &method), method))
        .filter(|(alike, _)| *alike > NEAR)
        .collect();
    near.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    near.into_iter().take(MAX_NEAR).map(|(_, method)| method).collect()
}

/// How long the caller waits, as gRPC says it: up to eight digits and a unit.
fn deadline(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_read_as_grpc_writes_it() {
        let read =
            |text: &str| deadline(&[("grpc-timeout".parse().unwrap(), text.parse().unwrap())].into_iter().collect());
        assert_eq!(read("2S"), Some(Duration::from_secs(2)));
        assert_eq!(read("1H"), Some(Duration::from_secs(3600)));
        assert_eq!(read("99999999n"), Some(Duration::from_nanos(99_999_999)));
        for bad in ["", "S", "1", "1s", "-1S", "100000000S", "1 S"] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_misspelt_method_is_told_which_it_may_be() {
        let slip = near("/signalbox.admin.v1.ProviderService/GetProviders");
        assert_eq!(slip.first().map(String::as_str), Some("/signalbox.admin.v1.ProviderService/GetProvider"));
        assert!(near("/x/y").is_empty());
    }
}
