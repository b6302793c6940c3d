//! The compiled configuration: what a request is planned against. Immutable; a change makes a new one that shares what did not change.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use http::HeaderName;

use crate::{compile::Sources, finding::Finding, keys::Keys, name::Id};

mod client_key;
mod conversation;
mod cors;
mod filter;
mod header;
mod labels;
mod models;
mod place;
mod profile;
mod provider;
mod redirect;
mod route;

pub use client_key::{ClientKey, Limits};
pub use conversation::{Conversation, Create};
pub use cors::Cors;
pub use filter::ModelFilter;
pub use header::{ConfiguredHeader, HeaderPolicy};
pub use labels::Labels;
pub(crate) use models::Models;
pub use place::Place;
pub use profile::{HttpVersion, Profile, Proxy};
pub use provider::{
    Callers, Credential, CredentialChoice, CredentialSource, Dialect, Ejection, Provider, Retry, RetryOn, SecretSource,
    Timeouts,
};
pub(crate) use redirect::Redirects;
pub use redirect::{AnswerModel, Destination, Redirect, RedirectTarget};
pub use route::{Route, RouteTarget, below};

/// A whole configuration, ready to serve. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Runtime {
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) models: Arc<Models>,
    pub(crate) keys: Keys,
}

impl Runtime {
    /// The same configuration with what providers were found to have, by provider. Such models are listed and own their bare names
    /// like those of a fixed list; other names still pass behind the prefix of a provider without one. Names that no client could
    /// write are left out. What was found outlasts changes, until its provider is gone or is not to be asked any more.
    #[must_use]
    pub fn discovered(&self, found: &BTreeMap<Id, Arc<[Arc<str>]>>) -> Self {
        Self { models: Arc::new(Models::of(&self.traffic, found)), ..self.clone() }
    }

    /// What providers were found to have, as far as it is laid over this configuration.
    #[must_use]
    pub fn found(&self) -> &BTreeMap<Id, Arc<[Arc<str>]>> {
        self.models.found()
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.traffic.settings
    }

    /// The client key with this SHA-256, whether or not it is disabled or expired.
    ///
    /// The map is keyed by digests of high-entropy secrets, so that the time a lookup takes tells nothing about any key.
    #[must_use]
    pub fn client_key(&self, sha256: &[u8; 32]) -> Option<&Arc<ClientKey>> {
        self.keys.by_digest(sha256)
    }

    /// Every client key, whether or not it is disabled or expired, in no order.
    pub fn client_keys(&self) -> impl Iterator<Item = &Arc<ClientKey>> {
        self.keys.iter()
    }

    /// How many client keys there are.
    #[must_use]
    pub fn client_key_count(&self) -> usize {
        self.keys.len()
    }

    /// Whether any provider in use is for anyone, whatever key they present.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.traffic.open
    }

    /// Every provider in use, by id.
    pub fn providers(&self) -> impl Iterator<Item = &Arc<Provider>> {
        self.traffic.providers.values()
    }

    /// The route in use for a first path segment.
    #[must_use]
    pub fn route(&self, segment: &str) -> Option<&Arc<Route>> {
        self.traffic.routes_by_segment.get(segment)
    }

    /// Every route in use, by segment.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.traffic.routes_by_segment.values()
    }

    /// Every redirect in use.
    pub fn redirects(&self) -> impl Iterator<Item = &Arc<Redirect>> {
        self.traffic.redirects.iter()
    }

    /// Everything that is wrong with the resources held, whichever change brought it.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.traffic.findings.iter().chain(self.keys.findings())
    }
}

/// Everything but the client keys. Compiled as a whole, since any part may refer to any other; the keys refer to nothing.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) settings: Settings,
    /// Providers in use, by id.
    pub(crate) providers: BTreeMap<Id, Arc<Provider>>,
    /// Whether one of them is for anyone.
    pub(crate) open: bool,
    /// Providers by what clients write before the slash; `None` = disabled, so that what is meant for it goes nowhere else.
    pub(crate) providers_by_prefix: BTreeMap<Arc<str>, Option<Arc<Provider>>>,
    pub(crate) redirects: Redirects,
    /// Routes in use, by first path segment.
    pub(crate) routes_by_segment: BTreeMap<Arc<str>, Arc<Route>>,
    /// What all of this was compiled from.
    pub(crate) sources: Sources,
    /// What is wrong with the sources.
    pub(crate) findings: Vec<Finding>,
}

/// What holds for the whole gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Removed from the front of every path before anything is matched; begins with a slash and does not end in one, or is empty.
    pub base_path: String,
    /// Whether `/v1/models` answers without a client key.
    pub keyless_models: bool,
    /// Takes a model name that nobody else claims.
    pub default_provider: Option<Id>,
    /// How providers and routes without a forward proxy of their own are reached; `None` = directly.
    pub forward_proxy: Option<Proxy>,
    /// Whether configured headers replace the client's where neither header nor route says.
    pub overwrite_headers: bool,
    /// Client headers that are never passed on.
    pub drop_headers: Vec<HeaderName>,
    /// Whether each exchange writes an access-log line.
    pub request_log: bool,
    /// Largest request body in bytes.
    pub max_request_bytes: u64,
    /// Which web pages' scripts may call; `None` = none.
    pub cors: Option<Arc<Cors>>,
    /// Which models are listed, by the ids that clients write.
    pub model_filter: ModelFilter,
    /// How much is logged; `None` = as the command line says.
    pub log_level: Option<LogLevel>,
    /// After how long a silence a stream is sent a comment; `None` = never.
    pub stream_keepalive: Option<Duration>,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Errors only.
    Error,
    /// And warnings.
    Warn,
    /// And what happens.
    Info,
    /// And why.
    Debug,
    /// And everything else.
    Trace,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            base_path: String::new(),
            keyless_models: false,
            default_provider: None,
            forward_proxy: None,
            overwrite_headers: false,
            drop_headers: Vec::new(),
            request_log: true,
            max_request_bytes: 32 * 1024 * 1024,
            cors: None,
            model_filter: ModelFilter::default(),
            log_level: None,
            stream_keepalive: Some(Duration::from_secs(15)),
        }
    }
}
