//! Who may call the admin API: whoever presents the admin token. It looks at nothing but the path and the `authorization` header.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::{Either, Ready, ready};
use http::{HeaderMap, Request, Response};
use secrecy::SecretString;
use signalbox_proto::admin::v1::Role;
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use super::error::Error;
use crate::bearer::{Denied, Token};

/// What answers without a token: probes have none, and the schemas are public.
const OPEN: [&str; 3] =
    ["/grpc.health.v1.Health/", "/grpc.reflection.v1.ServerReflection/", "/grpc.reflection.v1alpha.ServerReflection/"];

/// Whoever makes a call. It travels in the request's extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Actor {
    /// As revisions and audit entries name it.
    pub(crate) name: Arc<str>,
    /// What it may do.
    pub(crate) role: Role,
}

/// Lets only calls with the admin token through.
#[derive(Debug, Clone)]
pub(crate) struct Auth {
    token: Arc<Token>,
}

impl Auth {
    /// A guard for this token.
    pub(crate) fn new(token: &SecretString) -> Self {
        Self { token: Arc::new(Token::new(token)) }
    }

    fn check(&self, path: &str, headers: &HeaderMap) -> Result<(), Denied> {
        if OPEN.iter().any(|open| path.starts_with(open)) { Ok(()) } else { self.token.check(headers) }
    }
}

impl<S> Layer<S> for Auth {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { auth: self.clone(), inner }
    }
}

/// A service behind [`Auth`].
#[derive(Debug, Clone)]
pub(crate) struct Guarded<S> {
    auth: Auth,
    inner: S,
}

impl<S, B> Service<Request<B>> for Guarded<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<S::Response, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match self.auth.check(request.uri().path(), request.headers()) {
            Ok(()) => {
                request.extensions_mut().insert(Actor { name: "admin".into(), role: Role::Admin });
                Either::Left(self.inner.call(request))
            }
            Err(denied) => Either::Right(ready(Ok(Status::from(Error::from(denied)).into_http()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_and_reflection_need_no_token_and_nothing_passes_for_them() {
        let auth = Auth::new(&"right".into());
        for open in ["/grpc.health.v1.Health/Check", "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"] {
            assert_eq!(auth.check(open, &HeaderMap::new()), Ok(()));
        }
        for closed in ["/", "/v1/providers", "/grpc.health.v1.HealthX/Check", "//grpc.health.v1.Health/Check"] {
            assert_eq!(auth.check(closed, &HeaderMap::new()), Err(Denied::Missing), "{closed}");
        }
    }
}
