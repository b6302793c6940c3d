//! How an operator reaches a control plane: from flags, variables or a context to an endpoint and a token. It calls nothing.

use std::{fs, io, path::PathBuf, time::Duration};

use clap::Args;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use secrecy::SecretString;
use signalbox_control_plane::files::{self, ADMIN_TOKEN};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::arguments::{InvalidSecret, TOKEN_VARIABLE, secret};

mod address;
pub mod contexts;

pub use address::{Address, InvalidAddress};
use contexts::{Context, Contexts};

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// How a control plane is reached.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Control plane")]
pub struct Connection {
    /// Where operators connect: PORT, HOST:PORT, http://… or https://… [default: as the current context says, else 9090]
    #[arg(long, env = "SIGNALBOX_ADDR", value_name = "ADDRESS")]
    pub address: Option<Address>,
    /// The file with the admin token, or SIGNALBOX_TOKEN [default: as the context says, else admin-token in the data folder]
    #[arg(long, env = "SIGNALBOX_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Where the control plane of this machine keeps its files
    #[arg(long, env = "SIGNALBOX_DATA_DIR", value_name = "DIR", default_value = "./signalbox-data")]
    pub data_dir: PathBuf,
    /// The context to use instead of the current one; see `signalbox context`
    #[arg(long, env = "SIGNALBOX_CONTEXT", value_name = "NAME", conflicts_with = "address")]
    pub context: Option<String>,
    /// Who may have signed the control plane's certificate [default: whoever this machine trusts]
    #[arg(long, env = "SIGNALBOX_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The certificate to present, in place of a token or beside it
    #[arg(long, env = "SIGNALBOX_CLIENT_CERT", value_name = "FILE", requires = "client_key")]
    pub client_cert: Option<PathBuf>,
    /// The key of that certificate
    #[arg(long, env = "SIGNALBOX_CLIENT_CERT_KEY", value_name = "FILE", requires = "client_cert")]
    pub client_key: Option<PathBuf>,
}

/// Why there is nobody to talk to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The admin token cannot be had.
    #[error(transparent)]
    Token(#[from] InvalidSecret),
    /// The contexts cannot be used.
    #[error(transparent)]
    Contexts(#[from] contexts::Error),
    /// A certificate or its key cannot be read.
    #[error("{} cannot be read", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file of an authority holds no certificate.
    #[error("{} holds no PEM certificate (--ca)", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
    },
    /// TLS was spoken of, and the address has none.
    #[error("{address} is plain text, and {flag} is for https://")]
    PlainText {
        /// The address.
        address: Address,
        /// What cannot be used there.
        flag: &'static str,
    },
    /// The certificates cannot be used.
    #[error("the certificates for {address} cannot be used")]
    Tls {
        /// The address.
        address: Address,
        /// Why.
        source: tonic::transport::Error,
    },
}

/// A control plane that can be called.
#[derive(Debug)]
pub struct Target {
    /// Where it is.
    pub address: Address,
    /// How it is connected to.
    pub endpoint: Endpoint,
    /// What is presented there; `None` = a client certificate says it all.
    pub token: Option<SecretString>,
    /// Who may have signed its certificate; `None` = whoever this machine trusts.
    pub ca: Option<PathBuf>,
}

impl Connection {
    /// Finds out where the control plane is and what to present there. An address that is given leaves the current context alone, so that
    /// its token goes to nobody else.
    ///
    /// # Errors
    /// [`Error`] names the file or the flag.
    pub fn target(&self) -> Result<Target, Error> {
        let context = match (&self.context, &self.address) {
            (None, Some(_)) => None,
            (name, _) => Contexts::load()?.chosen(name.as_deref())?,
        };
        let context = context.unwrap_or_default();
        let address = self.address.clone().or_else(|| context.address.clone()).unwrap_or_default();
        let endpoint = self.endpoint(&address, &context)?;
        let ca = self.ca.clone().or_else(|| context.ca.clone());
        Ok(Target { token: self.token(&context)?, address, endpoint, ca })
    }

    fn endpoint(&self, address: &Address, context: &Context) -> Result<Endpoint, Error> {
        let ca = self.ca.as_ref().or(context.ca.as_ref());
        let identity = self.identity().or_else(|| context.identity());
        let endpoint = Endpoint::from(address.uri()).connect_timeout(CONNECT);
        let flag = if ca.is_some() { Some("--ca") } else { identity.as_ref().map(|_| "--client-cert") };
        match flag {
            Some(flag) if !address.is_tls() => return Err(Error::PlainText { address: address.clone(), flag }),
            None if !address.is_tls() => return Ok(endpoint),
            _ => {}
        }
        let mut tls = match ca {
            Some(ca) => ClientTlsConfig::new().ca_certificate(authority(ca)?),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        if let Some((certificate, key)) = identity {
            tls = tls.identity(Identity::from_pem(read(certificate)?, read(key)?));
        }
        endpoint.tls_config(tls).map_err(|source| Error::Tls { address: address.clone(), source })
    }

    fn identity(&self) -> Option<(&PathBuf, &PathBuf)> {
        self.client_cert.as_ref().zip(self.client_key.as_ref())
    }

    /// The token that was given, else the context's, else the one that a control plane on this machine has made.
    fn token(&self, context: &Context) -> Result<Option<SecretString>, InvalidSecret> {
        match (secret(TOKEN_VARIABLE, self.token_file.as_deref())?, &context.token_file) {
            (Some(given), _) => Ok(Some(given)),
            (None, Some(file)) => Ok(Some(files::read_secret(file)?)),
            (None, None) if self.identity().is_some() || context.identity().is_some() => Ok(None),
            (None, None) => Ok(Some(files::read_secret(&self.data_dir.join(ADMIN_TOKEN))?)),
        }
    }
}

/// Without a look at it, a file of something else would be an authority that has signed nothing.
fn authority(path: &PathBuf) -> Result<Certificate, Error> {
    let pem = read(path)?;
    match CertificateDer::from_pem_slice(&pem) {
        Ok(_) => Ok(Certificate::from_pem(pem)),
        Err(_) => Err(Error::Authority { path: path.clone() }),
    }
}

fn read(path: &PathBuf) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::Certificate { path: path.clone(), source })
}
