//! Admin tokens in memory, so that no call waits for the database to know who makes it. What a role may do is not known here.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::SystemTime,
};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use signalbox_proto::admin::v1::{AdminToken, Role};

use crate::{
    ledger::Ledger,
    store::{
        self,
        admin_tokens::{self, Row},
    },
};

mod spec;

pub(crate) use spec::{descriptor, dynamic, typed};

/// The collection that they are in.
pub(crate) const COLLECTION: &str = "adminTokens";

const SECONDS_A_MINUTE: i64 = 60;

/// Why the stored tokens cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database cannot be read.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A row is no token.
    #[error("the admin token `{id}` in the database cannot be read: was it written by a later build?")]
    Unreadable {
        /// Its id.
        id: String,
        /// What is wrong with it.
        #[source]
        source: spec::Unreadable,
    },
}

/// Every token there is. Cheap to clone; all clones see the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tokens(Arc<ArcSwap<Roster>>);

impl Tokens {
    /// Those that are stored.
    pub(crate) async fn open(ledger: &Ledger) -> Result<Self, Error> {
        let mut roster = Roster::default();
        for row in admin_tokens::all(&mut *ledger.reader().await?).await? {
            roster = roster.with(row)?;
        }
        Ok(Self(Arc::new(ArcSwap::from_pointee(roster))))
    }

    /// As they are now.
    pub(crate) fn now(&self) -> Arc<Roster> {
        self.0.load_full()
    }

    /// Puts others in their place, from the next call on.
    pub(crate) fn replace(&self, roster: Arc<Roster>) {
        self.0.store(roster);
    }
}

/// Every token at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Roster {
    by_id: BTreeMap<Arc<str>, Arc<Held>>,
    by_sha256: HashMap<Vec<u8>, Arc<Held>>,
    by_certificate: HashMap<String, Arc<Held>>,
}

/// A token.
#[derive(Debug)]
pub(crate) struct Held {
    /// Its id.
    pub(crate) id: Arc<str>,
    /// As it is stored.
    pub(crate) row: Row,
    said: AdminToken,
    expires: Option<SystemTime>,
    last_use: Arc<LastUse>,
}

/// Seconds since the Unix epoch; 0 = never.
#[derive(Debug, Default)]
struct LastUse(AtomicI64);

/// Why a token that is known is not in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unusable {
    /// Somebody has disabled it.
    #[error("it is disabled")]
    Disabled,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
}

impl Roster {
    /// The token of that id.
    pub(crate) fn get(&self, id: &str) -> Option<&Arc<Held>> {
        self.by_id.get(id)
    }

    /// Those after that id, in order.
    pub(crate) fn after(&self, id: Option<&str>) -> impl Iterator<Item = &Arc<Held>> {
        let from = id.map_or(Bound::Unbounded, Bound::Excluded);
        self.by_id.range::<str, _>((from, Bound::Unbounded)).map(|(_, held)| held)
    }

    /// The token whose secret has this digest.
    pub(crate) fn by_sha256(&self, sha256: &[u8; 32]) -> Option<&Arc<Held>> {
        self.by_sha256.get(sha256.as_slice())
    }

    /// The token of whoever has a certificate of this name.
    pub(crate) fn by_certificate(&self, name: &str) -> Option<&Arc<Held>> {
        self.by_certificate.get(&name.to_ascii_lowercase())
    }

    /// The same with that token in place of the one of its id.
    pub(crate) fn with(&self, row: Row) -> Result<Self, Error> {
        let mut roster = self.without(&row.id);
        let last_use = self.get(&row.id).map(|before| Arc::clone(&before.last_use)).unwrap_or_default();
        let held = Arc::new(Held::read(row, last_use)?);
        if let Some(sha256) = &held.row.sha256 {
            roster.by_sha256.insert(sha256.clone(), Arc::clone(&held));
        }
        if let Some(name) = &held.row.certificate_name {
            roster.by_certificate.insert(name.to_ascii_lowercase(), Arc::clone(&held));
        }
        roster.by_id.insert(Arc::clone(&held.id), held);
        Ok(roster)
    }

    /// The same without that token.
    pub(crate) fn without(&self, id: &str) -> Self {
        let mut roster = self.clone();
        roster.by_id.remove(id);
        roster.by_sha256.retain(|_, held| *held.id != *id);
        roster.by_certificate.retain(|_, held| *held.id != *id);
        roster
    }
}

impl Held {
    fn read(row: Row, last_use: Arc<LastUse>) -> Result<Self, Error> {
        let stamp = row.stamp()?;
        let unreadable = |source| Error::Unreadable { id: row.id.clone(), source };
        let mut said = spec::read(&row.spec).map_err(unreadable)?;
        let expires = said.expire_time.map(SystemTime::try_from).transpose();
        let expires = expires.map_err(|source| unreadable(spec::Unreadable::Time(source)))?;
        said.name = format!("{COLLECTION}/{}", row.id);
        said.display_prefix.clone_from(&row.display_prefix);
        said.certificate_name = row.certificate_name.clone().unwrap_or_default();
        said.create_time = Some(stamp.create_time.into());
        said.update_time = Some(stamp.update_time.into());
        said.etag = spec::etag(stamp.version, &row.spec);
        Ok(Self { id: row.id.as_str().into(), row, said, expires, last_use })
    }

    /// What it may do.
    pub(crate) fn role(&self) -> Role {
        self.said.role()
    }

    /// Whether it is in use at this moment.
    pub(crate) fn check(&self, now: SystemTime) -> Result<(), Unusable> {
        if self.said.disabled {
            return Err(Unusable::Disabled);
        }
        if self.expires.is_some_and(|expires| expires <= now) { Err(Unusable::Expired) } else { Ok(()) }
    }

    /// Notes that it was used, to the minute.
    pub(crate) fn used(&self, now: SystemTime) {
        let seconds = Timestamp::try_from(now).map_or(0, Timestamp::as_second);
        self.last_use.0.store(seconds - seconds.rem_euclid(SECONDS_A_MINUTE), Ordering::Relaxed);
    }

    /// The row of the same token with that said of it.
    pub(crate) fn rewritten(&self, said: &AdminToken, now: SystemTime) -> Row {
        self.row.clone().rewritten(spec::write(said), now)
    }

    /// As operators see it.
    pub(crate) fn shown(&self) -> AdminToken {
        let seconds = self.last_use.0.load(Ordering::Relaxed);
        let last_use_time = (seconds != 0).then_some(prost_types::Timestamp { seconds, nanos: 0 });
        AdminToken { last_use_time, ..self.said.clone() }
    }
}

/// What is stored of a new token: what was said of it, and what it is known by.
pub(crate) fn row(id: &str, said: &AdminToken, known_by: KnownBy, now: SystemTime) -> Row {
    let mut row = Row::new(id.to_owned(), spec::write(said), now);
    match known_by {
        KnownBy::Secret { sha256, display_prefix } => {
            (row.sha256, row.display_prefix) = (Some(sha256.to_vec()), display_prefix);
        }
        KnownBy::Certificate(name) => row.certificate_name = Some(name),
    }
    row
}

/// What a token is known by.
#[derive(Debug)]
pub(crate) enum KnownBy {
    /// A secret.
    Secret {
        /// Its digest.
        sha256: [u8; 32],
        /// How it begins.
        display_prefix: String,
    },
    /// The name in a client certificate.
    Certificate(String),
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn token(said: &AdminToken) -> Arc<Held> {
        let known_by = KnownBy::Secret { sha256: [1; 32], display_prefix: "sb_admin".to_owned() };
        let roster = Roster::default().with(row("a", said, known_by, UNIX_EPOCH)).unwrap();
        Arc::clone(roster.get("a").unwrap())
    }

    #[test]
    fn a_token_ends_at_the_moment_that_was_said() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let expire_time = Some(prost_types::Timestamp { seconds: 10, nanos: 0 });
        let token = token(&AdminToken { expire_time, ..AdminToken::default() });
        assert_eq!(token.check(at(9)), Ok(()));
        assert_eq!(token.check(at(10)), Err(Unusable::Expired));
    }

    #[test]
    fn when_a_token_was_used_is_known_to_the_minute_and_survives_its_changes() {
        let said = AdminToken { role: Role::Viewer.into(), ..AdminToken::default() };
        let known_by = || KnownBy::Certificate("Ops.test".to_owned());
        let roster = Roster::default().with(row("a", &said, known_by(), UNIX_EPOCH)).unwrap();
        assert_eq!(roster.get("a").unwrap().shown().last_use_time, None);
        roster.by_certificate("OPS.test").unwrap().used(UNIX_EPOCH + Duration::from_secs(119));
        let changed = roster.with(row("a", &AdminToken { disabled: true, ..said }, known_by(), UNIX_EPOCH)).unwrap();
        let shown = changed.get("a").unwrap().shown();
        assert_eq!(shown.last_use_time.map(|time| time.seconds), Some(60));
        assert!(shown.disabled && shown.role() == Role::Viewer && shown.certificate_name == "Ops.test");
        assert!(changed.without("a").by_certificate("ops.test").is_none());
    }
}
