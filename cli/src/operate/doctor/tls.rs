//! How the way to the control plane is protected, and until when its certificate holds. It sends nothing but a handshake.

use std::{path::Path, sync::Arc, time::Duration};

use jiff::Timestamp;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{
        CertificateDer, InvalidDnsNameError, ServerName,
        pem::{self, PemObject as _},
    },
};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

use super::Line;
use crate::connection::Address;

/// Longest wait for a handshake.
const PATIENCE: Duration = Duration::from_secs(5);

/// Days before its end from which on a certificate is worth a look.
const SOON_DAYS: i64 = 14;

/// Why there was no certificate to see.
#[derive(Debug, thiserror::Error)]
enum Unseen {
    #[error("the handshake took more than {} s", PATIENCE.as_secs())]
    TimedOut,
    #[error("{0}")]
    Connect(#[from] std::io::Error),
    #[error("the file of --ca cannot be used: {0}")]
    Authorities(#[from] pem::Error),
    #[error("{0}")]
    Tls(#[from] rustls::Error),
    #[error("its host is no name that a certificate could be for")]
    Name(#[from] InvalidDnsNameError),
    #[error("it shows none")]
    None,
    #[error("it cannot be read")]
    Unreadable,
}

/// Looks at the way to an address.
pub(super) async fn look(address: &Address, ca: Option<&Path>) -> Line {
    if !address.is_tls() {
        return if address.is_near() {
            Line::ok("TLS", "none, and none is needed on this machine")
        } else {
            let says = "none: whoever is on the way reads the admin token";
            Line::warn("TLS", says, "give the control plane a certificate, and use https:// with --ca")
        };
    }
    let seen = timeout(PATIENCE, certificate(address, ca)).await.unwrap_or(Err(Unseen::TimedOut));
    match seen.and_then(|der| end(&der)) {
        Ok(end) => judge(end, Timestamp::now().as_second()),
        Err(error) => Line::fail(
            "TLS",
            error.to_string(),
            "name who signed the certificate with --ca, and see its host names and dates",
        ),
    }
}

fn judge(end: i64, now: i64) -> Line {
    let days = (end - now) / 86_400;
    if days < SOON_DAYS {
        let says = format!("the control plane's certificate expires in {days} days");
        Line::warn("TLS", says, "replace it: from then on nobody can reach the admin port")
    } else {
        Line::ok("TLS", format!("the control plane's certificate holds for {days} days"))
    }
}

async fn certificate(address: &Address, ca: Option<&Path>) -> Result<CertificateDer<'static>, Unseen> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?;
    let mut config = match ca {
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_file_iter(path)? {
                roots.add(certificate?)?;
            }
            builder.with_root_certificates(roots).with_no_client_auth()
        }
        None => builder.with_platform_verifier()?.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let host = address.host().trim_matches(['[', ']']).to_owned();
    let stream = TcpStream::connect((host.as_str(), address.port())).await?;
    let stream = TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(host)?, stream).await?;
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    shown.map(|certificate| certificate.clone().into_owned()).ok_or(Unseen::None)
}

/// Until when a certificate holds, in seconds since 1970.
fn end(der: &CertificateDer<'_>) -> Result<i64, Unseen> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).map_err(|_| Unseen::Unreadable)?;
    Ok(certificate.validity().not_after.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::doctor::Level;

    #[tokio::test]
    async fn plain_text_is_fine_on_this_machine_only() {
        for (address, level) in [("9090", Level::Ok), ("[::1]:9090", Level::Ok), ("control.internal:9090", Level::Warn)]
        {
            assert_eq!(look(&address.parse().unwrap(), None).await.level, level, "{address}");
        }
    }

    #[test]
    fn a_certificate_that_ends_soon_is_told() {
        assert_eq!(judge(100 * 86_400, 0).level, Level::Ok);
        assert_eq!(judge(13 * 86_400, 0).level, Level::Warn);
    }
}
