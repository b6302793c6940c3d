//! Get, create, update, delete.

use prost_types::{Duration, FieldMask};
use signalbox_proto::{
    admin::v1::{
        CreateProviderRequest, CreateRedirectRequest, CreateRouteRequest, DeleteProviderRequest, GetProviderRequest,
        GetSettingsRequest, Provider, Redirect, Route, Settings, UpdateProviderRequest, UpdateSettingsRequest,
        redirect_service_client::RedirectServiceClient, route::Destination, route_service_client::RouteServiceClient,
        settings_service_client::SettingsServiceClient,
    },
    config::v1::{Timeouts, redirect::Target},
};
use tonic::Code;

use super::*;

fn mask(paths: &[&str]) -> Option<FieldMask> {
    Some(FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() })
}

async fn update(app: &Running, provider: Provider, paths: &[&str]) -> Result<Provider, Status> {
    let request = UpdateProviderRequest {
        provider: Some(provider),
        update_mask: mask(paths),
        ..UpdateProviderRequest::default()
    };
    Ok(app.providers().update_provider(request).await?.into_inner())
}

async fn delete(app: &Running, request: DeleteProviderRequest) -> Result<u64, Status> {
    Ok(app.providers().delete_provider(request).await?.into_inner().revision)
}

fn named(id: &str) -> DeleteProviderRequest {
    DeleteProviderRequest { name: format!("providers/{id}"), ..DeleteProviderRequest::default() }
}

async fn redirect_to(app: &Running, provider: &str, validate_only: bool) -> Result<Redirect, Status> {
    let target = Target { provider: provider.to_owned(), model: "m".to_owned(), ..Target::default() };
    let redirect = Redirect { from: "alias".to_owned(), targets: vec![target], ..Redirect::default() };
    let request = CreateRedirectRequest {
        redirect_id: "alias".to_owned(),
        redirect: Some(redirect),
        validate_only,
        ..CreateRedirectRequest::default()
    };
    let mut client = RedirectServiceClient::with_interceptor(app.channel(), Running::bearer(TOKEN));
    Ok(client.create_redirect(request).await?.into_inner())
}

#[tokio::test]
async fn every_mutation_answers_with_the_revision_that_it_made() {
    let app = Running::start().await;
    let before = app.revision().await;
    let made = app.make_provider("openai").await;
    assert_eq!((made.name.as_str(), made.revision), ("providers/openai", before + 1));
    assert!(!made.etag.is_empty() && made.create_time.is_some() && made.create_time == made.update_time);

    let wanted = Provider { display_name: "OpenAI".to_owned(), ..made.clone() };
    let changed = update(&app, wanted, &["display_name"]).await.unwrap();
    assert_eq!((changed.revision, changed.display_name.as_str()), (before + 2, "OpenAI"));
    assert_ne!(changed.etag, made.etag);
    assert_eq!(changed.create_time, made.create_time);

    let request = GetProviderRequest { name: made.name.clone() };
    assert_eq!(app.providers().get_provider(request).await.unwrap().into_inner(), changed);
    assert_eq!(delete(&app, named("openai")).await.unwrap(), before + 3);
    assert_eq!(app.revision().await, before + 3);
    app.stop().await;
}

#[tokio::test]
async fn an_update_that_changes_nothing_makes_no_revision() {
    let app = Running::start().await;
    let made = app.make_provider("a").await;
    let again = update(&app, made.clone(), &["*"]).await.unwrap();
    assert_eq!(again, made);
    assert_eq!(app.revision().await, made.revision);
    app.stop().await;
}

#[tokio::test]
async fn a_nested_path_changes_one_time_out() {
    let app = Running::start().await;
    let made = app.make_provider("a").await;
    let seconds = |seconds| Some(Duration { seconds, nanos: 0 });
    let timeouts = Some(Timeouts { connect: seconds(2), stream_idle: seconds(90), ..Timeouts::default() });
    let wanted = Provider { name: made.name.clone(), timeouts, ..Provider::default() };
    let changed = update(&app, wanted, &["timeouts.stream_idle"]).await.unwrap();
    assert_eq!(changed.timeouts, Some(Timeouts { stream_idle: seconds(90), ..Timeouts::default() }));
    assert_eq!(changed.base_url, made.base_url);
    app.stop().await;
}

#[tokio::test]
async fn an_unknown_mask_path_is_named_with_the_one_that_was_meant() {
    let app = Running::start().await;
    let made = app.make_provider("a").await;
    let status = update(&app, made.clone(), &["base_ulr", "headers.x-a"]).await.unwrap_err();
    assert_eq!(refusal(&status), (Code::InvalidArgument, "UNKNOWN_FIELD".to_owned()));
    let fields = violations(&status);
    assert_eq!(fields.len(), 2);
    assert_eq!(fields[0].0, "update_mask");
    assert_eq!(fields[0].1, "`base_ulr` is not in Provider: did you mean `base_url`?");
    assert_eq!(app.revision().await, made.revision, "nothing was changed");
    app.stop().await;
}

#[tokio::test]
async fn a_stale_etag_aborts_updates_and_deletes() {
    let app = Running::start().await;
    let made = app.make_provider("a").await;
    let wanted = Provider { priority: 1, ..made.clone() };
    let changed = update(&app, wanted.clone(), &["priority"]).await.unwrap();

    let status = update(&app, Provider { priority: 2, ..wanted }, &["priority"]).await.unwrap_err();
    assert_eq!(refusal(&status), (Code::Aborted, "ETAG_MISMATCH".to_owned()));
    assert_eq!(resource(&status), ("signalbox.dev/Provider".to_owned(), "providers/a".to_owned()));
    let stale = DeleteProviderRequest { etag: made.etag, ..named("a") };
    assert_eq!(delete(&app, stale).await.unwrap_err().code(), Code::Aborted);
    assert_eq!(app.revision().await, changed.revision);
    let current = DeleteProviderRequest { etag: changed.etag, ..named("a") };
    assert!(delete(&app, current).await.is_ok());
    app.stop().await;
}

#[tokio::test]
async fn what_is_no_rfc_1034_label_or_taken_or_absent_is_refused_with_its_field() {
    let app = Running::start().await;
    let before = app.revision().await;
    for bad in ["", "OpenAI", "a_b", "-a", "a.b", &"a".repeat(64)] {
        let request = CreateProviderRequest {
            provider_id: bad.to_owned(),
            provider: Some(provider()),
            validate_only: false,
            ..CreateProviderRequest::default()
        };
        let status = app.providers().create_provider(request).await.unwrap_err();
        assert_eq!(refusal(&status), (Code::InvalidArgument, "INVALID_ID".to_owned()), "{bad:?}");
        assert_eq!(violations(&status)[0].0, "provider_id");
    }
    let request = CreateProviderRequest {
        provider_id: "a".to_owned(),
        provider: None,
        validate_only: false,
        ..CreateProviderRequest::default()
    };
    let status = app.providers().create_provider(request).await.unwrap_err();
    assert_eq!(violations(&status), [("provider".to_owned(), "is required".to_owned())]);
    assert_eq!(app.revision().await, before);

    app.make_provider("a").await;
    let request = CreateProviderRequest {
        provider_id: "a".to_owned(),
        provider: Some(provider()),
        validate_only: false,
        ..CreateProviderRequest::default()
    };
    let status = app.providers().create_provider(request).await.unwrap_err();
    assert_eq!(refusal(&status), (Code::AlreadyExists, "ALREADY_EXISTS".to_owned()));
    assert_eq!(resource(&status), ("signalbox.dev/Provider".to_owned(), "providers/a".to_owned()));
    app.stop().await;
}

#[tokio::test]
async fn a_bad_url_is_named_by_its_field_and_makes_no_revision() {
    let app = Running::start().await;
    let before = app.revision().await;
    let bad = Provider { base_url: "ftp://upstream.test".to_owned(), ..provider() };
    let request = CreateProviderRequest {
        provider_id: "a".to_owned(),
        provider: Some(bad.clone()),
        validate_only: false,
        ..CreateProviderRequest::default()
    };
    let status = app.providers().create_provider(request).await.unwrap_err();
    assert_eq!(refusal(&status), (Code::InvalidArgument, "INVALID_URL".to_owned()));
    assert_eq!(violations(&status)[0].0, "provider.base_url");
    let status = update(&app, Provider { name: "providers/a/b".to_owned(), ..bad }, &[]).await.unwrap_err();
    assert_eq!(violations(&status)[0].0, "provider.name");
    assert_eq!(app.revision().await, before);
    app.stop().await;
}

#[tokio::test]
async fn what_is_missing_is_not_found_unless_that_is_allowed() {
    let app = Running::start().await;
    let before = app.revision().await;
    let missing = Provider { name: "providers/a".to_owned(), ..provider() };
    let get = app.providers().get_provider(GetProviderRequest { name: missing.name.clone() }).await.unwrap_err();
    for status in
        [get, update(&app, missing.clone(), &[]).await.unwrap_err(), delete(&app, named("a")).await.unwrap_err()]
    {
        assert_eq!(refusal(&status), (Code::NotFound, "NOT_FOUND".to_owned()));
        assert_eq!(resource(&status), ("signalbox.dev/Provider".to_owned(), "providers/a".to_owned()));
    }
    let allowed = DeleteProviderRequest { allow_missing: true, ..named("a") };
    assert_eq!(delete(&app, allowed).await.unwrap(), before);
    let request =
        UpdateProviderRequest { provider: Some(missing), allow_missing: true, ..UpdateProviderRequest::default() };
    let made = app.providers().update_provider(request).await.unwrap().into_inner();
    assert_eq!(made.revision, before + 1);
    app.stop().await;
}

#[tokio::test]
async fn validate_only_shows_what_would_be_and_commits_nothing() {
    let app = Running::start().await;
    let before = app.revision().await;
    let request = CreateProviderRequest {
        provider_id: "a".to_owned(),
        provider: Some(provider()),
        validate_only: true,
        ..CreateProviderRequest::default()
    };
    let would_be = app.providers().create_provider(request).await.unwrap().into_inner();
    assert_eq!(would_be.name, "providers/a");
    assert_eq!(app.revision().await, before);
    assert_eq!(redirect_to(&app, "a", true).await.unwrap_err().code(), Code::FailedPrecondition);
    app.stop().await;
}

#[tokio::test]
async fn a_reference_to_nothing_and_a_removal_of_what_is_in_use_are_preconditions() {
    let app = Running::start().await;
    let status = redirect_to(&app, "a", false).await.unwrap_err();
    assert_eq!(refusal(&status), (Code::FailedPrecondition, "DANGLING_REFERENCE".to_owned()));
    assert_eq!(preconditions(&status), [("DANGLING_REFERENCE".to_owned(), "redirect.targets[0].provider".to_owned())]);
    app.make_provider("a").await;
    redirect_to(&app, "a", false).await.unwrap();
    let force = DeleteProviderRequest { force: true, ..named("a") };
    for request in [named("a"), force] {
        let status = delete(&app, request).await.unwrap_err();
        assert_eq!(refusal(&status), (Code::FailedPrecondition, "REFERENCED".to_owned()));
        assert_eq!(preconditions(&status), [("REFERENCED".to_owned(), "providers/a".to_owned())]);
        assert!(status.message().contains("redirects/alias"), "{}", status.message());
    }
    app.stop().await;
}

#[tokio::test]
async fn a_credential_needs_its_provider() {
    let app = Running::start().await;
    let request = CreateCredentialRequest {
        parent: "providers/none".to_owned(),
        credential_id: "main".to_owned(),
        credential: Some(credential("sk-1")),
        validate_only: false,
        ..CreateCredentialRequest::default()
    };
    let status = app.credentials().create_credential(request).await.unwrap_err();
    assert_eq!(refusal(&status), (Code::FailedPrecondition, "DANGLING_REFERENCE".to_owned()));
    assert!(status.message().contains("`providers/none` does not exist"), "{}", status.message());
    app.stop().await;
}

#[tokio::test]
async fn a_redirect_onto_itself_and_a_route_onto_our_own_paths_are_refused() {
    let app = Running::start().await;
    let before = app.revision().await;
    let onto_itself = Target { model: "alias".to_owned(), ..Target::default() };
    let redirect = Redirect { from: "alias".to_owned(), targets: vec![onto_itself], ..Redirect::default() };
    let request = CreateRedirectRequest {
        redirect_id: "loop".to_owned(),
        redirect: Some(redirect),
        validate_only: false,
        ..CreateRedirectRequest::default()
    };
    let mut redirects = RedirectServiceClient::with_interceptor(app.channel(), Running::bearer(TOKEN));
    let status = redirects.create_redirect(request).await.unwrap_err();
    assert_eq!(refusal(&status), (Code::InvalidArgument, "LOOP".to_owned()));
    assert_eq!(violations(&status)[0].0, "redirect.targets");

    let destination = Some(Destination::TargetUrl("https://target.test".to_owned()));
    let route = Route { segment: "v1".to_owned(), destination, ..Route::default() };
    let request = CreateRouteRequest {
        route_id: "r".to_owned(),
        route: Some(route),
        validate_only: false,
        ..CreateRouteRequest::default()
    };
    let mut routes = RouteServiceClient::with_interceptor(app.channel(), Running::bearer(TOKEN));
    let status = routes.create_route(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(violations(&status)[0].0, "route.segment");
    assert_eq!(app.revision().await, before);
    app.stop().await;
}

#[tokio::test]
async fn a_provider_goes_with_its_credentials_only_by_force_and_in_one_revision() {
    let app = Running::start().await;
    app.make_provider("a").await;
    let credential = app.make_credential("a", "main").await;
    let status = delete(&app, named("a")).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("force"), "{}", status.message());
    let force = DeleteProviderRequest { force: true, ..named("a") };
    assert_eq!(delete(&app, force).await.unwrap(), credential.revision + 1);
    app.stop().await;
}

#[tokio::test]
async fn the_settings_are_always_there() {
    let app = Running::start().await;
    let mut client = SettingsServiceClient::with_interceptor(app.channel(), Running::bearer(TOKEN));
    let settings = client.get_settings(GetSettingsRequest::default()).await.unwrap().into_inner();
    assert_eq!(settings.name, "settings");
    let wanted = Settings { base_path: "/llm".to_owned(), ..Settings::default() };
    let request = UpdateSettingsRequest { settings: Some(wanted), ..UpdateSettingsRequest::default() };
    let changed = client.update_settings(request).await.unwrap().into_inner();
    assert_eq!((changed.base_path.as_str(), changed.revision), ("/llm", settings.revision + 1));
    app.stop().await;
}
