//! The history, over gRPC: what each revision changed and how far it has come, and the way back. It decides nothing about
//! configurations itself: the ledger does.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use prost_types::FieldMask;
use signalbox_proto::{
    DESCRIPTORS,
    admin::v1::{
        Change, GetRevisionRequest, ListRevisionsRequest, ListRevisionsResponse, Revision, RollbackConfigRequest,
        RollbackConfigResponse, change::Kind, revision_service_server::RevisionService,
    },
};
use signalbox_routing::{self as routing, Fault, Kind as ResourceKind};
use tonic::{Request, Response, Status};

use super::{
    apply::{changes, findings},
    error::{Error, Places, Violation},
    filter::Filter,
    page::{self, Asked, Listing, Page},
    verbs::{Call, Verbs},
};
use crate::{
    impact::{field_changes, with_secrets},
    ledger::{self, Entry, PastChange, PastError, PastRevision, Refused, Written},
    message::differing_fields,
    secrets::top_level,
    state::State,
};

mod rollback;

use rollback::Rollback;

const COLLECTION: &str = "revisions";

/// Revisions that are looked at in one go where a filter leaves some out.
const CHUNK: usize = 200;

#[tonic::async_trait]
impl RevisionService for Verbs {
    async fn get_revision(&self, request: Request<GetRevisionRequest>) -> Result<Response<Revision>, Status> {
        let GetRevisionRequest { name } = request.into_inner();
        Ok(Response::new(self.revision(&name).await?))
    }

    async fn list_revisions(
        &self,
        request: Request<ListRevisionsRequest>,
    ) -> Result<Response<ListRevisionsResponse>, Status> {
        let ListRevisionsRequest { page_size: size, page_token: token, filter } = request.into_inner();
        Ok(Response::new(self.revisions(&Asked { size, token, filter, at_revision: 0 }).await?))
    }

    async fn rollback_config(
        &self,
        request: Request<RollbackConfigRequest>,
    ) -> Result<Response<RollbackConfigResponse>, Status> {
        let call = Call::of(&request, "RevisionService/RollbackConfig");
        Ok(Response::new(self.rollback(call, request.into_inner()).await?))
    }
}

impl Verbs {
    async fn revision(&self, name: &str) -> Result<Revision, Error> {
        let present = self.ledger().state().position.clone();
        let number = match name {
            "revisions/latest" => present.revision.get(),
            name => parse_number(name)?,
        };
        let (row, changes) = self.ledger().revision(number).await?;
        // Of another history no replica says anything.
        let rollout = (*row.epoch == *present.epoch).then(|| self.fleet().rollout(number, row.commit_time()));
        let changes = changes.into_iter().map(change).collect();
        Ok(Revision { changes, rollout, ..shown(&row)? })
    }

    async fn revisions(&self, asked: &Asked) -> Result<ListRevisionsResponse, Error> {
        let schema = descriptor();
        let filter = Filter::parse(&asked.filter, &schema)?;
        let epoch = Arc::clone(&self.ledger().state().position.epoch);
        let listing = Listing { collection: COLLECTION, epoch: &epoch };
        let Page { size, after, revision: _ } = Page::read(asked, listing)?;
        let unknown = |_| page::Fault::Token(COLLECTION.to_owned());
        let mut before = after.map(|number| number.parse()).transpose().map_err(unknown)?.unwrap_or(u64::MAX);
        let mut revisions = Vec::new();
        loop {
            let rows = self.ledger().revisions(before, CHUNK).await?;
            let Some(last) = rows.last() else { break };
            before = last.revision();
            for revision in self.matching(&filter, &schema, &rows).await? {
                if revisions.len() == size {
                    let last = revisions.last().map(|revision: &Revision| revision.revision.to_string());
                    let next_page_token = page::token(asked, listing, 0, &last.unwrap_or_default());
                    return Ok(ListRevisionsResponse { revisions, next_page_token });
                }
                revisions.push(revision);
            }
        }
        Ok(ListRevisionsResponse { revisions, next_page_token: String::new() })
    }

    /// Those that the filter lets through, which may ask for what they touched.
    async fn matching(
        &self,
        filter: &Filter,
        schema: &MessageDescriptor,
        rows: &[PastRevision],
    ) -> Result<Vec<Revision>, Error> {
        let all = rows.iter().map(shown).collect::<Result<Vec<_>, _>>()?;
        let (Some(latest), Some(oldest), false) = (rows.first(), rows.last(), filter.is_empty()) else {
            return Ok(all);
        };
        let mut touched = BTreeMap::<u64, Vec<Change>>::new();
        for (revision, resource) in self.ledger().touched(oldest.revision(), latest.revision()).await? {
            touched.entry(revision).or_default().push(Change { resource, ..Change::default() });
        }
        let mut matches = |revision: &Revision| {
            let changes = touched.remove(&revision.revision).unwrap_or_default();
            filter.matches(&dynamic(schema, &Revision { changes, ..revision.clone() }))
        };
        Ok(all.into_iter().filter(|revision| matches(revision)).collect())
    }

    async fn rollback(&self, call: Call, request: RollbackConfigRequest) -> Result<RollbackConfigResponse, Error> {
        let RollbackConfigRequest {
            name,
            kinds,
            restore_client_keys,
            restore_secrets,
            validate_only,
            comment,
            expected_revision,
            request_id: _,
        } = request;
        let number = parse_number(&name)?;
        let kinds = rollback::kinds(&kinds).map_err(Error::Request)?;
        let past = self.ledger().at(number).await?;
        let revision = past.position.revision;
        let replaced = self.ledger().secrets_replaced_since(revision).await?;
        let rollback = Rollback { past, replaced, kinds, restore_client_keys, restore_secrets };
        let entry = Entry { comment, rollback_of: Some(revision), ..call.entry(validate_only)? };
        let left = Arc::new(OnceLock::new());
        let not_brought_back = Arc::clone(&left);
        let edit = move |state: &State| {
            let current = state.position.revision;
            if expected_revision != 0 && expected_revision != current.get() {
                return Err(Refused::Revision { expected: expected_revision, current });
            }
            let (edits, findings) = rollback.on(state);
            drop(left.set(findings));
            Ok(edits)
        };
        let answer = move |written: &Written| RollbackConfigResponse {
            revision: written.revision.get(),
            unchanged: written.changes.is_empty(),
            changes: changes(written, validate_only),
            findings: [not_brought_back.get().cloned().unwrap_or_default(), findings(written, validate_only)].concat(),
        };
        let answered = self.answer(entry, Places::default(), edit, answer).await;
        Ok(answered.map_err(|error| not_restorable(revision, error))?.message)
    }
}

/// What the compiler says of the old content is not the request's fault; a reference that leads nowhere has words of its own.
fn not_restorable(revision: routing::Revision, error: Error) -> Error {
    match error {
        Error::Write { source: ledger::Error::Invalid(findings), places: _ }
            if !findings.iter().all(|finding| matches!(finding.fault, Fault::Dangling(_))) =>
        {
            Error::NotRestorable { revision, findings }
        }
        error => error,
    }
}

fn parse_number(name: &str) -> Result<u64, Violation> {
    let number = name.strip_prefix("revisions/").and_then(|number| number.parse().ok()).filter(|number| *number > 0);
    number.ok_or_else(|| match name {
        "" => Violation::new("name", "FIELD_REQUIRED", "is required: a name like revisions/7"),
        name => Violation::new("name", "INVALID_NAME", format_args!("`{name}` is not a name like revisions/7")),
    })
}

/// The revision as it is shown, without what it changed.
fn shown(row: &PastRevision) -> Result<Revision, PastError> {
    Ok(Revision {
        name: format!("revisions/{}", row.revision()),
        revision: row.revision(),
        epoch: row.epoch.clone(),
        digest: Bytes::copy_from_slice(&row.digest()?),
        commit_time: Some(row.commit_time().into()),
        actor: row.actor.clone(),
        source_ip: row.source_ip.clone().unwrap_or_default(),
        method: row.method.clone(),
        request_id: row.request_id.clone().unwrap_or_default(),
        comment: row.comment.clone(),
        rollback_of: row.rollback_of().unwrap_or_default(),
        change_count: row.change_count(),
        changes: Vec::new(),
        rollout: None,
    })
}

fn change(change: PastChange) -> Change {
    let PastChange { name, before, after, secrets } = change;
    let (kind, fields) = match (&before, &after) {
        (None, _) => (Kind::Create, None),
        (Some(_), None) => (Kind::Delete, None),
        (Some(before), Some(after)) => {
            let mut paths = differing_fields(&before.kept(), &after.kept());
            paths.extend(secrets.iter().map(|path| top_level(path).to_owned()));
            (Kind::Update, Some(FieldMask { paths: paths.into_iter().collect() }))
        }
    };
    let field_changes = with_secrets(field_changes(name.kind(), before.as_ref(), after.as_ref()), &secrets);
    Change { resource: name.as_str().to_owned(), kind: kind.into(), fields, field_changes }
}

fn descriptor() -> MessageDescriptor {
    #[expect(clippy::expect_used, reason = "the schemas are compiled in")]
    DESCRIPTORS.get_message_by_name("signalbox.admin.v1.Revision").expect("there is a schema of revisions")
}

fn dynamic(schema: &MessageDescriptor, revision: &Revision) -> DynamicMessage {
    let mut dynamic = DynamicMessage::new(schema.clone());
    #[expect(clippy::expect_used, reason = "the type and the descriptor are generated from one schema")]
    dynamic.transcode_from(revision).expect("a generated type has the fields of its schema");
    dynamic
}

/// What a kind's collection is called in requests and names.
const fn collection(kind: ResourceKind) -> &'static str {
    match kind {
        ResourceKind::Settings => "settings",
        ResourceKind::Provider => "providers",
        ResourceKind::Credential => "credentials",
        ResourceKind::ClientKey => "clientKeys",
        ResourceKind::Redirect => "redirects",
        ResourceKind::Route => "routes",
    }
}
