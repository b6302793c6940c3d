//! Where log lines go: stderr, so that stdout carries only what was asked for.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::{EnvFilter, filter::ParseError};

use crate::arguments::{LogFormat, Logs};

/// Logs from now on.
///
/// # Errors
/// Where the level is none.
pub fn init(logs: &Logs) -> Result<(), ParseError> {
    let filter = EnvFilter::try_new(&logs.log_level)?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match logs.log_format {
        LogFormat::Text => subscriber.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
    Ok(())
}
