//! The control plane's one table of errors: which gRPC code, which reason and details (AIP-193), which words. It is the only place
//! that makes a status, and the place where an inner failure is logged.

use std::{collections::HashMap, time::Duration};

use signalbox_proto::admin::v1::Role;
use signalbox_routing::{Fault, Finding, Kind, ResourceName, Revision};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, PreconditionViolation, StatusExt as _};

use super::{Denied, Error, Places, Violation, Who};
use crate::{
    ledger::{self, Owned, PastError, Referenced, Refused},
    store,
    tokens::Unusable,
};

mod foreign;
mod over_http;

pub(crate) use foreign::code_name;
pub(crate) use over_http::http_status;

/// Who says so, in every ErrorInfo.
const DOMAIN: &str = "signalbox.dev";

/// Details that are listed at most: they travel in a header, and some clients take no more than 16 KiB of those.
const MAX_LISTED: usize = 20;

/// Longest description of one of them, in characters.
const MAX_DESCRIPTION: usize = 240;

/// How long to wait before a call that came while the control plane was going away is worth repeating.
const RETRY: Duration = Duration::from_secs(1);

const TOKEN_PLACE: &str = "the token is in the file `admin-token` of the control plane's data folder, \
     or where --admin-token-file or SIGNALBOX_ADMIN_TOKEN says";

/// What to do about a resource that was changed by somebody else.
const STALE: &str = "it was changed since: read it again and repeat the change";

/// What to do about a token that is not enough.
const ASK_FOR_ANOTHER: &str = "whoever has ROLE_ADMIN can make another token";

/// What an operator is told.
struct Answer {
    code: Code,
    /// For programs, in upper snake case.
    reason: &'static str,
    /// What more programs may want to know.
    metadata: HashMap<String, String>,
    message: String,
    details: ErrorDetails,
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let Answer { code, reason, metadata, message, mut details } = answer(error);
        details.set_error_info(reason, DOMAIN, metadata);
        Self::with_error_details(code, message, details)
    }
}

impl From<Violation> for Status {
    fn from(violation: Violation) -> Self {
        Error::from(violation).into()
    }
}

fn answer(error: Error) -> Answer {
    match error {
        Error::Denied(denied) => deny(&denied),
        Error::RoleTooLow { role, needed } => role_too_low(role, needed),
        Error::Request(violations) => invalid(violations),
        Error::NotFound { resource_type, name } => not_found(resource_type, &name),
        Error::Stopping => later("SHUTTING_DOWN", error.to_string()),
        Error::Task(error) => internal(&error),
        Error::Past(error) => past(&error),
        Error::Answer(error) => internal(&error),
        Error::NotRestorable { revision, findings } => not_restorable(revision, &findings),
        Error::SecretsOfThePast { .. } => plain(Code::FailedPrecondition, "SECRETS_NOT_KEPT", error.to_string()),
        Error::Taken { resource_type, ref name } => {
            let answer = plain(Code::AlreadyExists, "ALREADY_EXISTS", error.to_string());
            of(answer, resource_type, name, "update it, or choose another")
        }
        Error::Stale { resource_type, ref name, .. } => {
            of(plain(Code::Aborted, "ETAG_MISMATCH", cut(&error.to_string())), resource_type, name, STALE)
        }
        Error::Token(error) => internal(&error),
        Error::Write { source, places } => unwritten(source, &places),
        Error::Http(refused) => over_http::answer(refused),
        Error::Foreign(foreign) => foreign::answer(foreign),
    }
}

fn past(error: &PastError) -> Answer {
    match error {
        PastError::NotKept { revision, .. } => {
            let name = format!("revisions/{revision}");
            let mut answer = plain(Code::NotFound, "REVISION_NOT_KEPT", error.to_string());
            answer.details.set_resource_info(typed("Revision"), name, "", "--keep-revisions says how many are kept");
            answer
        }
        PastError::Storage(error) => not_stored(error),
        PastError::Closed => later("SHUTTING_DOWN", error.to_string()),
        PastError::Name(_) | PastError::Unreadable { .. } | PastError::Unservable(_) | PastError::Damaged { .. } => {
            internal(error)
        }
    }
}

/// The request is as it should be; what was right then is not now.
fn not_restorable(revision: Revision, findings: &[Finding]) -> Answer {
    let violations: Vec<_> = findings.iter().map(|finding| Places::default().violation(finding)).collect();
    let first = summary(violations.iter().map(|violation| (&violation.field, &violation.description)));
    let message = format!(
        "revision {revision} cannot be brought back as it was: {first}; name fewer or more `kinds`, or set \
         `restore_secrets` where a secret is missing"
    );
    let violation = |Violation { field, reason, description }| PreconditionViolation::new(reason, field, description);
    let violations = violations.into_iter().map(violation).collect();
    precondition(Code::FailedPrecondition, "NOT_RESTORABLE", message, violations)
}

fn deny(denied: &Denied) -> Answer {
    let unauthenticated = |reason, message| plain(Code::Unauthenticated, reason, message);
    match denied {
        Denied::Missing => {
            let message = format!("send `authorization: Bearer <admin token>`: {TOKEN_PLACE}");
            unauthenticated("ADMIN_TOKEN_MISSING", message)
        }
        Denied::Wrong => {
            let message = format!("the bearer token is no admin token: {TOKEN_PLACE}");
            unauthenticated("ADMIN_TOKEN_WRONG", message)
        }
        Denied::Unusable { why, .. } => {
            let reason = match why {
                Unusable::Disabled => "ADMIN_TOKEN_DISABLED",
                Unusable::Expired => "ADMIN_TOKEN_EXPIRED",
            };
            unauthenticated(reason, format!("{denied}: {ASK_FOR_ANOTHER}"))
        }
        Denied::Stranger { .. } => {
            unauthenticated("CERTIFICATE_UNKNOWN", format!("{}: {ASK_FOR_ANOTHER}", cut(&denied.to_string())))
        }
        Denied::Certificate(_) => unauthenticated("CERTIFICATE_INVALID", denied.to_string()),
        Denied::TooMany { retry } => {
            let message = format!("{denied}: nothing from there is looked at for {} s", retry.as_secs() + 1);
            let mut answer = plain(Code::ResourceExhausted, "TOO_MANY_ATTEMPTS", message);
            answer.details.set_retry_info(Some(*retry));
            answer
        }
    }
}

/// It says nothing of whether what was asked for is there.
fn role_too_low(role: Role, needed: Who) -> Answer {
    let names: Vec<_> = needed.roles().iter().map(|role| role.as_str_name()).collect();
    let message =
        format!("this takes {}, and the caller has {}: {ASK_FOR_ANOTHER}", names.join(" or "), role.as_str_name());
    let least = names.first().copied().unwrap_or_default();
    let metadata = [("role", role.as_str_name()), ("needed", least)];
    let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    Answer { metadata, ..plain(Code::PermissionDenied, "ROLE_TOO_LOW", message) }
}

fn unwritten(error: ledger::Error, places: &Places) -> Answer {
    match error {
        ledger::Error::Refused(refused) => refuse(refused, places),
        ledger::Error::Name(error) => invalid(vec![Violation::new("name", "INVALID_NAME", error)]),
        ledger::Error::Invalid(findings) => found(&findings, places),
        ledger::Error::Referenced(referenced) => in_use(&referenced),
        ledger::Error::ForeignWriter { .. } => {
            let message = error.to_string();
            tracing::error!(error = %message, "write refused");
            plain(Code::FailedPrecondition, "FOREIGN_WRITER", message)
        }
        ledger::Error::HistoryForked { .. } => plain(Code::FailedPrecondition, "HISTORY_FORKED", error.to_string()),
        ledger::Error::Undecided { .. } => {
            tracing::error!(error = &error as &dyn std::error::Error, "commit undecided");
            later("COMMIT_UNDECIDED", error.to_string())
        }
        ledger::Error::Storage(error) => not_stored(&error),
        ledger::Error::Unreadable { .. } | ledger::Error::Seal(_) => internal(&error),
        ledger::Error::RequestReused { .. } => {
            let rule = format!("{error}: repeat a call as it was, or give it an id of its own");
            invalid(vec![Violation::new("request_id", "REQUEST_ID_REUSED", rule)])
        }
        ledger::Error::Closed => later("SHUTTING_DOWN", error.to_string()),
    }
}

fn not_stored(error: &store::Error) -> Answer {
    let nothing_changed = || {
        tracing::error!(error = error as &dyn std::error::Error, "nothing was written");
        format!("{error}; nothing has changed, and the control plane's log says more")
    };
    match error {
        store::Error::Full(_) => plain(Code::ResourceExhausted, "STORAGE_FULL", nothing_changed()),
        store::Error::ReadOnly(_) => plain(Code::FailedPrecondition, "STORAGE_READ_ONLY", nothing_changed()),
        store::Error::Busy(_) => later("STORAGE_BUSY", nothing_changed()),
        store::Error::Open { .. }
        | store::Error::InUse { .. }
        | store::Error::LockFile { .. }
        | store::Error::Network { .. }
        | store::Error::Exists { .. }
        | store::Error::File { .. }
        | store::Error::NotText { .. }
        | store::Error::NotWhole { .. }
        | store::Error::Changed { .. }
        | store::Error::Disk(_)
        | store::Error::Damaged(_)
        | store::Error::Taken { .. }
        | store::Error::Statement(_)
        | store::Error::Number { .. }
        | store::Error::Digest(_) => internal(error),
    }
}

/// What went wrong inside is for the log.
fn internal(error: &(dyn std::error::Error + 'static)) -> Answer {
    tracing::error!(error, "nothing was written");
    let message = "the control plane failed; nothing has changed, and its log says why";
    plain(Code::Internal, "INTERNAL", message.to_owned())
}

fn refuse(refused: Refused, places: &Places) -> Answer {
    let message = refused.to_string();
    match refused {
        Refused::NotFound(name) => not_found(resource_type(name.kind()), name.as_str()),
        Refused::AlreadyExists(name) => {
            about(plain(Code::AlreadyExists, "ALREADY_EXISTS", message), &name, "update it, or choose another id")
        }
        Refused::Etag { name, .. } => about(plain(Code::Aborted, "ETAG_MISMATCH", cut(&message)), &name, STALE),
        Refused::Revision { current, .. } => {
            let advice = format!("look at what has changed, then repeat with expected_revision {current}");
            let violation = PreconditionViolation::new("REVISION_MISMATCH", "expected_revision", advice);
            precondition(Code::Aborted, "REVISION_MISMATCH", message, vec![violation])
        }
        Refused::TooManyDeletes { names, .. } => {
            let message = format!("{message}, by max_deletes: {}", listed(&names));
            let violation = |name| PreconditionViolation::new("TOO_MANY_DELETES", name, "would be removed");
            let violations = names.iter().map(ResourceName::as_str).map(violation).collect();
            precondition(Code::FailedPrecondition, "TOO_MANY_DELETES", message, violations)
        }
        Refused::Owned(owned) => owned_by_others(&owned),
        Refused::Invalid(findings) => found(&findings, places),
    }
}

/// A reference to something that is not there may be right in another state; everything else is wrong in any.
fn found(findings: &[Finding], places: &Places) -> Answer {
    let violations: Vec<_> = findings.iter().map(|finding| places.violation(finding)).collect();
    if !findings.iter().all(|finding| matches!(finding.fault, Fault::Dangling(_))) {
        return invalid(violations);
    }
    let message = summary(violations.iter().map(|violation| (&violation.field, &violation.description)));
    let violation = |Violation { field, reason, description }| {
        PreconditionViolation::new(reason, field, format!("{description}: make it first, or apply both together"))
    };
    let violations = violations.into_iter().map(violation).collect();
    precondition(Code::FailedPrecondition, "DANGLING_REFERENCE", message, violations)
}

fn invalid(violations: Vec<Violation>) -> Answer {
    let reason = violations.first().map_or("INVALID_ARGUMENT", |violation| violation.reason);
    let message = summary(violations.iter().map(|violation| (&violation.field, &violation.description)));
    let field_violation =
        |Violation { field, reason: _, description }| FieldViolation::new(cut(&field), cut(&description));
    let listed: Vec<_> = violations.into_iter().take(MAX_LISTED).map(field_violation).collect();
    Answer { details: ErrorDetails::with_bad_request(listed), ..plain(Code::InvalidArgument, reason, message) }
}

fn in_use(referenced: &[Referenced]) -> Answer {
    let violation = |Referenced { name, by }: &Referenced| {
        let own = by.iter().all(|by| by.parent().as_ref() == Some(name));
        let advice = if own { "remove those first, or set `force`" } else { "change or remove those first" };
        PreconditionViolation::new("REFERENCED", name.as_str(), format!("is in use: {advice}: {}", listed(by)))
    };
    let violations: Vec<_> = referenced.iter().map(violation).collect();
    let message = summary(violations.iter().map(|violation| (&violation.subject, &violation.description)));
    precondition(Code::FailedPrecondition, "REFERENCED", message, violations)
}

fn owned_by_others(owned: &[Owned]) -> Answer {
    let violation = |Owned { name, label, given, current }: &Owned| {
        let description = format!(
            "has the label {label}={current}, not {given}: leave it to its owner, or change its label with an update first"
        );
        PreconditionViolation::new("OTHER_OWNER", name.as_str(), description)
    };
    let violations: Vec<_> = owned.iter().map(violation).collect();
    let message = summary(violations.iter().map(|violation| (&violation.subject, &violation.description)));
    precondition(Code::FailedPrecondition, "OTHER_OWNER", message, violations)
}

fn plain(code: Code, reason: &'static str, message: String) -> Answer {
    Answer { code, reason, metadata: HashMap::new(), message, details: ErrorDetails::new() }
}

fn later(reason: &'static str, message: String) -> Answer {
    let mut answer = plain(Code::Unavailable, reason, message);
    answer.details.set_retry_info(Some(RETRY));
    answer
}

fn precondition(code: Code, reason: &'static str, message: String, violations: Vec<PreconditionViolation>) -> Answer {
    let cut_short = |violation: PreconditionViolation| PreconditionViolation {
        description: cut(&violation.description),
        ..violation
    };
    let listed: Vec<_> = violations.into_iter().take(MAX_LISTED).map(cut_short).collect();
    Answer { details: ErrorDetails::with_precondition_failure(listed), ..plain(code, reason, message) }
}

fn not_found(resource_type: &'static str, name: &str) -> Answer {
    let name = cut(name);
    let mut answer = plain(Code::NotFound, "NOT_FOUND", format!("`{name}` does not exist"));
    answer.details.set_resource_info(typed(resource_type), name, "", "a list of its collection says what there is");
    answer
}

fn about(answer: Answer, name: &ResourceName, advice: &str) -> Answer {
    of(answer, resource_type(name.kind()), name.as_str(), advice)
}

fn of(mut answer: Answer, resource_type: &str, name: &str, advice: &str) -> Answer {
    answer.details.set_resource_info(typed(resource_type), name, "", advice);
    answer
}

fn typed(resource_type: &str) -> String {
    format!("{DOMAIN}/{resource_type}")
}

/// What a kind is called in a ResourceInfo.
pub(crate) const fn resource_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Settings => "Settings",
        Kind::Provider => "Provider",
        Kind::Credential => "Credential",
        Kind::ClientKey => "ClientKey",
        Kind::Redirect => "Redirect",
        Kind::Route => "Route",
    }
}

/// The first of them in full, and how many more there are.
fn summary<'a>(mut violations: impl ExactSizeIterator<Item = (&'a String, &'a String)>) -> String {
    let Some((subject, description)) = violations.next() else { return String::new() };
    let first = format!("{}: {}", cut(subject), cut(description));
    match violations.len() {
        0 => first,
        more => format!("{first} (and {more} more)"),
    }
}

fn listed(names: &[ResourceName]) -> String {
    let first: Vec<_> = names.iter().take(MAX_LISTED).map(|name| format!("`{name}`")).collect();
    match names.len().saturating_sub(MAX_LISTED) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_DESCRIPTION) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}
