//! Where log lines go: stderr, so that stdout carries only what was asked for.

use std::{
    env,
    io::{self, IsTerminal as _},
};

use tracing_subscriber::EnvFilter;

use crate::arguments::{LogFormat, Logs};

/// Logs from now on.
pub fn init(logs: &Logs) {
    let ansi = io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none();
    let lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&logs.log_level))
        .with_writer(io::stderr)
        .with_ansi(ansi);
    match logs.log_format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().init(),
    }
}
