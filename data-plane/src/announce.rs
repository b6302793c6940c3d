//! What a new configuration changes in the log: how much is logged, and which routes there are, told at the start and whenever they
//! change. It changes nothing else.

use std::sync::Arc;

use signalbox_logs::Level;
use signalbox_routing::{LogLevel, Route, RouteTarget};

use crate::live::Snapshot;

/// Tells the log of configurations.
#[derive(Debug)]
pub(crate) struct Announcer {
    level: Option<Level>,
    in_force: Option<LogLevel>,
    routes: Vec<Arc<Route>>,
}

impl Announcer {
    /// One that changes this level.
    pub(crate) fn new(level: Option<Level>) -> Self {
        Self { level, in_force: None, routes: Vec::new() }
    }

    /// A configuration is in force.
    pub(crate) fn tell(&mut self, snapshot: &Snapshot) {
        let wanted = snapshot.runtime.settings().log_level;
        if wanted != std::mem::replace(&mut self.in_force, wanted)
            && let Some(level) = &self.level
        {
            level.set(wanted.map(verbosity));
            let log_level = wanted.map_or("as the command line says", |level| verbosity(level).as_str());
            tracing::info!(log_level, "log level as configured");
        }
        let routes: Vec<_> = snapshot.runtime.routes().cloned().collect();
        if routes != self.routes {
            tell_routes(&routes, &snapshot.runtime.settings().base_path);
            self.routes = routes;
        }
    }
}

/// One line a route, as a table of where each leads.
fn tell_routes(routes: &[Arc<Route>], base: &str) {
    for route in routes {
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
