//! Whether there is room for one more exchange. It knows nothing of who asks or what for.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

/// As many slots as exchanges may be under way at once.
#[derive(Debug)]
pub(crate) struct Slots {
    limit: u32,
    taken: Arc<AtomicU32>,
}

/// A slot of one's own. It rides in the answer's body, so that it is free again when the last byte, or the client, is gone.
#[derive(Debug)]
pub(crate) struct Admission(Arc<AtomicU32>);

impl Slots {
    /// That many slots; how many are taken is told to whoever holds the counter too.
    pub(crate) fn new(slots: usize, taken: Arc<AtomicU32>) -> Self {
        Self { limit: u32::try_from(slots).unwrap_or(u32::MAX), taken }
    }

    /// Takes a slot; `None` = there is none. Nobody waits here: who is turned away at once can go elsewhere.
    pub(crate) fn admit(&self) -> Option<Admission> {
        let one_more = |taken: u32| taken.checked_add(1).filter(|taken| *taken <= self.limit);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Admission(Arc::clone(&self.taken)))
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> u32 {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_free_again_once_its_admission_is_gone() {
        let slots = Slots::new(1, Arc::default());
        let admission = slots.admit().unwrap();
        assert_eq!(slots.taken(), 1);
        assert!(slots.admit().is_none());
        drop(admission);
        assert_eq!(slots.taken(), 0);
        assert!(slots.admit().is_some());
    }
}
