//! TLS on the admin port, for HTTP/2 and HTTP/1.1 alike, and client certificates where there is an authority for them. Whose a
//! certificate is, is not known here.

use std::{io, path::Path, sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt as _};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{AdminTls, Error, read, unusable};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Handshakes that are under way at once; beyond that connections wait.
const MAX_HANDSHAKES: usize = 256;

const FLAGS: &str = "--admin-tls-cert, --admin-tls-key";

/// Speaks TLS with these files, and asks for a client certificate where there is an authority for those. Nobody has to have one: a token
/// says who calls just as well.
///
/// # Errors
/// [`Error`] where a file is missing, or is not what it should be.
pub(crate) fn for_operators(tls: &AdminTls) -> Result<Arc<ServerConfig>, Error> {
    let AdminTls { cert, key, client_ca } = tls;
    let (certificates, private) = (read(cert, "--admin-tls-cert")?, read(key, "--admin-tls-key")?);
    let certificates = CertificateDer::pem_slice_iter(&certificates).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(unusable(cert, key, FLAGS))?;
    let private = PrivateKeyDer::from_pem_slice(&private).map_err(unusable(cert, key, FLAGS))?;
    let verifier = match client_ca {
        Some(path) => verifier(path)?,
        None => WebPkiClientVerifier::no_client_auth(),
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_client_cert_verifier(verifier).with_single_cert(certificates, private))
        .map_err(unusable(cert, key, FLAGS))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn verifier(path: &Path) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    let none = || Error::Authority { path: path.to_owned() };
    let pem = read(path, "--admin-client-ca")?;
    let mut authorities = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        authorities.add(certificate.map_err(|_| none())?).map_err(|_| none())?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider);
    verifier.allow_unauthenticated().build().map_err(|_| none())
}

/// The connections that come to speak TLS, in the order in which they do: one that dawdles holds up no other.
pub(crate) fn accepted(
    incoming: impl Stream<Item = io::Result<TcpStream>>,
    tls: Arc<ServerConfig>,
) -> impl Stream<Item = io::Result<TlsStream<TcpStream>>> {
    let acceptor = TlsAcceptor::from(tls);
    let handshakes = incoming.map(move |connection| {
        let acceptor = acceptor.clone();
        async move {
            let connection = match connection {
                Ok(connection) => connection,
                Err(error) => return Some(Err(error)),
            };
            match timeout(HANDSHAKE, acceptor.accept(connection)).await {
                Ok(Ok(secured)) => Some(Ok(secured)),
                Ok(Err(error)) => {
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        "a TLS handshake failed on the admin port"
                    );
                    None
                }
                Err(_overdue) => None,
            }
        }
    });
    handshakes.buffer_unordered(MAX_HANDSHAKES).filter_map(async |secured| secured)
}
