//! The five verbs over every kind of resource: get, list, create, update, delete (AIP-131 to AIP-135). What is particular to a kind
//! is in `resource`; what may be stored is the ledger's business.

use std::{net::IpAddr, sync::Arc};

use signalbox_proto::admin::v1 as admin;
use signalbox_routing::{Id, Kind, ResourceName};
use tonic::Request;

use super::{
    auth::Actor,
    error::{Error, Violation, resource_type},
    page::{self, Page},
    resource::Resource,
};
use crate::{
    ledger::{Entry, Ledger, RequestId},
    state::{State, Stored},
};

mod change;

pub(crate) use change::{Create, Delete, Update};

/// The verbs, and with them every service of the admin API that is about configuration.
#[derive(Debug, Clone)]
pub(crate) struct Verbs {
    ledger: Ledger,
}

/// What the history keeps of a call.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    method: &'static str,
    actor: Arc<str>,
    source_ip: Option<IpAddr>,
    request: Option<RequestId>,
}

/// A request that changes something.
pub(crate) trait Mutation: prost::Message {
    /// The caller's own id of it; empty = none.
    fn request_id(&self) -> &str;
}

macro_rules! mutation {
    ($($request:ident),*) => {
        $(impl Mutation for admin::$request {
            fn request_id(&self) -> &str {
                &self.request_id
            }
        })*
    };
}
mutation!(
    CreateProviderRequest,
    UpdateProviderRequest,
    DeleteProviderRequest,
    CreateCredentialRequest,
    UpdateCredentialRequest,
    DeleteCredentialRequest,
    CreateClientKeyRequest,
    UpdateClientKeyRequest,
    DeleteClientKeyRequest,
    RotateClientKeyRequest,
    CreateRedirectRequest,
    UpdateRedirectRequest,
    DeleteRedirectRequest,
    CreateRouteRequest,
    UpdateRouteRequest,
    DeleteRouteRequest,
    UpdateSettingsRequest,
    ApplyConfigRequest,
    RollbackConfigRequest
);

impl Call {
    /// The call that a request makes, such as `ProviderService/CreateProvider`.
    pub(crate) fn of<T: Mutation>(request: &Request<T>, method: &'static str) -> Self {
        let said = request.get_ref();
        let actor = request.extensions().get::<Actor>().map_or_else(|| Arc::from(""), |actor| Arc::clone(&actor.name));
        let id = said.request_id();
        let request_id = (!id.is_empty()).then(|| RequestId::new(id, &said.encode_to_vec()));
        Self { method, actor, source_ip: request.remote_addr().map(|address| address.ip()), request: request_id }
    }

    /// The call as the ledger takes it.
    pub(crate) fn entry(self, validate_only: bool) -> Entry {
        let Self { method, actor, source_ip, request } = self;
        Entry { actor: actor.to_string(), source_ip, method, comment: String::new(), validate_only, request }
    }
}

/// What a list call asks for.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// At most this many.
    pub(crate) size: i32,
    /// Where to go on; empty = at the beginning.
    pub(crate) token: String,
    /// Which of them; empty = all.
    pub(crate) filter: String,
    /// As it was at that revision; 0 = the current one.
    pub(crate) at_revision: u64,
}

impl Verbs {
    /// The verbs over this ledger.
    pub(crate) const fn new(ledger: Ledger) -> Self {
        Self { ledger }
    }

    /// The ledger, for what is more than a verb.
    pub(crate) const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The resource of that name.
    pub(crate) fn get<R: Resource>(&self, name: &str) -> Result<R, Error> {
        let name = parse_name(name, R::KIND, "name")?;
        shown(&self.ledger.state(), &name)
    }

    /// A page of a kind's resources by name, and the token of the next page. With a provider, only what belongs to it.
    pub(crate) fn list<R: Resource>(&self, provider: Option<&Id>, asked: &Asked) -> Result<(Vec<R>, String), Error> {
        let collection = collection(R::KIND, provider);
        let Page { size, after } = Page::read(asked.size, &asked.token, &collection)?;
        let after = after.map(|name| continued(&name, R::KIND, &collection)).transpose()?;
        let state = self.ledger.state();
        let mut rest: Box<dyn Iterator<Item = &Arc<Stored>>> = match provider {
            None => Box::new(state.range(R::KIND, after.as_ref())),
            Some(provider) => {
                find(&state, &ResourceName::provider(provider))?;
                Box::new(state.credentials(provider, after.as_ref()))
            }
        };
        let page: Vec<_> = rest.by_ref().take(size).collect();
        let next = match (page.last(), rest.next()) {
            (Some(last), Some(_)) => page::token(&collection, last.resource.name.as_str()),
            _ => String::new(),
        };
        Ok((page.into_iter().filter_map(|stored| R::of(&stored.message()).cloned()).collect(), next))
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

/// What a list is called in its page tokens.
fn collection(kind: Kind, provider: Option<&Id>) -> String {
    let parent = provider.map_or("-", Id::as_str);
    shape(kind).trim_end_matches("/ID").replace("ID", parent)
}

fn continued(after: &str, kind: Kind, collection: &str) -> Result<ResourceName, page::Fault> {
    let name = ResourceName::parse(after).ok().filter(|name| name.kind() == kind);
    name.ok_or_else(|| page::Fault::Token(collection.to_owned()))
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
