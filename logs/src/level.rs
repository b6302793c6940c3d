//! How much is logged, for as long as the configuration says something else than the command line.

use tracing::Level as Verbosity;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// Changes how much is logged. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Level {
    filter: reload::Handle<EnvFilter, Registry>,
    /// What the command line says.
    otherwise: String,
}

impl Level {
    pub(crate) fn new(filter: reload::Handle<EnvFilter, Registry>, otherwise: &str) -> Self {
        Self { filter, otherwise: otherwise.to_owned() }
    }

    /// Logs that much from now on; `None` = as the command line says.
    pub fn set(&self, level: Option<Verbosity>) {
        let directives = level.map_or_else(|| self.otherwise.clone(), directives);
        if let Err(error) = self.filter.reload(EnvFilter::new(directives)) {
            tracing::warn!(%error, "the log level stays as it is");
        }
    }
}

/// What is said here in that much detail. What the libraries say is never in more than `info`: in detail they tell headers, and so
/// keys.
fn directives(level: Verbosity) -> String {
    let libraries = level.min(Verbosity::INFO);
    format!("{libraries},signalbox={level},access={level}")
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn the_level_changes_at_once_and_back_to_what_the_command_line_says() {
        let (filter, handle) = reload::Layer::new(EnvFilter::new("warn"));
        let (level, seen) = (Level::new(handle, "warn"), Arc::new(Mutex::new(Vec::new())));
        let writer = Arc::clone(&seen);
        let lines = tracing_subscriber::fmt::layer().with_writer(move || Taken(Arc::clone(&writer)));
        tracing::subscriber::with_default(Registry::default().with(filter).with(lines), || {
            let say = || {
                tracing::warn!(target: "signalbox_data_plane", "warning");
                tracing::debug!(target: "signalbox_data_plane", "detail");
                tracing::debug!(target: "h2", "header");
                tracing::info!(target: "access", "exchange");
            };
            for (set, expected) in [
                (None, &["warning"][..]),
                (Some(Verbosity::DEBUG), &["warning", "detail", "exchange"]),
                (Some(Verbosity::ERROR), &[]),
                (Some(Verbosity::INFO), &["warning", "exchange"]),
                (None, &["warning"]),
            ] {
                level.set(set);
                seen.lock().unwrap().clear();
                say();
                let text = String::from_utf8(seen.lock().unwrap().clone()).unwrap();
                let words: Vec<_> = text.lines().filter_map(|line| line.split_whitespace().last()).collect();
                assert_eq!(words, expected, "{set:?}");
            }
        });
    }

    struct Taken(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Taken {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
}
