//! Documents that are judged and not applied.

use signalbox_proto::admin::v1::{
    Redirect, ValidateConfigRequest, ValidateConfigResponse, apply_config_request::Mode, change::Kind,
};

use super::{
    documents::{everything, key, labels, listing, merge, redirect, told},
    *,
};

async fn validated(app: &Running, request: ValidateConfigRequest) -> ValidateConfigResponse {
    app.config().validate_config(request).await.unwrap().into_inner()
}

fn judge(config: Config) -> ValidateConfigRequest {
    ValidateConfigRequest { config: Some(config), ..ValidateConfigRequest::default() }
}

#[tokio::test]
async fn everything_that_is_wrong_is_said_at_once_and_nothing_that_only_follows_from_it() {
    let app = Running::start().await;
    let before = app.revision().await;
    let config = Config {
        providers: vec![
            Provider { base_url: "nonsense".to_owned(), ..listing("bad", &[]) },
            Provider { display_name: "x".repeat(300), ..listing("long", &[]) },
            listing("fine", &[]),
            provider(),
        ],
        client_keys: vec![ClientKey { imported: None, ..key("new", &[]) }],
        redirects: vec![
            redirect("follows", "a", &["bad:m"]),
            redirect("dangles", "b", &["nobody:m"]),
            Redirect { from: String::new(), ..redirect("empty", "", &["fine:m"]) },
        ],
        ..Config::default()
    };
    let answer = validated(&app, judge(config)).await;
    let mut found: Vec<String> = answer
        .findings
        .iter()
        .map(|finding| format!("{} {} {} {}", finding.resource, finding.field, finding.code, finding.blocking))
        .collect();
    found.sort();
    assert_eq!(
        found,
        [
            " config.providers[3].name FIELD_REQUIRED true",
            "clientKeys/new import_secret FIELD_REQUIRED true",
            "providers/bad base_url INVALID_URL true",
            "providers/long display_name OUT_OF_RANGE true",
            "redirects/dangles targets[0].provider DANGLING_REFERENCE true",
            "redirects/empty from FIELD_REQUIRED true",
        ]
    );
    assert!(answer.changes.is_empty(), "it could not be applied");
    assert_eq!((answer.revision, app.revision().await), (before, before));
    app.stop().await;
}

#[tokio::test]
async fn a_sound_document_is_said_to_change_what_applying_it_changes() {
    let app = Running::start().await;
    app.apply(merge(everything())).await.unwrap();
    let config = Config { providers: vec![listing("a", &["gpt-4o"])], ..Config::default() };
    let answer = validated(&app, judge(config.clone())).await;
    let dry = app.apply(ApplyConfigRequest { validate_only: true, ..merge(config) }).await.unwrap();
    assert_eq!(answer.changes, dry.changes);
    assert!(dry.findings.iter().all(|finding| answer.findings.contains(finding)));
    assert!(!answer.changes[0].field_changes.is_empty());
    assert_eq!(answer.revision, dry.revision);

    let secretless = everything();
    assert!(validated(&app, judge(secretless)).await.changes.is_empty(), "everything is as wanted");
    app.stop().await;
}

#[tokio::test]
async fn pruning_is_judged_with_what_would_go() {
    let app = Running::start().await;
    let owned = ApplyConfigRequest {
        owner_labels: labels(&[("team", "a")]),
        ..merge(Config { providers: vec![listing("one", &[]), listing("two", &[])], ..Config::default() })
    };
    app.apply(owned).await.unwrap();
    let config = Config { providers: vec![listing("one", &[])], ..Config::default() };
    let prune = |config| ValidateConfigRequest {
        mode: Mode::Prune.into(),
        owner_labels: labels(&[("team", "a")]),
        ..judge(config)
    };
    let answer = validated(&app, prune(config.clone())).await;
    let gone: Vec<_> = answer.changes.iter().map(|change| (change.resource.as_str(), change.kind())).collect();
    assert_eq!(gone, [("providers/two", Kind::Delete)]);

    app.apply(merge(Config { redirects: vec![redirect("r", "m", &["two"])], ..Config::default() })).await.unwrap();
    let held = validated(&app, prune(config)).await;
    assert_eq!(told(&held.findings), ["providers/two REFERENCED: `providers/two` is in use by `redirects/r`"]);
    let status = app.config().validate_config(ValidateConfigRequest::default()).await.unwrap_err();
    assert_eq!(violations(&status)[0].0, "config");
    let ownerless = ValidateConfigRequest { owner_labels: labels(&[]), ..prune(Config::default()) };
    let status = app.config().validate_config(ownerless).await.unwrap_err();
    assert_eq!(violations(&status)[0].0, "owner_labels");
    app.stop().await;
}

#[tokio::test]
async fn a_document_on_its_own_knows_nothing_of_what_is_there() {
    let app = Running::start().await;
    app.apply(merge(everything())).await.unwrap();
    let alone = |config| ValidateConfigRequest { standalone: true, ..judge(config) };
    let borrowed = Config { redirects: vec![redirect("r", "m", &["a:gpt-4o"])], ..Config::default() };
    let answer = validated(&app, alone(borrowed.clone())).await;
    assert_eq!(told(&answer.findings), ["redirects/r DANGLING_REFERENCE: `providers/a` does not exist"]);
    assert!(validated(&app, judge(borrowed)).await.findings.iter().all(|finding| !finding.blocking));
    let whole = validated(&app, alone(everything())).await;
    assert!(whole.findings.is_empty(), "{:?}", whole.findings);
    assert_eq!(whole.changes.len(), 10);
    app.stop().await;
}

#[tokio::test]
async fn an_empty_document_says_what_is_the_matter_with_what_is_live() {
    let app = Running::start().await;
    let mut config = everything();
    config.client_keys.push(key("lost", &["nobody/has-this"]));
    config.providers[0].disabled = true;
    app.apply(merge(config)).await.unwrap();
    let answer = validated(&app, judge(Config::default())).await;
    assert_eq!(
        told(&answer.findings),
        [
            "redirects/all NO_USABLE_TARGET: redirect all has no usable target: `fast` is answered 404",
            "redirects/team NO_USABLE_TARGET: redirect team has no usable target: `fast` is answered 404",
        ]
    );
    let settings =
        signalbox_proto::admin::v1::Settings { default_provider: String::new(), ..everything().settings.unwrap() };
    app.apply(merge(Config { settings: Some(settings), ..Config::default() })).await.unwrap();
    let answer = validated(&app, judge(Config::default())).await;
    let found = told(&answer.findings);
    let expected = "clientKeys/lost NO_USABLE_MODEL: client key lost has no usable model";
    assert!(found.iter().any(|found| found == expected), "{found:#?}");
    app.stop().await;
}
