//! An upstream account as requests meet it: where it is, how patient one is with it, and its keys.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use http::Uri;
use secrecy::SecretString;

use super::{HeaderPolicy, Profile};
use crate::{endpoint::Endpoint, name::Id};

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
