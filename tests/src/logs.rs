//! What the planes log, kept for stories to look at. All stories of a test binary share it, as they share the process.

use std::{
    io,
    sync::{Mutex, OnceLock, PoisonError},
};

use serde_json::{Map, Value};
use signalbox_logs::LogFormat;
use tracing_subscriber::{
    EnvFilter, Registry, fmt::MakeWriter, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

/// Everything that this repository says, and all that its dependencies have to say about their work.
const FILTER: &str = "debug,h2=info";

static LINES: Mutex<String> = Mutex::new(String::new());

/// Keeps log lines from now on; the first caller's "now" counts.
pub(crate) fn keep() {
    static KEPT: OnceLock<()> = OnceLock::new();
    KEPT.get_or_init(|| {
        Registry::default().with(EnvFilter::new(FILTER)).with(LogFormat::Json.lines(Writer, false)).init();
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

/// The lines that hold a text, each with its fields beside the rest.
pub fn holding(text: &str) -> Vec<Value> {
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    lines.lines().filter(|line| line.contains(text)).filter_map(flat).collect()
}

fn flat(line: &str) -> Option<Value> {
    let mut line: Map<String, Value> = serde_json::from_str(line).ok()?;
    if let Some(Value::Object(fields)) = line.remove("fields") {
        line.extend(fields);
    }
    Some(line.into())
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
