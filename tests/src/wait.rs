//! Waiting with an end: a story that hangs fails by name instead.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// The longest that a story waits for what must happen. Generous, so that a busy machine fails nothing; nobody waits this long
/// for what does happen.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Between two looks at what cannot be awaited.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What `future` comes to.
///
/// # Panics
/// Where it takes longer than [`PATIENCE`].
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    within(PATIENCE, what, future).await
}

/// What `future` comes to.
///
/// # Panics
/// Where it takes longer than `limit`.
pub async fn within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> T {
    match timeout(limit, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {limit:?}"),
    }
}

/// What `check` finds as soon as it finds something.
///
/// # Panics
/// Where it finds nothing within [`PATIENCE`].
pub async fn eventually<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = soon(what, check()).await {
            return found;
        }
        assert!(Instant::now() < end, "{what}: not within {PATIENCE:?}");
        sleep(LOOK_AGAIN).await;
    }
}
