//! The client keys, by digest and by id: a map in shards that are copied when written to, so that one key among a hundred thousand
//! changes in microseconds while older configurations go on serving. It never sees a key itself.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, HashSet},
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
    by_digest: Sharded<ByDigest, BuildHasherDefault<FirstBytes>>,
    by_id: Sharded<ById, BuildHasherDefault<DefaultHasher>>,
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
        self.by_digest.get(sha256).map(|ByDigest(key)| key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<ClientKey>> {
        self.by_id.iter().map(|ById(key)| key)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Adds a key, unless another one has its digest: then that one's id is returned.
    pub(crate) fn insert(&mut self, key: Arc<ClientKey>) -> Result<(), Id> {
        if let Some(holder) = self.by_digest(&key.sha256) {
            return Err(holder.id.clone());
        }
        self.by_digest.insert(ByDigest(Arc::clone(&key)));
        self.by_id.insert(ById(key));
        Ok(())
    }

    /// Forgets a key and the digest that it had.
    pub(crate) fn remove(&mut self, name: &ResourceName) {
        if let Some(ById(key)) = self.by_id.take(name.id()) {
            self.by_digest.take(&key.sha256);
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

/// A key that is told from others by its digest, which is in it already.
#[derive(Clone)]
struct ByDigest(Arc<ClientKey>);

impl Borrow<[u8; 32]> for ByDigest {
    fn borrow(&self) -> &[u8; 32] {
        &self.0.sha256
    }
}

impl PartialEq for ByDigest {
    fn eq(&self, other: &Self) -> bool {
        self.0.sha256 == other.0.sha256
    }
}

impl Eq for ByDigest {}

impl Hash for ByDigest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.sha256.hash(state);
    }
}

/// A key that is told from others by its id.
#[derive(Clone)]
struct ById(Arc<ClientKey>);

impl Borrow<str> for ById {
    fn borrow(&self) -> &str {
        self.0.id.as_str()
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for ById {}

impl Hash for ById {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id.as_str().hash(state);
    }
}

/// The first eight bytes of what is hashed, which is a digest: as even as any hash of it would be.
#[derive(Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    /// An array's length is written before the array, and the last that is written counts.
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

/// A hash set that shares what is not written to with the sets it was cloned from.
struct Sharded<T, S> {
    shards: Arc<[Shard<T, S>]>,
}

type Shard<T, S> = Arc<HashSet<T, S>>;

impl<T, S> Clone for Sharded<T, S> {
    fn clone(&self) -> Self {
        Self { shards: Arc::clone(&self.shards) }
    }
}

impl<T, S: Default> Default for Sharded<T, S> {
    fn default() -> Self {
        let empty = Arc::new(HashSet::default());
        Self { shards: vec![empty; SHARDS].into() }
    }
}

impl<T: Eq + Hash + Clone, S: BuildHasher + Default + Clone> Sharded<T, S> {
    /// A shard's own set tells its entries apart by the lowest and the highest bits, so that these here are from the middle.
    fn index<Q: Hash + ?Sized>(entry: &Q) -> usize {
        usize::from((S::default().hash_one(entry) >> 32).to_le_bytes()[0])
    }

    fn get<Q: Eq + Hash + ?Sized>(&self, part: &Q) -> Option<&T>
    where
        T: Borrow<Q>,
    {
        self.shards.get(Self::index(part))?.get(part)
    }

    fn insert(&mut self, entry: T) {
        if let Some(shard) = Arc::make_mut(&mut self.shards).get_mut(Self::index(&entry)) {
            Arc::make_mut(shard).replace(entry);
        }
    }

    fn take<Q: Eq + Hash + ?Sized>(&mut self, part: &Q) -> Option<T>
    where
        T: Borrow<Q>,
    {
        self.get(part)?;
        Arc::make_mut(Arc::make_mut(&mut self.shards).get_mut(Self::index(part))?).take(part)
    }

    fn iter(&self) -> impl Iterator<Item = &T> {
        self.shards.iter().flat_map(|shard| shard.iter())
    }

    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::digest;

    type Digests = Sharded<[u8; 32], BuildHasherDefault<FirstBytes>>;

    fn filled(entries: usize) -> Digests {
        let mut set = Digests::default();
        (0..entries).for_each(|entry| set.insert(digest(&entry.to_string())));
        set
    }

    #[test]
    fn entries_spread_evenly_and_are_found_again() {
        let set = filled(10_000);
        let fullest = set.shards.iter().map(|shard| shard.len()).max();
        assert!(fullest < Some(100), "{fullest:?} entries in one of {SHARDS} shards");
        assert_eq!(set.len(), 10_000);
        assert!((0..10_000).map(|entry| digest(&entry.to_string())).all(|entry| set.get(&entry) == Some(&entry)));
    }

    #[test]
    fn a_write_copies_one_shard_and_leaves_the_rest_shared() {
        let before = filled(1000);
        let mut after = before.clone();
        after.insert(digest("one more"));
        after.take(&digest("one more"));
        after.take(&digest("not there"));
        let copied = before.shards.iter().zip(after.shards.iter()).filter(|(a, b)| !Arc::ptr_eq(a, b)).count();
        assert_eq!((copied, before.len(), after.len()), (1, 1000, 1000));
    }
}
