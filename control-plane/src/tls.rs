//! TLS for both ports, from files. It knows nothing of what travels over it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use tonic::transport::{Identity, Server, ServerTlsConfig};
use zeroize::Zeroizing;

mod operators;

pub(crate) use operators::{accepted, for_operators};

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
        source: Box<dyn std::error::Error + Send + Sync>,
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

fn unusable<E>(cert: &Path, key: &Path, flags: &'static str) -> impl FnOnce(E) -> Error
where
    E: std::error::Error + Send + Sync + 'static,
{
    let (cert, key) = (cert.to_owned(), key.to_owned());
    move |source| Error::Unusable { cert, key, flags, source: Box::new(source) }
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
