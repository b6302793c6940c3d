//! `get` and `delete`: resources of any kind, as the schemas describe them.

use std::time::Duration;

use clap::Args;
use prost_reflect::{DynamicMessage, MethodDescriptor, Value as Field};
use serde_json::{Map, Value};
use signalbox_proto::admin::v1::DeleteResponse;

use super::{
    Session, apply, control,
    error::Error,
    fleet,
    kind::{Kind, Named},
    moment, outcome,
    view::{self, Done},
};
use crate::table::Table;

/// Resources of one page.
const PAGE: i32 = 1000;

/// Most entries of history that are shown where nobody says how many: there may be very many.
const HISTORY: usize = 50;

/// The flags of `get`.
#[derive(Debug, Args)]
pub struct Get {
    /// What: providers, credentials, keys, redirects, routes, settings, replicas, revisions, tokens or audit; or a full name
    #[arg(value_name = "KIND")]
    pub kind: String,
    /// Its id or full name; of a credential, PROVIDER/CREDENTIAL [default: all of them]
    pub name: Option<String>,
    /// Only what matches, such as `labels.team = a AND disabled = false`
    #[arg(long, value_name = "FILTER", default_value = "")]
    pub filter: String,
    /// As it was at this revision
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub revision: u64,
    /// At most this many [default: all; of revisions and audit entries the 50 newest]
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
}

/// The flags of `delete`.
#[derive(Debug, Args)]
pub struct Delete {
    /// What: provider, credential, key, redirect, route or token; or a full name
    #[arg(value_name = "KIND")]
    pub kind: String,
    /// Its id or full name; of a credential, PROVIDER/CREDENTIAL
    pub name: Option<String>,
    /// Remove a provider's credentials with it
    #[arg(long)]
    pub force: bool,
    /// Change nothing, and say what would change and what that would mean
    #[arg(long)]
    pub dry_run: bool,
    /// No error where it is not there
    #[arg(long)]
    pub allow_missing: bool,
    /// Wait until every connected data plane is without it
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "60s", value_parser = moment::length)]
    pub wait: Option<Duration>,
}

impl Get {
    /// Shows resources.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn run(&self, session: &Session) -> Result<Done, Error> {
        let Named { kind, name } = Named::read(&self.kind, self.name.as_deref())?;
        let kind = kind.0;
        let query = Query { filter: &self.filter, revision: self.revision, limit: self.limit };
        match name {
            Some(name) if self.revision > 0 && kind.collection != "revisions" => {
                let all = list(session, kind, &Query { limit: None, ..query }).await?;
                let found = all.into_iter().find(|one| named(one) == name);
                one(session, kind, &found.ok_or(Error::Missing { name, revision: self.revision })?)
            }
            Some(name) => one(session, kind, &get(session, kind, &name).await?),
            None if kind.collection == "settings" && self.revision == 0 => {
                one(session, kind, &get(session, kind, "settings").await?)
            }
            None => many(session, kind, list(session, kind, &query).await?),
        }
    }
}

/// Which resources are asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Query<'q> {
    /// What they have to match; empty = nothing.
    pub(super) filter: &'q str,
    /// When; 0 = now.
    pub(super) revision: u64,
    /// How many at most.
    pub(super) limit: Option<usize>,
}

fn named(resource: &Value) -> &str {
    resource.get("name").and_then(Value::as_str).unwrap_or_default()
}

/// One resource, as the API's JSON.
pub(super) async fn get(session: &Session, kind: &Kind, name: &str) -> Result<Value, Error> {
    if kind.collection == "auditEntries" {
        return Err(Error::NotOffered { kind: kind.word(), what: "asked for one by one: use --filter" });
    }
    let method = format!("{}/Get{}", kind.service, kind.singular);
    let mut request = DynamicMessage::new(control::find(&method)?.input());
    request.set_field_by_name("name", Field::String(name.to_owned()));
    Ok(view::json(session.control.call(&method, &request).await?.message()))
}

/// The resources that match, in the order that the control plane gives them, as the API's JSON.
pub(super) async fn list(session: &Session, kind: &Kind, query: &Query<'_>) -> Result<Vec<Value>, Error> {
    if kind.collection == "settings" {
        return Err(Error::NotOffered {
            kind: kind.word(),
            what: "listed: `signalbox export --revision N` shows it as it was",
        });
    }
    let method = format!("{}/List{}", kind.service, kind.plural);
    let schema = control::find(&method)?;
    let history = matches!(kind.collection, "revisions" | "auditEntries");
    let limit = query.limit.unwrap_or(if history { HISTORY } else { usize::MAX });
    let (mut found, mut page) = (Vec::new(), String::new());
    loop {
        let request = page_of(kind, &schema, query, (&page, limit - found.len()))?;
        let answer = session.control.call(&method, &request).await?;
        let mut value = view::json(answer.message());
        if let Some(Value::Array(more)) = value.get_mut(kind.collection).map(Value::take) {
            found.extend(more);
        }
        page = value.get("nextPageToken").and_then(Value::as_str).unwrap_or_default().to_owned();
        if page.is_empty() || found.len() >= limit {
            found.truncate(limit);
            return Ok(found);
        }
    }
}

fn page_of(
    kind: &Kind,
    schema: &MethodDescriptor,
    query: &Query<'_>,
    (token, room): (&str, usize),
) -> Result<DynamicMessage, Error> {
    let mut request = DynamicMessage::new(schema.input());
    let size = i32::try_from(room).unwrap_or(PAGE).clamp(1, PAGE);
    request.set_field_by_name("page_size", Field::I32(size));
    request.set_field_by_name("page_token", Field::String(token.to_owned()));
    let has = |field| schema.input().get_field_by_name(field).is_some();
    if has("parent") {
        request.set_field_by_name("parent", Field::String("providers/-".to_owned()));
    }
    match (query.filter, has("filter")) {
        ("", _) => {}
        (_, false) => return Err(Error::NotOffered { kind: kind.word(), what: "filtered" }),
        (filter, true) => request.set_field_by_name("filter", Field::String(filter.to_owned())),
    }
    match (query.revision, has("at_revision")) {
        (0, _) => {}
        (_, false) => return Err(Error::NotOffered { kind: kind.word(), what: "seen as of an earlier revision" }),
        (revision, true) => request.set_field_by_name("at_revision", Field::U64(revision)),
    }
    Ok(request)
}

/// One resource, shown.
pub(super) fn one(session: &Session, kind: &Kind, resource: &Value) -> Result<Done, Error> {
    let names = Some(named(resource).to_owned());
    Ok(Done::with(session.view.show(resource, names, || table(kind, std::slice::from_ref(resource)))?))
}

/// Several of them, shown.
pub(super) fn many(session: &Session, kind: &Kind, resources: Vec<Value>) -> Result<Done, Error> {
    let names: Vec<String> =
        resources.iter().map(|one| named(one).to_owned()).filter(|name| !name.is_empty()).collect();
    let text =
        if resources.is_empty() { format!("There are no {}.\n", kind.several()) } else { table(kind, &resources) };
    let all = Value::Object(Map::from_iter([(kind.collection.to_owned(), Value::Array(resources))]));
    Ok(Done::with(session.view.show(&all, names, || text)?))
}

fn table(kind: &Kind, resources: &[Value]) -> String {
    let header: Vec<&'static str> = kind.columns.iter().map(|column| column.0).collect();
    Table::wide(&header, resources.iter().map(|resource| kind.row(resource))).to_string()
}

impl Delete {
    /// Removes a resource.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn run(&self, session: &Session) -> Result<Done, Error> {
        let Named { kind, name } = Named::read(&self.kind, self.name.as_deref())?;
        let kind = kind.0;
        let name = name.ok_or(Error::NotOffered { kind: kind.word(), what: "removed all at once: name one" })?;
        let method = format!("{}/Delete{}", kind.service, kind.singular);
        let Ok(schema) = control::find(&method) else {
            return Err(Error::NotOffered { kind: kind.word(), what: "removed" });
        };
        let request = self.request(session, kind, &schema, &name)?;
        let wait = self.wait.filter(|_| !self.dry_run);
        let answer = session.control.call_for(&method, &request, wait.unwrap_or_default()).await?;
        let value = view::json(answer.message());
        if schema.output().name() != "DeleteResponse" {
            // Nothing but the control plane itself knew it.
            let text = session.view.show(&value, Some(name.clone()), || format!("{} {name}.\n", self.verb()))?;
            return Ok(Done::with(text));
        }
        let DeleteResponse { revision, changes, rollout, .. } = answer.read()?;
        let text = session.view.show(&value, outcome::names(&value), || {
            let head = apply::head(revision, changes.is_empty(), self.dry_run, "removed as");
            head + &outcome::describe(&value, session.paint())
        })?;
        match rollout {
            Some(rollout) => Ok(fleet::add(session, Done::with(text), &rollout)),
            None => Ok(fleet::after(session, Done::with(text), revision, wait).await),
        }
    }

    fn verb(&self) -> &'static str {
        if self.dry_run { "Would remove" } else { "Removed" }
    }

    fn request(
        &self,
        session: &Session,
        kind: &Kind,
        schema: &MethodDescriptor,
        name: &str,
    ) -> Result<DynamicMessage, Error> {
        let mut request = DynamicMessage::new(schema.input());
        let has = |field| schema.input().get_field_by_name(field).is_some();
        request.set_field_by_name("name", Field::String(name.to_owned()));
        request.set_field_by_name("validate_only", Field::Bool(self.dry_run));
        request.set_field_by_name("allow_missing", Field::Bool(self.allow_missing));
        if has("request_id") {
            request.set_field_by_name("request_id", Field::String(session.request_id()));
        }
        match (self.force, has("force")) {
            (false, _) => {}
            (true, true) => request.set_field_by_name("force", Field::Bool(true)),
            (true, false) => return Err(Error::NotOffered { kind: kind.word(), what: "removed with --force" }),
        }
        let field = schema.input().get_field_by_name("wait");
        let length = field.and_then(|field| field.kind().as_message().cloned()).map(DynamicMessage::new);
        if let (Some(wait), Some(mut length), false) = (self.wait.map(moment::proto), length, self.dry_run) {
            length.set_field_by_name("seconds", Field::I64(wait.seconds));
            length.set_field_by_name("nanos", Field::I32(wait.nanos));
            request.set_field_by_name("wait", Field::Message(length));
        }
        Ok(request)
    }
}
