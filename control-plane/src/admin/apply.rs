//! The whole configuration as one document, over gRPC: many resources brought to a wanted state in one revision.

use std::{collections::BTreeMap, sync::Arc};

use prost_types::FieldMask;
use signalbox_proto::admin::v1::{
    ApplyConfigRequest, ApplyConfigResponse, Change, Config, ExplainRouteRequest, ExplainRouteResponse,
    ExportConfigRequest, ExportConfigResponse, FieldChange, Finding, Role, ValidateConfigRequest,
    ValidateConfigResponse, apply_config_request::Mode, change::Kind, config_service_server::ConfigService,
};
use tonic::{Request, Response, Status};

use super::{
    auth::Actor,
    error::{Error, Violation},
    sealed::Sealed,
    verbs::{Call, Verbs},
};
use crate::{
    impact::{field_changes, impact, impact_of_commit, with_secrets},
    ledger::{self, Difference, DifferenceKind, Edit, Entry, Refused, Written},
    state::State,
};

mod document;
mod plan;
mod validate;

use document::Document;
use plan::Plan;

/// Largest document that is taken, in bytes: some 300,000 client keys.
pub(crate) const MAX_REQUEST_BYTES: usize = 64 * 1024 * 1024;

/// A document that is all that its owner has: whatever else carries the owner's labels goes.
#[derive(Debug)]
pub(crate) struct Whole(Plan);

/// Why a document says nothing that could be wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct InvalidDocument(Vec<String>);

impl Whole {
    /// Reads a document.
    ///
    /// # Errors
    /// [`InvalidDocument`] names every resource in it whose name is none, or comes twice.
    pub(crate) fn read(config: Config, owner_labels: BTreeMap<String, String>) -> Result<Self, InvalidDocument> {
        let Document { wanted, .. } = Document::read(config, &Arc::default()).map_err(|violations| {
            let words = |violation: Violation| {
                let field = violation.field.strip_prefix("config.").unwrap_or(&violation.field);
                format!("`{field}`: {}", violation.description)
            };
            InvalidDocument(violations.into_iter().map(words).collect())
        })?;
        Ok(Self(Plan { wanted, owner_labels, expected_revision: 0, max_deletes: Some(u32::MAX) }))
    }

    /// The edits that bring the state to what the document says.
    pub(crate) fn edits(self, state: &State) -> Result<Vec<Edit>, Refused> {
        self.0.edits(state)
    }
}

#[tonic::async_trait]
impl ConfigService for Verbs {
    async fn apply_config(
        &self,
        request: Request<ApplyConfigRequest>,
    ) -> Result<Response<ApplyConfigResponse>, Status> {
        let call = Call::of(&request, "ConfigService/ApplyConfig");
        Ok(Response::new(self.apply(call, request.into_inner()).await?))
    }

    async fn validate_config(
        &self,
        request: Request<ValidateConfigRequest>,
    ) -> Result<Response<ValidateConfigResponse>, Status> {
        Ok(Response::new(self.validate(request.into_inner()).await?))
    }

    async fn export_config(
        &self,
        request: Request<ExportConfigRequest>,
    ) -> Result<Response<ExportConfigResponse>, Status> {
        let role = request.extensions().get::<Actor>().map_or(Role::Unspecified, |actor| actor.role);
        let call = Call::looking(&request, "ConfigService/ExportConfig");
        Ok(Response::new(self.export(role, call, request.into_inner()).await?))
    }

    async fn explain_route(
        &self,
        request: Request<ExplainRouteRequest>,
    ) -> Result<Response<ExplainRouteResponse>, Status> {
        Ok(Response::new(self.explain(request.into_inner()).await?))
    }
}

impl Verbs {
    async fn apply(&self, call: Call, request: ApplyConfigRequest) -> Result<ApplyConfigResponse, Error> {
        let ApplyConfigRequest {
            config,
            mode,
            owner_labels,
            expected_revision,
            validate_only,
            comment,
            max_deletes,
            request_id: _,
            sealed,
        } = request;
        let max_deletes = prunes(mode, &owner_labels)?.then_some(max_deletes);
        let config = config.ok_or_else(|| Violation::missing("config"))?;
        let sealed = Arc::new(Sealed::open(self.ledger().export_key(), &sealed)?);
        let Document { wanted, places, .. } = Document::read(config, &sealed).map_err(Error::Request)?;
        let plan = Plan { wanted, owner_labels, expected_revision, max_deletes };
        let entry = Entry { comment, ..call.entry(validate_only)? };
        let answer = move |written: &Written| ApplyConfigResponse {
            revision: written.revision.get(),
            unchanged: written.changes.is_empty(),
            changes: changes(written, validate_only),
            findings: findings(written, validate_only),
        };
        Ok(self.answer(entry, places, move |state| plan.edits(state), answer).await?.message)
    }

    /// Where a document would lead that is merged into what there is. Nothing is committed.
    pub(super) async fn merged(&self, config: Config) -> Result<Written, Error> {
        let Document { wanted, places, .. } = Document::read(config, &Arc::default()).map_err(Error::Request)?;
        let plan = Plan { wanted, owner_labels: BTreeMap::new(), expected_revision: 0, max_deletes: None };
        self.rehearse(plan).await.map_err(|source| Error::Write { source, places })
    }

    /// Does everything but commit.
    async fn rehearse(&self, plan: Plan) -> Result<Written, ledger::Error> {
        let entry = Entry {
            actor: String::new(),
            source_ip: None,
            method: "rehearse",
            comment: String::new(),
            validate_only: true,
            request: None,
            rollback_of: None,
        };
        self.ledger().write(entry, move |state| plan.edits(state)).await
    }
}

/// What a write means for clients, or would: in a dry run with all that there is to say.
pub(super) fn findings(written: &Written, dry: bool) -> Vec<Finding> {
    let Written { before, state, changes, .. } = written;
    if dry { impact(before, state, changes) } else { impact_of_commit(before, state, changes) }
}

/// Whether what is not mentioned goes.
fn prunes(mode: i32, owner_labels: &BTreeMap<String, String>) -> Result<bool, Error> {
    if owner_labels.contains_key("") {
        return Err(Violation::new("owner_labels", "INVALID_LABEL", "a label's key may not be empty").into());
    }
    match Mode::try_from(mode) {
        Ok(Mode::Unspecified | Mode::Merge) => Ok(false),
        Ok(Mode::Prune) if owner_labels.is_empty() => {
            let rule =
                "is required with MODE_PRUNE: what carries all of these labels and is not in `config` is removed";
            Err(Violation::new("owner_labels", "FIELD_REQUIRED", rule).into())
        }
        Ok(Mode::Prune) => Ok(true),
        Err(_) => {
            let rule = format!("{mode} is no mode: MODE_MERGE or MODE_PRUNE");
            Err(Violation::new("mode", "INVALID_ENUM", rule).into())
        }
    }
}

/// What a write changed, or would; in a dry run with what the fields held and hold.
pub(super) fn changes(written: &Written, dry: bool) -> Vec<Change> {
    let change = |difference: &Difference| {
        let change = change(difference);
        if dry { Change { field_changes: fields(written, difference), ..change } } else { change }
    };
    written.changes.iter().map(change).collect()
}

fn fields(written: &Written, difference: &Difference) -> Vec<FieldChange> {
    let Difference { name, kind: _, fields: _, secrets } = difference;
    let [before, after] = [&written.before, &written.state].map(|state| state.get(name).map(|stored| stored.message()));
    with_secrets(field_changes(name.kind(), before.as_ref(), after.as_ref()), secrets)
}

fn change(difference: &Difference) -> Change {
    let Difference { name, kind, fields, secrets: _ } = difference;
    let (kind, fields) = match kind {
        DifferenceKind::Create => (Kind::Create, None),
        DifferenceKind::Update => (Kind::Update, Some(FieldMask { paths: fields.clone() })),
        DifferenceKind::Delete => (Kind::Delete, None),
    };
    Change { resource: name.as_str().to_owned(), kind: kind.into(), fields, field_changes: Vec::new() }
}
