//! Why a write made no revision.

use signalbox_routing::{Finding, InvalidName, ResourceName, Revision};
use uuid::Uuid;

use super::held;
use crate::{message::Unreadable, seal, store};

/// Why whoever asked for a write does not want it after all, given the present state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nothing of that name.
    #[error("`{0}` does not exist")]
    NotFound(ResourceName),
    /// The name is taken.
    #[error("`{0}` exists already")]
    AlreadyExists(ResourceName),
    /// Somebody else was faster.
    #[error("the etag of `{name}` is {current}, not {given}")]
    Etag {
        /// The resource.
        name: ResourceName,
        /// The etag that the caller holds.
        given: String,
        /// The one of the current version.
        current: String,
    },
    /// The whole configuration has moved on.
    #[error("the current revision is {current}, not {expected}")]
    Revision {
        /// The revision that the caller expects.
        expected: u64,
        /// The current one.
        current: Revision,
    },
    /// More would be removed than is allowed.
    #[error("{} resources would be removed, and at most {allowed} may be", .names.len())]
    TooManyDeletes {
        /// What would be removed.
        names: Vec<ResourceName>,
        /// How many may be.
        allowed: u32,
    },
    /// Somebody else looks after these.
    #[error("{} resources have another owner", .0.len())]
    Owned(Vec<Owned>),
    /// What is asked for breaks rules that depend on the present state.
    #[error("{} fields break a rule", .0.len())]
    Invalid(Vec<Finding>),
}

/// A resource that carries an owner's label with another value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` has the label {label}={current}, not {given}")]
pub struct Owned {
    /// The resource.
    pub name: ResourceName,
    /// The label's key.
    pub label: String,
    /// The value that the caller owns by.
    pub given: String,
    /// The value that is there.
    pub current: String,
}

/// A resource that cannot be removed, and what holds it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is in use by {}", list(.by))]
pub struct Referenced {
    /// The resource.
    pub name: ResourceName,
    /// What refers to it or belongs to it, by name; never empty.
    pub by: Vec<ResourceName>,
}

fn list(names: &[ResourceName]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Why a write made no revision.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller's own conditions do not hold.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// A resource's name is none.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// A message is not what its kind's schema says.
    #[error("`{name}` is no resource")]
    Unreadable {
        /// The resource.
        name: ResourceName,
        /// What is wrong with it.
        #[source]
        source: Unreadable,
    },
    /// Data planes could not serve it as written.
    #[error("{} fields break a rule", .0.len())]
    Invalid(Vec<Finding>),
    /// Something would be removed that is in use.
    #[error("{} resources are in use", .0.len())]
    Referenced(Vec<Referenced>),
    /// The request id has been used for another call.
    #[error("the request id {id} was another call's, {method}, within the last 24 hours")]
    RequestReused {
        /// The id.
        id: Uuid,
        /// The call that it was used for.
        method: String,
    },
    /// Another program has written to the database, so that what is in memory is not what is stored.
    #[error(
        "the database is at revision {file}, but this control plane at {memory}: another program writes to it; stop that one and start this one anew"
    )]
    ForeignWriter {
        /// The revision in the file.
        file: u64,
        /// The revision in memory.
        memory: u64,
    },
    /// The database is older than what was published from it.
    #[error(
        "the database is older than revision {published}, which was published from it: put the right one back, or accept \
         this one with `signalbox-control-plane adopt-history`"
    )]
    HistoryForked {
        /// The last revision that is known to have been published.
        published: Revision,
    },
    /// A revision was written, and whether it is there cannot be told yet.
    #[error(
        "the commit of revision {revision} failed, and it cannot be told yet whether it is there: look, or repeat it with its request_id"
    )]
    Undecided {
        /// The revision.
        revision: Revision,
        /// Why the commit failed.
        #[source]
        source: store::Error,
    },
    /// The store failed; nothing has changed.
    #[error("the store failed")]
    Storage(#[from] store::Error),
    /// A stored secret does not open.
    #[error(transparent)]
    Seal(#[from] seal::Error),
    /// The writer has stopped.
    #[error("the control plane is shutting down")]
    Closed,
}

impl From<held::Error> for Error {
    fn from(error: held::Error) -> Self {
        match error {
            held::Error::Seal(error) => Self::Seal(error),
            held::Error::Store(error) => Self::Storage(error),
        }
    }
}
