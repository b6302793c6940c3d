//! AIP-155: a call with a request id is done once, and the id is good for that call only.

use super::*;

fn id() -> Value {
    json!({"requestId": uuid::Uuid::new_v4().to_string()})
}

/// Tokens are in no revision, and it is revisions that remember the calls that made them.
const NO_REVISION: &str = "AdminTokenService";

#[test]
fn every_call_that_makes_a_revision_takes_a_request_id() {
    let mutations = methods().into_iter().filter(|method| method.input().get_field_by_name("validate_only").is_some());
    for method in mutations.filter(|method| method.parent_service().name() != NO_REVISION) {
        assert!(method.input().get_field_by_name("request_id").is_some(), "{}", method.full_name());
    }
}

#[tokio::test]
async fn a_repeated_call_is_answered_as_the_first_was() {
    let app = Running::with_base().await;
    for kind in &KINDS {
        let create = with(kind.create("an-id", (kind.sound)()), id());
        let rename = with(kind.rename("an-id", "renamed"), id());
        let delete = with(json!({"name": kind.name("an-id")}), id());
        for (verb, request) in [("Create", &create), ("Update", &rename), ("Delete", &delete)] {
            let first = app.call(&kind.method(verb), request.clone()).await.unwrap();
            let revision = app.revision().await;
            let again = app.call(&kind.method(verb), request.clone()).await.unwrap();
            assert_eq!((first, revision), (again, app.revision().await), "{} {verb}", kind.message);
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn an_id_of_another_call_and_one_that_is_none_are_refused() {
    let app = Running::with_base().await;
    for kind in &KINDS {
        let request = with(kind.create("an-id", (kind.sound)()), id());
        app.call(&kind.method("Create"), request.clone()).await.unwrap();
        let changed = with(request.clone(), json!({kind.field: {"displayName": "another"}}));
        let delete = json!({"name": kind.name("an-id"), "requestId": request["requestId"]});
        let odd = with(request, json!({"requestId": "not-a-uuid"}));
        for (verb, request) in [("Create", changed), ("Delete", delete), ("Create", odd)] {
            let status = app.call(&kind.method(verb), request).await.unwrap_err();
            assert_eq!(refusal(&status).0, Code::InvalidArgument, "{} {verb}: {status}", kind.message);
            assert_eq!(violations(&status)[0].0, "request_id");
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn a_key_is_shown_in_the_first_answer_only() {
    let app = Running::start().await;
    let request = with(json!({"clientKeyId": "ci", "clientKey": {}}), id());
    let first = app.call("ClientKeyService/CreateClientKey", request.clone()).await.unwrap();
    let again = app.call("ClientKeyService/CreateClientKey", request).await.unwrap();
    assert_eq!((text(&first, "secret").len(), text(&again, "secret")), (52, ""));
    assert_eq!(first["displayPrefix"], again["displayPrefix"]);
    app.stop().await;
}
