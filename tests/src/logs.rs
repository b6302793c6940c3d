//! What the planes log, kept for stories to look at. All stories of a test binary share it, as they share the process.

use std::{
    io,
    sync::{Mutex, OnceLock, PoisonError},
};

use serde_json::Value;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

/// Everything that this repository says, and all that its dependencies have to say about their work.
const FILTER: &str = "debug,h2=info";

static LINES: Mutex<String> = Mutex::new(String::new());

/// Keeps log lines from now on; the first caller's "now" counts.
pub(crate) fn keep() {
    static KEPT: OnceLock<()> = OnceLock::new();
    KEPT.get_or_init(|| {
        tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_env_filter(EnvFilter::new(FILTER))
            .with_writer(Writer)
            .init()
    });
}

/// Every line so far.
pub fn all() -> String {
    LINES.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// The access log's line about a request; `None` = it is not over, or left no line.
pub fn access(request_id: &str) -> Option<Value> {
    holding(request_id).into_iter().find(|line| line.get("target").is_some_and(|target| target == "access"))
}

/// The lines that hold a text.
pub fn holding(text: &str) -> Vec<Value> {
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    lines.lines().filter(|line| line.contains(text)).filter_map(|line| serde_json::from_str(line).ok()).collect()
}

struct Writer;

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.lock().unwrap_or_else(PoisonError::into_inner).push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Writer {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}
