//! One connection to the control plane: address, TLS, join token. It knows nothing of what is said on it.

use std::{io, path::PathBuf};

use http::Uri;
use rustls::RootCertStore;
use secrecy::{ExposeSecret as _, SecretString};
use signalbox_proto::sync::v1::{WatchRequest, WatchResponse, config_sync_service_client::ConfigSyncServiceClient};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Status, Streaming,
    metadata::{Ascii, MetadataValue},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use super::Timing;

/// Bytes of one stream that may be under way unread: a few chunks.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;

/// Where the control plane is and how to be let in.
#[derive(Debug, Clone)]
pub struct ControlPlane {
    /// Its sync address, `http://` or `https://`.
    pub url: Uri,
    /// A PEM file with the authorities that its certificate is checked against; `None` = the public ones. Read at each connect, so that
    /// it can be replaced.
    pub ca: Option<PathBuf>,
    /// The token that replicas join with.
    pub join_token: SecretString,
}

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unconnected {
    /// The authorities cannot be read.
    #[error("the certificate authorities in {} cannot be read", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The join token holds what no header may hold.
    #[error("the join token is not visible ascii")]
    Token,
    /// No connection.
    #[error("no connection to the control plane")]
    Transport(#[from] tonic::transport::Error),
    /// It refused the stream.
    #[error("the control plane refused")]
    Refused(#[from] Status),
}

/// Connects and opens a watch stream on which `requests` are sent.
pub(super) async fn watch(
    to: &ControlPlane,
    requests: mpsc::Receiver<WatchRequest>,
    timing: Timing,
) -> Result<Streaming<WatchResponse>, Unconnected> {
    let mut request = Request::new(ReceiverStream::new(requests));
    request.metadata_mut().insert("authorization", bearer(&to.join_token)?);
    let channel = connect(to, timing).await?;
    Ok(ConfigSyncServiceClient::new(channel).watch(request).await?.into_inner())
}

async fn connect(to: &ControlPlane, timing: Timing) -> Result<Channel, Unconnected> {
    let mut endpoint = Endpoint::from(to.url.clone())
        .user_agent(concat!("signalbox-data-plane/", env!("CARGO_PKG_VERSION")))?
        .connect_timeout(timing.connect)
        .http2_keep_alive_interval(timing.keep_alive)
        .keep_alive_timeout(timing.keep_alive)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES);
    if to.url.scheme_str() == Some("https") {
        endpoint = endpoint.tls_config(tls(to).await?)?;
    }
    Ok(endpoint.connect().await?)
}

async fn tls(to: &ControlPlane) -> Result<ClientTlsConfig, Unconnected> {
    let tls = ClientTlsConfig::new();
    let Some(path) = &to.ca else {
        let mut public = RootCertStore::empty();
        public.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
        return Ok(tls.trust_anchors(public.roots));
    };
    match tokio::fs::read(path).await {
        Ok(pem) => Ok(tls.ca_certificate(Certificate::from_pem(pem))),
        Err(source) => Err(Unconnected::Authorities { path: path.clone(), source }),
    }
}

fn bearer(token: &SecretString) -> Result<MetadataValue<Ascii>, Unconnected> {
    let mut value =
        MetadataValue::try_from(format!("Bearer {}", token.expose_secret())).map_err(|_| Unconnected::Token)?;
    value.set_sensitive(true);
    Ok(value)
}
