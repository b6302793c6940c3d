//! TLS for both ports, from files. It knows nothing of what travels over it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use zeroize::Zeroizing;

/// Where the sync port's certificate and key are.
#[derive(Debug, Clone)]
pub struct SyncTls {
    /// The certificate chain, PEM.
    pub cert: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

/// Where the admin port's certificate and key are, and whose certificates tell who calls.
#[derive(Debug, Clone)]
pub struct AdminTls {
    /// The certificate chain, PEM.
    pub cert: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// The authority that signs operators' certificates, PEM. Absent = nobody is asked for one.
    pub client_ca: Option<PathBuf>,
}

/// Why TLS cannot be had from the files.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("{} cannot be read ({flag})", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The flag that names it.
        flag: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The files hold no certificate and key that belong together.
    #[error("{} and {} are not a PEM certificate and its private key ({flags})", cert.display(), key.display())]
    Unusable {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// The flags that name them.
        flags: &'static str,
        /// Why.
        source: tonic::transport::Error,
    },
    /// The file holds no certificate that could have signed others.
    #[error("{} is no PEM certificate of an authority (--admin-client-ca)", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
    },
}

/// A server builder that speaks TLS with these files.
///
/// # Errors
/// [`Error`] where a file is missing or the two do not belong together.
pub(crate) fn secured(server: Server, tls: &SyncTls) -> Result<Server, Error> {
    let SyncTls { cert, key } = tls;
    let identity = Identity::from_pem(read(cert, "--sync-tls-cert")?, read(key, "--sync-tls-key")?.as_slice());
    let flags = "--sync-tls-cert, --sync-tls-key";
    server.tls_config(ServerTlsConfig::new().identity(identity)).map_err(unusable(cert, key, flags))
}

/// A server builder that speaks TLS with these files, and asks for a client certificate where there is an authority for those.
/// Nobody has to have one: a token says who calls just as well.
///
/// # Errors
/// [`Error`] where a file is missing, or is not what it should be.
pub(crate) fn secured_for_operators(server: Server, tls: &AdminTls) -> Result<Server, Error> {
    let AdminTls { cert, key, client_ca } = tls;
    let identity = Identity::from_pem(read(cert, "--admin-tls-cert")?, read(key, "--admin-tls-key")?.as_slice());
    let mut config = ServerTlsConfig::new().identity(identity);
    if let Some(path) = client_ca {
        let pem = read(path, "--admin-client-ca")?;
        if CertificateDer::pem_slice_iter(&pem).flatten().next().is_none() {
            return Err(Error::Authority { path: path.clone() });
        }
        config = config.client_ca_root(Certificate::from_pem(pem.as_slice())).client_auth_optional(true);
    }
    server.tls_config(config).map_err(unusable(cert, key, "--admin-tls-cert, --admin-tls-key"))
}

fn unusable(cert: &Path, key: &Path, flags: &'static str) -> impl FnOnce(tonic::transport::Error) -> Error {
    let (cert, key) = (cert.to_owned(), key.to_owned());
    move |source| Error::Unusable { cert, key, flags, source }
}

fn read(path: &Path, flag: &'static str) -> Result<Zeroizing<Vec<u8>>, Error> {
    fs::read(path).map(Zeroizing::new).map_err(|source| Error::Read { path: path.to_owned(), flag, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate;

    #[test]
    fn files_are_refused_before_anything_is_served() {
        let dir = tempfile::tempdir().unwrap();
        let missing = SyncTls { cert: dir.path().join("sync.pem"), key: dir.path().join("sync.key") };
        assert!(matches!(secured(Server::builder(), &missing), Err(Error::Read { flag: "--sync-tls-cert", .. })));

        certificate::make(dir.path(), &["localhost".to_owned()]).unwrap();
        assert!(secured(Server::builder(), &missing).is_ok());

        let mixed = SyncTls { key: missing.cert.clone(), ..missing };
        assert!(matches!(secured(Server::builder(), &mixed), Err(Error::Unusable { .. })));
    }
}
