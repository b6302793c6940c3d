//! A certificate for the sync port, so that planes on two machines need no other tool. It knows nothing of how it is served.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::ServerName;
use zeroize::Zeroizing;

use crate::files;

/// How long the certificates are valid. A fleet that is cut off by an expired certificate goes on serving, but learns nothing new.
const YEARS: i64 = 10;

/// The three files that are made.
#[derive(Debug, Clone)]
pub struct Files {
    /// The authority's certificate: data planes trust it (`--sync-ca`).
    pub ca: PathBuf,
    /// The sync port's certificate (`--sync-tls-cert`).
    pub cert: PathBuf,
    /// Its private key (`--sync-tls-key`).
    pub key: PathBuf,
}

/// What became of the request for a certificate.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The files were made.
    Made(Files),
    /// All of them were there already and stay as they are.
    AlreadyThere(Files),
}

/// Why no certificate was made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A host that no certificate can be made out to.
    #[error("`{host}` is neither a host name nor an IP address (--host)")]
    Host {
        /// What was given.
        host: String,
    },
    /// Some of the files are there and some are not.
    #[error("{} is there, but {} is not: remove what is there, or choose another folder with --out", there.display(), missing.display())]
    Partial {
        /// One that is there.
        there: PathBuf,
        /// One that is not.
        missing: PathBuf,
    },
    /// The folder or a file in it cannot be written.
    #[error("{} cannot be written", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The certificate could not be made.
    #[error("the certificate cannot be made")]
    Sign(#[from] rcgen::Error),
}

/// Makes an authority and a certificate for these hosts, in the folder `out`. Nothing that is there is overwritten.
///
/// The authority's private key is thrown away, so that nobody can ever sign another certificate that the fleet would trust; more
/// hosts later mean a new authority.
///
/// # Errors
/// [`Error`] where a host is none, or the files cannot be made.
pub fn make(out: &Path, hosts: &[String]) -> Result<Outcome, Error> {
    for host in hosts {
        ServerName::try_from(host.as_str()).map_err(|_| Error::Host { host: host.clone() })?;
    }
    let paths = Files { ca: out.join("ca.pem"), cert: out.join("sync.pem"), key: out.join("sync.key") };
    let all = [&paths.ca, &paths.cert, &paths.key];
    let missing = all.iter().find(|path| !path.exists());
    let there = all.iter().find(|path| path.exists());
    match (there, missing) {
        (Some(_), None) => return Ok(Outcome::AlreadyThere(paths)),
        (Some(there), Some(missing)) => {
            return Err(Error::Partial { there: there.to_path_buf(), missing: missing.to_path_buf() });
        }
        (None, _) => {}
    }
    let issued = issue(hosts)?;
    let write = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Write { path, source }
    };
    fs::create_dir_all(out).map_err(write(out))?;
    files::write_new(&paths.key, &issued.key.as_str().into()).map_err(write(&paths.key))?;
    write_public(&paths.cert, &issued.cert).map_err(write(&paths.cert))?;
    write_public(&paths.ca, &issued.ca).map_err(write(&paths.ca))?;
    Ok(Outcome::Made(paths))
}

struct Issued {
    ca: String,
    cert: String,
    key: Zeroizing<String>,
}

fn issue(hosts: &[String]) -> Result<Issued, rcgen::Error> {
    let mut ca = params(Vec::new(), "Signalbox sync authority")?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;

    let mut server = params(hosts.to_vec(), "Signalbox sync port")?;
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let cert = server.signed_by(&key, &ca)?;
    Ok(Issued { ca: ca.pem(), cert: cert.pem(), key: Zeroizing::new(key.serialize_pem()) })
}

fn params(hosts: Vec<String>, name: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let month =
        |date: jiff::civil::Date| (i32::from(date.year()), date.month().unsigned_abs(), date.day().unsigned_abs());
    // A day of grace for a replica whose clock is behind.
    let (year, mon, day) = month(today.saturating_sub(1.day()));
    params.not_before = date_time_ymd(year, mon, day);
    let (year, mon, day) = month(today.saturating_add(YEARS.years()));
    params.not_after = date_time_ymd(year, mon, day);
    Ok(params)
}

fn write_public(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn hosts(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_certificate_is_made_once_and_never_overwritten() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("tls");
        let Outcome::Made(files) = make(&out, &hosts(&["control.test", "10.0.0.1"])).unwrap() else {
            panic!("nothing was there");
        };
        let key = fs::read(&files.key).unwrap();
        assert_eq!(fs::metadata(&files.key).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(make(&out, &hosts(&["other.test"])).unwrap(), Outcome::AlreadyThere(_)));
        assert_eq!(fs::read(&files.key).unwrap(), key);

        fs::remove_file(&files.cert).unwrap();
        assert!(matches!(make(&out, &hosts(&["control.test"])), Err(Error::Partial { .. })));
        assert_eq!(fs::read(&files.key).unwrap(), key);
    }

    #[test]
    fn what_is_no_host_is_refused_before_anything_is_written() {
        let root = tempfile::tempdir().unwrap();
        for bad in ["https://control.test", "control.test:9091", "", "a b"] {
            assert!(matches!(make(root.path(), &hosts(&[bad])), Err(Error::Host { .. })), "{bad:?} was taken");
        }
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
