//! The verbs that change something: each is one edit of the ledger, decided on the state that it is made on top of.

use prost_types::FieldMask;
use signalbox_proto::admin::v1::DeleteResponse;
use signalbox_routing::{Id, Kind, ResourceName};

use super::{Answered, Call, Verbs, parse_name};
use crate::{
    admin::{
        apply::{changes, findings},
        error::{Error, Places, Violation},
        mask::Mask,
        resource::{Resource, typed},
    },
    ledger::{Edit, Entry, Refused, Written},
    message::{self, Message},
    state::State,
};

/// Makes a resource.
#[derive(Debug)]
pub(crate) struct Create<R> {
    /// Its name.
    pub(crate) name: ResourceName,
    /// The rest of it.
    pub(crate) resource: Option<R>,
    /// Do everything but commit.
    pub(crate) validate_only: bool,
}

/// Changes a resource.
#[derive(Debug)]
pub(crate) struct Update<R> {
    /// Its name, the etag of the version that is meant, and the fields.
    pub(crate) resource: Option<R>,
    /// Which of them to take over.
    pub(crate) mask: Option<FieldMask>,
    /// Make it if it is not there.
    pub(crate) allow_missing: bool,
    /// Do everything but commit.
    pub(crate) validate_only: bool,
}

/// Removes a resource.
#[derive(Debug)]
pub(crate) struct Delete {
    /// Its name.
    pub(crate) name: String,
    /// The version that is meant; empty = any.
    pub(crate) etag: String,
    /// No error where there is none.
    pub(crate) allow_missing: bool,
    /// Do everything but commit.
    pub(crate) validate_only: bool,
    /// A provider's credentials go with it.
    pub(crate) force: bool,
}

impl Verbs {
    /// Makes a resource.
    pub(crate) async fn create<R: Resource>(&self, call: Call, create: Create<R>) -> Result<Answered<R>, Error> {
        let Create { name, resource, validate_only } = create;
        let wanted = said(resource)?;
        let edit = |state: &State, name: ResourceName| match state.get(&name) {
            Some(_) => Err(Refused::AlreadyExists(name)),
            None => put(wanted, &name, None),
        };
        self.write::<R, R, _, _>(call.entry(validate_only)?, name, edit, shown_after).await
    }

    /// Changes a resource.
    pub(crate) async fn update<R: Resource>(&self, call: Call, update: Update<R>) -> Result<R, Error> {
        let Update { resource, mask, allow_missing, validate_only } = update;
        let mask = Mask::read(mask, &message::descriptor(R::KIND))?;
        let wanted = said(resource)?;
        let name = parse_name(wanted.name(), R::KIND, &format!("{}.name", R::FIELD))?;
        let edit = move |state: &State, name: ResourceName| match state.get(&name) {
            Some(stored) => {
                let stored = stored.message();
                check(wanted.etag(), &stored, &name)?;
                let mut merged = stored.dynamic();
                mask.merge(&message::dynamic(R::KIND, &wanted), &mut merged);
                put::<R>(typed(&merged), &name, Some(&stored))
            }
            // An etag says that the caller has seen the resource: then it is not theirs to make.
            None if allow_missing && wanted.etag().is_empty() => put(wanted, &name, None),
            None => Err(Refused::NotFound(name)),
        };
        Ok(self.write::<R, R, _, _>(call.entry(validate_only)?, name, edit, shown_after).await?.message)
    }

    /// Removes a resource, and says which revision that made.
    pub(crate) async fn delete<R: Resource>(&self, call: Call, delete: Delete) -> Result<DeleteResponse, Error> {
        let Delete { name, etag, allow_missing, validate_only, force } = delete;
        let name = parse_name(&name, R::KIND, "name")?;
        let edit = move |state: &State, name: ResourceName| match state.get(&name) {
            Some(stored) => {
                check(&etag, &stored.message(), &name)?;
                let parts = if force { parts(state, &name) } else { Vec::new() };
                Ok(parts.into_iter().chain([name]).map(Edit::Delete).collect())
            }
            None if allow_missing => Ok(Vec::new()),
            None => Err(Refused::NotFound(name)),
        };
        let answer = move |written: &Written, _: &ResourceName| DeleteResponse {
            revision: written.revision.get(),
            changes: changes(written, validate_only),
            findings: findings(written, validate_only),
            rollout: None,
        };
        Ok(self.write::<R, _, _, _>(call.entry(validate_only)?, name, edit, answer).await?.message)
    }

    async fn write<R, M, F, A>(
        &self,
        entry: Entry,
        name: ResourceName,
        edit: F,
        answer: A,
    ) -> Result<Answered<M>, Error>
    where
        R: Resource,
        M: prost::Message + Default + 'static,
        F: FnOnce(&State, ResourceName) -> Result<Vec<Edit>, Refused> + Send + 'static,
        A: FnOnce(&Written, &ResourceName) -> M + Send + 'static,
    {
        let (edited, places) = (name.clone(), Places::one(name.clone(), R::FIELD));
        self.answer(entry, places, move |state| edit(state, edited), move |written| answer(written, &name)).await
    }
}

/// The resource as the write leaves it.
fn shown_after<R: Resource>(written: &Written, name: &ResourceName) -> R {
    let stored = written.state.get(name).map(|stored| stored.message());
    stored.as_ref().and_then(R::of).cloned().unwrap_or_default()
}

/// What the caller says of a resource. What is not theirs to say, the ledger overwrites.
fn said<R: Resource>(resource: Option<R>) -> Result<R, Error> {
    Ok(resource.ok_or_else(|| Violation::missing(R::FIELD))?)
}

fn put<R: Resource>(resource: R, name: &ResourceName, stored: Option<&Message>) -> Result<Vec<Edit>, Refused> {
    let message = resource.into_message(name, stored).map_err(|finding| Refused::Invalid(vec![finding]))?;
    Ok(vec![Edit::Put(message)])
}

/// Refuses a change of a version that is no longer the current one.
pub(crate) fn check(etag: &str, stored: &Message, name: &ResourceName) -> Result<(), Refused> {
    if etag.is_empty() || etag == stored.etag() {
        return Ok(());
    }
    Err(Refused::Etag { name: name.clone(), given: etag.to_owned(), current: stored.etag().to_owned() })
}

/// What cannot be without the resource.
fn parts(state: &State, name: &ResourceName) -> Vec<ResourceName> {
    match Id::parse(name.id()) {
        Ok(id) if name.kind() == Kind::Provider => {
            state.credentials(&id, None).map(|stored| stored.resource.name.clone()).collect()
        }
        _ => Vec::new(),
    }
}
