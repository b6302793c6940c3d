//! A client key's rotation: a successor that may do the same, and the moment from which the old key is refused. It decides on the
//! state that it is made on top of, and makes no key up itself.

use std::time::{Duration, SystemTime};

use prost_types::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use signalbox_proto::admin::v1::{ClientKey, RotateClientKeyRequest, RotateClientKeyResponse, client_key::Imported};
use signalbox_routing::{Id, Kind, MAX_ID_BYTES, ResourceName};

use crate::{
    admin::{
        error::Violation,
        resource::Resource as _,
        verbs::{check, parse_id, parse_name},
    },
    ledger::{DifferenceKind, Edit, Refused, Written},
    state::State,
};

/// Where the caller does not say.
const DEFAULT_OVERLAP: Duration = Duration::from_secs(24 * 60 * 60);

/// Longest time for which both keys are taken.
const MAX_OVERLAP: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// Highest number that an id is taken to count by: above it, it is a year or a model.
const MAX_COUNT: u32 = 999;

/// A rotation that was asked for.
#[derive(Debug)]
pub(super) struct Rotation {
    /// The key that is to go.
    pub(super) name: ResourceName,
    successor: Option<Id>,
    expire_time: Option<Timestamp>,
    overlap: Duration,
    etag: String,
}

impl Rotation {
    /// Reads a request.
    ///
    /// # Errors
    /// Says which field of it breaks a rule.
    pub(super) fn read(request: RotateClientKeyRequest) -> Result<Self, Violation> {
        let RotateClientKeyRequest { name, successor_id, overlap, etag, expire_time, .. } = request;
        let name = parse_name(&name, Kind::ClientKey, "name")?;
        let successor = (!successor_id.is_empty()).then(|| parse_id(&successor_id, "successor_id")).transpose()?;
        let overlap = match overlap.map(Duration::try_from) {
            None => DEFAULT_OVERLAP,
            Some(Ok(overlap)) if overlap <= MAX_OVERLAP => overlap,
            Some(_) => return Err(Violation::new("overlap", "OUT_OF_RANGE", "is 0 s to 90 days (7776000s)")),
        };
        Ok(Self { name, successor, expire_time, overlap, etag })
    }

    /// The successor with this key, and the old one with its end, which never comes later than it would have.
    pub(super) fn edits(self, state: &State, secret: &SecretString, now: SystemTime) -> Result<Vec<Edit>, Refused> {
        let Self { name, successor, expire_time, overlap, etag } = self;
        let message = state.get(&name).map(|stored| stored.message());
        let message = message.ok_or_else(|| Refused::NotFound(name.clone()))?;
        check(&etag, &message, &name)?;
        let Some(old) = ClientKey::of(&message) else { return Err(Refused::NotFound(name)) };

        let successor = match successor {
            Some(id) => ResourceName::client_key(&id),
            None => next_name(state, &name).ok_or_else(|| Refused::AlreadyExists(name.clone()))?,
        };
        if state.get(&successor).is_some() {
            return Err(Refused::AlreadyExists(successor));
        }
        let imported = Some(Imported::ImportSecret(secret.expose_secret().to_owned()));
        let new = ClientKey { imported, expire_time: expire_time.or(old.expire_time), ..old.clone() };
        let end = now + overlap;
        let sooner = old.expire_time.filter(|time| SystemTime::try_from(*time).is_ok_and(|time| time <= end));
        let expiring = ClientKey { expire_time: sooner.or_else(|| Some(end.into())), ..old.clone() };

        let invalid = |finding| Refused::Invalid(vec![finding]);
        let new = new.into_message(&successor, None).map_err(invalid)?;
        let expiring = expiring.into_message(&name, Some(&message)).map_err(invalid)?;
        Ok(vec![Edit::Put(new), Edit::Put(expiring)])
    }
}

/// Both keys as the rotation leaves them.
pub(super) fn response(written: &Written, name: &ResourceName) -> RotateClientKeyResponse {
    let key = |name: &ResourceName| ClientKey::of(&written.state.get(name)?.message()).cloned();
    let made = written.changes.iter().find(|change| change.kind == DifferenceKind::Create);
    RotateClientKeyResponse { successor: made.and_then(|made| key(&made.name)), predecessor: key(name) }
}

/// The first free name that counts on from this one.
fn next_name(state: &State, name: &ResourceName) -> Option<ResourceName> {
    let (stem, count) = counted(name.id());
    let candidate = |count| {
        let ending = format!("-{count}");
        let stem = stem.get(..stem.len().min(MAX_ID_BYTES - ending.len()))?.trim_end_matches('-');
        Id::parse(&format!("{stem}{ending}")).ok().map(|id| ResourceName::client_key(&id))
    };
    (count + 1..u32::MAX).map_while(candidate).find(|name| state.get(name).is_none())
}

/// An id and what it counts: `ci` is the first, `ci-2` the second.
fn counted(id: &str) -> (&str, u32) {
    let count =
        |text: &str| text.parse().ok().filter(|count| (2..=MAX_COUNT).contains(count) && count.to_string() == text);
    match id.rsplit_once('-') {
        Some((stem, text)) => count(text).map_or((id, 1), |count| (stem, count)),
        None => (id, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_counts_on_from_its_own_ending() {
        for (id, stem, count) in [
            ("ci", "ci", 1),
            ("ci-2", "ci", 2),
            ("ci-99", "ci", 99),
            ("ci-1", "ci-1", 1),
            ("ci-02", "ci-02", 1),
            ("ci-x", "ci-x", 1),
            ("team-2026", "team-2026", 1),
        ] {
            assert_eq!(counted(id), (stem, count), "{id}");
        }
    }
}
