//! How the three programs log: the flags, the lines, the file, and a level that can change while they run. It knows nothing of what
//! is logged.

use std::{
    env,
    error::Error as _,
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
};

use clap::{Args, CommandFactory, ValueEnum, error::ErrorKind};
use tracing_subscriber::{
    EnvFilter, Layer as _, Registry,
    filter::ParseError,
    fmt::{self, MakeWriter, writer::MakeWriterExt as _},
    layer::SubscriberExt as _,
    reload,
    util::SubscriberInitExt as _,
};

mod batches;
mod causes;
mod file;
mod level;
mod line;

use batches::Batches;
use file::LogFile;
pub use level::Level;
use line::Lines;

/// How to log. Without a file, lines go to stderr, so that stdout carries only what was asked for.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Logs")]
pub struct Logs {
    /// What to log: error, warn, info, debug, trace, or directives such as `info,access=off`
    #[arg(long, env = "SIGNALBOX_LOG_LEVEL", value_name = "LEVEL", default_value = "info", global = true, value_parser = directives)]
    pub log_level: String,
    /// How a log line looks
    #[arg(long, env = "SIGNALBOX_LOG_FORMAT", value_name = "FORMAT", default_value = "text", global = true)]
    pub log_format: LogFormat,
    /// Where to log instead of stderr, where then only errors go; opened anew on SIGHUP, so that it can be rotated
    #[arg(long, env = "SIGNALBOX_LOG_FILE", value_name = "FILE", global = true)]
    pub log_file: Option<PathBuf>,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// For programs: one JSON object a line
    Json,
}

/// Why nothing can be logged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be written.
    #[error("the log file {} cannot be written: name another with --log-file", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The signal that files are rotated by cannot be listened to.
    #[error("SIGHUP cannot be listened to")]
    Signal(#[source] io::Error),
    /// There is no thread that writes the lines.
    #[error("no thread can be started that writes the log")]
    Thread(#[source] io::Error),
}

/// A log that was started. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Log {
    level: Level,
    lines: Batches,
}

impl Log {
    /// What changes the level.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level.clone()
    }

    /// Waits until every line is written. To be called before the process ends, since lines are written in batches.
    pub fn flush(&self) {
        self.lines.flush();
    }
}

impl Logs {
    /// Logs from now on, or ends the process with what is wrong with its usage. To be called once in a process, on its runtime.
    #[must_use]
    pub fn start<C: CommandFactory>(&self) -> Log {
        self.try_start().unwrap_or_else(|error| {
            let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            C::command().error(ErrorKind::Io, format!("{error}{cause}")).exit()
        })
    }

    fn try_start(&self) -> Result<Log, Error> {
        let (filter, handle) = reload::Layer::new(EnvFilter::new(&self.log_level));
        let level = Level::new(handle, &self.log_level);
        let registry = Registry::default().with(filter);
        let lines = match &self.log_file {
            Some(path) => {
                let file = LogFile::open(path.clone())?;
                file.reopen_on_hangup().map_err(Error::Signal)?;
                let lines = Batches::start(move |text| file.write(text)).map_err(Error::Thread)?;
                let errors = io::stderr.with_max_level(tracing::Level::ERROR);
                registry.with(self.log_format.lines(lines.clone().and(errors), false)).init();
                lines
            }
            None => {
                let ansi = io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none();
                let lines = Batches::start(|text| io::stderr().write_all(text)).map_err(Error::Thread)?;
                registry.with(self.log_format.lines(lines.clone(), ansi)).init();
                lines
            }
        };
        Ok(Log { level, lines })
    }
}

impl LogFormat {
    /// What writes each event as a line that looks so, in colours where `ansi`.
    #[must_use]
    pub fn lines<S, W>(self, writer: W, ansi: bool) -> Box<dyn tracing_subscriber::Layer<S> + Send + Sync>
    where
        S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
        W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
    {
        let (lines, format) = (fmt::layer().with_writer(writer).with_ansi(ansi), self);
        match format {
            Self::Text => lines.map_event_format(|library| Lines { format, library }).boxed(),
            Self::Json => lines.json().map_event_format(|library| Lines { format, library }).boxed(),
        }
    }
}

/// Reads what is to be logged.
fn directives(text: &str) -> Result<String, ParseError> {
    EnvFilter::try_new(text).map(|_| text.to_owned())
}
