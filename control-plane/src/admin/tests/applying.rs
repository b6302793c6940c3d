//! Whole configurations at once.

use std::collections::BTreeMap;

use signalbox_proto::{
    admin::v1::{
        Change, GetProviderRequest, ListProvidersRequest, Redirect, Settings, UpdateProviderRequest,
        apply_config_request::Mode, change::Kind, client_key::Imported,
    },
    config::v1::redirect::Target,
};

use super::*;

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn named(id: &str) -> Provider {
    Provider { name: format!("providers/{id}"), ..provider() }
}

/// The providers of owner `team=a`; what it no longer names goes.
fn owned(ids: &[&str]) -> ApplyConfigRequest {
    let config = Config { providers: ids.iter().map(|id| named(id)).collect(), ..Config::default() };
    ApplyConfigRequest {
        config: Some(config),
        mode: Mode::Prune.into(),
        owner_labels: labels(&[("team", "a")]),
        ..ApplyConfigRequest::default()
    }
}

fn merged(config: Config) -> ApplyConfigRequest {
    ApplyConfigRequest { config: Some(config), ..ApplyConfigRequest::default() }
}

fn changed(changes: &[Change]) -> Vec<(&str, Kind)> {
    changes.iter().map(|change| (change.resource.as_str(), change.kind())).collect()
}

async fn ids(app: &Running) -> Vec<String> {
    let list = app.providers().list_providers(ListProvidersRequest::default()).await.unwrap().into_inner();
    list.providers.into_iter().map(|provider| provider.name.replace("providers/", "")).collect()
}

#[tokio::test]
async fn a_whole_configuration_is_one_revision_and_applying_it_again_is_none() {
    let app = Running::start().await;
    let before = app.revision().await;
    let target = Target { provider: "a".to_owned(), model: "m".to_owned(), ..Target::default() };
    let config = Config {
        providers: vec![named("a")],
        credentials: vec![Credential { name: "providers/a/credentials/main".to_owned(), ..credential("sk-1") }],
        client_keys: vec![ClientKey {
            name: "clientKeys/ci".to_owned(),
            imported: Some(Imported::ImportSecret("ci-key".to_owned())),
            ..ClientKey::default()
        }],
        redirects: vec![Redirect {
            name: "redirects/r".to_owned(),
            from: "alias".to_owned(),
            targets: vec![target],
            ..Redirect::default()
        }],
        routes: Vec::new(),
        settings: Some(Settings { default_provider: "a".to_owned(), ..Settings::default() }),
    };
    let first = app.apply(merged(config.clone())).await.unwrap();
    assert_eq!((first.revision, first.unchanged), (before + 1, false));
    assert_eq!(first.changes.len(), 5);
    let update = first.changes.iter().find(|change| change.kind() == Kind::Update).unwrap();
    assert_eq!(update.resource, "settings");
    assert_eq!(update.fields.as_ref().unwrap().paths, ["default_provider"]);

    let again = app.apply(merged(config.clone())).await.unwrap();
    assert_eq!((again.revision, again.unchanged, again.changes.len()), (before + 1, true, 0));

    let mut known = config;
    known.credentials[0].source = None;
    known.client_keys[0].imported = None;
    assert!(app.apply(merged(known)).await.unwrap().unchanged, "secrets that are left out stay");
    app.stop().await;
}

#[tokio::test]
async fn each_resource_is_replaced_as_a_whole() {
    let app = Running::start().await;
    let full = Provider { display_name: "A".to_owned(), priority: 3, ..named("a") };
    app.apply(merged(Config { providers: vec![full], ..Config::default() })).await.unwrap();
    let answer = app.apply(merged(Config { providers: vec![named("a")], ..Config::default() })).await.unwrap();
    assert_eq!(answer.changes[0].fields.as_ref().unwrap().paths, ["display_name", "priority"]);
    app.stop().await;
}

#[tokio::test]
async fn pruning_removes_what_the_owner_no_longer_names_and_nothing_else() {
    let app = Running::start().await;
    app.make_provider("by-hand").await;
    app.apply(owned(&["one", "two", "three"])).await.unwrap();

    let status = app.apply(owned(&["one"])).await.unwrap_err();
    assert_eq!(refusal(&status), (Code::FailedPrecondition, "TOO_MANY_DELETES".to_owned()));
    assert_eq!(preconditions(&status).len(), 2);
    for part in ["2 resources", "at most 0", "`providers/three`", "`providers/two`", "max_deletes"] {
        assert!(status.message().contains(part), "{}", status.message());
    }
    assert_eq!(ids(&app).await, ["by-hand", "one", "three", "two"]);

    let dry = ApplyConfigRequest { max_deletes: 2, validate_only: true, ..owned(&["one"]) };
    let would = app.apply(dry).await.unwrap();
    let gone = [("providers/three", Kind::Delete), ("providers/two", Kind::Delete)];
    assert_eq!((changed(&would.changes), would.unchanged), (gone.to_vec(), false));
    assert_eq!(ids(&app).await.len(), 4);

    let answer = app.apply(ApplyConfigRequest { max_deletes: 2, ..owned(&["one"]) }).await.unwrap();
    assert_eq!(changed(&answer.changes), gone);
    assert_eq!(answer.revision, would.revision + 1);
    assert_eq!(ids(&app).await, ["by-hand", "one"]);
    app.stop().await;
}

#[tokio::test]
async fn owner_labels_are_put_on_and_another_owners_resource_is_left_alone() {
    let app = Running::start().await;
    app.make_provider("adopted").await;
    app.apply(owned(&["adopted"])).await.unwrap();
    let get = GetProviderRequest { name: "providers/adopted".to_owned() };
    let adopted = app.providers().get_provider(get).await.unwrap().into_inner();
    assert_eq!(adopted.labels, labels(&[("team", "a")]));

    let theirs = ApplyConfigRequest { owner_labels: labels(&[("team", "b")]), ..owned(&["adopted"]) };
    let status = app.apply(theirs).await.unwrap_err();
    assert_eq!(refusal(&status), (Code::FailedPrecondition, "OTHER_OWNER".to_owned()));
    assert_eq!(preconditions(&status), [("OTHER_OWNER".to_owned(), "providers/adopted".to_owned())]);
    assert!(status.message().contains("team=a, not b"), "{}", status.message());

    let contradiction = Provider { labels: labels(&[("team", "b")]), ..named("new") };
    let config = Config { providers: vec![contradiction], ..Config::default() };
    let status = app.apply(ApplyConfigRequest { config: Some(config), ..owned(&[]) }).await.unwrap_err();
    assert_eq!(refusal(&status).0, Code::FailedPrecondition, "`adopted` would have to go first");
    let config = Config {
        providers: vec![named("adopted"), Provider { labels: labels(&[("team", "b")]), ..named("new") }],
        ..Config::default()
    };
    let status = app.apply(ApplyConfigRequest { config: Some(config), ..owned(&[]) }).await.unwrap_err();
    assert_eq!(violations(&status)[0].0, "config.providers[1].labels");

    let released = UpdateProviderRequest {
        provider: Some(Provider { labels: labels(&[("team", "b")]), ..adopted }),
        ..UpdateProviderRequest::default()
    };
    app.providers().update_provider(released).await.unwrap();
    let theirs = ApplyConfigRequest { owner_labels: labels(&[("team", "b")]), ..owned(&["adopted"]) };
    assert!(app.apply(theirs).await.is_ok());
    app.stop().await;
}

#[tokio::test]
async fn the_expected_revision_must_be_the_current_one() {
    let app = Running::start().await;
    let current = app.revision().await;
    let expecting = |expected_revision, id| ApplyConfigRequest { expected_revision, ..owned(&[id]) };
    let status = app.apply(expecting(current + 1, "a")).await.unwrap_err();
    assert_eq!(refusal(&status), (Code::Aborted, "REVISION_MISMATCH".to_owned()));
    assert!(app.apply(expecting(current, "a")).await.is_ok());
    assert_eq!(app.apply(expecting(current, "a")).await.unwrap_err().code(), Code::Aborted);
    app.stop().await;
}

#[tokio::test]
async fn faults_are_named_by_their_place_in_the_document() {
    let app = Running::start().await;
    let before = app.revision().await;
    let bad_url = Provider { base_url: "nonsense".to_owned(), ..named("c") };
    let config = Config { providers: vec![named("a"), named("b"), bad_url], ..Config::default() };
    let status = app.apply(merged(config)).await.unwrap_err();
    assert_eq!(violations(&status)[0].0, "config.providers[2].base_url");

    let credential = Credential { name: "main".to_owned(), ..credential("s") };
    let key = ClientKey { name: "clientKeys/a".to_owned(), ..ClientKey::default() };
    let config = Config {
        providers: vec![named("a"), provider(), named("a")],
        credentials: vec![credential],
        client_keys: vec![key.clone()],
        ..Config::default()
    };
    let status = app.apply(merged(config)).await.unwrap_err();
    let fields: Vec<_> = violations(&status).into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["config.providers[1].name", "config.providers[2].name", "config.credentials[0].name"]);

    let config = Config { client_keys: vec![key], ..Config::default() };
    let status = app.apply(merged(config)).await.unwrap_err();
    assert_eq!(violations(&status), [("config.client_keys[0].import_secret".to_owned(), "is required".to_owned())]);
    assert_eq!(app.revision().await, before);
    app.stop().await;
}

#[tokio::test]
async fn what_an_apply_must_say_is_asked_for() {
    let app = Running::start().await;
    let field = async |request| violations(&app.apply(request).await.unwrap_err())[0].0.clone();
    assert_eq!(field(ApplyConfigRequest::default()).await, "config");
    let ownerless = ApplyConfigRequest { owner_labels: BTreeMap::new(), ..owned(&[]) };
    assert_eq!(field(ownerless).await, "owner_labels");
    assert_eq!(field(ApplyConfigRequest { owner_labels: labels(&[("", "a")]), ..owned(&[]) }).await, "owner_labels");
    assert_eq!(field(ApplyConfigRequest { mode: 9, ..owned(&[]) }).await, "mode");
    app.stop().await;
}
