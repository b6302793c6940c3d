//! An upstream account as requests meet it: where it is, how patient one is with it, and its keys.

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc, time::Duration};

use http::Uri;
use secrecy::SecretString;

use super::{Conversation, HeaderPolicy, ModelFilter, Place, Profile};
use crate::{endpoint::Endpoint, name::Id};

/// An upstream account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// Its id.
    pub id: Id,
    /// The API spoken upstream.
    pub dialect: Dialect,
    /// Where each endpoint is; an endpoint that is missing is not served by this provider.
    pub places: BTreeMap<Endpoint, Place>,
    /// What everything is below that no model is part of, with the query that goes along; `None` = there is nothing of the kind.
    pub root: Option<Uri>,
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
    /// Who may send requests here.
    pub callers: Callers,
    /// Whose key an attempt is made with.
    pub credential_source: CredentialSource,
    /// Removed from the front of a caller's own key, in order, each at most once.
    pub credential_prefixes: Vec<Arc<str>>,
    /// How often it is asked for its models; `None` = never.
    pub discovery: Option<Duration>,
    /// Which of its models are listed, by its own names.
    pub model_filter: ModelFilter,
    /// Largest answer in bytes; `None` = no limit.
    pub max_response_bytes: Option<u64>,
    /// Requests under way at once; `None` = no limit.
    pub max_connections: Option<NonZeroU32>,
    /// When a target is left alone for a while.
    pub ejection: Ejection,
    /// Whether streamed chats are asked to report their usage.
    pub request_usage: bool,
    /// Whether `OpenAI-Organization` and `OpenAI-Project` are passed on.
    pub pass_openai_headers: bool,
    /// How the upstream holds a conversation; there for [`Dialect::Conversation`] and for no other.
    pub conversation: Option<Arc<Conversation>>,
    /// Fetched to see whether it can be reached.
    pub probe_url: Uri,
}

/// The API that an upstream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// OpenAI's REST API.
    OpenAi,
    /// OpenAI's REST API on Azure, with `api-key`.
    AzureOpenAi,
    /// Anthropic's Messages API, with `x-api-key`.
    Anthropic,
    /// Gemini's OpenAI-compatible endpoint.
    Gemini,
    /// One message in, an answer of its own shape out.
    Conversation,
}

/// Who may send requests to a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callers {
    /// Whoever presents a client key.
    ClientKeys,
    /// Anyone.
    Anyone,
}

/// Whose key an attempt is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialSource {
    /// One of the provider's credentials.
    Pool,
    /// The caller's own, if it presents one that is no client key; else one of the provider's.
    Client,
}

/// When a target that fails is left alone for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ejection {
    /// Failures in a row after which it is; 0 = never.
    pub failures: u32,
    /// For how long the first time.
    pub base: Duration,
    /// For how long at most.
    pub cap: Duration,
}

impl Default for Ejection {
    fn default() -> Self {
        Self { failures: 5, base: Duration::from_secs(10), cap: Duration::from_secs(5 * 60) }
    }
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
    /// Failed attempts in a row after which a credential is set aside; `None` = only when it is refused.
    pub attempts_per_credential: Option<NonZeroU32>,
    /// Which failures are tried again at all.
    pub on: RetryOn,
}

/// Which failures are tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryOn {
    /// The connection could not be made.
    pub connect_failure: bool,
    /// The answer was 429.
    pub rate_limit: bool,
    /// The answer was one of [`Retry::statuses`], or broke off before it was committed.
    pub server_error: bool,
    /// There was no answer in time.
    pub timeout: bool,
}

impl Default for RetryOn {
    fn default() -> Self {
        Self { connect_failure: true, rate_limit: true, server_error: true, timeout: true }
    }
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
