//! Where a universal route may lead: what a caller wrote as an address, and which of the addresses that a name stands for may be
//! called. It resolves and connects nothing itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::{Uri, uri::Authority};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The longest name that the DNS can hold, as text.
const LONGEST_NAME: usize = 253;

/// Why an address is not called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// What follows the route's segment does not begin with `http://HOST` or `https://HOST`.
    #[error("the path names no http:// or https:// address")]
    NotAnAddress,
    /// The address holds a user's name or password.
    #[error("the address holds a user name or a password")]
    UserInfo,
    /// The host is written in a way that programs read differently.
    #[error("the host is neither a name nor an IP address in its usual form")]
    Host,
    /// The host is, or stands for, nothing that may be called.
    #[error("`{host}` leads to no address that the route may call")]
    NotAllowed {
        /// As the caller wrote it.
        host: String,
    },
}

/// What a caller asks a universal route for: `rest` is what follows the route's segment in the normalised path. One slash after
/// the scheme does too, since some clients and proxies fold two into one.
///
/// # Errors
/// [`Error`] where it names no address, or one that different programs would read differently.
pub(crate) fn parse(rest: &str, query: Option<&str>) -> Result<Uri, Error> {
    let (scheme, rest) = rest.strip_prefix('/').and_then(|rest| rest.split_once(":/")).ok_or(Error::NotAnAddress)?;
    let scheme = ["http", "https"].into_iter().find(|known| scheme.eq_ignore_ascii_case(known));
    let scheme = scheme.ok_or(Error::NotAnAddress)?;
    let rest = rest.strip_prefix('/').unwrap_or(rest);
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if authority.contains('@') || authority.to_ascii_uppercase().contains("%40") {
        return Err(Error::UserInfo);
    }
    let authority: Authority = authority.parse().map_err(|_| Error::Host)?;
    if !is_plain_host(authority.host()) || !has_plain_port(&authority) {
        return Err(Error::Host);
    }
    let (mark, query) = query.map_or(("", ""), |query| ("?", query));
    let path = if path.is_empty() { "/" } else { path };
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(format!("{path}{mark}{query}"));
    uri.build().map_err(|_| Error::NotAnAddress)
}

/// The host where it is an IP address and no name.
pub(crate) fn literal(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(v6) => v6.parse().ok().map(IpAddr::V6),
        None => host.parse().ok().map(IpAddr::V4),
    }
}

/// Whether everybody reads the host alike. `127.1`, `0x7f.0.0.1` and `2130706433` are addresses to some and names to others.
fn is_plain_host(host: &str) -> bool {
    if host.starts_with('[') || literal(host).is_some() {
        return literal(host).is_some();
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let of_letters = |label: &str| {
        let plain = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        plain && !label.is_empty() && label.len() <= 63
    };
    let last = name.rsplit('.').next().unwrap_or(name);
    let numeric = last.starts_with("0x") || last.starts_with("0X") || last.bytes().all(|byte| byte.is_ascii_digit());
    name.len() <= LONGEST_NAME && name.split('.').all(of_letters) && !numeric
}

fn has_plain_port(authority: &Authority) -> bool {
    let behind = authority.as_str().get(authority.host().len()..).unwrap_or_default();
    let digits = behind.bytes().skip(1).all(|byte| byte.is_ascii_digit());
    behind.is_empty() || digits && authority.port_u16().is_some_and(|port| port > 0)
}

/// Never called, whatever a route allows: what reaches the machine itself under another name, its neighbours without a router, or
/// the cloud's service that hands out the machine's own credentials.
const NEVER: [IpNet; 16] = [
    v4([0, 0, 0, 0], 8),
    v4([169, 254, 0, 0], 16),
    v4([224, 0, 0, 0], 4),
    v4([240, 0, 0, 0], 4),
    // The metadata services of Alibaba Cloud, Oracle Cloud and Azure, in order.
    v4([100, 100, 100, 200], 32),
    v4([192, 0, 0, 192], 32),
    v4([168, 63, 129, 16], 32),
    v6([0, 0, 0, 0, 0, 0, 0, 0], 128),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
    v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8),
    // Those of Amazon's and Google's clouds.
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0], 32),
    v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0], 32),
    // What a network translates as it sees fit (RFC 8215), Teredo, and documentation.
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
];

/// Called only where a route allows it: this machine, private networks, and what is not on the public internet for other reasons.
/// Of IPv6, that is all but 2000::/3 as well.
const GUARDED: [IpNet; 10] = [
    v4([10, 0, 0, 0], 8),
    v4([100, 64, 0, 0], 10),
    v4([127, 0, 0, 0], 8),
    v4([172, 16, 0, 0], 12),
    v4([192, 0, 0, 0], 24),
    v4([192, 0, 2, 0], 24),
    v4([192, 168, 0, 0], 16),
    v4([198, 18, 0, 0], 15),
    v4([198, 51, 100, 0], 24),
    v4([203, 0, 113, 0], 24),
];

const PUBLIC_V6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

const fn v4([a, b, c, d]: [u8; 4], prefix: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix))
}

const fn v6([a, b, c, d, e, f, g, h]: [u16; 8], prefix: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix))
}

/// Whether an address may be called where these ranges are allowed besides the public internet. An IPv6 address that carries an
/// IPv4 address is judged by what it carries.
pub(crate) fn may_call(address: IpAddr, allowed: &[IpNet]) -> bool {
    let within = |ranges: &[IpNet], address: &IpAddr| ranges.iter().any(|range| range.contains(address));
    let judged = match address {
        IpAddr::V6(v6) => carried(v6).map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    };
    if within(&NEVER, &address) || within(&NEVER, &judged) {
        return false;
    }
    let public = match judged {
        IpAddr::V4(_) => !within(&GUARDED, &judged),
        IpAddr::V6(v6) => PUBLIC_V6.contains(&v6),
    };
    public || within(allowed, &judged) || within(allowed, &address)
}

/// The IPv4 address inside: mapped and compatible (RFC 4291, section 2.5.5), NAT64 (RFC 6052, section 2.1) and 6to4
/// (RFC 3056).
fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let last = |[.., a, b, c, d]: [u8; 16]| Ipv4Addr::new(a, b, c, d);
    match address.segments() {
        // The loopback address is itself, and carries nothing.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, _, _] | [0, 0, 0, 0, 0xffff, 0, _, _] | [0x64, 0xff9b, 0, 0, 0, 0, _, _] => {
            Some(last(address.octets()))
        }
        [0x2002, high, low, ..] => Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_what_follows_the_segment() {
        for (rest, query, expected) in [
            ("/https://api.example.com/v1/chat", Some("a=b"), "https://api.example.com/v1/chat?a=b"),
            ("/http://api.example.com:8443", None, "http://api.example.com:8443/"),
            ("/https:/folded.example/x", None, "https://folded.example/x"),
            ("/HTTPS://Api.Example.com/X", None, "https://Api.Example.com/X"),
            ("/http://127.0.0.1:9/x", None, "http://127.0.0.1:9/x"),
            ("/http://[::1]:9/x", None, "http://[::1]:9/x"),
            ("/http://under_score.example./", None, "http://under_score.example./"),
        ] {
            assert_eq!(parse(rest, query).map(|uri| uri.to_string()).as_deref(), Ok(expected), "{rest}");
        }
    }

    #[test]
    fn what_programs_read_differently_is_refused() {
        for (rest, expected) in [
            ("", Error::NotAnAddress),
            ("/", Error::NotAnAddress),
            ("/api.example.com/v1", Error::NotAnAddress),
            ("/ftp://example.com/", Error::NotAnAddress),
            ("/file:///etc/passwd", Error::NotAnAddress),
            ("/https://user@example.com/", Error::UserInfo),
            ("/https://user:pass@example.com/", Error::UserInfo),
            ("/https://example.com%40evil.example/", Error::UserInfo),
            ("/https://", Error::Host),
            ("/https://:80/", Error::Host),
            ("/https://example.com:/", Error::Host),
            ("/https://example.com:0/", Error::Host),
            ("/https://example.com:65536/", Error::Host),
            ("/https://example.com:+80/", Error::Host),
            ("/http://127.1/", Error::Host),
            ("/http://2130706433/", Error::Host),
            ("/http://0x7f.0.0.1/", Error::Host),
            ("/http://0x7f000001/", Error::Host),
            ("/http://0177.0.0.1/", Error::Host),
            ("/http://127.0.0.01/", Error::Host),
            ("/http://127.0.0.1./", Error::Host),
            ("/http://1.2.3/", Error::Host),
            ("/http://%31%32%37.0.0.1/", Error::Host),
            ("/http://[fe80::1%25eth0]/", Error::Host),
            ("/http://[::1/", Error::Host),
            ("/http://[127.0.0.1]/", Error::Host),
            ("/http://::1/", Error::Host),
            ("/http://a..b/", Error::Host),
            ("/http://a,b/", Error::Host),
        ] {
            assert_eq!(parse(rest, None), Err(expected), "{rest}");
        }
    }

    #[test]
    fn the_public_internet_is_open() {
        for address in ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2002:808:808::1"] {
            assert!(may_call(address.parse().unwrap(), &[]), "{address}");
        }
    }

    #[test]
    fn this_machine_and_private_networks_need_to_be_allowed() {
        for (address, range) in [
            ("127.0.0.1", "127.0.0.0/8"),
            ("10.1.2.3", "10.0.0.0/8"),
            ("172.16.0.1", "172.16.0.0/12"),
            ("192.168.1.1", "192.168.1.1/32"),
            ("100.64.0.1", "100.64.0.0/10"),
            ("198.18.0.1", "198.18.0.0/15"),
            ("::1", "::1/128"),
            ("fd12::1", "fd12::/16"),
            ("::ffff:127.0.0.1", "127.0.0.0/8"),
            ("::127.0.0.1", "127.0.0.0/8"),
            ("::ffff:0:10.0.0.1", "10.0.0.0/8"),
            ("64:ff9b::10.0.0.1", "10.0.0.0/8"),
            ("2002:0a00:0001::1", "10.0.0.0/8"),
        ] {
            let address = address.parse().unwrap();
            assert!(!may_call(address, &[]), "{address}");
            assert!(!may_call(address, &["203.0.113.0/24".parse().unwrap()]), "{address}");
            assert!(may_call(address, &[range.parse().unwrap()]), "{address} in {range}");
        }
    }

    #[test]
    fn some_addresses_are_never_called_whatever_is_allowed() {
        let everything = ["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()];
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "169.254.170.2",
            "100.100.100.200",
            "192.0.0.192",
            "168.63.129.16",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "::",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "2001::1",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::1.1.1.1",
            "2002:a9fe:a9fe::1",
            "::ffff:0.0.0.0",
        ] {
            assert!(!may_call(address.parse().unwrap(), &everything), "{address}");
        }
    }
}
