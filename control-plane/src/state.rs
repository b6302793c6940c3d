//! The configuration at one revision, in memory: every resource as operators see it and as data planes get it, and what came before.
//! Immutable and cheap to clone; a commit makes a new one that shares what did not change.

use std::{ops::Bound, sync::Arc, time::SystemTime};

use immutable_chunkmap::map::MapM;
use signalbox_routing::{Digest, Id, Kind, Position, Resource, ResourceName, Runtime};

use crate::{
    history::{History, Since},
    message::Message,
};

mod packed;

use packed::Packed;

/// A resource at one version.
#[derive(Debug, Clone)]
pub struct Stored {
    /// As data planes get it, secrets included.
    pub resource: Resource,
    /// Packed, since of a hundred thousand resources hardly any is being looked at.
    message: Packed,
    /// What it adds to the digest of the tables.
    content: Digest,
}

impl Stored {
    /// A resource as operators see it, output fields filled in and no secret inside, and as data planes get it. Both must be the same
    /// version of it.
    #[must_use]
    pub fn new(message: &Message, resource: Resource) -> Self {
        Self { resource, message: Packed::of(message), content: Digest::default() }
    }

    /// The same, as it is stored: this is what it adds to the digest of the tables.
    pub(crate) fn stored_as(self, content: Digest) -> Self {
        Self { content, ..self }
    }

    /// As operators see it: output fields filled in, no secret inside. It is unpacked with each call.
    #[must_use]
    pub fn message(&self) -> Message {
        self.message.unpack(&self.resource)
    }
}

/// Resources that are taken in together, and what they add to the digests.
#[derive(Debug, Default)]
pub(crate) struct Bulk {
    resources: Vec<Arc<Stored>>,
    digest: Digest,
    content: Digest,
}

impl FromIterator<Stored> for Bulk {
    fn from_iter<I: IntoIterator<Item = Stored>>(all: I) -> Self {
        let mut bulk = Self::default();
        for stored in all {
            bulk.digest = bulk.digest.with(stored.resource.digest());
            bulk.content = bulk.content.with(stored.content);
            bulk.resources.push(Arc::new(stored));
        }
        bulk
    }
}

impl Bulk {
    /// Both together.
    pub(crate) fn with(mut self, other: Self) -> Self {
        self.resources.extend(other.resources);
        let (digest, content) = (self.digest.with(other.digest), self.content.with(other.content));
        Self { digest, content, ..self }
    }
}

/// The configuration at one revision.
#[derive(Debug, Clone)]
pub struct State {
    /// Where in history it is.
    pub position: Position,
    /// When it was committed.
    pub commit_time: SystemTime,
    /// What requests are planned against.
    pub runtime: Runtime,
    pub(crate) history: History,
    pub(crate) resources: Resources,
}

impl State {
    /// The resource of that name.
    #[must_use]
    pub fn get(&self, name: &ResourceName) -> Option<&Arc<Stored>> {
        self.resources.of(name.kind()).get(name)
    }

    /// The resources of a kind by name, from the first after `after` on.
    pub fn range<'a>(
        &'a self,
        kind: Kind,
        after: Option<&ResourceName>,
    ) -> impl Iterator<Item = &'a Arc<Stored>> + use<'a> {
        let from = after.map_or(Bound::Unbounded, |name| Bound::Excluded(name.clone()));
        self.resources.of(kind).range((from, Bound::Unbounded)).map(|(_, stored)| stored)
    }

    /// The credentials of a provider by name, from the first after `after` on.
    pub fn credentials<'a>(
        &'a self,
        provider: &Id,
        after: Option<&ResourceName>,
    ) -> impl Iterator<Item = &'a Arc<Stored>> + use<'a> {
        let parent = ResourceName::provider(provider);
        let from = match after {
            Some(name) => Bound::Excluded(name.clone()),
            None => first_credential(provider).map_or(Bound::Unbounded, Bound::Included),
        };
        let rest = self.resources.of(Kind::Credential).range((from, Bound::Unbounded));
        rest.map(|(_, stored)| stored).take_while(move |stored| stored.resource.name.parent().as_ref() == Some(&parent))
    }

    /// Every resource, by kind and then by name.
    pub fn resources(&self) -> impl Iterator<Item = &Arc<Stored>> {
        Kind::ALL.into_iter().flat_map(|kind| self.range(kind, None))
    }

    /// The digest of what the tables hold.
    pub(crate) const fn content(&self) -> Digest {
        self.resources.content
    }

    /// Takes a resource's place, or its absence, and keeps the digests.
    pub(crate) fn replace(&mut self, name: ResourceName, stored: Option<Arc<Stored>>) {
        let (mut digest, mut content) = (self.position.digest, self.resources.content);
        let resources = self.resources.of_mut(name.kind());
        if let Some(stored) = &stored {
            digest = digest.with(stored.resource.digest());
            content = content.with(stored.content);
        }
        let before = match stored {
            Some(stored) => resources.insert_cow(name, stored),
            None => resources.remove_cow(&name),
        };
        if let Some(before) = before {
            digest = digest.without(before.resource.digest());
            content = content.without(before.content);
        }
        (self.position.digest, self.resources.content) = (digest, content);
    }

    /// Takes in resources of which none is there yet.
    pub(crate) fn fill(&mut self, bulk: Bulk) {
        let Bulk { mut resources, digest, content } = bulk;
        self.position.digest = self.position.digest.with(digest);
        self.resources.content = self.resources.content.with(content);
        // In order they fill the maps' nodes, which are of one size however much is in them.
        resources.sort_unstable_by(|a, b| a.resource.name.cmp(&b.resource.name));
        for of_a_kind in resources.chunk_by(|a, b| a.resource.name.kind() == b.resource.name.kind()) {
            let Some(kind) = of_a_kind.first().map(|stored| stored.resource.name.kind()) else { continue };
            let map = self.resources.of_mut(kind);
            *map = map.insert_many(of_a_kind.iter().map(|stored| (stored.resource.name.clone(), Arc::clone(stored))));
        }
    }

    /// What lies between a position that somebody holds and this state.
    #[must_use]
    pub fn since(&self, have: &Position) -> Since {
        self.history.since(have, &self.position)
    }
}

/// The name that no credential of the provider sorts before: no label sorts before `a`.
fn first_credential(provider: &Id) -> Option<ResourceName> {
    Id::parse("a").ok().map(|first| ResourceName::credential(provider, &first))
}

/// Every resource by name, a map a kind.
#[derive(Debug, Clone)]
pub(crate) struct Resources {
    by_kind: [MapM<ResourceName, Arc<Stored>>; Kind::ALL.len()],
    content: Digest,
}

impl Default for Resources {
    fn default() -> Self {
        Self { by_kind: std::array::from_fn(|_| MapM::new()), content: Digest::default() }
    }
}

impl Resources {
    fn of(&self, kind: Kind) -> &MapM<ResourceName, Arc<Stored>> {
        let [settings, providers, credentials, client_keys, redirects, routes] = &self.by_kind;
        match kind {
            Kind::Settings => settings,
            Kind::Provider => providers,
            Kind::Credential => credentials,
            Kind::ClientKey => client_keys,
            Kind::Redirect => redirects,
            Kind::Route => routes,
        }
    }

    fn of_mut(&mut self, kind: Kind) -> &mut MapM<ResourceName, Arc<Stored>> {
        let [settings, providers, credentials, client_keys, redirects, routes] = &mut self.by_kind;
        match kind {
            Kind::Settings => settings,
            Kind::Provider => providers,
            Kind::Credential => credentials,
            Kind::ClientKey => client_keys,
            Kind::Redirect => redirects,
            Kind::Route => routes,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use signalbox_proto::admin::v1 as admin;
    use signalbox_routing::Revision;

    use super::*;

    fn state(names: &[&str]) -> State {
        let position = Position { epoch: "e".into(), revision: Revision::FIRST, digest: Digest::default() };
        let (runtime, history, resources) = (Runtime::default(), History::default(), Resources::default());
        let mut state = State { position, commit_time: SystemTime::UNIX_EPOCH, runtime, history, resources };
        for name in names {
            put(&mut state, name, "body");
        }
        state
    }

    fn name(text: &str) -> ResourceName {
        ResourceName::parse(text).unwrap()
    }

    fn put(state: &mut State, text: &str, body: &'static str) {
        let body = Bytes::from_static(body.as_bytes());
        let resource = Resource { name: name(text), revision: 1, required_features: Vec::new(), body };
        let message = Message::from(admin::Settings::default());
        state.replace(name(text), Some(Arc::new(Stored::new(&message, resource))));
    }

    fn texts<'a>(stored: impl Iterator<Item = &'a Arc<Stored>>) -> Vec<&'a str> {
        stored.map(|stored| stored.resource.name.as_str()).collect()
    }

    #[test]
    fn resources_come_by_kind_and_then_by_name() {
        let state = state(&["routes/b", "routes/a", "clientKeys/z", "settings", "providers/p"]);
        assert_eq!(texts(state.resources()), ["settings", "providers/p", "clientKeys/z", "routes/a", "routes/b"]);
        assert_eq!(texts(state.range(Kind::Route, Some(&name("routes/a")))), ["routes/b"]);
        assert_eq!((state.range(Kind::Route, None).count(), state.range(Kind::Redirect, None).count()), (2, 0));
        assert!(state.get(&name("routes/a")).is_some() && state.get(&name("routes/c")).is_none());
    }

    #[test]
    fn a_providers_credentials_are_its_own_and_no_namesakes() {
        let state = state(&[
            "providers/a/credentials/x",
            "providers/a/credentials/y",
            "providers/a-b/credentials/x",
            "providers/aa/credentials/x",
            "providers/b/credentials/x",
        ]);
        let a = Id::parse("a").unwrap();
        assert_eq!(texts(state.credentials(&a, None)), ["providers/a/credentials/x", "providers/a/credentials/y"]);
        let first = name("providers/a/credentials/x");
        assert_eq!(texts(state.credentials(&a, Some(&first))), ["providers/a/credentials/y"]);
        assert!(texts(state.credentials(&Id::parse("c").unwrap(), None)).is_empty());
    }

    #[test]
    fn the_digest_is_that_of_what_is_held() {
        let mut changed = state(&["routes/a", "routes/b"]);
        put(&mut changed, "routes/a", "other");
        changed.replace(name("routes/b"), None);
        changed.replace(name("routes/c"), None);
        let mut direct = state(&[]);
        put(&mut direct, "routes/a", "other");
        assert_eq!(changed.position.digest, direct.position.digest);
        assert_ne!(changed.position.digest, state(&["routes/a"]).position.digest);
    }

    #[test]
    fn a_clone_does_not_see_what_comes_later() {
        let before = state(&["routes/a"]);
        let mut after = before.clone();
        put(&mut after, "routes/b", "body");
        assert_eq!((before.range(Kind::Route, None).count(), after.range(Kind::Route, None).count()), (1, 2));
    }
}
