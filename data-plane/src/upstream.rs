//! The way to the upstreams: pooled clients by profile and credential pools by provider, kept over revisions. It never retries and
//! never judges an answer.

use std::{collections::BTreeMap, sync::Arc};

use ipnet::IpNet;
use secrecy::ExposeSecret as _;
use signalbox_routing::{Credential, Dialect, Id, Profile, Provider, ResourceName, Route, RouteTarget, Runtime};
use tokio::time::Instant;

use crate::{
    credentials::{self, Member, Pool},
    ejection::Ejections,
    redact::Mask,
};

mod anthropic;
mod azure;
mod body;
mod call;
mod client;
pub(crate) mod conversation;
mod gemini;
mod guarded;
mod head;
mod http1;
mod key;
mod openai;
mod payload;
mod per_worker;
mod pool;
mod proxied;
pub(crate) mod refusal;
mod room;
mod secret;
mod transport;
mod upload;
mod wire;

pub(crate) use body::Body;
pub(crate) use call::{Call, OwnKeys};
pub(crate) use client::Client;
pub(crate) use guarded::Guarded;
pub(crate) use head::address;
pub(crate) use key::Key;
pub(crate) use openai::{Event, Kind, clean_answer, request, request_id};
pub(crate) use payload::Payload;
pub(crate) use refusal::Refusal;
pub(crate) use room::{Place, Room};
pub(crate) use transport::Transport;
pub(crate) use upload::Upload;

/// Everything that the requests of one revision go out through.
#[derive(Debug, Clone, Default)]
pub struct Upstreams {
    clients: BTreeMap<Arc<Profile>, Client>,
    /// Those of universal routes, each with what it was made for.
    guarded: BTreeMap<Id, (Arc<Route>, Guarded)>,
    pools: BTreeMap<Id, Arc<Pool>>,
    rooms: BTreeMap<Id, Room>,
    ejections: Arc<Ejections>,
}

/// Something configured that cannot be used on this machine.
#[derive(Debug, thiserror::Error)]
#[error("{name} cannot be used on this machine")]
pub struct Unusable {
    /// The resource.
    pub name: ResourceName,
    /// Why not. Its text holds no secret.
    #[source]
    pub cause: UnusableCause,
}

/// Why something configured cannot be used on this machine.
#[derive(Debug, thiserror::Error)]
pub enum UnusableCause {
    /// There is no such environment variable, or it is empty or no text.
    #[error("the environment variable `{0}` holds no secret")]
    Variable(Arc<str>),
    /// The file cannot be read, or nothing but white space is in it.
    #[error("the file `{path}` cannot be read: {error}")]
    File {
        /// Its path.
        path: Arc<str>,
        /// Why.
        error: std::io::Error,
    },
    /// The secret holds what no header may hold.
    #[error("the secret cannot be sent in a header")]
    Header,
    /// No HTTP client can be made as configured.
    #[error("no connections can be made as configured")]
    Client(#[source] Transport),
    /// No HTTP client for addresses of the callers' choice can be made as configured.
    #[error("no connections can be made as configured")]
    Guarded(#[source] guarded::Unmakeable),
}

impl Upstreams {
    /// What the runtime needs, taking over from before what is still needed. Reads secret files, so it blocks.
    #[must_use]
    pub fn advance(runtime: &Runtime, previous: Option<&Self>) -> (Self, Vec<Unusable>) {
        Self::gather(runtime.providers(), runtime.routes(), previous)
    }

    pub(crate) fn gather<'a>(
        providers: impl Iterator<Item = &'a Arc<Provider>>,
        routes: impl Iterator<Item = &'a Arc<Route>>,
        previous: Option<&Self>,
    ) -> (Self, Vec<Unusable>) {
        let mut unusable = Vec::new();
        let mut next = Self::default();
        let providers: BTreeMap<&Id, &Arc<Provider>> = providers.map(|provider| (&provider.id, provider)).collect();
        if let Some(previous) = previous {
            next.ejections = Arc::clone(&previous.ejections);
            next.ejections.keep(|id| providers.get(id).copied());
        }
        for provider in providers.into_values() {
            next.take_room(provider, previous);
            next.take_pool(provider, previous, &mut unusable);
            next.take_client(&provider.profile, previous, || ResourceName::provider(&provider.id), &mut unusable);
        }
        for route in routes {
            match &route.to {
                RouteTarget::Fixed(_) => {
                    next.take_client(&route.profile, previous, || ResourceName::route(&route.id), &mut unusable);
                }
                RouteTarget::Universal { allowed_ranges } => {
                    next.take_guarded(route, allowed_ranges, previous, &mut unusable);
                }
            }
        }
        (next, unusable)
    }

    /// The client for a profile of the runtime that these were made for; `None` where none could be made.
    pub(crate) fn client(&self, profile: &Profile) -> Option<&Client> {
        self.clients.get(profile)
    }

    /// The client of a universal route; `None` where none could be made.
    pub(crate) fn guarded(&self, route: &Id) -> Option<&Guarded> {
        self.guarded.get(route).map(|(_, client)| client)
    }

    /// The keys of a provider; `None` where it is configured without any.
    pub(crate) fn pool(&self, provider: &Id) -> Option<&Arc<Pool>> {
        self.pools.get(provider)
    }

    /// The room that a provider has; `None` = as much as is asked for.
    pub(crate) fn room(&self, provider: &Id) -> Option<&Room> {
        self.rooms.get(provider)
    }

    /// How many targets are left alone now, and how often one was since the start.
    pub(crate) fn ejection_counts(&self) -> (usize, u64) {
        (self.ejections.ejected(Instant::now()), self.ejections.total())
    }

    /// What is known of the targets that failed.
    pub(crate) fn ejections(&self) -> &Ejections {
        &self.ejections
    }

    /// How the pool of each provider that has one is, by the provider's id.
    pub(crate) fn pools_report(&self) -> BTreeMap<String, credentials::Report> {
        let now = Instant::now();
        self.pools.iter().map(|(provider, pool)| (provider.to_string(), pool.report(now))).collect()
    }

    fn take_client(
        &mut self,
        profile: &Arc<Profile>,
        previous: Option<&Self>,
        name: impl FnOnce() -> ResourceName,
        unusable: &mut Vec<Unusable>,
    ) {
        if self.clients.contains_key(profile) {
            return;
        }
        match previous.and_then(|previous| previous.client(profile).cloned()).map_or_else(|| Client::new(profile), Ok) {
            Ok(client) => drop(self.clients.insert(Arc::clone(profile), client)),
            Err(error) => unusable.push(Unusable { name: name(), cause: UnusableCause::Client(error) }),
        }
    }

    fn take_guarded(
        &mut self,
        route: &Arc<Route>,
        allowed: &[IpNet],
        previous: Option<&Self>,
        unusable: &mut Vec<Unusable>,
    ) {
        let known = previous.and_then(|previous| previous.guarded.get(&route.id));
        let known = known.filter(|(of, _)| of.profile == route.profile && of.to == route.to);
        match known.map_or_else(|| Guarded::new(&route.profile, allowed), |(_, client)| Ok(client.clone())) {
            Ok(client) => drop(self.guarded.insert(route.id.clone(), (Arc::clone(route), client))),
            Err(error) => {
                let name = ResourceName::route(&route.id);
                unusable.push(Unusable { name, cause: UnusableCause::Guarded(error) });
            }
        }
    }

    fn take_room(&mut self, provider: &Provider, previous: Option<&Self>) {
        if let Some(places) = provider.max_connections {
            let before = previous.and_then(|previous| previous.room(&provider.id));
            self.rooms.insert(provider.id.clone(), Room::new(places, before));
        }
    }

    fn take_pool(&mut self, provider: &Provider, previous: Option<&Self>, unusable: &mut Vec<Unusable>) {
        if provider.credentials.is_empty() {
            return;
        }
        let mut members = Vec::with_capacity(provider.credentials.len());
        for credential in &provider.credentials {
            match member(provider.dialect, credential) {
                Ok(member) => members.push(Arc::new(member)),
                Err(cause) => {
                    unusable.push(Unusable { name: ResourceName::credential(&provider.id, &credential.id), cause });
                }
            }
        }
        let known = previous.and_then(|previous| previous.pool(&provider.id));
        let pool = Pool::new(provider.credential_choice, members, known.map(AsRef::as_ref));
        self.pools.insert(provider.id.clone(), Arc::new(pool));
    }
}

/// A key that can be sent: read once, its header and its mask made once.
fn member(dialect: Dialect, credential: &Arc<Credential>) -> Result<Member, UnusableCause> {
    let secret = secret::read(&credential.source)?;
    let key = Key::new(dialect, &secret).map_err(|_| UnusableCause::Header)?;
    let mask = Mask::new(secret.expose_secret());
    Ok(Member { credential: Arc::clone(credential), key, mask })
}

#[cfg(test)]
mod tests;
