//! The state as it will be if a write is committed, and the steps that lead there; or why it may not be. Pure: it writes nothing.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc, time::SystemTime};

use bytes::Bytes;
use prost_reflect::DynamicMessage;
use signalbox_routing::{
    Change, Compiled, Effect, Fault, Finding, Position, Resource, ResourceName, Revision, Runtime,
};

use super::{
    Difference, Error,
    draft::{Draft, Wanted},
    held::{Held, SecretStep},
    references::{self, Changed},
};
use crate::{
    convert,
    history::Past,
    message::{Message, Stamp, Unreadable, rule_findings, write_spec},
    secrets::{self, Secrets},
    state::{State, Stored},
    store::content,
};

/// What a write leads to.
#[derive(Debug)]
pub(super) struct Prospect {
    /// The state after it.
    pub(super) state: State,
    /// What it does, by name; never empty.
    pub(super) steps: Vec<Step>,
}

/// What a write does to one resource.
#[derive(Debug)]
pub(super) struct Step {
    /// In short.
    pub(super) difference: Difference,
    /// The resource afterwards; `None` = gone.
    pub(super) after: Option<After>,
    /// How often its own secret had been set before.
    pub(super) secret_version: u64,
    /// What happens to its secrets.
    pub(super) secrets: Vec<SecretStep>,
}

/// A resource after a write.
#[derive(Debug)]
pub(super) struct After {
    /// As it is held in memory.
    pub(super) stored: Arc<Stored>,
    /// As operators see it.
    pub(super) message: Message,
    /// As it is written down.
    pub(super) spec: String,
    /// When it was made.
    pub(super) create_time: SystemTime,
}

/// Where in history a write will be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// The revision that it makes.
    pub(super) revision: Revision,
    /// When.
    pub(super) now: SystemTime,
}

/// A difference, in the data planes' terms too. Without `Debug`, since a body may hold secrets.
struct Candidate {
    difference: Difference,
    /// `None` = gone.
    content: Option<Content>,
}

struct Content {
    kept: DynamicMessage,
    secrets: Secrets,
    message: Message,
    body: Bytes,
}

impl Candidate {
    fn message(&self) -> Option<&Message> {
        self.content.as_ref().map(|content| &content.message)
    }
}

type Candidates = BTreeMap<ResourceName, Candidate>;

/// Judges a draft. `None` where everything is as wanted already.
pub(super) fn judge(
    base: &State,
    held: &BTreeMap<ResourceName, Held>,
    draft: Draft<'_>,
    moment: Moment,
) -> Result<Option<Prospect>, Error> {
    let candidates = candidates(draft)?;
    if candidates.is_empty() {
        return Ok(None);
    }
    let runtime = validate(base, &candidates, moment)?;
    let position = Position { revision: moment.revision, ..base.position.clone() };
    let mut state = State { position, commit_time: moment.now, runtime, ..base.clone() };
    let none = Held::default();
    let mut steps = Vec::with_capacity(candidates.len());
    for (name, candidate) in candidates {
        let held = held.get(&name).unwrap_or(&none);
        steps.push(step(&mut state, held, candidate, moment)?);
    }
    let names = steps.iter().map(|step| step.difference.name.clone()).collect();
    state.history.push(moment.revision, Past { digest: state.position.digest, names });
    Ok(Some(Prospect { state, steps }))
}

/// The candidates as data planes will serve them; or everything for which they could not.
fn validate(base: &State, candidates: &Candidates, moment: Moment) -> Result<Runtime, Error> {
    let changed: Changed<'_> = candidates.iter().map(|(name, candidate)| (name, candidate.message())).collect();
    let broken = references::broken(base, &changed);
    if !broken.is_empty() {
        return Err(Error::Referenced(broken));
    }
    let changes: Vec<Change> = candidates.iter().map(|(name, candidate)| change(name, candidate, moment)).collect();
    let Compiled { runtime, findings } = base.runtime.apply(&changes);
    // What was wrong before, found by a later build in what an earlier one took, does not hold up what is right.
    let known: Vec<&Finding> =
        base.runtime.findings().filter(|finding| !changed.contains_key(&finding.resource)).collect();
    let findings: Vec<Finding> = findings.into_iter().filter(|finding| !known.contains(&finding)).collect();
    if findings.is_empty() { Ok(runtime) } else { Err(Error::Invalid(findings)) }
}

/// What differs; or everything about it that cannot be said in the data planes' terms.
fn candidates(draft: Draft<'_>) -> Result<Candidates, Error> {
    let mut candidates = Candidates::new();
    let mut findings = Vec::new();
    for (difference, wanted) in draft.differences() {
        let name = difference.name.clone();
        match wanted.map(|wanted| content(&name, wanted)).transpose() {
            Ok(content) => drop(candidates.insert(name, Candidate { difference, content })),
            Err(Error::Invalid(more)) => findings.extend(more),
            Err(error) => return Err(error),
        }
    }
    if findings.is_empty() { Ok(candidates) } else { Err(Error::Invalid(findings)) }
}

fn content(name: &ResourceName, wanted: Wanted) -> Result<Content, Error> {
    let Wanted { kept, secrets } = wanted;
    let unreadable = |source| Error::Unreadable { name: name.clone(), source };
    let message = Message::from_kept(name, &kept).map_err(unreadable)?;
    let findings = rule_findings(name, &message);
    if !findings.is_empty() {
        return Err(Error::Invalid(findings));
    }
    let whole = whole(name, &message, &kept, &secrets).map_err(unreadable)?;
    let body = convert::body(name, &whole).map_err(|finding| Error::Invalid(vec![finding]))?;
    drop(whole);
    Ok(Content { kept, secrets, message, body })
}

/// A message, of which `kept` is kept, with its secrets inside.
pub(super) fn whole<'a>(
    name: &ResourceName,
    message: &'a Message,
    kept: &DynamicMessage,
    secrets: &Secrets,
) -> Result<Cow<'a, Message>, Unreadable> {
    if secrets.is_empty() {
        return Ok(Cow::Borrowed(message));
    }
    let mut whole = kept.clone();
    secrets::put(&mut whole, secrets);
    Message::from_kept(name, &whole).map(Cow::Owned)
}

fn change(name: &ResourceName, candidate: &Candidate, moment: Moment) -> Change {
    match &candidate.content {
        None => Change::Remove(name.clone()),
        Some(content) => Change::Upsert(resource(name.clone(), content.body.clone(), moment.revision.get())),
    }
}

/// A resource as data planes get it. Nothing yet needs a capability that some of them lack.
pub(super) const fn resource(name: ResourceName, body: Bytes, revision: u64) -> Resource {
    Resource { name, revision, required_features: Vec::new(), body }
}

/// Takes one difference over into the state.
fn step(state: &mut State, held: &Held, candidate: Candidate, moment: Moment) -> Result<Step, Error> {
    let Candidate { difference, content } = candidate;
    let name = difference.name.clone();
    let before = state.get(&name).cloned();
    let (after, secrets) = match content {
        None => (None, held.steps_to(&Secrets::new())),
        Some(content) => {
            let secrets = held.steps_to(&content.secrets);
            (Some(after(&name, before.as_deref(), content, held, moment)?), secrets)
        }
    };
    state.replace(name, after.as_ref().map(|after| Arc::clone(&after.stored)));
    Ok(Step { difference, after, secret_version: held.version(Stamp::SECRET), secrets })
}

fn after(
    name: &ResourceName,
    before: Option<&Stored>,
    content: Content,
    held: &Held,
    moment: Moment,
) -> Result<After, Error> {
    let Content { kept, secrets, mut message, body } = content;
    let unwritable = |_| Finding {
        resource: name.clone(),
        field: String::new(),
        fault: Fault::OutOfRange("a time or duration is beyond what protobuf allows"),
        effect: Effect::KeptPrevious,
    };
    let spec = write_spec(&kept).map_err(|error| Error::Invalid(vec![unwritable(error)]))?;
    let made =
        before.and_then(|stored| stored.message().create_time()).and_then(|time| SystemTime::try_from(time).ok());
    let create_time = made.unwrap_or(moment.now);
    let revision = moment.revision.get();
    let secret_version = held.version_after(&secrets, Stamp::SECRET);
    message.stamp(&Stamp { revision, create_time, update_time: moment.now, secret_version }, &spec);
    let versions = secrets.keys().map(|field| (field.as_str(), held.version_after(&secrets, field)));
    let content = content::of(name.as_str(), &spec, revision, versions);
    let stored = Stored::new(&message, resource(name.clone(), body, revision)).stored_as(content);
    Ok(After { stored: Arc::new(stored), message, spec, create_time })
}
