//! Pools of connections as a profile has them, and how TLS is spoken to upstreams: what clients to configured addresses and clients to
//! addresses of the callers' choice have in common. It never chooses an address.

use std::{
    error::Error as StdError,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper::rt::{Read, Write};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        self,
        connect::{Connection, HttpConnector},
    },
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{ClientConfig, crypto::aws_lc_rs};
use rustls_platform_verifier::Verifier;
use signalbox_routing::{HttpVersion, Profile};
use tokio::time::timeout;
use tower_service::Service;

use super::{Body, wire::Wire};

pub(super) type BoxError = Box<dyn StdError + Send + Sync>;

/// Connections that are kept for the next request.
pub(super) type Pool<C> = legacy::Client<Patient<HttpsConnector<C>>, Body>;

/// How often a connection on which nothing comes is asked whether anybody is still there, and how often in vain.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_RETRIES: u32 = 3;
/// How long what was sent may stay unacknowledged.
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// A pool without connections, which are made by this connector as the profile says, but for the version of HTTP.
pub(super) fn pool<C>(profile: &Profile, version: HttpVersion, tls: ClientConfig, connector: C) -> Pool<C>
where
    C: Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: Connection + Read + Write + Send + Unpin + 'static,
    C::Future: Send + 'static,
    C::Error: Into<BoxError>,
{
    legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_max_idle_per_host(profile.max_idle)
        .pool_idle_timeout(profile.idle_timeout)
        .http2_only(version == HttpVersion::Http2)
        .build(self::connector(version, tls, profile.connect_timeout, connector))
}

/// Connects by this connector within a time, with TLS where the URL asks for it, and there for this version of HTTP.
pub(super) fn connector<C>(
    version: HttpVersion,
    tls: ClientConfig,
    patience: Duration,
    connector: C,
) -> Patient<HttpsConnector<C>> {
    let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    let connector = match version {
        HttpVersion::Negotiated => https.enable_all_versions().wrap_connector(connector),
        HttpVersion::Http1 => https.enable_http1().wrap_connector(connector),
        HttpVersion::Http2 => https.enable_http2().wrap_connector(connector),
    };
    Patient { connector, patience }
}

/// How TCP is spoken to upstreams.
pub(super) fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_keepalive_interval(Some(KEEPALIVE));
    tcp.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    tcp.set_tcp_user_timeout(Some(USER_TIMEOUT));
    tcp
}

/// How TLS is spoken to upstreams.
///
/// # Errors
/// Where it cannot be had on this machine.
pub(super) fn tls() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    // Beside the machine's own store, which a container may not have.
    let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned();
    let verifier = Verifier::new_with_extra_roots(roots, Arc::clone(&provider))?;
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
}

/// Connects, TLS and all, within a time.
#[derive(Debug, Clone)]
pub(super) struct Patient<C> {
    connector: C,
    patience: Duration,
}

impl<C> Service<Uri> for Patient<HttpsConnector<C>>
where
    C: Service<Uri>,
    C::Response: Connection + Read + Write + Send + Unpin + 'static,
    C::Future: Send + 'static,
    C::Error: Into<BoxError>,
{
    type Response = Wire<C::Response>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(cx)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let (connecting, patience) = (self.connector.call(to), self.patience);
        Box::pin(async move { Ok(timeout(patience, connecting).await??.into()) })
    }
}
