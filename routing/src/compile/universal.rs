//! A universal route's ranges from the wire: which loopback and private addresses a caller may name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use signalbox_proto::config::v1 as config;

use super::{faults::Faults, value};
use crate::{finding::Fault, runtime::RouteTarget};

/// Most ranges of one route, each of which is tried with every address that a name stands for.
const MAX_RANGES: usize = 64;

/// What is never called, whatever a route says (RFC 6890, RFC 4291): unspecified, link-local with the clouds' metadata in it,
/// multicast, broadcast and, in IPv6, what stands for an IPv4 address, which is to be written as one.
const NEVER_V4: [Ipv4Net; 4] = [
    Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 8),
    Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16),
    Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 4),
    Ipv4Net::new_assert(Ipv4Addr::BROADCAST, 32),
];
const NEVER_V6: [Ipv6Net; 4] = [
    Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 128),
    Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96),
    Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
    Ipv6Net::new_assert(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),
];

pub(super) fn compile(wire: config::Universal, faults: &mut Faults) -> RouteTarget {
    let config::Universal { allowed_ranges } = wire;
    if allowed_ranges.len() > MAX_RANGES {
        faults.add("universal.allowed_ranges", Fault::OutOfRange("at most 64 ranges"));
    }
    let written = allowed_ranges.iter().enumerate();
    let allowed_ranges = written
        .filter_map(|(at, text)| faults.take(format_args!("universal.allowed_ranges[{at}]"), range(text)))
        .collect();
    RouteTarget::Universal { allowed_ranges }
}

/// A range in CIDR notation, or one address.
fn range(text: &str) -> Result<IpNet, Fault> {
    let range = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let range = range.map_err(|_| value::refused(text, "must be a range such as 10.1.0.0/16, or an address"))?.trunc();
    let overlaps = match &range {
        IpNet::V4(range) => NEVER_V4.iter().any(|never| never.contains(range) || range.contains(never)),
        IpNet::V6(range) => NEVER_V6.iter().any(|never| never.contains(range) || range.contains(never)),
    };
    if overlaps {
        let rule =
            "must hold no link-local, metadata, multicast, unspecified or IPv4-mapped address: they are never called";
        return Err(value::refused(text, rule));
    }
    Ok(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_written_in_cidr_notation_or_as_an_address() {
        for (text, expected) in [
            ("10.1.0.0/16", "10.1.0.0/16"),
            ("10.1.2.3/16", "10.1.0.0/16"),
            ("127.0.0.1", "127.0.0.1/32"),
            ("192.168.0.0/16", "192.168.0.0/16"),
            ("fd00::/8", "fd00::/8"),
            ("::1", "::1/128"),
        ] {
            assert_eq!(range(text).unwrap().to_string(), expected, "{text}");
        }
        for bad in ["", "localhost", "10.0.0.0/33", "10.1/16", "10.0.0.0-10.0.0.9", " 10.0.0.0/8", "*"] {
            assert!(range(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn what_is_never_called_cannot_be_allowed() {
        for bad in [
            "0.0.0.0/0",
            "0.0.0.0",
            "0.1.2.3/32",
            "169.254.169.254",
            "169.0.0.0/8",
            "224.0.0.1",
            "239.0.0.0/8",
            "255.255.255.255",
            "::/0",
            "::",
            "fe80::/10",
            "fe80::1",
            "ff02::/16",
            "::ffff:10.0.0.0/104",
            "::ffff:169.254.169.254",
        ] {
            assert!(range(bad).is_err(), "{bad} was taken");
        }
    }
}
