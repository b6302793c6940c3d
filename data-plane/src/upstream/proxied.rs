//! Clients by way of a forward proxy. They do what they are told and nothing more: no environment proxies, no redirects, no retries,
//! no decompression, no referer.

use reqwest::{Certificate, Client, Proxy, redirect, retry};
use signalbox_routing::{HttpVersion, Profile};

/// A client without connections for a profile, but for the version of HTTP.
///
/// # Errors
/// Where the proxy's URL is none, or TLS cannot be had on this machine.
pub(super) fn client(
    profile: &Profile,
    version: HttpVersion,
    proxy: &signalbox_routing::Proxy,
) -> reqwest::Result<Client> {
    let Profile { connect_timeout, max_idle, idle_timeout, .. } = profile;
    let builder = Client::builder()
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
    let builder = match version {
        HttpVersion::Negotiated => builder,
        HttpVersion::Http1 => builder.http1_only(),
        HttpVersion::Http2 => builder.http2_prior_knowledge(),
    };
    builder.proxy(way(proxy)?).build()
}

fn way(proxy: &signalbox_routing::Proxy) -> reqwest::Result<Proxy> {
    let way = Proxy::all(&*proxy.url)?;
    let password = proxy.expose_password();
    let anonymous = proxy.username.is_empty() && password.is_empty();
    Ok(if anonymous { way } else { way.basic_auth(&proxy.username, password) })
}
