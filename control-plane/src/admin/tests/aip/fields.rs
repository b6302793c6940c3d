//! AIP-203: the schemas say of every field of a request whether it may be left out, or is not the caller's to set.

use std::collections::BTreeSet;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor, Value as Field};

use super::*;

fn behaviors(field: &FieldDescriptor) -> Vec<i32> {
    let extension = DESCRIPTORS.get_extension_by_name("google.api.field_behavior").unwrap();
    let options = field.options();
    let list = options.get_extension(&extension);
    list.as_list().unwrap().iter().filter_map(Field::as_enum_number).collect()
}

const OUTPUT_ONLY: i32 = 3;

/// The fields that a caller may set, in this message and those in it.
fn walk(message: &MessageDescriptor, seen: &mut BTreeSet<String>, silent: &mut Vec<String>) {
    let known = message.package_name().starts_with("signalbox.") || message.is_map_entry();
    if !known || !seen.insert(message.full_name().to_owned()) {
        return;
    }
    for field in message.fields() {
        let behaviors = behaviors(&field);
        if behaviors.is_empty() && !message.is_map_entry() {
            silent.push(field.full_name().to_owned());
        }
        if let (Kind::Message(inner), false) = (field.kind(), behaviors.contains(&OUTPUT_ONLY)) {
            walk(&inner, seen, silent);
        }
    }
}

#[test]
fn every_field_of_a_request_says_how_it_is_meant() {
    let (mut seen, mut silent) = (BTreeSet::new(), Vec::new());
    for method in methods() {
        walk(&method.input(), &mut seen, &mut silent);
    }
    assert!(seen.len() > 50, "requests were walked through");
    assert!(silent.is_empty(), "{silent:?}");
}

#[tokio::test]
async fn what_is_required_is_asked_for_by_name_and_what_is_ours_is_ignored() {
    let app = Running::with_base().await;
    for kind in &KINDS {
        let ours = json!({"revision": "77", "etag": "", "createTime": "2001-01-01T00:00:00Z", "updateTime": "2001-01-01T00:00:00Z"});
        let made = app.call(&kind.method("Create"), kind.create("an-id", with((kind.sound)(), ours))).await.unwrap();
        assert_ne!((text(&made, "revision"), text(&made, "createTime")), ("77", "2001-01-01T00:00:00Z"));
        let mut request = kind.create("other", json!({}));
        request.as_object_mut().unwrap().remove(kind.field);
        let status = app.call(&kind.method("Create"), request).await.unwrap_err();
        assert_eq!(refusal(&status), (Code::InvalidArgument, "FIELD_REQUIRED".to_owned()));
        assert_eq!(violations(&status)[0].0.replace('_', ""), kind.field.to_lowercase());
    }
    app.stop().await;
}
