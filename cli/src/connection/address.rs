//! The address of a control plane, as people write it.

use std::{
    fmt::{self, Display, Formatter},
    net::IpAddr,
    str::FromStr,
};

use http::{Uri, uri::Scheme};

/// An address of a control plane. Boxed, as errors carry it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(Box<Uri>);

/// Why a text is no address of a control plane.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAddress {
    /// It is nothing that could be one.
    #[error("neither PORT, HOST:PORT, http://HOST:PORT nor https://HOST:PORT")]
    Shape,
    /// It names a user.
    #[error("a user in an address is not used: the token comes from SIGNALBOX_TOKEN or --token-file")]
    User,
    /// It goes on after the port.
    #[error("the admin API is not below a path: leave out what comes after the port")]
    Path,
}

impl Address {
    /// It, as a URI.
    #[must_use]
    pub fn uri(&self) -> Uri {
        Uri::clone(&self.0)
    }

    /// Whether TLS is spoken there.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.0.scheme() == Some(&Scheme::HTTPS)
    }

    /// The name or address in it.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.host().unwrap_or_default()
    }

    /// Whether it is on this machine.
    #[must_use]
    pub fn is_near(&self) -> bool {
        let host = self.host().trim_matches(['[', ']']);
        host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
    }

    /// The port, where none is written the scheme's.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port_u16().unwrap_or(if self.is_tls() { 443 } else { 80 })
    }
}

impl Default for Address {
    fn default() -> Self {
        Self(Box::new(Uri::from_static("http://127.0.0.1:9090/")))
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let text = text.trim();
        let url = if text.contains("://") {
            text.to_owned()
        } else if text.parse::<u16>().is_ok() {
            format!("http://127.0.0.1:{text}")
        } else {
            format!("http://{text}")
        };
        let uri: Uri = url.parse().map_err(|_| InvalidAddress::Shape)?;
        let (Some(authority), Some("http" | "https")) = (uri.authority(), uri.scheme_str()) else {
            return Err(InvalidAddress::Shape);
        };
        if authority.as_str().contains('@') {
            return Err(InvalidAddress::User);
        }
        if uri.path_and_query().is_some_and(|path| path != "/") {
            return Err(InvalidAddress::Path);
        }
        let bare = !text.contains("://");
        let wrong_port = authority.port_u16().is_none() && (bare || authority.as_str() != authority.host());
        if authority.host().is_empty() || wrong_port { Err(InvalidAddress::Shape) } else { Ok(Self(Box::new(uri))) }
    }
}

impl Display for Address {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        f.write_str(text.strip_suffix('/').unwrap_or(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_people_write_it() {
        for (text, is) in [
            ("9090", "http://127.0.0.1:9090"),
            ("control.internal:9090", "http://control.internal:9090"),
            ("[::1]:9090", "http://[::1]:9090"),
            ("http://10.0.0.1:9090/", "http://10.0.0.1:9090"),
            ("https://control.example", "https://control.example"),
            ("https://control.example:9443", "https://control.example:9443"),
        ] {
            assert_eq!(text.parse::<Address>().map(|address| address.to_string()).as_deref(), Ok(is), "{text}");
        }
        let tls: Address = "https://control.example".parse().unwrap();
        assert_eq!((tls.is_tls(), tls.host(), tls.port()), (true, "control.example", 443));
    }

    #[test]
    fn what_is_no_address_is_told_apart() {
        for (text, fault) in [
            ("", InvalidAddress::Shape),
            ("control", InvalidAddress::Shape),
            ("host:99999", InvalidAddress::Shape),
            ("ftp://host:21", InvalidAddress::Shape),
            ("http://", InvalidAddress::Shape),
            ("http://me:secret@host:1", InvalidAddress::User),
            ("http://host:1/v1", InvalidAddress::Path),
        ] {
            assert_eq!(text.parse::<Address>(), Err(fault), "{text}");
        }
    }
}
