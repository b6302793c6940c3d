//! How stories look at what an operator is refused: the precise error, and that no revision was made.

use futures_util::future::LocalBoxFuture;
use signalbox_tests::Admin;
use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;

/// Whether an error names this field or subject and holds these words.
#[track_caller]
pub(crate) fn names(status: &Status, code: Code, subject: &str, words: &str) {
    assert_eq!(status.code(), code, "{status}");
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo: {status}"));
    assert_eq!(info.domain, "signalbox.dev");
    assert!(info.reason.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'), "{}", info.reason);
    let mut named: Vec<(String, String)> = Vec::new();
    if let Some(bad_request) = details.bad_request() {
        named.extend(bad_request.field_violations.iter().map(|v| (v.field.clone(), v.description.clone())));
    }
    if let Some(failure) = details.precondition_failure() {
        named.extend(failure.violations.iter().map(|v| (v.subject.clone(), v.description.clone())));
    }
    if let Some(resource) = details.resource_info() {
        named.push((resource.resource_name.clone(), resource.description.clone()));
    }
    let found = named.iter().any(|(field, description)| {
        field == subject && (description.contains(words) || status.message().contains(words))
    });
    assert!(found, "neither `{subject}` nor `{words}`: {named:?}, {status}");
}

/// The error of a call that must fail and make no revision. On the heap, as a whole provider may be in the call.
pub(crate) fn refused<'a, T: std::fmt::Debug>(
    admin: &'a Admin,
    call: impl Future<Output = Result<Response<T>, Status>> + 'a,
) -> LocalBoxFuture<'a, Status> {
    Box::pin(async move {
        let before = admin.revision().await;
        let status = call.await.expect_err("this must be refused");
        assert_eq!(admin.revision().await, before, "a refused call made a revision: {status}");
        status
    })
}
