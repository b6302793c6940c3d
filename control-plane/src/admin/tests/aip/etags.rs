//! AIP-154: an etag that is no longer the current one ends a change with ABORTED.

use super::*;

#[tokio::test]
async fn a_change_of_a_version_that_is_gone_is_aborted() {
    let app = Running::with_base().await;
    for kind in &KINDS {
        let stale = text(&kind.made(&app, "an-id").await, "etag").to_owned();
        let renamed = app.call(&kind.method("Update"), kind.rename("an-id", "one")).await.unwrap();
        let current = text(&renamed, "etag");
        assert_ne!(stale, current);
        assert!(stale.starts_with('"') && stale.ends_with('"'), "{stale} is no strong etag");

        let update = |etag: &str| with(kind.rename("an-id", "two"), json!({kind.field: {"etag": etag}}));
        let delete = |etag: &str| json!({"name": kind.name("an-id"), "etag": etag});
        for (verb, request) in
            [("Update", update(&stale)), ("Delete", delete(&stale)), ("Delete", delete("\"made-up\""))]
        {
            for dry in [false, true] {
                let request = with(request.clone(), json!({"validateOnly": dry}));
                let status = app.call(&kind.method(verb), request).await.unwrap_err();
                assert_eq!(refusal(&status), (Code::Aborted, "ETAG_MISMATCH".to_owned()), "{} {verb}", kind.message);
            }
        }
        let renamed = app.call(&kind.method("Update"), update(current)).await.unwrap();
        app.call(&kind.method("Delete"), delete(text(&renamed, "etag"))).await.unwrap();
    }
    app.stop().await;
}

#[tokio::test]
async fn the_settings_and_a_rotation_keep_to_it_too() {
    let app = Running::start().await;
    let settings = |etag: &str| json!({"settings": {"name": "settings", "defaultProvider": "", "etag": etag}});
    let status = app.call("SettingsService/UpdateSettings", settings("\"stale\"")).await.unwrap_err();
    assert_eq!(refusal(&status), (Code::Aborted, "ETAG_MISMATCH".to_owned()));

    app.make_key("ci", ClientKey::default()).await.unwrap();
    let rotate = json!({"name": "clientKeys/ci", "etag": "\"stale\""});
    let status = app.call("ClientKeyService/RotateClientKey", rotate).await.unwrap_err();
    assert_eq!(refusal(&status), (Code::Aborted, "ETAG_MISMATCH".to_owned()));
    app.stop().await;
}
