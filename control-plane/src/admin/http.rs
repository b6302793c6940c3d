//! HTTP/JSON on the admin port, beside gRPC: a request becomes a call of the RPC that `google.api.http` binds to its path, and the
//! answer becomes canonical JSON. The call goes through everything that a gRPC call goes through; nothing is decided here.

use std::{
    mem,
    task::{Context, Poll},
};

use futures_util::future::{BoxFuture, Either};
use http::{HeaderMap, Method, Request, Response, header};
use tonic::body::Body;
use tower::{Layer, Service};

mod openapi;
mod pages;
mod query;
mod reply;
mod request;
mod table;
mod template;

use pages::Page;
use table::{Binding, Table};
use template::{BadPath, RequestPath};

/// Why an HTTP request is no call, or why its answer is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// The path cannot be read.
    #[error(transparent)]
    Path(#[from] BadPath),
    /// There is no such path.
    #[error("there is no such path")]
    UnknownPath {
        /// Those that may have been meant.
        near: Vec<String>,
    },
    /// The path is an RPC's own, and the request is no gRPC.
    #[error("the path is for gRPC")]
    NotGrpc {
        /// Method and path that call the same RPC over HTTP.
        instead: String,
    },
    /// The path has no such method.
    #[error("the path has no such method")]
    Method {
        /// Those that it has.
        allowed: Vec<Method>,
    },
    /// Another site's page sent it.
    #[error("it comes from another site's page")]
    CrossSite,
    /// The query is longer than allowed.
    #[error("the query is longer than {limit} bytes")]
    QueryTooLong {
        /// The most there may be.
        limit: usize,
    },
    /// There is a body where none means anything.
    #[error("the method takes no body")]
    BodyNotAllowed,
    /// The body is not said to be JSON.
    #[error("the body is not said to be JSON")]
    MediaType,
    /// The body is larger than allowed.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// The most there may be.
        limit: usize,
    },
    /// The body does not come.
    #[error("nothing more of the body came within {limit_s} s")]
    TooSlow {
        /// How long was waited for.
        limit_s: u64,
    },
    /// The body breaks off.
    #[error("the body broke off")]
    Incomplete,
    /// The body is no JSON.
    #[error("the body is no JSON: line {line}, column {column}: {problem}")]
    Json {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What is wrong there.
        problem: String,
    },
    /// What the RPC answered does not fit its schema.
    #[error("the answer cannot be shown as JSON")]
    Unshowable,
}

/// Takes what is no gRPC, and leaves the rest alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Front;

impl<S> Layer<S> for Front {
    type Service = Fronted<S>;

    fn layer(&self, inner: S) -> Fronted<S> {
        Fronted { inner }
    }
}

/// gRPC services that can be called over HTTP/JSON too.
#[derive(Debug, Clone)]
pub(crate) struct Fronted<S> {
    inner: S,
}

impl<S> Service<Request<Body>> for Fronted<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, BoxFuture<'static, Result<S::Response, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if is_grpc(request.headers()) {
            return Either::Left(self.inner.call(request));
        }
        // The one that is ready makes the call.
        let later = self.inner.clone();
        let ready = mem::replace(&mut self.inner, later);
        Either::Right(Box::pin(answer(ready, request)))
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let rest = media_type.strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

async fn answer<S>(mut inner: S, request: Request<Body>) -> Result<Response<Body>, S::Error>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    let head = request.method() == Method::HEAD;
    let response = match meant(&request) {
        Ok(Meant::Health) => pages::health(inner.call(pages::ask_for_health(request)).await?).await,
        Ok(Meant::Page(page)) => pages::show(page),
        Ok(Meant::Call(binding, path)) => {
            let call = inner.call(request::to_rpc(binding, path, request)).await?;
            reply::of_rpc(call, binding.rpc.output()).await
        }
        Err(refused) => reply::refused(refused),
    };
    Ok(if head { reply::without_body(response) } else { response })
}

/// What a request asks for.
enum Meant {
    Health,
    Page(Page),
    Call(&'static Binding, RequestPath),
}

fn meant(request: &Request<Body>) -> Result<Meant, Refused> {
    let (method, path) = (request.method(), request.uri().path());
    let safe = matches!(*method, Method::GET | Method::HEAD);
    let page = if path == "/health" { Some(Meant::Health) } else { Page::find(path).map(Meant::Page) };
    if let Some(page) = page {
        return if safe { Ok(page) } else { Err(Refused::Method { allowed: vec![Method::GET, Method::HEAD] }) };
    }
    if let Some(binding) = Table::get().of_rpc(path) {
        return Err(Refused::NotGrpc { instead: format!("{} {}", binding.method, binding.template) });
    }
    let path = RequestPath::parse(path)?;
    let binding = Table::get().find(method, &path)?;
    // A browser that holds a client certificate would send it along, whoever's page it shows.
    if !safe && request.headers().get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none") {
        return Err(Refused::CrossSite);
    }
    Ok(Meant::Call(binding, path))
}
