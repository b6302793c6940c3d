//! The compiled configuration: what a request is planned against. Immutable; a change makes a new one that shares what did not change.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, Uri};
use secrecy::SecretString;

use crate::{endpoint::Endpoint, glob::Glob, keys::Keys, name::Id};

/// A whole configuration, ready to serve. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Runtime {
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) keys: Keys,
}

impl Runtime {
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
}

/// Everything but the client keys. Compiled as a whole, since any part may refer to any other; the keys refer to nothing.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) settings: Settings,
    /// Providers in use, by id.
    pub(crate) providers: BTreeMap<Id, Arc<Provider>>,
    /// Providers in use, by what clients write before the slash.
    pub(crate) providers_by_prefix: BTreeMap<Arc<str>, Arc<Provider>>,
    /// For each bare model name, the providers that list it, best first.
    pub(crate) owners: BTreeMap<Arc<str>, Vec<Arc<Provider>>>,
    /// Redirects with an exact `from`; several where they are for different keys, the most particular first.
    pub(crate) exact: BTreeMap<Arc<str>, Vec<Arc<Redirect>>>,
    /// Redirects with a pattern, longest pattern first.
    pub(crate) patterns: Vec<Arc<Redirect>>,
    pub(crate) routes_by_segment: BTreeMap<Arc<str>, Arc<Route>>,
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
    /// Client headers that are never passed on.
    pub drop_headers: Vec<HeaderName>,
    /// Whether each exchange writes an access-log line.
    pub request_log: bool,
    /// Largest request body in bytes.
    pub max_request_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            base_path: String::new(),
            keyless_models: false,
            default_provider: None,
            drop_headers: Vec::new(),
            request_log: true,
            max_request_bytes: 32 * 1024 * 1024,
        }
    }
}

/// An upstream account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// Its id.
    pub id: Id,
    /// The API spoken upstream.
    pub dialect: Dialect,
    /// Where each endpoint is; an endpoint that is missing is not served by this provider.
    pub urls: BTreeMap<Endpoint, Uri>,
    /// What clients write before the slash.
    pub prefix: Arc<str>,
    /// How its connections are made: equal profiles share one pooled client.
    pub profile: Arc<Profile>,
    /// Headers sent with each request.
    pub headers: HeaderPolicy,
    /// How long an attempt may take.
    pub timeouts: Timeouts,
    /// What happens after a failed attempt.
    pub retry: Retry,
    /// Models known to be served; empty = any.
    pub models: Vec<Arc<str>>,
    /// Which provider takes a bare model name that several list: the highest wins, then the lower id.
    pub priority: i32,
    /// How a credential is picked.
    pub credential_choice: CredentialChoice,
    /// The keys in use. Empty = requests carry none.
    pub credentials: Vec<Arc<Credential>>,
}

/// The API that an upstream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// OpenAI's REST API.
    OpenAi,
}

/// How connections to an upstream are made. Requests with equal profiles share one pooled client, kept over revisions.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Profile {
    /// The proxy to go through; `None` = directly.
    pub proxy: Option<Proxy>,
    /// Name resolution, TCP and TLS together.
    pub connect_timeout: Duration,
    /// Idle connections kept for each host.
    pub max_idle: usize,
    /// How long an idle connection is kept.
    pub idle_timeout: Duration,
    /// The HTTP version spoken.
    pub http_version: HttpVersion,
}

/// The HTTP version spoken to an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HttpVersion {
    /// HTTP/2 where TLS negotiates it, else HTTP/1.1.
    Negotiated,
    /// Always HTTP/1.1.
    Http1,
    /// Always HTTP/2, without TLS by prior knowledge.
    Http2,
}

/// A proxy that upstream connections are made through.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Proxy {
    /// `http`, `https`, `socks5` or `socks5h`, with host and port.
    pub url: Arc<str>,
    /// User name; empty = no authentication.
    pub username: Arc<str>,
    // A plain text so that profiles can be compared and hashed; `Debug` leaves it out and nothing serializes it.
    pub(crate) password: Arc<str>,
}

impl Proxy {
    /// The password, for the one place that hands it to the HTTP client.
    #[must_use]
    pub fn expose_password(&self) -> &str {
        &self.password
    }
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy").field("url", &self.url).finish_non_exhaustive()
    }
}

/// What happens to headers on the way upstream, beyond what the gateway always strips.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeaderPolicy {
    /// Headers to add.
    pub add: Vec<ConfiguredHeader>,
    /// Client headers not to pass on, those of Settings included.
    pub drop: Vec<HeaderName>,
}

/// A header to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfiguredHeader {
    /// Its name.
    pub name: HeaderName,
    /// Its value, marked sensitive where it is a secret.
    pub value: HeaderValue,
    /// Whether it replaces a header of that name sent by the client, Settings and the resource's own default considered.
    pub overwrite: bool,
}

/// The clocks of an attempt, but for the connect clock, which is the profile's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// From the request sent to the first response header.
    pub response_header: Duration,
    /// From the response header to the first meaningful event of a stream.
    pub first_event: Duration,
    /// Longest silence between two events of a stream.
    pub stream_idle: Duration,
    /// From the first attempt's start to the end of a plain answer.
    pub total: Duration,
}

/// What happens after a failed attempt, before the answer is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Attempts over all targets and credentials together; at least one.
    pub attempts: u32,
    /// The first back-off.
    pub backoff_base: Duration,
    /// The longest back-off.
    pub backoff_cap: Duration,
    /// Upstream statuses that are tried again besides 401, 402, 403 and 429.
    pub statuses: Vec<u16>,
}

/// How a credential is picked among those that are usable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialChoice {
    /// The one whose last attempt began longest ago.
    LeastRecentlyUsed,
    /// The one with the fewest attempts since the replica started.
    LeastUsed,
    /// Drawn at random in proportion to its weight.
    Weighted,
    /// The one with the fewest attempts under way.
    LeastInFlight,
}

/// One upstream key.
#[derive(Debug, Clone)]
pub struct Credential {
    /// Its id within the provider.
    pub id: Id,
    /// Its full name, for logs.
    pub name: Arc<str>,
    /// Where the key is.
    pub source: SecretSource,
    /// Share of attempts; 0 = only when no other is usable.
    pub weight: u32,
    /// Attempts under way at once; `None` = no limit.
    pub max_in_flight: Option<u32>,
    /// Differs whenever the resource does, so that a replaced key starts with a clean record. The digest of its body.
    pub version: [u8; 32],
}

impl PartialEq for Credential {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.version == other.version
    }
}

impl Eq for Credential {}

/// Where a secret is.
#[derive(Debug, Clone)]
pub enum SecretSource {
    /// Right here.
    Inline(SecretString),
    /// In an environment variable of the data plane.
    Env(Arc<str>),
    /// In a file that the data plane can read.
    File(Arc<str>),
}

/// A key that clients present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientKey {
    /// Its id, for logs and metrics.
    pub id: Id,
    /// SHA-256 of the key.
    pub sha256: [u8; 32],
    /// Globs over the requested model; empty = every model.
    pub allowed_models: Vec<Glob>,
    /// Refused from this moment on, in milliseconds since the Unix epoch.
    pub expires_at_ms: Option<i64>,
    /// Whether it is refused.
    pub disabled: bool,
    /// What redirects are matched against.
    pub labels: BTreeMap<String, String>,
}

impl ClientKey {
    /// Whether it is accepted at this moment (milliseconds since the Unix epoch).
    #[must_use]
    pub fn usable_at(&self, now_ms: i64) -> bool {
        !self.disabled && self.expires_at_ms.is_none_or(|expiry| now_ms < expiry)
    }

    /// Whether it may request this model.
    #[must_use]
    pub fn allows(&self, model: &str) -> bool {
        self.allowed_models.is_empty() || self.allowed_models.iter().any(|glob| glob.matches(model))
    }
}

/// A requested model becomes one or more targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// Its id.
    pub id: Id,
    /// The requested model, as a pattern.
    pub from: Glob,
    /// By descending priority. Never empty.
    pub targets: Vec<RedirectTarget>,
    /// What the answer's `model` says.
    pub answer_model: AnswerModel,
    /// Labels that a key must carry, all of them.
    pub client_key_labels: BTreeMap<String, String>,
}

/// One place a redirected request may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedirectTarget {
    /// The provider; `None` = `model` is looked up as though a client had asked for it.
    pub provider: Option<Id>,
    /// The model asked of it; `None` = as requested.
    pub model: Option<Arc<str>>,
    /// Share among targets of the same priority; 0 = after the others.
    pub weight: u32,
    /// Higher is tried first.
    pub priority: i32,
}

/// What the `model` of an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerModel {
    /// The name that the client asked for.
    Requested,
    /// The name that the upstream reports, untouched.
    Served,
}

/// An HTTP mount outside `/v1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Its id.
    pub id: Id,
    /// The first path segment that it answers to.
    pub segment: Arc<str>,
    /// What the rest of the path is appended to; does not end in a slash.
    pub target: Uri,
    /// How its connections are made.
    pub profile: Arc<Profile>,
    /// Headers sent to the target, and those not passed on.
    pub headers: HeaderPolicy,
    /// Whether a client key is asked for.
    pub client_key_required: bool,
    /// Longest wait for the response header.
    pub timeout: Duration,
}
