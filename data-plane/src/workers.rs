//! The threads that carry connections, each with a runtime of its own, so that a request never changes threads.

use std::cell::Cell;

thread_local! {
    static CURRENT: Cell<usize> = const { Cell::new(0) };
}

/// The number of the worker whose thread this is, from 1 on; 0 on every other thread. What is made once a worker, such as a pool
/// of connections, is found by it.
pub(crate) fn current() -> usize {
    CURRENT.get()
}
