//! A request as it may go to any of its targets: what a client asked for, cleaned, and nothing of who asked but the keys of its own
//! that it wants to be used.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, Method};
use signalbox_routing::{Endpoint, Id};
use tokio::time::Instant;

use super::{Key, Payload};
use crate::{openai::envelope::UsageWish, record::RequestId, splice::Tag};

/// A request as it may go to any of its targets.
#[derive(Debug)]
pub(crate) struct Call {
    /// What is asked for.
    pub(crate) endpoint: Endpoint,
    /// What the answer's ids are told with, where it names what its provider keeps; `None` = it is a model's.
    pub(crate) tag: Option<Tag>,
    /// The method, as the client sent it.
    pub(crate) method: Method,
    /// The query without its question mark, and without keys.
    pub(crate) query: Option<Box<str>>,
    /// The client's headers, cleaned for a provider.
    pub(crate) headers: HeaderMap,
    /// The caller's own keys, for the providers that are asked with them.
    pub(crate) own_keys: OwnKeys,
    /// The body, as the client sent it.
    pub(crate) body: Payload,
    /// Whether a stream is asked for.
    pub(crate) stream: bool,
    /// Whether that stream is to tell the client of its usage.
    pub(crate) usage: UsageWish,
    /// After how long a silence a committed stream is sent a comment; `None` = never.
    pub(crate) keepalive: Option<Duration>,
    /// The model that the client asked for.
    pub(crate) requested_model: Arc<str>,
    /// Our name for the exchange, for upstreams that want one.
    pub(crate) request_id: RequestId,
    /// When the client stops waiting; `None` = it did not say.
    pub(crate) deadline: Option<Instant>,
}

/// A caller's own keys, each with the one provider that may see it.
#[derive(Debug, Default)]
pub(crate) struct OwnKeys(Vec<(Id, Key)>);

impl OwnKeys {
    /// Lets a provider see a key.
    pub(crate) fn insert(&mut self, provider: Id, key: Key) {
        self.0.push((provider, key));
    }

    /// The key that a provider may see; `None` = it is asked with one of its own.
    pub(crate) fn of(&self, provider: &Id) -> Option<&Key> {
        self.0.iter().find(|(id, _)| id == provider).map(|(_, key)| key)
    }
}
