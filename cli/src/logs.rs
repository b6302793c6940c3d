//! Where log lines go: stderr, so that stdout carries only what was asked for.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use crate::arguments::{LogFormat, Logs};

/// Logs from now on.
pub fn init(logs: &Logs) {
    let lines = tracing_subscriber::fmt().with_env_filter(EnvFilter::new(&logs.log_level)).with_writer(io::stderr);
    match logs.log_format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().init(),
    }
}
