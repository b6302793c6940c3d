//! Pools by story, with the time handed in.

use std::collections::HashMap;

use secrecy::SecretString;
use signalbox_routing::{Dialect, Id, SecretSource};

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn member(id: &str, weight: u32, max_in_flight: Option<u32>) -> Arc<Member> {
    let mut version = [0; 32];
    version[..id.len()].copy_from_slice(id.as_bytes());
    let credential = Credential {
        id: Id::parse(id).unwrap(),
        name: format!("providers/p/credentials/{id}").into(),
        source: SecretSource::Inline(format!("key-{id}").into()),
        weight,
        max_in_flight,
        version,
    };
    Arc::new(Member {
        credential: Arc::new(credential),
        key: Key::new(Dialect::OpenAi, &SecretString::from("unused")).unwrap(),
        mask: Mask::default(),
    })
}

fn pool(choice: CredentialChoice, ids: &[&str]) -> Pool {
    Pool::new(choice, ids.iter().map(|id| member(id, 1, None)).collect(), None)
}

fn id(lease: &Lease) -> String {
    lease.member.credential.id.to_string()
}

fn take(pool: &Pool, now: Instant) -> Lease {
    pool.take(now, &[]).expect("a key is to be had")
}

fn taken(pool: &Pool, now: Instant, times: usize) -> Vec<String> {
    (0..times).map(|_| id(&take(pool, now))).collect()
}

#[test]
fn the_least_recently_used_key_goes_round() {
    let pool = pool(CredentialChoice::LeastRecentlyUsed, &["a", "b", "c"]);
    assert_eq!(taken(&pool, Instant::now(), 5), ["a", "b", "c", "a", "b"]);
}

#[test]
fn the_least_used_key_catches_up() {
    let now = Instant::now();
    let pool = pool(CredentialChoice::LeastUsed, &["a", "b"]);
    take(&pool, now).limited(now, Some(MINUTE));
    assert_eq!(taken(&pool, now, 3), ["b", "b", "b"]);
    assert_eq!(taken(&pool, now + MINUTE, 3), ["a", "a", "b"]);
}

#[test]
fn the_key_with_the_least_in_flight_is_taken() {
    let now = Instant::now();
    let pool = pool(CredentialChoice::LeastInFlight, &["a", "b"]);
    let (first, second) = (take(&pool, now), take(&pool, now));
    assert_eq!((id(&first), id(&second)), ("a".into(), "b".into()));
    drop(second);
    assert_eq!(taken(&pool, now, 2), ["b", "b"]);
}

#[test]
fn keys_are_drawn_in_proportion_to_their_weight() {
    fastrand::seed(7);
    let now = Instant::now();
    let pool = Pool::new(
        CredentialChoice::Weighted,
        vec![member("a", 1, None), member("b", 3, None), member("c", 0, None)],
        None,
    );
    let mut counts: HashMap<String, u32> = HashMap::new();
    for key in taken(&pool, now, 4000) {
        *counts.entry(key).or_default() += 1;
    }
    assert!((800..1200).contains(&counts["a"]) && (2800..3200).contains(&counts["b"]), "{counts:?}");
    assert!(!counts.contains_key("c"));
}

#[test]
fn a_key_without_weight_is_taken_only_when_no_other_is_usable() {
    for choice in [CredentialChoice::LeastRecentlyUsed, CredentialChoice::Weighted] {
        let now = Instant::now();
        let pool = Pool::new(choice, vec![member("spare", 0, None), member("a", 1, None)], None);
        assert_eq!(taken(&pool, now, 2), ["a", "a"]);
        take(&pool, now).refused(now);
        assert_eq!(taken(&pool, now, 2), ["spare", "spare"]);
    }
}

#[test]
fn a_key_has_no_more_in_flight_than_it_may() {
    let now = Instant::now();
    let pool = Pool::new(CredentialChoice::LeastRecentlyUsed, vec![member("a", 1, Some(2))], None);
    let held = (take(&pool, now), take(&pool, now));
    assert_eq!(pool.take(now, &[]).unwrap_err(), Unavailable::Busy);
    drop(held.0);
    take(&pool, now);
}

#[test]
fn a_refused_key_is_set_aside_and_tried_again_later() {
    let now = Instant::now();
    let pool = pool(CredentialChoice::LeastRecentlyUsed, &["a", "b"]);
    take(&pool, now).refused(now);
    assert_eq!(taken(&pool, now + 9 * MINUTE, 2), ["b", "b"]);
    assert_eq!(taken(&pool, now + 10 * MINUTE, 1), ["a"]);
}

#[test]
fn if_all_are_refused_the_one_closest_to_recovery_is_tried() {
    let now = Instant::now();
    let pool = pool(CredentialChoice::LeastRecentlyUsed, &["a", "b"]);
    take(&pool, now).refused(now);
    take(&pool, now).refused(now + MINUTE);
    let last_resort = take(&pool, now + 2 * MINUTE);
    assert_eq!(id(&last_resort), "a");
    last_resort.accepted();
    assert_eq!(taken(&pool, now + 2 * MINUTE, 2), ["a", "a"]);
}

#[test]
fn an_older_attempt_s_success_does_not_excuse_a_key() {
    let now = Instant::now();
    let pool = pool(CredentialChoice::LeastRecentlyUsed, &["a"]);
    let (older, newer) = (take(&pool, now), take(&pool, now));
    newer.limited(now, Some(MINUTE));
    older.accepted();
    assert_eq!(pool.take(now, &[]).unwrap_err(), Unavailable::Cooling { until: now + MINUTE });
}

#[test]
fn a_request_is_not_refused_twice_with_one_key() {
    let now = Instant::now();
    let pool = pool(CredentialChoice::LeastRecentlyUsed, &["a", "b"]);
    let mut refused = Vec::new();
    for _ in 0..2 {
        let lease = pool.take(now, &refused).unwrap();
        lease.refused(now);
        refused.push(Arc::clone(lease.name()));
    }
    assert_eq!(pool.take(now, &refused).unwrap_err(), Unavailable::Refused);
}

#[test]
fn if_all_cool_the_earliest_thaw_is_told() {
    let now = Instant::now();
    let pool = pool(CredentialChoice::LeastRecentlyUsed, &["a", "b", "c"]);
    take(&pool, now).limited(now, Some(MINUTE));
    take(&pool, now).limited(now, None);
    take(&pool, now).refused(now);
    assert_eq!(pool.take(now, &[]).unwrap_err(), Unavailable::Cooling { until: now + COOLING });
    assert_eq!(taken(&pool, now + COOLING, 1), ["b"]);
}

#[test]
fn a_pool_without_keys_has_none() {
    let pool = pool(CredentialChoice::Weighted, &[]);
    assert_eq!(pool.take(Instant::now(), &[]).unwrap_err(), Unavailable::Refused);
}

#[test]
fn what_is_known_outlives_a_revision_but_not_a_new_version() {
    let now = Instant::now();
    let before = pool(CredentialChoice::LeastRecentlyUsed, &["a", "b"]);
    take(&before, now).refused(now);
    let in_flight = take(&before, now);
    let limited = Arc::new(Member {
        credential: Arc::new(Credential { max_in_flight: Some(1), ..(*in_flight.member.credential).clone() }),
        key: in_flight.member.key.clone(),
        mask: in_flight.member.mask.clone(),
    });

    let after = Pool::new(CredentialChoice::LeastRecentlyUsed, vec![member("a", 1, None), limited], Some(&before));
    assert_eq!(after.take(now, &[]).unwrap_err(), Unavailable::Busy, "a is refused still, b in flight still");
    drop(in_flight);
    assert_eq!(taken(&after, now, 1), ["b"]);

    let replaced = Pool::new(CredentialChoice::LeastRecentlyUsed, vec![member("a2", 1, None)], Some(&after));
    assert_eq!(taken(&replaced, now, 1), ["a2"]);
}

#[test]
fn a_report_tells_how_each_key_is_and_sums_them_up() {
    let now = Instant::now();
    let pool = pool(CredentialChoice::LeastRecentlyUsed, &["a", "b", "c"]);
    take(&pool, now).refused(now);
    take(&pool, now).limited(now, Some(MINUTE));
    let _under_way = take(&pool, now);
    let told = serde_json::to_value(pool.report(now + Duration::from_millis(500))).unwrap();
    assert_eq!(
        told,
        serde_json::json!({
            "total": 3, "usable": 1, "set_aside": 1, "cooling": 1, "in_flight": 1, "attempts": 3, "failures": 2,
            "credentials": {
                "a": {"state": "set_aside", "in_flight": 0, "attempts": 1, "failures": 1, "recovers_in_seconds": 600},
                "b": {"state": "cooling", "in_flight": 0, "attempts": 1, "failures": 1, "recovers_in_seconds": 60},
                "c": {"state": "usable", "in_flight": 1, "attempts": 1, "failures": 0},
            },
        })
    );
}

#[test]
fn a_key_is_set_aside_after_so_many_failures_in_a_row_and_a_success_begins_anew() {
    let now = Instant::now();
    let pool = pool(CredentialChoice::LeastRecentlyUsed, &["a", "b"]);
    let again = || pool.take_again("providers/p/credentials/a", now, &[]).expect("a key is to be had");
    let most = NonZeroU32::new(3);
    assert!(!again().failed(now, most) && !again().failed(now, most));
    again().accepted();
    assert!(!again().failed(now, most) && !again().failed(now, most));
    assert!(!again().failed(now, None), "where nothing is counted, nothing is set aside");
    assert_eq!(id(&again()), "a");
    assert!(again().failed(now, most));
    assert_eq!(id(&again()), "b", "what is set aside is not taken again");
    assert!(pool.has_usable(now, &[]) && !pool.has_usable(now, &["providers/p/credentials/b".into()]));
    assert_eq!(taken(&pool, now + 10 * MINUTE, 1), ["a"]);
}
