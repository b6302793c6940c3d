//! AIP-121, AIP-122, AIP-123: a resource is known by a full name that its collection, and its parent where it has one, are part of.

use super::*;

#[tokio::test]
async fn every_resource_is_named_by_its_collection_and_an_id_of_the_callers() {
    let app = Running::with_base().await;
    for kind in &KINDS {
        let made = kind.made(&app, "an-id").await;
        assert_eq!(text(&made, "name"), kind.name("an-id"));
        assert_eq!(app.call(&kind.method("Get"), json!({"name": kind.name("an-id")})).await.unwrap(), {
            let mut shown = made;
            shown.as_object_mut().unwrap().remove("secret");
            shown
        });
    }
    app.stop().await;
}

#[tokio::test]
async fn an_id_is_a_label_and_a_name_is_of_its_own_kind() {
    let app = Running::with_base().await;
    for kind in &KINDS {
        for id in ["", "Upper", "under_score", "1st", "a/b", "ü", &"x".repeat(64)] {
            let status = app.call(&kind.method("Create"), kind.create(id, (kind.sound)())).await.unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument, "{} {id:?}", kind.message);
        }
        for name in
            ["", "an-id", "settings", "providers/a/b/c/d", &kind.name("UPPER"), &format!("{}/", kind.collection)]
        {
            let status = app.call(&kind.method("Get"), json!({"name": name})).await.unwrap_err();
            assert_eq!(violations(&status)[0].0, "name", "{} {name:?}", kind.message);
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn the_name_in_a_new_resource_is_ignored() {
    let app = Running::with_base().await;
    for kind in &KINDS {
        let named = with((kind.sound)(), json!({"name": "something/else"}));
        let made = app.call(&kind.method("Create"), kind.create("an-id", named)).await.unwrap();
        assert_eq!(text(&made, "name"), kind.name("an-id"));
    }
    app.stop().await;
}
