//! TLS before a scripted upstream. It offers HTTP/2 as well, which the upstream does not speak, so that whoever takes that gets nowhere;
//! of what passes it knows nothing.

use std::{net::SocketAddr, path::Path, sync::Arc};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

use crate::upstream::Upstream;

/// A door to an upstream. Dropped, it stops listening; connections under way go on.
#[derive(Debug)]
pub struct TlsFront {
    addr: SocketAddr,
    server: JoinHandle<()>,
}

impl TlsFront {
    /// Listens with a certificate. Each connection becomes one to the upstream, and both end together.
    ///
    /// # Panics
    /// Where the files are not a certificate and its key.
    pub async fn start(upstream: &Upstream, cert: &Path, key: &Path) -> Self {
        let (acceptor, to) = (acceptor(cert, key), upstream.addr());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback has a free port");
        let addr = listener.local_addr().expect("a listener has an address");
        let server = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                // A connection that breaks off is the story's business.
                tokio::spawn(async move {
                    let mut secured = acceptor.accept(socket).await?;
                    copy_bidirectional(&mut secured, &mut TcpStream::connect(to).await?).await
                });
            }
        });
        Self { addr, server }
    }

    /// The base URL to configure.
    pub fn url(&self) -> String {
        format!("https://{}/v1", self.addr)
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn acceptor(cert: &Path, key: &Path) -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(cert).and_then(Iterator::collect::<Result<_, _>>);
    let key = PrivateKeyDer::from_pem_file(key).expect("the file is a key");
    let config = ServerConfig::builder().with_no_client_auth();
    let mut config =
        config.with_single_cert(chain.expect("the file is a certificate"), key).expect("they belong together");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}
