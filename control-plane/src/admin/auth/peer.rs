//! What a connection says of who is at its other end: an address, and the name in a client certificate that was verified when the
//! connection was made. It does not know who that name is.

use std::{net::IpAddr, time::SystemTime};

use http::Extensions;
use jiff::Timestamp;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, parse_x509_certificate, time::ASN1Time};

/// Why a verified certificate names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// It cannot be read.
    #[error("the client certificate cannot be read")]
    Unreadable,
    /// It has neither a DNS name nor a common name.
    #[error("the client certificate has neither a DNS name nor a common name")]
    Nameless,
    /// Its time has ended since the connection was made.
    #[error("the client certificate has expired")]
    Expired,
}

/// Where a call comes from.
pub(crate) fn address(connection: &Extensions) -> Option<IpAddr> {
    let plain = connection.get::<TcpConnectInfo>();
    let tcp = plain.or_else(|| connection.get::<TlsConnectInfo<TcpConnectInfo>>().map(TlsConnectInfo::get_ref))?;
    Some(tcp.remote_addr()?.ip().to_canonical())
}

/// The name of whoever made the connection; `None` = no certificate was presented.
pub(crate) fn certificate_name(connection: &Extensions, now: SystemTime) -> Option<Result<String, Fault>> {
    let certificates = connection.get::<TlsConnectInfo<TcpConnectInfo>>()?.peer_certs()?;
    Some(name(certificates.first()?, now))
}

/// The first DNS name, else the common name.
fn name(der: &[u8], now: SystemTime) -> Result<String, Fault> {
    let (_, certificate) = parse_x509_certificate(der).map_err(|_| Fault::Unreadable)?;
    let now = Timestamp::try_from(now).ok().and_then(|now| ASN1Time::from_timestamp(now.as_second()).ok());
    if !now.is_some_and(|now| certificate.validity().is_valid_at(now)) {
        return Err(Fault::Expired);
    }
    let name = dns_name(&certificate).or_else(|| common_name(&certificate)).filter(|name| !name.is_empty());
    name.map(str::to_owned).ok_or(Fault::Nameless)
}

fn dns_name<'a>(certificate: &X509Certificate<'a>) -> Option<&'a str> {
    let names = certificate.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::DNSName(name) => Some(*name),
        _ => None,
    })
}

fn common_name<'c>(certificate: &'c X509Certificate<'_>) -> Option<&'c str> {
    certificate.subject().iter_common_name().next()?.as_str().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    use super::*;

    fn certificate(common: Option<&str>, alternatives: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        if let Some(common) = common {
            params.distinguished_name.push(DnType::CommonName, common);
        }
        params.subject_alt_names = alternatives;
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn dns(name: &str) -> SanType {
        SanType::DnsName(name.try_into().unwrap())
    }

    #[test]
    fn a_certificate_is_called_by_its_first_dns_name_or_else_its_common_name() {
        let now = SystemTime::now();
        let address = SanType::IpAddress([10, 0, 0, 1].into());
        let both = certificate(Some("Ops"), vec![address.clone(), dns("a.test"), dns("b.test")]);
        assert_eq!(name(&both, now).as_deref(), Ok("a.test"));
        assert_eq!(name(&certificate(Some("Ops"), vec![address.clone()]), now).as_deref(), Ok("Ops"));
        assert_eq!(name(&certificate(None, vec![address]), now), Err(Fault::Nameless));
        assert_eq!(name(&certificate(Some(""), vec![]), now), Err(Fault::Nameless));
        assert_eq!(name(b"no certificate", now), Err(Fault::Unreadable));
    }

    #[test]
    fn a_certificate_names_nobody_once_its_time_is_over() {
        let late = SystemTime::UNIX_EPOCH + Duration::from_secs(100 * 365 * 86_400 * 30);
        assert_eq!(name(&certificate(Some("Ops"), vec![]), late), Err(Fault::Expired));
    }
}
