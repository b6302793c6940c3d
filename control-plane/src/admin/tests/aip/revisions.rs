//! AIP-162: every change is a revision that can be looked at, and gone back to by a custom method which makes a new one.

use super::*;

#[tokio::test]
async fn going_back_is_a_revision_of_its_own() {
    let app = Running::with_base().await;
    for kind in &KINDS {
        if kind.message == "ClientKey" || kind.message == "Credential" {
            // What was revoked stays so unless asked for: see the tests of the history.
            continue;
        }
        let made = kind.made(&app, "an-id").await;
        let then = text(&made, "revision").to_owned();
        app.call(&kind.method("Delete"), json!({"name": kind.name("an-id")})).await.unwrap();
        let before = app.revision().await;
        let back = json!({"name": format!("revisions/{then}")});
        let rolled = app.call("RevisionService/RollbackConfig", back).await.unwrap();
        assert_eq!(text(&rolled, "revision"), (before + 1).to_string());
        let again = app.call(&kind.method("Get"), json!({"name": kind.name("an-id")})).await.unwrap();
        assert_eq!(text(&again, "revision"), (before + 1).to_string());
        let shown = app.call("RevisionService/GetRevision", json!({"name": "revisions/latest"})).await.unwrap();
        assert_eq!((text(&shown, "revision"), text(&shown, "rollbackOf")), (text(&rolled, "revision"), then.as_str()));
    }
    let first = json!({"pageSize": 1});
    let list = app.call("RevisionService/ListRevisions", first).await.unwrap();
    assert_eq!(text(&list["revisions"][0], "revision"), app.revision().await.to_string(), "newest first");
    app.stop().await;
}
