//! Why a call to the admin API fails, as facts. What an operator is told about them is the table's business.

use std::{collections::BTreeMap, iter};

use prost::DecodeError;
use signalbox_proto::admin::v1::Role;
use signalbox_routing::{Finding, ResourceName, Revision};
use tokio::task::JoinError;

use super::{auth::Denied, filter, foreign::Foreign, http, mask, page, rights::Who};
use crate::{
    ledger::{self, PastError},
    store, tokens,
};

mod table;

pub(crate) use table::{code_name, http_status, resource_type};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It is not known who calls.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Who calls may not do this.
    #[error("the role is not enough")]
    RoleTooLow {
        /// The caller's role.
        role: Role,
        /// Whose it has to be.
        needed: Who,
    },
    /// The request itself breaks rules; never empty.
    #[error("{} fields of the request break a rule", .0.len())]
    Request(Vec<Violation>),
    /// Nothing of that name and type.
    #[error("`{name}` does not exist")]
    NotFound {
        /// The type, such as `Provider`.
        resource_type: &'static str,
        /// The full name.
        name: String,
    },
    /// The secrets of a revision that is no longer the current one.
    #[error(
        "the secrets of revision {revision} are not at hand: only those of the current one, {current}, can be exported"
    )]
    SecretsOfThePast {
        /// What was asked for.
        revision: u64,
        /// The current one.
        current: Revision,
    },
    /// What was asked for ended with the control plane.
    #[error("the control plane is shutting down")]
    Stopping,
    /// A task that was to find the answer has crashed.
    #[error("the task has ended without an answer")]
    Task(#[from] JoinError),
    /// What was asked for is not in the history, or cannot be read from it.
    #[error(transparent)]
    Past(#[from] PastError),
    /// The answer that was kept for a repetition cannot be read.
    #[error("the answer that was kept cannot be read")]
    Answer(#[from] DecodeError),
    /// What was in force at that revision cannot be any more.
    #[error("revision {revision} cannot be brought back as it was: {} fields break a rule", .findings.len())]
    NotRestorable {
        /// The revision.
        revision: Revision,
        /// Why not.
        findings: Vec<Finding>,
    },
    /// The name, or another value that must be unique, is taken.
    #[error("`{name}` exists already")]
    Taken {
        /// The type, such as `AdminToken`.
        resource_type: &'static str,
        /// The full name of what has it.
        name: String,
    },
    /// Somebody else was faster.
    #[error("the etag of `{name}` is {current}, not {given}")]
    Stale {
        /// The type, such as `AdminToken`.
        resource_type: &'static str,
        /// The full name.
        name: String,
        /// The etag that the caller holds.
        given: String,
        /// The one of the current version.
        current: String,
    },
    /// A token would be stored as none that can be read again.
    #[error(transparent)]
    Token(#[from] tokens::Error),
    /// The ledger made no revision.
    #[error("no revision was made")]
    Write {
        /// Why.
        source: ledger::Error,
        /// Where the resources were in the request.
        places: Places,
    },
    /// The request over HTTP is no call.
    #[error(transparent)]
    Http(#[from] http::Refused),
    /// A library refused it.
    #[error(transparent)]
    Foreign(#[from] Foreign),
}

/// A field of the request that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    /// The field's path in the request.
    pub(crate) field: String,
    /// The rule, in upper snake case.
    pub(crate) reason: &'static str,
    /// What is wrong, and what would be right.
    pub(crate) description: String,
}

impl Violation {
    /// A field that breaks a rule.
    pub(crate) fn new(field: impl Into<String>, reason: &'static str, description: impl ToString) -> Self {
        Self { field: field.into(), reason, description: description.to_string() }
    }

    /// A field that is not there.
    pub(crate) fn missing(field: impl Into<String>) -> Self {
        Self::new(field, "FIELD_REQUIRED", "is required")
    }
}

impl From<Violation> for Error {
    fn from(violation: Violation) -> Self {
        Self::Request(vec![violation])
    }
}

impl From<ledger::Error> for Error {
    fn from(source: ledger::Error) -> Self {
        Self::Write { source, places: Places::default() }
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        ledger::Error::from(error).into()
    }
}

impl From<page::Fault> for Error {
    fn from(fault: page::Fault) -> Self {
        match fault {
            page::Fault::Size(_) => Violation::new("page_size", "INVALID_PAGE_SIZE", fault).into(),
            page::Fault::Token(_) => Violation::new("page_token", "INVALID_PAGE_TOKEN", fault).into(),
        }
    }
}

impl From<filter::Fault> for Error {
    fn from(fault: filter::Fault) -> Self {
        Violation::new("filter", "INVALID_FILTER", fault).into()
    }
}

impl From<Vec<mask::Fault>> for Error {
    fn from(faults: Vec<mask::Fault>) -> Self {
        let violations = faults.iter().map(|fault| {
            let reason = match fault {
                mask::Fault::Unknown { .. } => "UNKNOWN_FIELD",
                mask::Fault::Inside { .. } => "FIELD_NOT_ADDRESSABLE",
                mask::Fault::TooMany(_) | mask::Fault::Star => "INVALID_FIELD_MASK",
            };
            Violation::new("update_mask", reason, fault)
        });
        Self::Request(violations.collect())
    }
}

/// Where in the request each resource was, such as `config.providers[2]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Places(BTreeMap<ResourceName, String>);

impl Places {
    /// A request that carries one resource.
    pub(crate) fn one(name: ResourceName, place: &str) -> Self {
        Self(iter::once((name, place.to_owned())).collect())
    }

    /// Notes where a resource is; the place where it was noted before, if it was.
    pub(crate) fn note(&mut self, name: ResourceName, place: String) -> Option<String> {
        self.0.insert(name, place)
    }

    /// The finding as the field of the request that it is about; a resource that is not in the request stands for itself.
    fn violation(&self, finding: &Finding) -> Violation {
        let Finding { resource, field, fault, effect: _ } = finding;
        let place = self.0.get(resource).map_or(resource.as_str(), String::as_str);
        let field = if field.is_empty() { place.to_owned() } else { format!("{place}.{field}") };
        Violation::new(field, fault.reason(), fault)
    }
}
