//! What each worker has one of: connections belong to the runtime that dialled them, and no other may carry a request over them.

use std::sync::OnceLock;

use crate::workers;

/// One for each worker, made when that worker first asks. There is no last worker that it would have to know of.
#[derive(Debug)]
pub(super) struct PerWorker<T> {
    own: OnceLock<T>,
    next: OnceLock<Box<Self>>,
}

impl<T> Default for PerWorker<T> {
    fn default() -> Self {
        Self { own: OnceLock::new(), next: OnceLock::new() }
    }
}

impl<T> PerWorker<T> {
    /// This worker's own.
    ///
    /// # Errors
    /// Where it is made now and cannot be.
    pub(super) fn own<E>(&self, make: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
        let mut at = self;
        for _ in 0..workers::current() {
            at = at.next.get_or_init(Box::default);
        }
        if let Some(own) = at.own.get() {
            return Ok(own);
        }
        let own = make()?;
        Ok(at.own.get_or_init(|| own))
    }
}
