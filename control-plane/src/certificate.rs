//! Certificates for the ports, and for operators who have one instead of a token, so that nobody needs another tool. It knows nothing
//! of how they are served.

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

/// The files that are made for an operator.
#[derive(Debug, Clone)]
pub struct ClientFiles {
    /// The authority's certificate: the admin port asks for what it has signed (`--admin-client-ca`).
    pub ca: PathBuf,
    /// The operator's certificate and its private key.
    pub cert: PathBuf,
    /// The private key.
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
    /// A name that no certificate can be made out to.
    #[error(
        "`{name}` is no name for a certificate: letters, digits, `-` and `.`, such as alice or ci.example (--client)"
    )]
    Client {
        /// What was given.
        name: String,
    },
    /// A file is there, and is not overwritten.
    #[error("{} is there: choose another folder with --out, and put the authorities together for --admin-client-ca", path.display())]
    There {
        /// The file.
        path: PathBuf,
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
    let authority = authority("Signalbox sync authority")?;
    let mut server = params(hosts.to_vec(), "Signalbox sync port")?;
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let issued = issue(server, &authority)?;
    let write = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Write { path, source }
    };
    fs::create_dir_all(out).map_err(write(out))?;
    files::write_new(&paths.key, &issued.key.as_str().into()).map_err(write(&paths.key))?;
    write_public(&paths.cert, &issued.cert).map_err(write(&paths.cert))?;
    write_public(&paths.ca, &authority.pem()).map_err(write(&paths.ca))?;
    Ok(Outcome::Made(paths))
}

/// Makes an authority and a certificate for each of these operators, in the folder `out`. Nothing that is there is overwritten.
///
/// As with [`make`] the authority's private key is thrown away: for more operators later there is another authority, and the admin
/// port takes the file with both.
///
/// # Errors
/// [`Error`] where a name is none, or the files cannot be made.
pub fn make_clients(out: &Path, names: &[String]) -> Result<Vec<ClientFiles>, Error> {
    let ca = out.join("operators-ca.pem");
    let file = |name: &str, kind: &str| out.join(format!("operator-{name}.{kind}"));
    for name in names {
        if !matches!(ServerName::try_from(name.as_str()), Ok(ServerName::DnsName(_))) {
            return Err(Error::Client { name: name.clone() });
        }
    }
    let wanted = names.iter().flat_map(|name| [file(name, "pem"), file(name, "key")]).chain([ca.clone()]);
    if let Some(path) = wanted.into_iter().find(|path| path.exists()) {
        return Err(Error::There { path });
    }
    let write = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Write { path, source }
    };
    fs::create_dir_all(out).map_err(write(out))?;
    let authority = authority("Signalbox operators' authority")?;
    let mut made = Vec::with_capacity(names.len());
    for name in names {
        let mut client = params(vec![name.clone()], name)?;
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let issued = issue(client, &authority)?;
        let files = ClientFiles { ca: ca.clone(), cert: file(name, "pem"), key: file(name, "key") };
        files::write_new(&files.key, &issued.key.as_str().into()).map_err(write(&files.key))?;
        write_public(&files.cert, &issued.cert).map_err(write(&files.cert))?;
        made.push(files);
    }
    write_public(&ca, &authority.pem()).map_err(write(&ca))?;
    Ok(made)
}

struct Issued {
    cert: String,
    key: Zeroizing<String>,
}

fn authority(name: &str) -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut ca = params(Vec::new(), name)?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(ca, KeyPair::generate()?)
}

fn issue(mut params: CertificateParams, ca: &CertifiedIssuer<'_, KeyPair>) -> Result<Issued, rcgen::Error> {
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let cert = params.signed_by(&key, ca)?;
    Ok(Issued { cert: cert.pem(), key: Zeroizing::new(key.serialize_pem()) })
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
    fn operators_get_a_certificate_each_and_nothing_is_overwritten() {
        let root = tempfile::tempdir().unwrap();
        let made = make_clients(root.path(), &hosts(&["alice", "ci.example"])).unwrap();
        assert_eq!(made.len(), 2);
        for files in &made {
            assert_eq!(fs::metadata(&files.key).unwrap().permissions().mode() & 0o777, 0o600);
            assert!(files.cert.exists() && files.ca.exists());
        }
        let again = make_clients(root.path(), &hosts(&["bob"]));
        assert!(matches!(again, Err(Error::There { path }) if path == made[0].ca));
        for bad in ["", "../x", "a b", "10.0.0.1", "a/b"] {
            assert!(matches!(make_clients(root.path(), &hosts(&[bad])), Err(Error::Client { .. })), "{bad:?}");
        }
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
