//! AIP-131 to AIP-135: the five standard methods, and what each takes and answers with.

use prost_reflect::{DynamicMessage, MethodDescriptor, Value as Field};

use super::*;

/// The HTTP verb of a method, its path, and the field that is its body.
fn http(method: &MethodDescriptor) -> (String, String, String) {
    let extension = DESCRIPTORS.get_extension_by_name("google.api.http").unwrap();
    let options = method.options();
    let rule = options.get_extension(&extension);
    let rule: &DynamicMessage = rule.as_message().unwrap();
    let body = rule.get_field_by_name("body").unwrap().as_str().unwrap().to_owned();
    let verbs = ["get", "post", "patch", "delete", "put"];
    let verb = verbs.into_iter().find(|verb| rule.has_field_by_name(verb)).unwrap();
    let path = match rule.get_field_by_name(verb).unwrap().as_ref() {
        Field::String(path) => path.clone(),
        other => panic!("{other:?} is no path"),
    };
    (verb.to_owned(), path, body)
}

#[test]
fn standard_methods_have_their_requests_answers_and_http_verbs() {
    for kind in &KINDS {
        let service = DESCRIPTORS.get_service_by_name(&format!("signalbox.admin.v1.{}Service", kind.message)).unwrap();
        let method = |name: &str| service.methods().find(|method| method.name() == name).unwrap();
        let snake = method(&format!("Create{}", kind.message)).input().get_field_by_json_name(kind.field).unwrap();
        for (verb, answer, http_verb, body) in [
            ("Get", kind.message, "get", ""),
            ("Create", kind.message, "post", snake.name()),
            ("Update", kind.message, "patch", snake.name()),
            ("Delete", "DeleteResponse", "delete", ""),
        ] {
            let name = format!("{verb}{}", kind.message);
            let method = method(&name);
            assert_eq!(method.input().name(), format!("{name}Request"));
            assert_eq!(method.output().name(), answer, "{name}");
            let (given, path, given_body) = http(&method);
            assert_eq!((given.as_str(), given_body.as_str()), (http_verb, body), "{name}");
            assert!(path.contains(kind.collection) && path.starts_with("/v1/"), "{name}: {path}");
        }
        let list = method(&format!("List{}s", kind.message));
        assert_eq!(http(&list).0, "get");
        assert!(list.input().get_field_by_name("page_size").is_some());
        assert!(list.output().get_field_by_name("next_page_token").is_some());
    }
}

#[tokio::test]
async fn what_a_create_or_an_update_returns_is_committed() {
    let app = Running::with_base().await;
    for kind in &KINDS {
        let made = kind.made(&app, "an-id").await;
        assert_eq!(text(&made, "revision"), app.revision().await.to_string());
        let renamed = app.call(&kind.method("Update"), kind.rename("an-id", "another")).await.unwrap();
        assert_eq!(text(&renamed, "revision"), app.revision().await.to_string());
        assert_eq!(app.call(&kind.method("Get"), json!({"name": kind.name("an-id")})).await.unwrap(), renamed);
        let again = app.call(&kind.method("Create"), kind.create("an-id", (kind.sound)())).await.unwrap_err();
        assert_eq!(refusal(&again), (Code::AlreadyExists, "ALREADY_EXISTS".to_owned()));
    }
    app.stop().await;
}

#[tokio::test]
async fn an_update_takes_over_what_its_mask_says() {
    let app = Running::with_base().await;
    for kind in &KINDS {
        kind.made(&app, "an-id").await;
        let update = async |resource: Value, mask: Option<&str>| {
            let resource = with(json!({"name": kind.name("an-id")}), resource);
            let mut request = json!({kind.field: resource});
            if let Some(mask) = mask {
                merge(&mut request, json!({"updateMask": mask}));
            }
            app.call(&kind.method("Update"), request).await
        };
        let labels = json!({"labels": {"team": "a"}, "displayName": "one"});
        let populated = update(labels, None).await.unwrap();
        assert_eq!((text(&populated, "displayName"), text(&populated["labels"], "team")), ("one", "a"));
        let masked = update(json!({"displayName": "two"}), Some("displayName,labels")).await.unwrap();
        assert_eq!((text(&masked, "displayName"), &masked["labels"]), ("two", &Value::Null));
        let whole = update((kind.sound)(), Some("*")).await.unwrap();
        assert_eq!(text(&whole, "displayName"), "");
        let status = update(json!({}), Some("displayNam")).await.unwrap_err();
        assert_eq!(refusal(&status), (Code::InvalidArgument, "UNKNOWN_FIELD".to_owned()));
        assert_eq!(violations(&status)[0].0, "update_mask");
    }
    app.stop().await;
}

#[tokio::test]
async fn what_is_missing_is_made_or_passed_over_only_where_that_is_asked_for() {
    let app = Running::with_base().await;
    for kind in &KINDS {
        let named = with((kind.sound)(), json!({"name": kind.name("new")}));
        let update = json!({kind.field: named});
        let delete = json!({"name": kind.name("new")});
        for (verb, request) in [("Get", &delete), ("Update", &update), ("Delete", &delete)] {
            let status = app.call(&kind.method(verb), request.clone()).await.unwrap_err();
            assert_eq!(refusal(&status), (Code::NotFound, "NOT_FOUND".to_owned()), "{} {verb}", kind.message);
            assert_eq!(resource(&status).1, kind.name("new"));
        }
        let allowed = json!({"allowMissing": true});
        let before = app.revision().await;
        let passed = app.call(&kind.method("Delete"), with(delete, allowed.clone())).await.unwrap();
        assert_eq!(text(&passed, "revision"), before.to_string());
        let made = app.call(&kind.method("Update"), with(update, allowed)).await.unwrap();
        assert_eq!(
            (text(&made, "name"), text(&made, "revision")),
            (kind.name("new").as_str(), (before + 1).to_string().as_str())
        );
    }
    app.stop().await;
}

#[tokio::test]
async fn what_has_children_is_deleted_with_them_or_not_at_all() {
    let app = Running::start().await;
    app.make_provider("parent").await;
    app.make_credential("parent", "child").await;
    let delete = json!({"name": "providers/parent"});
    let status = app.call("ProviderService/DeleteProvider", delete.clone()).await.unwrap_err();
    assert_eq!(refusal(&status), (Code::FailedPrecondition, "REFERENCED".to_owned()));
    app.call("ProviderService/DeleteProvider", with(delete, json!({"force": true}))).await.unwrap();
    let child = json!({"name": "providers/parent/credentials/child"});
    assert_eq!(app.call("CredentialService/GetCredential", child).await.unwrap_err().code(), Code::NotFound);
    app.stop().await;
}
