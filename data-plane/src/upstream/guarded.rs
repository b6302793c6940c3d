//! The client of universal routes: it connects to nothing but addresses that were checked, on whichever way it goes. Each name is
//! resolved here, once a connection, and what was checked is what is dialled, or what a forward proxy is told to dial; only TLS and
//! `Host` see the name.

use std::{
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderValue, Request, Response, Uri, header::UPGRADE};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::{
    client::legacy::connect::{
        HttpConnector,
        dns::{GaiResolver, Name},
        proxy::{SocksV5, Tunnel},
    },
    rt::TokioIo,
};
use ipnet::IpNet;
use rustls::ClientConfig;
use signalbox_routing::{HttpVersion, Profile, Proxy};
use tokio::net::TcpStream;
use tower_service::Service;

use super::{
    Body, Transport,
    per_worker::PerWorker,
    pool::{BoxError, Pool, pool, tcp, tls},
};
use crate::destination::{self, may_call};

type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;
type Pooled = Pool<Dialler<GaiResolver>>;
type Connecting = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

/// A pooled HTTP client that calls only what it may. Cheap to clone; the clones share their connections.
#[derive(Debug, Clone)]
pub(crate) struct Guarded(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    profile: Arc<Profile>,
    tls: ClientConfig,
    dialler: Dialler<GaiResolver>,
    pooled: PerWorker<Pooled>,
    /// For handshakes, which only HTTP/1.1 has.
    switching: PerWorker<Pooled>,
}

/// Why no such client can be made.
#[derive(Debug, thiserror::Error)]
pub enum Unmakeable {
    /// The forward proxy's URL is none.
    #[error("the forward proxy's URL cannot be used")]
    Proxy(#[from] http::uri::InvalidUri),
    /// The user name or password cannot be sent.
    #[error("the forward proxy's user name or password cannot be sent")]
    Login(#[from] http::header::InvalidHeaderValue),
    /// TLS cannot be had on this machine.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
}

impl Guarded {
    /// A client without connections, which may call these ranges besides the public internet.
    ///
    /// # Errors
    /// [`Unmakeable`] where the profile's proxy or TLS cannot be used.
    pub(super) fn new(profile: &Arc<Profile>, allowed: &[IpNet]) -> Result<Self, Unmakeable> {
        let tls = tls()?;
        let dialler = Dialler {
            resolver: GaiResolver::new(),
            allowed: allowed.into(),
            way: Way::new(profile.proxy.as_ref(), &tls)?,
        };
        let (pooled, switching) = (PerWorker::default(), PerWorker::default());
        Ok(Self(Arc::new(Shared { profile: Arc::clone(profile), tls, dialler, pooled, switching })))
    }

    /// Sends one request. Dropping the future, or the body of the answer, cancels it.
    ///
    /// # Errors
    /// Where no answer header arrived; a [`destination::Error`] is among the causes where the address may not be called.
    pub(crate) async fn send(&self, request: Request<Body>) -> Result<Response<Body>, Transport> {
        let shared = &*self.0;
        let (connections, version) = if request.headers().contains_key(UPGRADE) {
            (&shared.switching, HttpVersion::Http1)
        } else {
            (&shared.pooled, shared.profile.http_version)
        };
        let make = || Ok::<_, Transport>(pool(&shared.profile, version, shared.tls.clone(), shared.dialler.clone()));
        Ok(connections.own(make)?.request(request).await?.map(Body::Incoming))
    }
}

/// Resolves, checks and dials.
#[derive(Debug, Clone)]
struct Dialler<R> {
    resolver: R,
    allowed: Arc<[IpNet]>,
    way: Way,
}

/// How a connection to a checked address is made.
#[derive(Debug, Clone)]
enum Way {
    Direct(HttpConnector),
    Tunnel(Tunnel<HttpsConnector<HttpConnector>>),
    Socks(SocksV5<HttpConnector>),
}

impl Way {
    fn new(proxy: Option<&Proxy>, tls: &ClientConfig) -> Result<Self, Unmakeable> {
        let tcp = tcp();
        let Some(proxy) = proxy else { return Ok(Self::Direct(tcp)) };
        let (url, password): (Uri, _) = (proxy.url.parse()?, proxy.expose_password());
        let anonymous = proxy.username.is_empty() && password.is_empty();
        if url.scheme_str().is_some_and(|scheme| scheme.starts_with("socks5")) {
            let way = SocksV5::new(url, tcp);
            let known = |way: SocksV5<_>| way.with_auth(proxy.username.to_string(), password.to_owned());
            return Ok(Self::Socks(if anonymous { way } else { known(way) }));
        }
        let to_proxy = HttpsConnectorBuilder::new().with_tls_config(tls.clone()).https_or_http().enable_http1();
        let way = Tunnel::new(url, to_proxy.wrap_connector(tcp));
        if anonymous {
            return Ok(Self::Tunnel(way));
        }
        let login = BASE64_STANDARD.encode(format!("{}:{password}", proxy.username));
        Ok(Self::Tunnel(way.with_auth(HeaderValue::try_from(format!("Basic {login}"))?)))
    }

    /// Connects to an address: `to` holds nothing else.
    async fn connect(&mut self, to: Uri) -> Result<Stream, BoxError> {
        match self {
            Self::Direct(tcp) => Ok(MaybeHttpsStream::Http(tcp.call(to).await?)),
            Self::Tunnel(tunnel) => Ok(tunnel.call(to).await?),
            Self::Socks(socks) => Ok(MaybeHttpsStream::Http(socks.call(to).await?)),
        }
    }
}

impl<R> Dialler<R>
where
    R: Service<Name> + Send,
    R::Response: Iterator<Item = SocketAddr> + Send,
    R::Error: Into<BoxError>,
    R::Future: Send,
{
    async fn dial(mut self, to: Uri) -> Result<Stream, BoxError> {
        let host = to.host().unwrap_or_default();
        let found: Vec<IpAddr> = match destination::literal(host) {
            Some(address) => vec![address],
            None => {
                let resolved = self.resolver.call(host.parse()?).await.map_err(Into::into)?;
                resolved.map(|address| address.ip()).collect()
            }
        };
        let mut failed: BoxError = destination::Error::NotAllowed { host: host.to_owned() }.into();
        let checked = found.into_iter().filter(|address| may_call(*address, &self.allowed));
        for address in checked {
            match self.way.connect(pinned(&to, address)?).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

/// The same URL with the address in place of the host, and the port said.
fn pinned(to: &Uri, address: IpAddr) -> Result<Uri, http::Error> {
    let https = to.scheme_str() == Some("https");
    let port = to.port_u16().unwrap_or(if https { 443 } else { 80 });
    let scheme = to.scheme_str().unwrap_or("http");
    Uri::builder().scheme(scheme).authority(SocketAddr::new(address, port).to_string()).path_and_query("/").build()
}

impl<R> Service<Uri> for Dialler<R>
where
    R: Service<Name> + Clone + Send + 'static,
    R::Response: Iterator<Item = SocketAddr> + Send,
    R::Error: Into<BoxError>,
    R::Future: Send,
{
    type Response = Stream;
    type Error = BoxError;
    type Future = Connecting;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Connecting {
        let dialler = self.clone();
        Box::pin(dialler.dial(to))
    }
}

#[cfg(test)]
mod tests;
