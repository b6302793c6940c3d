//! What a new configuration changes in the log: how much is logged, and, once, which routes there are. It changes nothing else.

use signalbox_logs::Level;
use signalbox_routing::{LogLevel, RouteTarget};

use crate::live::Snapshot;

/// Tells the log of configurations.
#[derive(Debug)]
pub(crate) struct Announcer {
    level: Option<Level>,
    in_force: Option<LogLevel>,
    routes_told: bool,
}

impl Announcer {
    /// One that changes this level.
    pub(crate) fn new(level: Option<Level>) -> Self {
        Self { level, in_force: None, routes_told: false }
    }

    /// A configuration is in force.
    pub(crate) fn tell(&mut self, snapshot: &Snapshot) {
        let wanted = snapshot.runtime.settings().log_level;
        if wanted != std::mem::replace(&mut self.in_force, wanted)
            && let Some(level) = &self.level
        {
            level.set(wanted.map(verbosity));
            tracing::info!(log_level = ?wanted, "log level as configured");
        }
        if !std::mem::replace(&mut self.routes_told, true) {
            routes(snapshot);
        }
    }
}

/// One line a route, as a table of where each leads.
fn routes(snapshot: &Snapshot) {
    for route in snapshot.runtime.routes() {
        let base = &snapshot.runtime.settings().base_path;
        let to = match &route.to {
            RouteTarget::Fixed(target) => target.to_string(),
            RouteTarget::Universal { .. } => "{http|https}://{host}/{path}".to_owned(),
        };
        tracing::info!(
            path = %format_args!("{base}/{}/", route.segment),
            to,
            route.id = route.id.as_str(),
            proxy = route.profile.proxy.as_ref().map(|proxy| &*proxy.url),
            client_key_required = route.client_key_required,
            "route"
        );
    }
}

fn verbosity(level: LogLevel) -> tracing::Level {
    match level {
        LogLevel::Error => tracing::Level::ERROR,
        LogLevel::Warn => tracing::Level::WARN,
        LogLevel::Info => tracing::Level::INFO,
        LogLevel::Debug => tracing::Level::DEBUG,
        LogLevel::Trace => tracing::Level::TRACE,
    }
}
