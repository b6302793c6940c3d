//! One pooled HTTP client a profile. It does what it is told and nothing more: no environment proxies, no redirects, no retries, no
//! decompression, no referer. (A request that a stale connection did not take goes out on a fresh one; it was never sent.)

use std::{
    error::Error as _,
    sync::{Arc, OnceLock},
};

use http::{Request, Response};
use http_body_util::LengthLimitError;
use hyper_util::client::legacy;
use reqwest::{Body, Certificate, ClientBuilder, Proxy, redirect, retry};
use signalbox_routing::{HttpVersion, Profile};

/// A pooled HTTP client. Cheap to clone; the clones share their connections.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pooled: reqwest::Client,
    profile: Arc<Profile>,
    /// The same over HTTP/1.1 only, once somebody has asked for a switch of protocols: HTTP/2 has none.
    switching: Arc<OnceLock<reqwest::Client>>,
}

/// A failure below HTTP: to connect, to send, or to read an answer. Its text never holds the URL.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub enum Transport {
    /// Of a client to configured addresses.
    Pooled(reqwest::Error),
    /// Of a client to addresses that callers choose.
    Guarded(#[from] legacy::Error),
}

impl Client {
    /// A client without connections.
    ///
    /// # Errors
    /// [`Transport`] where a proxy's URL is none, or TLS cannot be had on this machine.
    pub(super) fn new(profile: &Arc<Profile>) -> Result<Self, Transport> {
        let pooled = build(profile, profile.http_version)?;
        Ok(Self { pooled, profile: Arc::clone(profile), switching: Arc::default() })
    }

    /// Sends one request. Dropping the future, or the body of the answer, cancels it.
    ///
    /// # Errors
    /// [`Transport`] where no answer header arrived.
    pub(crate) async fn send(&self, request: Request<Body>) -> Result<Response<Body>, Transport> {
        Ok(self.pooled.execute(request.try_into()?).await?.into())
    }

    /// Sends a request that asks for a switch of protocols; where the answer agrees, the connection is in its extensions.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub(crate) async fn send_handshake(&self, request: Request<Body>) -> Result<Response<Body>, Transport> {
        let client = match self.switching.get() {
            Some(client) => client,
            None => {
                let client = build(&self.profile, HttpVersion::Http1)?;
                self.switching.get_or_init(|| client)
            }
        };
        Ok(client.execute(request.try_into()?).await?.into())
    }
}

/// A client for a profile, but for the version of HTTP.
fn build(profile: &Profile, http_version: HttpVersion) -> Result<reqwest::Client, Transport> {
    let Profile { proxy, connect_timeout, max_idle, idle_timeout, .. } = profile;
    let builder = reqwest::Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .tcp_nodelay(true)
        .connect_timeout(*connect_timeout)
        .pool_max_idle_per_host(*max_idle)
        .pool_idle_timeout(*idle_timeout)
        // Beside the machine's own store, which a container may not have.
        .tls_certs_merge(
            webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().filter_map(|der| Certificate::from_der(der).ok()),
        );
    let builder = match http_version {
        HttpVersion::Negotiated => builder,
        HttpVersion::Http1 => builder.http1_only(),
        HttpVersion::Http2 => builder.http2_prior_knowledge(),
    };
    let builder = match proxy {
        Some(proxy) => through(builder, proxy)?,
        None => builder,
    };
    Ok(builder.build()?)
}

fn through(builder: ClientBuilder, proxy: &signalbox_routing::Proxy) -> reqwest::Result<ClientBuilder> {
    let way = Proxy::all(&*proxy.url)?;
    let password = proxy.expose_password();
    let anonymous = proxy.username.is_empty() && password.is_empty();
    Ok(builder.proxy(if anonymous { way } else { way.basic_auth(&proxy.username, password) }))
}

impl Transport {
    /// Whether no connection was made.
    pub(crate) fn is_connect(&self) -> bool {
        match self {
            Self::Pooled(error) => error.is_connect(),
            Self::Guarded(error) => error.is_connect(),
        }
    }

    /// Whether more came than may come.
    pub(crate) fn is_over_limit(&self) -> bool {
        let mut cause = self.source();
        while let Some(error) = cause {
            if error.is::<LengthLimitError>() {
                return true;
            }
            cause = error.source();
        }
        false
    }

    /// Whether no connection was made in time.
    pub(crate) fn is_connect_timeout(&self) -> bool {
        matches!(self, Self::Pooled(error) if error.is_connect() && error.is_timeout())
    }
}

impl From<reqwest::Error> for Transport {
    fn from(error: reqwest::Error) -> Self {
        Self::Pooled(error.without_url())
    }
}
