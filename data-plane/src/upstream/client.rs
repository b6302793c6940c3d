//! One pooled HTTP client a profile. It does what it is told and nothing more: no environment proxies, no redirects, no retries, no
//! decompression, no referer. (A request that a stale connection did not take goes out on a fresh one; it was never sent.)

use std::sync::Arc;

use http::{Request, Response, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::ClientConfig;
use signalbox_routing::{HttpVersion, Profile, Proxy};

use super::{
    Body, Transport,
    http1::Http1,
    per_worker::PerWorker,
    pool::{Pool, pool, tcp, tls},
    proxied,
};

/// A pooled HTTP client. Cheap to clone; the clones share their connections, of which each worker has its own: as many may be kept
/// idle by each.
#[derive(Debug, Clone)]
pub(crate) struct Client(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    profile: Arc<Profile>,
    way: Way,
    /// To upstreams that speak HTTP/1.1 for certain, for requests that are there as a whole.
    http1: PerWorker<Http1>,
    /// To all others, and for all others.
    pooled: PerWorker<Connections>,
    /// The same over HTTP/1.1 only, once somebody has asked for a switch of protocols: HTTP/2 has none.
    switching: PerWorker<Connections>,
}

/// How connections are made.
#[derive(Debug)]
enum Way {
    Direct(Box<ClientConfig>),
    Through(Proxy),
}

/// Connections that are kept for the next request.
#[derive(Debug)]
enum Connections {
    Direct(Box<Pool<HttpConnector>>),
    Proxied(reqwest::Client),
}

impl Client {
    /// A client without connections.
    ///
    /// # Errors
    /// [`Transport`] where a proxy's URL is none, or TLS cannot be had on this machine.
    pub(super) fn new(profile: &Arc<Profile>) -> Result<Self, Transport> {
        let way = match &profile.proxy {
            Some(proxy) => Way::Through(proxy.clone()),
            None => Way::Direct(Box::new(tls()?)),
        };
        let (http1, pooled, switching) = (PerWorker::default(), PerWorker::default(), PerWorker::default());
        let shared = Shared { profile: Arc::clone(profile), way, http1, pooled, switching };
        // Once at once, so that what cannot be made is known at once.
        shared.pooled.own(|| shared.connections(profile.http_version))?;
        Ok(Self(Arc::new(shared)))
    }

    /// Sends one request. Dropping the future, or the body of the answer, cancels it.
    ///
    /// # Errors
    /// [`Transport`] where no answer header arrived.
    pub(crate) async fn send(&self, request: Request<Body>) -> Result<Response<Body>, Transport> {
        let (shared, mut request) = (&*self.0, request);
        if let Way::Direct(tls) = &shared.way
            && is_http1(shared.profile.http_version, request.uri())
        {
            let (parts, body) = request.into_parts();
            // What is still on its way goes on while nobody reads the answer, for which a connection needs a task of its own.
            request = match body.into_pieces() {
                Ok(pieces) => {
                    let make = || Ok::<_, Transport>(Http1::new(&shared.profile, ClientConfig::clone(tls)));
                    return Ok(shared.http1.own(make)?.send(Request::from_parts(parts, pieces)).await?);
                }
                Err(body) => Request::from_parts(parts, body),
            };
        }
        let pooled = shared.pooled.own(|| shared.connections(shared.profile.http_version))?;
        pooled.send(request).await
    }

    /// Sends a request that asks for a switch of protocols; where the answer agrees, the connection is in its extensions.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub(crate) async fn send_handshake(&self, request: Request<Body>) -> Result<Response<Body>, Transport> {
        let switching = self.0.switching.own(|| self.0.connections(HttpVersion::Http1))?;
        switching.send(request).await
    }
}

/// Whether an upstream speaks HTTP/1.1 for certain: without TLS there is nothing that could be negotiated.
fn is_http1(version: HttpVersion, to: &Uri) -> bool {
    match version {
        HttpVersion::Http1 => true,
        HttpVersion::Negotiated => to.scheme_str() == Some("http"),
        HttpVersion::Http2 => false,
    }
}

impl Shared {
    fn connections(&self, version: HttpVersion) -> Result<Connections, Transport> {
        Ok(match &self.way {
            Way::Direct(tls) => {
                let pool = pool(&self.profile, version, ClientConfig::clone(tls), tcp());
                Connections::Direct(Box::new(pool))
            }
            Way::Through(proxy) => Connections::Proxied(proxied::client(&self.profile, version, proxy)?),
        })
    }
}

impl Connections {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, Transport> {
        match self {
            Self::Direct(pool) => Ok(pool.request(request).await?.map(Body::Incoming)),
            Self::Proxied(client) => {
                let request = request.map(reqwest::Body::wrap).try_into()?;
                Ok(Response::<reqwest::Body>::from(client.execute(request).await?).map(Body::Proxied))
            }
        }
    }
}
