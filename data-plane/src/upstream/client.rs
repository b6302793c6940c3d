//! One pooled HTTP client a profile. It does what it is told and nothing more: no environment proxies, no redirects, no retries, no
//! decompression, no referer. (A request that a stale connection did not take goes out on a fresh one; it was never sent.)

use std::sync::{Arc, OnceLock};

use http::{Request, Response};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::ClientConfig;
use signalbox_routing::{HttpVersion, Profile, Proxy};

use super::{
    Body, Transport,
    pool::{Pool, pool, tcp, tls},
    proxied,
};

/// A pooled HTTP client. Cheap to clone; the clones share their connections.
#[derive(Debug, Clone)]
pub(crate) struct Client(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    profile: Arc<Profile>,
    way: Way,
    pooled: OnceLock<Connections>,
    /// The same over HTTP/1.1 only, once somebody has asked for a switch of protocols: HTTP/2 has none.
    switching: OnceLock<Connections>,
}

/// How connections are made.
#[derive(Debug)]
enum Way {
    Direct(ClientConfig),
    Through(Proxy),
}

/// Connections that are kept for the next request.
#[derive(Debug)]
enum Connections {
    Direct(Pool<HttpConnector>),
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
            None => Way::Direct(tls()?),
        };
        let shared =
            Shared { profile: Arc::clone(profile), way, pooled: OnceLock::new(), switching: OnceLock::new() };
        // Made at once, so that what cannot be made is known at once.
        shared.connections(&shared.pooled, profile.http_version)?;
        Ok(Self(Arc::new(shared)))
    }

    /// Sends one request. Dropping the future, or the body of the answer, cancels it.
    ///
    /// # Errors
    /// [`Transport`] where no answer header arrived.
    pub(crate) async fn send(&self, request: Request<Body>) -> Result<Response<Body>, Transport> {
        self.0.connections(&self.0.pooled, self.0.profile.http_version)?.send(request).await
    }

    /// Sends a request that asks for a switch of protocols; where the answer agrees, the connection is in its extensions.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub(crate) async fn send_handshake(&self, request: Request<Body>) -> Result<Response<Body>, Transport> {
        self.0.connections(&self.0.switching, HttpVersion::Http1)?.send(request).await
    }
}

impl Shared {
    fn connections<'c>(
        &self,
        place: &'c OnceLock<Connections>,
        version: HttpVersion,
    ) -> Result<&'c Connections, Transport> {
        if let Some(connections) = place.get() {
            return Ok(connections);
        }
        let connections = match &self.way {
            Way::Direct(tls) => Connections::Direct(pool(&self.profile, version, tls.clone(), tcp())),
            Way::Through(proxy) => Connections::Proxied(proxied::client(&self.profile, version, proxy)?),
        };
        Ok(place.get_or_init(|| connections))
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
