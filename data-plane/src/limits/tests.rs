//! What keys with limits may do, and what they are told of it.

use signalbox_routing::Labels;

use super::*;

fn key(id: &str, requests: u32, tokens: u64, in_flight: u32) -> ClientKey {
    ClientKey {
        id: Id::parse(id).unwrap(),
        sha256: [0; 32],
        allowed_models: Box::default(),
        expires_at_ms: None,
        disabled: false,
        labels: Labels::default(),
        limits: Limits {
            requests_per_minute: NonZeroU32::new(requests),
            tokens_per_minute: NonZeroU64::new(tokens),
            max_in_flight: NonZeroU32::new(in_flight),
        },
    }
}

fn begin(meters: &Meters, key: &ClientKey) -> Result<Share, Denied> {
    let mut share = meters.share(key).expect("the key has limits");
    share.admit().map(|()| share)
}

fn told(share: &Share) -> Vec<(String, String)> {
    let mut headers = HeaderMap::from_iter([(http::HeaderName::from_static("x-ratelimit-limit-theirs"), 9.into())]);
    share.write(&mut headers);
    let short = |name: &http::HeaderName| name.as_str().trim_start_matches("x-ratelimit-").to_owned();
    headers.iter().map(|(name, value)| (short(name), value.to_str().unwrap().to_owned())).collect()
}

#[test]
fn a_key_without_limits_is_not_metered() {
    assert!(Meters::default().share(&key("free", 0, 0, 0)).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_key_begins_as_many_requests_as_it_may_and_one_more_as_each_is_forgotten() {
    let (meters, key, other) = (Meters::default(), key("a", 2, 0, 0), key("b", 2, 0, 0));
    for _ in 0..2 {
        begin(&meters, &key).unwrap();
    }
    let (limit, wait) = (NonZeroU32::new(2).unwrap(), Duration::from_secs(30));
    assert_eq!(begin(&meters, &key).unwrap_err(), Denied::Requests { limit, wait });
    begin(&meters, &other).unwrap();
    tokio::time::advance(wait).await;
    begin(&meters, &key).unwrap();
    assert!(begin(&meters, &key).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_request_is_under_way_until_its_share_is_gone() {
    let (meters, key) = (Meters::default(), key("a", 0, 0, 1));
    let first = begin(&meters, &key).unwrap();
    assert_eq!(begin(&meters, &key).unwrap_err(), Denied::InFlight { limit: NonZeroU32::MIN });
    drop(first);
    begin(&meters, &key).unwrap();
}

#[tokio::test(start_paused = true)]
async fn tokens_are_set_aside_then_settled_and_a_debt_is_waited_off() {
    let (meters, key) = (Meters::default(), key("a", 0, 60, 0));
    let mut share = begin(&meters, &key).unwrap();
    share.reserve(10);
    assert_eq!(share.reserved(), 10);
    begin(&meters, &key).unwrap();
    share.settle(90);
    let (limit, wait) = (NonZeroU64::new(60).unwrap(), Duration::from_secs(31));
    assert_eq!(begin(&meters, &key).unwrap_err(), Denied::Tokens { limit, wait });
    tokio::time::advance(wait).await;
    let mut share = begin(&meters, &key).unwrap();
    share.reserve(u64::MAX);
    assert_eq!(share.reserved(), 60, "no more than a minute's worth");
    share.settle(0);
    begin(&meters, &key).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_changed_limit_holds_at_once_and_forgets_nothing() {
    let meters = Meters::default();
    for _ in 0..3 {
        begin(&meters, &key("a", 4, 0, 0)).unwrap();
    }
    assert!(begin(&meters, &key("a", 2, 0, 0)).is_err());
    begin(&meters, &key("a", 4, 0, 0)).unwrap();
    assert!(begin(&meters, &key("a", 4, 0, 0)).is_err());
}

#[tokio::test(start_paused = true)]
async fn what_is_left_is_told_of_the_limits_that_there_are() {
    let meters = Meters::default();
    let mut share = begin(&meters, &key("a", 60, 600, 5)).unwrap();
    share.reserve(100);
    let expected = [
        ("limit-requests", "60"),
        ("remaining-requests", "59"),
        ("reset-requests", "1s"),
        ("limit-tokens", "600"),
        ("remaining-tokens", "500"),
        ("reset-tokens", "10s"),
    ];
    assert_eq!(told(&share), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(told(&begin(&meters, &key("b", 0, 0, 5)).unwrap()), []);
}

#[tokio::test(start_paused = true)]
async fn keys_that_have_used_nothing_lately_are_forgotten() {
    let meters = Meters::default();
    let held = begin(&meters, &key("held", 1, 0, 0)).unwrap();
    for number in 1..MIN_SWEPT {
        begin(&meters, &key(&format!("k{number}"), 1, 0, 0)).unwrap();
    }
    assert_eq!(meters.0.lock().unwrap().meters.len(), MIN_SWEPT);
    tokio::time::advance(Duration::from_secs(60)).await;
    begin(&meters, &key("late", 1, 0, 0)).unwrap();
    assert_eq!(meters.0.lock().unwrap().meters.len(), 2);
    drop(held);
}
