//! What changes mean for clients.

use signalbox_proto::{
    admin::v1::{DeleteProviderRequest, FieldChange, Finding, Settings, UpdateProviderRequest},
    config::v1::Callers,
};

use super::{
    documents::{everything, key, labels, listing, merge, redirect, route, told},
    *,
};

/// What a dry run of the document says.
async fn dry(app: &Running, config: Config) -> ApplyConfigResponse {
    app.apply(ApplyConfigRequest { validate_only: true, ..merge(config) }).await.unwrap()
}

/// What a dry run says of this one change.
async fn meaning(app: &Running, config: Config) -> Vec<String> {
    let findings: Vec<Finding> = dry(app, config).await.findings;
    assert!(findings.iter().all(|finding| !finding.blocking));
    told(&findings)
}

fn providers(providers: Vec<Provider>) -> Config {
    Config { providers, ..Config::default() }
}

#[tokio::test]
async fn keys_lose_the_models_that_go_and_keys_that_are_alike_are_told_together() {
    let app = Running::start().await;
    let mut config = everything();
    config.client_keys.extend((0..5).map(|at| key(&format!("many-{at}"), &["gpt-4o"])));
    app.apply(merge(config)).await.unwrap();
    let smaller = Provider { labels: labels(&[("team", "a")]), ..listing("a", &["gpt-4o-mini"]) };
    let mut settings = everything().settings.unwrap();
    settings.default_provider.clear();
    let config = Config { providers: vec![smaller.clone()], settings: Some(settings), ..Config::default() };
    assert_eq!(
        meaning(&app, config).await,
        [
            "settings DEFAULT_PROVIDER_LOST: b is no longer the default provider, and none takes its place: names that nobody \
             claims are answered 404",
            "clientKeys/dev MODEL_LOST: client key dev loses a/gpt-4o and gpt-4o",
            "clientKeys/ci MODEL_LOST: client key ci loses gpt-4o and gpt-*",
            "clientKeys/many-0 NO_USABLE_MODEL: client keys many-0, many-1, many-2 and 2 more lose gpt-4o, and have no usable model \
             left",
        ]
    );
    // Whatever nobody claims goes to the default provider, so that nothing is lost by its name.
    assert_eq!(
        meaning(&app, providers(vec![smaller])).await,
        ["clientKeys/dev MODEL_LOST: client key dev loses a/gpt-4o"]
    );
    app.stop().await;
}

#[tokio::test]
async fn what_leads_nowhere_is_told_once_it_does() {
    let app = Running::start().await;
    app.apply(merge(everything())).await.unwrap();
    let off = Provider { disabled: true, ..listing("a", &["gpt-4o", "gpt-4o-mini"]) };
    let found = meaning(&app, providers(vec![off.clone()])).await;
    for expected in [
        "providers/a PROVIDER_LOST: provider a is not used any more: what is asked for as `a/...` is answered 404",
        "redirects/all NO_USABLE_TARGET: redirect all has no usable target: `fast` is answered 404",
        "redirects/team NO_USABLE_TARGET: redirect team has no usable target: `fast` is answered 404",
    ] {
        assert!(found.iter().any(|found| found == expected), "{expected}\n{found:#?}");
    }
    app.apply(merge(providers(vec![off]))).await.unwrap();
    let again = Provider { display_name: "B".to_owned(), ..listing("b", &[]) };
    assert!(meaning(&app, providers(vec![again])).await.is_empty(), "what led nowhere before is no news");

    let disabled =
        Credential { name: "providers/b/credentials/main".to_owned(), disabled: true, ..Credential::default() };
    let config = Config { credentials: vec![disabled], ..Config::default() };
    assert_eq!(
        meaning(&app, config).await,
        ["providers/b NO_USABLE_CREDENTIAL: provider b has no usable credential: requests to it carry no key"]
    );
    let same = Config {
        redirects: vec![redirect("twin", "f*st**", &["b:m"]), redirect("first", "f*st*", &["b:m"])],
        ..Config::default()
    };
    assert_eq!(
        meaning(&app, same).await,
        ["redirects/twin SHADOWED_REDIRECT: redirect twin is never used: redirect first takes `f*st**` before it"]
    );
    let gone = Config {
        routes: vec![signalbox_proto::admin::v1::Route { disabled: true, ..route("hook") }],
        ..Config::default()
    };
    assert_eq!(meaning(&app, gone).await, ["routes/hook ROUTE_LOST: `/hook` is answered 404"]);
    app.stop().await;
}

#[tokio::test]
async fn what_becomes_of_a_key_itself_is_told() {
    let app = Running::start().await;
    app.apply(merge(everything())).await.unwrap();
    let changed = |change: &dyn Fn(&mut ClientKey)| {
        let mut ci = ClientKey { imported: None, ..key("ci", &["gpt-*", "fast"]) };
        change(&mut ci);
        Config { client_keys: vec![ci], ..Config::default() }
    };
    let time = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    for (config, expected) in [
        (changed(&|key| key.disabled = true), "KEY_REVOKED: client key ci is refused from now on: it is disabled"),
        (
            changed(&|key| key.expire_time = time(1)),
            "KEY_REVOKED: client key ci is refused from now on: it has expired",
        ),
        (
            changed(&|key| key.expire_time = time(4_102_444_800)),
            "KEY_EXPIRES: client key ci is refused from 2100-01-01T00:00:00Z on",
        ),
        (
            changed(&|key| key.imported = super::documents::key("other", &[]).imported),
            "KEY_REPLACED: client key ci is another one: who presents the old one is refused",
        ),
        (
            changed(&|key| key.allowed_models = vec!["fast".to_owned()]),
            "MODEL_LOST: client key ci loses gpt-4o and gpt-4o-mini",
        ),
    ] {
        assert_eq!(meaning(&app, config).await, [format!("clientKeys/ci {expected}")]);
    }
    assert!(meaning(&app, changed(&|key| key.display_name = "CI".to_owned())).await.is_empty());
    app.stop().await;
}

#[tokio::test]
async fn a_delete_says_what_it_removes_and_what_that_means() {
    let app = Running::start().await;
    let open = Provider { callers: Callers::Anyone.into(), ..listing("open", &["free"]) };
    app.apply(merge(providers(vec![open]))).await.unwrap();
    let delete = |validate_only| DeleteProviderRequest {
        name: "providers/open".to_owned(),
        validate_only,
        ..DeleteProviderRequest::default()
    };
    for dry in [true, false] {
        let answer = app.providers().delete_provider(delete(dry)).await.unwrap().into_inner();
        assert_eq!(
            told(&answer.findings),
            [
                "providers/open PROVIDER_LOST: provider open is not used any more: what is asked for as `open/...` is answered 404",
                " MODEL_LOST: callers without a client key lose free and open/free",
            ]
        );
        let shown = answer.changes[0].field_changes.iter().map(|change| change.path.as_str()).collect::<Vec<_>>();
        assert_eq!(shown, if dry { vec!["base_url", "callers", "dialect", "models"] } else { vec![] });
    }
    app.stop().await;
}

#[tokio::test]
async fn a_dry_run_shows_what_fields_hold_but_no_secret() {
    let app = Running::start().await;
    app.apply(merge(everything())).await.unwrap();
    let mut config = everything();
    config.providers[0].priority = 7;
    config.credentials[0] = Credential { name: "providers/a/credentials/main".to_owned(), ..credential("s-new") };
    let answer = dry(&app, config).await;
    let fields: Vec<FieldChange> = answer.changes.iter().flat_map(|change| change.field_changes.clone()).collect();
    let line =
        |change: &FieldChange| (change.path.clone(), change.before.is_some(), change.after.is_some(), change.sensitive);
    assert_eq!(
        fields.iter().map(line).collect::<Vec<_>>(),
        [("priority".to_owned(), false, true, false), ("secret".to_owned(), false, false, true)]
    );
    assert!(!format!("{answer:?}").contains("s-"), "{answer:?}");
    app.stop().await;
}

#[tokio::test]
async fn a_hundred_findings_are_told_and_the_others_counted() {
    let app = Running::start().await;
    let mut config = providers(vec![listing("a", &["x"])]);
    config.client_keys = (0..103).map(|at| key(&format!("k{at}"), &["x"])).collect();
    app.apply(merge(config.clone())).await.unwrap();
    for key in &mut config.client_keys {
        (key.imported, key.disabled) = (None, true);
    }
    let told = meaning(&app, config).await;
    let revoked = told.iter().filter(|told| told.contains("KEY_REVOKED")).count();
    assert_eq!((told.len(), revoked), (101, 100));
    assert_eq!(told.last().unwrap(), " MORE_FINDINGS: there are 3 findings more");
    app.stop().await;
}

#[tokio::test]
async fn a_commit_among_many_keys_says_what_they_lose_in_general() {
    let app = Running::start().await;
    let mut config = providers(vec![listing("a", &["x", "y"])]);
    config.client_keys = (0..1001).map(|at| key(&format!("k{at}"), &[])).collect();
    let answer = app.apply(merge(config)).await.unwrap();
    assert!(told(&answer.findings).iter().all(|told| told.contains("NOT_CONSIDERED")), "{:?}", answer.findings);
    let smaller = UpdateProviderRequest { provider: Some(listing("a", &["x"])), ..UpdateProviderRequest::default() };
    let would = meaning(&app, providers(smaller.provider.iter().cloned().collect())).await;
    assert_eq!(would, ["clientKeys/k0 MODEL_LOST: client keys k0, k1, k10 and 998 more lose a/y and y"]);
    let answer = app.apply(merge(providers(smaller.provider.into_iter().collect()))).await.unwrap();
    assert_eq!(
        told(&answer.findings),
        [
            " MODEL_LOST: client keys that may ask for everything lose a/y and y; which of the 1001 that are, a dry run of the same says"
        ]
    );
    let nothing = Config { settings: Some(Settings::default()), ..Config::default() };
    assert!(app.apply(merge(nothing)).await.unwrap().findings.is_empty());
    app.stop().await;
}
