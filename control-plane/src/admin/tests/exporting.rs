//! Configurations as documents, and back.

use signalbox_proto::admin::v1::{ExportConfigRequest, ExportConfigResponse, Role, export_config_request::SecretMode};

use super::{
    documents::{everything, labels, listing, merge},
    tokens::of,
    *,
};
use crate::message::{descriptor, is_output_only};

async fn exported(app: &Running, request: ExportConfigRequest) -> ExportConfigResponse {
    app.config().export_config(request).await.unwrap().into_inner()
}

fn sealed() -> ExportConfigRequest {
    ExportConfigRequest { secrets: SecretMode::Sealed.into(), ..ExportConfigRequest::default() }
}

#[tokio::test]
async fn what_is_exported_changes_nothing_where_it_came_from() {
    let app = Running::start().await;
    app.apply(merge(everything())).await.unwrap();
    let export = exported(&app, ExportConfigRequest::default()).await;
    assert_eq!(export.revision, app.revision().await);
    assert!(export.sealed.is_empty() && !export.epoch.is_empty());
    let config = export.config.unwrap();
    assert!(!format!("{config:?}").contains("s-"), "no secret: {config:?}");
    assert_eq!(config, exported(&app, ExportConfigRequest::default()).await.config.unwrap(), "in a stable order");
    assert!(app.apply(merge(config)).await.unwrap().unchanged);
    app.stop().await;
}

#[tokio::test]
async fn an_export_holds_nothing_that_only_the_control_plane_sets() {
    let app = Running::start().await;
    app.apply(merge(everything())).await.unwrap();
    let Config { providers, credentials, client_keys, redirects, routes, settings } =
        exported(&app, ExportConfigRequest::default()).await.config.unwrap();
    use crate::message::dynamic;
    use signalbox_routing::Kind;
    let mut all: Vec<prost_reflect::DynamicMessage> = Vec::new();
    all.extend(providers.iter().map(|said| dynamic(Kind::Provider, said)));
    all.extend(credentials.iter().map(|said| dynamic(Kind::Credential, said)));
    all.extend(client_keys.iter().map(|said| dynamic(Kind::ClientKey, said)));
    all.extend(redirects.iter().map(|said| dynamic(Kind::Redirect, said)));
    all.extend(routes.iter().map(|said| dynamic(Kind::Route, said)));
    all.extend(settings.iter().map(|said| dynamic(Kind::Settings, said)));
    assert_eq!(all.len(), 10);
    for (message, field) in all.iter().flat_map(|message| message.fields().map(move |(field, _)| (message, field))) {
        assert!(!is_output_only(&field) && field.name() != "etag", "{} in {message}", field.name());
    }
    assert!(descriptor(Kind::Provider).fields().any(|field| is_output_only(&field)), "there are such fields");
    app.stop().await;
}

#[tokio::test]
async fn a_sealed_export_makes_another_database_the_same() {
    let (app, other) = (Running::start().await, Running::start().await);
    app.apply(merge(everything())).await.unwrap();
    let export = exported(&app, sealed()).await;
    for secret in ["s-header", "s-credential", "ci-secret"] {
        assert!(!export.sealed.windows(secret.len()).any(|part| part == secret.as_bytes()), "{secret}");
    }
    let document = ApplyConfigRequest { sealed: export.sealed.clone(), ..merge(export.config.clone().unwrap()) };
    assert!(app.apply(document.clone()).await.unwrap().unchanged);

    let without = other.apply(merge(export.config.clone().unwrap())).await.unwrap_err();
    assert!(
        violations(&without).iter().any(|(field, _)| field == "config.client_keys[0].import_secret"),
        "{without:?}"
    );
    other.apply(document).await.unwrap();
    let again = exported(&other, sealed()).await;
    assert_eq!(again.config, export.config);
    // What was imported there as it was written here is the same to the last secret and digest.
    assert!(other.apply(merge(everything())).await.unwrap().unchanged);
    app.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn a_sealed_export_under_another_master_key_or_damaged_is_refused_as_a_whole() {
    let app = Running::start().await;
    app.apply(merge(everything())).await.unwrap();
    let export = exported(&app, sealed()).await;
    let dir = tempfile::tempdir().unwrap();
    let stranger = Running::with(Options { master_key: MasterKey::generate(), ..options(dir.path()) }).await.unwrap();
    let before = stranger.revision().await;
    let document =
        |sealed: &[u8]| ApplyConfigRequest { sealed: sealed.to_vec().into(), ..merge(export.config.clone().unwrap()) };
    let status = stranger.apply(document(&export.sealed)).await.unwrap_err();
    assert_eq!(refusal(&status), (Code::InvalidArgument, "OTHER_MASTER_KEY".to_owned()));
    assert_eq!(violations(&status)[0].0, "sealed");
    assert_eq!(stranger.revision().await, before);

    let mut damaged = export.sealed.to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    let status = app.apply(document(&damaged)).await.unwrap_err();
    assert_eq!(refusal(&status), (Code::InvalidArgument, "SEALED_DAMAGED".to_owned()));
    let status = app.apply(document(b"nonsense")).await.unwrap_err();
    assert_eq!(refusal(&status), (Code::InvalidArgument, "NO_SEALED_EXPORT".to_owned()));
    app.stop().await;
    stranger.stop().await;
}

#[tokio::test]
async fn only_administrators_are_given_secrets_even_sealed() {
    let app = Running::start().await;
    app.apply(merge(everything())).await.unwrap();
    let token = app.make_token("operator", of(Role::Operator)).await.unwrap();
    let mut operator = ConfigServiceClient::with_interceptor(app.channel(), Running::bearer(&token.secret));
    let plain = operator.export_config(ExportConfigRequest::default()).await.unwrap().into_inner();
    assert!(plain.sealed.is_empty());
    let status = operator.export_config(sealed()).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().contains("ROLE_ADMIN"), "{}", status.message());
    app.stop().await;
}

#[tokio::test]
async fn whoever_is_given_secrets_is_in_the_audit_and_nobody_who_is_given_none() {
    let app = Running::start().await;
    app.apply(merge(everything())).await.unwrap();
    exported(&app, ExportConfigRequest::default()).await;
    exported(&app, sealed()).await;
    let entries = app.audited(r#"method = "ConfigService/ExportConfig""#, 1).await;
    let told: Vec<_> = entries.iter().map(|entry| (entry.actor.as_str(), entry.code.as_str())).collect();
    assert_eq!(told, [("admin", "OK")]);
    assert_eq!((entries[0].source_ip.as_str(), entries[0].revision), ("127.0.0.1", 0));
    app.stop().await;
}

#[tokio::test]
async fn only_what_carries_the_labels_is_exported_and_then_no_settings() {
    let app = Running::start().await;
    app.apply(merge(everything())).await.unwrap();
    let request = ExportConfigRequest { labels: labels(&[("team", "a")]), ..sealed() };
    let config = exported(&app, request).await.config.unwrap();
    let names: Vec<_> = config.providers.iter().map(|provider| provider.name.as_str()).collect();
    assert_eq!((names, config.client_keys.len()), (vec!["providers/a"], 1));
    assert!(config.settings.is_none() && config.redirects.is_empty() && config.credentials.is_empty());
    app.stop().await;
}

#[tokio::test]
async fn the_past_can_be_exported_but_not_its_secrets() {
    let app = Running::start().await;
    let first = app.apply(merge(everything())).await.unwrap().revision;
    app.apply(merge(Config { providers: vec![listing("late", &[])], ..Config::default() })).await.unwrap();
    let at = |revision| ExportConfigRequest { revision, ..ExportConfigRequest::default() };
    let past = exported(&app, at(first)).await;
    assert_eq!(past.revision, first);
    let names = |config: &Config| config.providers.iter().map(|provider| provider.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(past.config.as_ref().unwrap()), ["providers/a", "providers/b"]);
    assert_eq!(names(exported(&app, at(0)).await.config.as_ref().unwrap()).len(), 3);

    let refused = async |request| app.config().export_config(request).await.unwrap_err();
    let status = refused(ExportConfigRequest { revision: first, ..sealed() }).await;
    assert_eq!(refusal(&status), (Code::FailedPrecondition, "SECRETS_NOT_KEPT".to_owned()));
    assert_eq!(refused(at(first + 50)).await.code(), Code::NotFound);
    assert_eq!(violations(&refused(ExportConfigRequest { secrets: 9, ..at(0) }).await)[0].0, "secrets");
    app.stop().await;
}
