//! The five verbs over every kind of resource: get, list, create, update, delete (AIP-131 to AIP-135). What is particular to a kind
//! is in `resource`; what may be stored is the ledger's business.

use std::{net::IpAddr, sync::Arc};

use signalbox_routing::{Id, Kind, ResourceName};
use tonic::Request;
use uuid::{Uuid, fmt::Hyphenated};

use super::{
    auth::{Actor, Note, address},
    error::{Error, Violation, resource_type},
    replica::Fleet,
    resource::Resource,
};
use crate::{
    ledger::{Entry, Ledger, RequestId},
    state::{State, Stored},
};

mod answer;
mod change;
mod list;
mod mutation;

pub(crate) use super::page::Asked;
pub(crate) use answer::Answered;
pub(crate) use change::{Create, Delete, Update, check};
pub(crate) use mutation::Mutation;

/// The verbs, and with them every service of the admin API that is about configuration.
#[derive(Debug, Clone)]
pub(crate) struct Verbs {
    ledger: Ledger,
    fleet: Fleet,
}

/// What the history keeps of a call.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    method: &'static str,
    actor: Arc<str>,
    source_ip: Option<IpAddr>,
    request: Result<Option<RequestId>, Violation>,
}

impl Call {
    /// The call that a request makes, such as `ProviderService/CreateProvider`.
    pub(crate) fn of<T: Mutation>(request: &Request<T>, method: &'static str) -> Self {
        let said = request.get_ref();
        if let Some(note) = request.extensions().get::<Note>() {
            note.take(said.said());
        }
        Self { request: request_id(said), ..Self::looking(request, method) }
    }

    /// The call of a request that changes nothing, and is kept all the same.
    pub(crate) fn looking<T>(request: &Request<T>, method: &'static str) -> Self {
        let extensions = request.extensions();
        let actor = extensions.get::<Actor>().map_or_else(|| Arc::from(""), |actor| Arc::clone(&actor.name));
        Self { method, actor, source_ip: address(extensions), request: Ok(None) }
    }

    /// The call as the ledger takes it.
    ///
    /// # Errors
    /// Where the caller's id of it is no UUID.
    pub(crate) fn entry(self, validate_only: bool) -> Result<Entry, Violation> {
        let Self { method, actor, source_ip, request } = self;
        Ok(Entry {
            actor: actor.to_string(),
            source_ip,
            method,
            comment: String::new(),
            validate_only,
            request: request?,
            rollback_of: None,
        })
    }
}

/// The caller's own id of a request; `None` where it gives none.
fn request_id<T: Mutation>(said: &T) -> Result<Option<RequestId>, Violation> {
    let text = said.request_id();
    if text.is_empty() {
        return Ok(None);
    }
    // Only with its hyphens, so that nobody has two texts for one id.
    match Uuid::try_parse(text) {
        Ok(id) if text.len() == Hyphenated::LENGTH && !id.is_nil() => {
            Ok(Some(RequestId::new(id, &said.encode_to_vec())))
        }
        _ => {
            let rule = "must be a UUID such as 2f1c3a64-9d0e-4b7a-8c55-0e6d7f3b9a12, or empty";
            Err(Violation::new("request_id", "INVALID_REQUEST_ID", rule))
        }
    }
}

impl Verbs {
    /// The verbs over this ledger, for which this fleet is waited where a caller asks for it.
    pub(crate) const fn new(ledger: Ledger, fleet: Fleet) -> Self {
        Self { ledger, fleet }
    }

    /// The ledger, for what is more than a verb.
    pub(crate) const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The data planes, for whoever has to wait for them.
    pub(crate) const fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// The resource of that name.
    pub(crate) fn get<R: Resource>(&self, name: &str) -> Result<R, Error> {
        let name = parse_name(name, R::KIND, "name")?;
        shown(&self.ledger.state(), &name)
    }
}

/// Reads a full name of this kind; `field` is where the request has it.
pub(crate) fn parse_name(text: &str, kind: Kind, field: &str) -> Result<ResourceName, Violation> {
    let shape = shape(kind);
    match ResourceName::parse(text) {
        Ok(name) if name.kind() == kind => Ok(name),
        Ok(name) => Err(Violation::new(field, "INVALID_NAME", format_args!("`{name}` is not a name like {shape}"))),
        Err(_) if text.is_empty() => {
            Err(Violation::new(field, "FIELD_REQUIRED", format_args!("is required: a name like {shape}")))
        }
        Err(error) => Err(Violation::new(field, "INVALID_NAME", error)),
    }
}

/// Reads an id; `field` is where the request has it.
pub(crate) fn parse_id(text: &str, field: &str) -> Result<Id, Violation> {
    Id::parse(text).map_err(|error| Violation::new(field, "INVALID_ID", error))
}

const fn shape(kind: Kind) -> &'static str {
    match kind {
        Kind::Settings => "settings",
        Kind::Provider => "providers/ID",
        Kind::Credential => "providers/ID/credentials/ID",
        Kind::ClientKey => "clientKeys/ID",
        Kind::Redirect => "redirects/ID",
        Kind::Route => "routes/ID",
    }
}

fn find<'a>(state: &'a State, name: &ResourceName) -> Result<&'a Arc<Stored>, Error> {
    let missing = || Error::NotFound { resource_type: resource_type(name.kind()), name: name.as_str().to_owned() };
    state.get(name).ok_or_else(missing)
}

/// The resource as the caller gets it.
fn shown<R: Resource>(state: &State, name: &ResourceName) -> Result<R, Error> {
    let stored = find(state, name)?;
    R::of(&stored.message())
        .cloned()
        .ok_or_else(|| Error::NotFound { resource_type: resource_type(R::KIND), name: name.as_str().to_owned() })
}
