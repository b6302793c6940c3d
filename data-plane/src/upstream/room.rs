//! How many requests a provider takes at once. It never sees one.

use std::{num::NonZeroU32, sync::Arc};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The room that a provider has. The clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    places: NonZeroU32,
    free: Arc<Semaphore>,
}

/// A place of one's own. It rides in the answer's body, so that it is free again when the last byte, or the client, is gone.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Room {
    /// Room for that many; the same as before where that many had room before. What is under way in a room of another size does
    /// not count in the new one.
    pub(super) fn new(places: NonZeroU32, before: Option<&Self>) -> Self {
        let same = before.filter(|before| before.places == places).cloned();
        same.unwrap_or_else(|| Self { places, free: Arc::new(Semaphore::new(places.get() as usize)) })
    }

    /// Waits for a place, in the order of arrival.
    pub(crate) async fn enter(&self) -> Option<Place> {
        let permit = Arc::clone(&self.free).acquire_owned().await.ok()?;
        Some(Place { _permit: permit })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn room(places: u32, before: Option<&Room>) -> Room {
        Room::new(NonZeroU32::new(places).unwrap(), before)
    }

    #[test]
    fn a_place_is_free_again_once_it_is_left_and_stays_taken_over_revisions() {
        let before = room(1, None);
        let place = before.enter().now_or_never().flatten().expect("there is room");
        let after = room(1, Some(&before));
        assert!(after.enter().now_or_never().is_none());
        assert!(room(2, Some(&before)).enter().now_or_never().is_some());
        drop(place);
        assert!(after.enter().now_or_never().flatten().is_some());
    }
}
