//! The client keys, by digest and by id: a map in shards that are copied when written to, so that one key among a hundred thousand
//! changes in microseconds while older configurations go on serving. It never sees a key itself.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use crate::{
    finding::Finding,
    name::{Id, ResourceName},
    resource::Resource,
    runtime::ClientKey,
};

/// Every client key, whether or not it is disabled or expired. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Keys {
    by_digest: Sharded<Sha256, Arc<ClientKey>, BuildHasherDefault<FirstBytes>>,
    by_id: Sharded<Id, Arc<ClientKey>, BuildHasherDefault<DefaultHasher>>,
    denied: Arc<BTreeMap<ResourceName, Denied>>,
}

/// A client key that does not compile: nobody is let in by it, and it is tried again with every change of keys.
#[derive(Debug, Clone)]
struct Denied {
    resource: Resource,
    findings: Vec<Finding>,
}

impl Keys {
    pub(crate) fn by_digest(&self, sha256: &[u8; 32]) -> Option<&Arc<ClientKey>> {
        self.by_digest.get(&Sha256(*sha256))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<ClientKey>> {
        self.by_id.values()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Adds a key, unless another one has its digest: then that one's id is returned.
    pub(crate) fn insert(&mut self, key: Arc<ClientKey>) -> Result<(), Id> {
        if let Some(holder) = self.by_digest(&key.sha256) {
            return Err(holder.id.clone());
        }
        self.by_digest.insert(Sha256(key.sha256), Arc::clone(&key));
        self.by_id.insert(key.id.clone(), key);
        Ok(())
    }

    /// Forgets a key and the digest that it had.
    pub(crate) fn remove(&mut self, name: &ResourceName) {
        if let Some(key) = Id::parse(name.id()).ok().and_then(|id| self.by_id.remove(&id)) {
            self.by_digest.remove(&Sha256(key.sha256));
        }
        if self.denied.contains_key(name) {
            Arc::make_mut(&mut self.denied).remove(name);
        }
    }

    /// Sets aside a key that does not compile.
    pub(crate) fn deny(&mut self, resource: Resource, findings: Vec<Finding>) {
        Arc::make_mut(&mut self.denied).insert(resource.name.clone(), Denied { resource, findings });
    }

    /// Takes out the keys that were set aside.
    pub(crate) fn take_denied(&mut self) -> impl Iterator<Item = Resource> {
        let denied = std::mem::take(&mut self.denied);
        Arc::unwrap_or_clone(denied).into_values().map(|denied| denied.resource)
    }

    /// What is wrong with the keys that were set aside.
    pub(crate) fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.denied.values().flat_map(|denied| &denied.findings)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("keys", &self.by_id.len()).field("denied", &self.denied.len()).finish()
    }
}

/// A digest as the key of a map.
#[derive(Clone, PartialEq, Eq)]
struct Sha256([u8; 32]);

impl Hash for Sha256 {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

/// The first eight bytes of what is hashed, which is a digest: as even as any hash of it would be.
#[derive(Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// With a hundred thousand entries a write copies about four hundred of them.
const SHARDS: usize = 256;

/// A hash map that shares what is not written to with the maps it was cloned from.
struct Sharded<K, V, S> {
    shards: Arc<[Shard<K, V, S>]>,
}

type Shard<K, V, S> = Arc<HashMap<K, V, S>>;

impl<K, V, S> Clone for Sharded<K, V, S> {
    fn clone(&self) -> Self {
        Self { shards: Arc::clone(&self.shards) }
    }
}

impl<K, V, S: Default> Default for Sharded<K, V, S> {
    fn default() -> Self {
        let empty = Arc::new(HashMap::default());
        Self { shards: vec![empty; SHARDS].into() }
    }
}

impl<K: Eq + Hash + Clone, V: Clone, S: BuildHasher + Default + Clone> Sharded<K, V, S> {
    /// A shard's own map tells its entries apart by the lowest and the highest bits, so that these here are from the middle.
    fn index(key: &K) -> usize {
        usize::from((S::default().hash_one(key) >> 32).to_le_bytes()[0])
    }

    fn get(&self, key: &K) -> Option<&V> {
        self.shards.get(Self::index(key))?.get(key)
    }

    fn insert(&mut self, key: K, value: V) {
        if let Some(shard) = Arc::make_mut(&mut self.shards).get_mut(Self::index(&key)) {
            Arc::make_mut(shard).insert(key, value);
        }
    }

    fn remove(&mut self, key: &K) -> Option<V> {
        self.get(key)?;
        Arc::make_mut(Arc::make_mut(&mut self.shards).get_mut(Self::index(key))?).remove(key)
    }

    fn values(&self) -> impl Iterator<Item = &V> {
        self.shards.iter().flat_map(|shard| shard.values())
    }

    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::digest;

    type Digests = Sharded<Sha256, usize, BuildHasherDefault<FirstBytes>>;

    fn filled(entries: usize) -> Digests {
        let mut map = Digests::default();
        (0..entries).for_each(|entry| map.insert(Sha256(digest(&entry.to_string())), entry));
        map
    }

    #[test]
    fn entries_spread_evenly_and_are_found_again() {
        let map = filled(10_000);
        let fullest = map.shards.iter().map(|shard| shard.len()).max();
        assert!(fullest < Some(100), "{fullest:?} entries in one of {SHARDS} shards");
        assert_eq!(map.len(), 10_000);
        assert!((0..10_000).all(|entry| map.get(&Sha256(digest(&entry.to_string()))) == Some(&entry)));
    }

    #[test]
    fn a_write_copies_one_shard_and_leaves_the_rest_shared() {
        let before = filled(1000);
        let mut after = before.clone();
        after.insert(Sha256(digest("one more")), 1000);
        after.remove(&Sha256(digest("one more")));
        after.remove(&Sha256(digest("not there")));
        let copied = before.shards.iter().zip(after.shards.iter()).filter(|(a, b)| !Arc::ptr_eq(a, b)).count();
        assert_eq!((copied, before.len(), after.len()), (1, 1000, 1000));
    }
}
