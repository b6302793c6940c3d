//! AIP-164, as this API has it: a delete is final at once, so that a deleted key is refused from then on, and its id is free again.

use super::*;

#[tokio::test]
async fn what_is_deleted_is_gone_at_once_and_its_id_is_free() {
    let app = Running::with_base().await;
    for kind in &KINDS {
        kind.made(&app, "an-id").await;
        let name = json!({"name": kind.name("an-id")});
        app.call(&kind.method("Delete"), name.clone()).await.unwrap();
        assert_eq!(app.call(&kind.method("Get"), name).await.unwrap_err().code(), Code::NotFound);
        let list = app.call(&kind.list(), list_of(kind)).await.unwrap();
        assert!(!list.to_string().contains("an-id"), "{list}");
        kind.made(&app, "an-id").await;
    }
    assert!(methods().iter().all(|method| !method.name().starts_with("Undelete")));
    app.stop().await;
}

fn list_of(kind: &KindOf) -> Value {
    if kind.parent.is_empty() { json!({}) } else { json!({"parent": kind.parent}) }
}
