//! How often one address may present a token that is none. It knows addresses and ids, and no token.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Wrong tokens that one address may present within [`WINDOW`].
const MAX_WRONG: u32 = 20;

/// After so long an address begins anew.
const WINDOW: Duration = Duration::from_secs(60);

/// Addresses that are watched at once; beyond that the one that has been watched longest is forgotten.
const MAX_ADDRESSES: usize = 4096;

/// Callers that are remembered for one address.
const MAX_KNOWN: usize = 16;

/// Counts wrong tokens by the address that they came from.
///
/// Beyond the limit nothing that comes from an address is looked at, except from callers that had been let in from there before: a
/// guesser gets nowhere, and cannot lock out those who share its address.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    addresses: Mutex<HashMap<IpAddr, Seen>>,
}

#[derive(Debug)]
struct Seen {
    since: Instant,
    wrong: u32,
    known: Vec<Arc<str>>,
}

impl Seen {
    fn new(now: Instant) -> Self {
        Self { since: now, wrong: 0, known: Vec::new() }
    }
}

impl Throttle {
    /// Whether a caller may be let in, given who it turned out to be; else how long it has to wait.
    pub(crate) fn judge(&self, from: IpAddr, who: Option<&Arc<str>>, now: Instant) -> Result<(), Duration> {
        let from = subject(from);
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        make_room(&mut addresses, from);
        let seen = addresses.entry(from).or_insert_with(|| Seen::new(now));
        let age = now.saturating_duration_since(seen.since);
        if age >= WINDOW {
            (seen.since, seen.wrong) = (now, 0);
        }
        let known = who.is_some_and(|who| seen.known.contains(who));
        if seen.wrong >= MAX_WRONG && !known {
            return Err(WINDOW.saturating_sub(age));
        }
        match who {
            None => seen.wrong += 1,
            Some(who) if !known => {
                if seen.known.len() >= MAX_KNOWN {
                    seen.known.remove(0);
                }
                seen.known.push(Arc::clone(who));
            }
            Some(_) => {}
        }
        Ok(())
    }
}

fn make_room(addresses: &mut HashMap<IpAddr, Seen>, from: IpAddr) {
    if addresses.len() < MAX_ADDRESSES || addresses.contains_key(&from) {
        return;
    }
    // Callers that were let in are worth more than a count of wrong tokens, of which a botnet has any number.
    let oldest =
        addresses.iter().min_by_key(|(_, seen)| (!seen.known.is_empty(), seen.since)).map(|(address, _)| *address);
    if let Some(oldest) = oldest {
        addresses.remove(&oldest);
    }
}

/// What an attacker has one of: an IPv4 address, or a /64 of IPv6.
fn subject(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn exhaust(throttle: &Throttle, from: &str, now: Instant) {
        for _ in 0..MAX_WRONG {
            assert_eq!(throttle.judge(ip(from), None, now), Ok(()));
        }
    }

    #[test]
    fn a_guesser_waits_for_the_rest_of_the_minute_even_with_the_right_token() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        exhaust(&throttle, "192.0.2.1", now);
        let admin: Arc<str> = "admin".into();
        let later = now + Duration::from_secs(20);
        assert_eq!(throttle.judge(ip("192.0.2.1"), None, later), Err(Duration::from_secs(40)));
        assert_eq!(throttle.judge(ip("192.0.2.1"), Some(&admin), later), Err(Duration::from_secs(40)));
        assert_eq!(throttle.judge(ip("192.0.2.2"), Some(&admin), later), Ok(()), "others are not concerned");
        assert_eq!(throttle.judge(ip("192.0.2.1"), Some(&admin), now + WINDOW), Ok(()));
    }

    #[test]
    fn who_was_let_in_before_is_not_locked_out_by_a_neighbour() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        let (admin, other): (Arc<str>, Arc<str>) = ("admin".into(), "other".into());
        assert_eq!(throttle.judge(ip("192.0.2.1"), Some(&admin), now), Ok(()));
        exhaust(&throttle, "192.0.2.1", now);
        assert_eq!(throttle.judge(ip("192.0.2.1"), Some(&admin), now), Ok(()));
        assert_eq!(throttle.judge(ip("192.0.2.1"), Some(&other), now), Err(WINDOW));
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_and_a_mapped_address_as_what_it_maps() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        exhaust(&throttle, "2001:db8::1", now);
        assert!(throttle.judge(ip("2001:db8::ffff:2"), None, now).is_err());
        assert!(throttle.judge(ip("2001:db8:0:1::1"), None, now).is_ok());
        exhaust(&throttle, "192.0.2.1", now);
        assert!(throttle.judge(ip("::ffff:192.0.2.1"), None, now).is_err());
    }

    #[test]
    fn the_table_is_bounded_and_keeps_those_who_were_let_in() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        let admin: Arc<str> = "admin".into();
        throttle.judge(ip("192.0.2.1"), Some(&admin), now).unwrap();
        for address in 0..2 * MAX_ADDRESSES as u32 {
            throttle.judge(IpAddr::from((0x0a00_0000 + address).to_be_bytes()), None, now).unwrap();
        }
        let addresses = throttle.addresses.lock().unwrap();
        assert_eq!(addresses.len(), MAX_ADDRESSES);
        assert!(addresses.contains_key(&ip("192.0.2.1")));
    }
}
