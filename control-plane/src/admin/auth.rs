//! Who may call the admin API: whoever presents the admin token. It looks at nothing but the path and the `authorization` header.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::{Either, Ready, ready};
use http::{HeaderMap, Request, Response, header::AUTHORIZATION};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tonic::body::Body;
use tower::{Layer, Service};

use super::error::Error;

/// What answers without a token: probes have none, and the schemas are public.
const OPEN: [&str; 3] = ["/grpc.health.v1.Health/", "/grpc.reflection.v1.ServerReflection/", "/grpc.reflection.v1alpha.ServerReflection/"];

/// Lets only calls with the admin token through.
#[derive(Debug, Clone)]
pub(crate) struct Auth {
    // Digests are compared, so that the time it takes says nothing about the token, not even its length.
    token: Arc<[u8; 32]>,
}

impl Auth {
    /// A guard for this token.
    pub(crate) fn new(token: &SecretString) -> Self {
        Self { token: Arc::new(digest(token.expose_secret().as_bytes())) }
    }

    fn check(&self, path: &str, headers: &HeaderMap) -> Result<(), Error> {
        if OPEN.iter().any(|open| path.starts_with(open)) {
            return Ok(());
        }
        let presented = bearer(headers).ok_or(Error::TokenMissing)?;
        if bool::from(digest(presented).ct_eq(self.token.as_slice())) { Ok(()) } else { Err(Error::TokenWrong) }
    }
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// The credentials of a bearer `authorization` (RFC 6750, section 2.1; the scheme's case does not matter).
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.as_bytes().split_at_checked("bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
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

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.auth.check(request.uri().path(), request.headers()) {
            Ok(()) => Either::Left(self.inner.call(request)),
            Err(error) => Either::Right(ready(Ok(tonic::Status::from(error).into_http()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/signalbox.admin.v1.ProviderService/ListProviders";

    fn check(path: &str, authorization: Option<&str>) -> Result<(), Error> {
        let headers = authorization.map(|value| (AUTHORIZATION, value.parse().unwrap())).into_iter().collect();
        Auth::new(&"right".into()).check(path, &headers)
    }

    #[test]
    fn only_the_right_token_passes() {
        for good in ["Bearer right", "bearer right", "BEARER  right "] {
            assert!(check(PATH, Some(good)).is_ok(), "{good:?}");
        }
        for wrong in ["Bearer wrong", "Bearer right2", "Bearer ", "Bearer righ"] {
            assert!(matches!(check(PATH, Some(wrong)), Err(Error::TokenWrong)), "{wrong:?}");
        }
        for missing in [None, Some(""), Some("right"), Some("Basic right"), Some("Bearer")] {
            assert!(matches!(check(PATH, missing), Err(Error::TokenMissing)), "{missing:?}");
        }
    }

    #[test]
    fn health_and_reflection_need_no_token_and_nothing_passes_for_them() {
        for open in ["/grpc.health.v1.Health/Check", "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"] {
            assert!(check(open, None).is_ok());
        }
        for closed in ["/", "/v1/providers", "/grpc.health.v1.HealthX/Check", "//grpc.health.v1.Health/Check"] {
            assert!(check(closed, None).is_err(), "{closed}");
        }
    }
}
