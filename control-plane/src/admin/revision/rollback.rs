//! Decides what bringing an old configuration back comes to on top of the present one, and what of it stays away: whatever was revoked
//! since stays revoked unless that is asked for. It sees no secret.

use std::{collections::BTreeSet, sync::Arc};

use prost_types::Timestamp;
use signalbox_proto::admin::v1::{self as admin, Credential};
use signalbox_routing::{Kind, ResourceName};

use super::collection;
use crate::{
    admin::error::Violation,
    ledger::Edit,
    message::{ClientKey, Message},
    state::{State, Stored},
};

/// An old configuration that is to be the present one again.
#[derive(Debug)]
pub(super) struct Rollback {
    /// As it was.
    pub(super) past: Arc<State>,
    /// The resource and field of every secret that was in force then and no longer is.
    pub(super) replaced: Vec<(String, String)>,
    /// Of these kinds only.
    pub(super) kinds: BTreeSet<Kind>,
    /// Whether client keys that were revoked since are taken again.
    pub(super) restore_client_keys: bool,
    /// Whether secrets are what they were.
    pub(super) restore_secrets: bool,
}

/// Reads which kinds are meant; none named = all of them.
///
/// # Errors
/// Everything that is no kind.
pub(super) fn kinds(texts: &[String]) -> Result<BTreeSet<Kind>, Vec<Violation>> {
    let known = || Kind::ALL.into_iter();
    if texts.is_empty() {
        return Ok(known().collect());
    }
    let mut violations = Vec::new();
    let mut kinds = BTreeSet::new();
    for (at, text) in texts.iter().enumerate() {
        match known().find(|kind| collection(*kind) == text) {
            Some(kind) => drop(kinds.insert(kind)),
            None => {
                let all = known().map(collection).collect::<Vec<_>>().join(", ");
                let rule = format!("`{text}` is no kind of resource: {all} are");
                violations.push(Violation::new(format!("kinds[{at}]"), "INVALID_KIND", rule));
            }
        }
    }
    if violations.is_empty() { Ok(kinds) } else { Err(violations) }
}

impl Rollback {
    /// What has to be done to the present configuration, and what is not brought back.
    pub(super) fn on(&self, present: &State) -> (Vec<Edit>, Vec<admin::Finding>) {
        let (mut edits, mut findings) = (Vec::new(), Vec::new());
        for kind in &self.kinds {
            for then in self.past.range(*kind, None) {
                let now = present.get(&then.resource.name);
                // What was never touched is still the same in memory.
                if now.is_none_or(|now| !Arc::ptr_eq(now, then)) {
                    edits.extend(self.bring_back(then, now.map(AsRef::as_ref), &mut findings));
                }
            }
            let gone = present.range(*kind, None).filter(|now| self.past.get(&now.resource.name).is_none());
            edits.extend(gone.map(|now| Edit::Delete(now.resource.name.clone())));
        }
        findings.extend(self.secrets_that_stay(present));
        (edits, findings)
    }

    /// `None` where it stays away.
    fn bring_back(&self, then: &Stored, now: Option<&Stored>, findings: &mut Vec<admin::Finding>) -> Option<Edit> {
        let name = &then.resource.name;
        match (then.message(), now.map(Stored::message)) {
            (Message::ClientKey(_), None) if !self.restore_client_keys => {
                let words = "was deleted since and stays so: restore_client_keys brings it back";
                findings.push(finding(name, "", "CLIENT_KEY_NOT_RESTORED", words));
                None
            }
            (Message::ClientKey(then), Some(Message::ClientKey(now))) if !self.restore_client_keys => {
                Some(Edit::Put(still_revoked(name, &then, &now, findings).into()))
            }
            (Message::Credential(_), None) if !self.restore_secrets => {
                let words = "was deleted since and stays so: restore_secrets brings it back";
                findings.push(finding(name, "", "CREDENTIAL_NOT_RESTORED", words));
                None
            }
            (Message::Credential(then), Some(Message::Credential(now))) if !self.restore_secrets => {
                Some(Edit::Put(same_source(name, then, now, findings).into()))
            }
            (message, _) if self.restore_secrets => Some(Edit::Restore(message, self.past.position.revision)),
            (message, _) => Some(Edit::Put(message)),
        }
    }

    /// The secrets that have changed since and stay as they are, of what is there then and now.
    fn secrets_that_stay(&self, present: &State) -> Vec<admin::Finding> {
        if self.restore_secrets {
            return Vec::new();
        }
        let stays = |(resource, field): &(String, String)| {
            let name = ResourceName::parse(resource).ok().filter(|name| self.kinds.contains(&name.kind()))?;
            let both = self.past.get(&name).is_some() && present.get(&name).is_some();
            let words = "was replaced since and stays as it is: restore_secrets brings the old one back";
            both.then(|| finding(&name, field, "SECRET_NOT_RESTORED", words))
        };
        self.replaced.iter().filter_map(stays).collect()
    }
}

/// A client key as it was, but for what was taken from it since.
fn still_revoked(
    name: &ResourceName,
    then: &ClientKey,
    now: &ClientKey,
    findings: &mut Vec<admin::Finding>,
) -> ClientKey {
    let mut said = then.said().clone();
    let mut stays = |field: &str, words: &str| findings.push(finding(name, field, "CLIENT_KEY_NOT_RESTORED", words));
    if now.said().disabled && !said.disabled {
        said.disabled = true;
        stays("disabled", "was disabled since and stays so: restore_client_keys lets it in again");
    }
    let expire_time = earlier(said.expire_time, now.said().expire_time);
    if expire_time != said.expire_time {
        said.expire_time = expire_time;
        stays("expire_time", "was made to expire sooner since, and does: restore_client_keys gives it its old time");
    }
    if then.sha256() != now.sha256() {
        stays("import_sha256", "is another key since and stays that one: restore_client_keys brings the old key back");
    }
    ClientKey::new(said, now.fingerprint())
}

/// The earlier of two moments; `None` = never.
fn earlier(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    [a, b].into_iter().flatten().min_by_key(|time| (time.seconds, time.nanos))
}

/// A credential as it was, but with the secret, or the place of it, that it has now.
fn same_source(
    name: &ResourceName,
    then: Credential,
    now: Credential,
    findings: &mut Vec<admin::Finding>,
) -> Credential {
    if then.source != now.source {
        let words = "has its secret from elsewhere since, and still does: restore_secrets brings the old place back";
        findings.push(finding(name, "source", "SECRET_NOT_RESTORED", words));
    }
    Credential { source: now.source, ..then }
}

fn finding(name: &ResourceName, field: &str, code: &str, message: &str) -> admin::Finding {
    admin::Finding {
        resource: name.as_str().to_owned(),
        field: field.to_owned(),
        code: code.to_owned(),
        message: message.to_owned(),
        blocking: false,
    }
}
