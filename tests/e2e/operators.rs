//! What an operator does wrong is named precisely and makes no revision; what can be discovered is discovered without a token.

use futures_util::future::join_all;
use prost_types::FieldMask;
use signalbox_proto::{
    admin::v1::{
        ApplyConfigRequest, ClientKey, CreateClientKeyRequest, CreateCredentialRequest, CreateProviderRequest,
        CreateRedirectRequest, CreateRouteRequest, DeleteProviderRequest, GetProviderRequest, ListProvidersRequest,
        Provider, Settings, UpdateProviderRequest, UpdateSettingsRequest,
    },
    config::v1::{Retry, Timeouts},
};
use signalbox_tests::{
    Admin, Draft, Setup, System,
    draft::{client_key, credential, provider, redirect, route},
};
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient, server_reflection_request,
    server_reflection_response,
};
use tonic_reflection::pb::v1alpha;
use tonic_types::StatusExt as _;

use crate::refusal::{names, refused};

const URL: &str = "http://127.0.0.1:9/v1";

/// A control plane with a provider `main`; no data plane is needed here.
async fn system() -> System {
    let system = Setup { data_planes: 0, ..Setup::default() }.start().await;
    system.apply(Draft::new().upstream("main", URL)).await;
    system
}

fn created(id: &str, provider: Provider) -> CreateProviderRequest {
    CreateProviderRequest { provider_id: id.to_owned(), provider: Some(provider), ..CreateProviderRequest::default() }
}

#[tokio::test]
async fn a_bad_provider_is_refused_for_each_field_that_is_wrong() {
    let system = system().await;
    let admin = system.admin();
    let with_url = |url: &str| provider("", url);
    let timeouts =
        |seconds| Timeouts { connect: Some(prost_types::Duration { seconds, nanos: 0 }), ..Timeouts::default() };
    let cases = [
        ("bad", with_url("ftp://example.com"), "provider.base_url", "http"),
        ("bad", with_url("not a url"), "provider.base_url", ""),
        ("bad", with_url("http://"), "provider.base_url", ""),
        ("bad", with_url("https://user:secret@example.com/v1"), "provider.base_url", ""),
        ("bad", with_url(""), "provider.base_url", ""),
        ("Bad_Name", with_url(URL), "provider_id", "letter"),
        ("-bad", with_url(URL), "provider_id", ""),
        ("", with_url(URL), "provider_id", ""),
        (&"a".repeat(64), with_url(URL), "provider_id", ""),
        ("bad", Provider { dialect: 0, ..with_url(URL) }, "provider.dialect", ""),
        ("bad", Provider { timeouts: Some(timeouts(-1)), ..with_url(URL) }, "provider.timeouts.connect", ""),
        (
            "bad",
            Provider { retry: Some(Retry { attempts: Some(0), ..Retry::default() }), ..with_url(URL) },
            "provider.retry.attempts",
            "",
        ),
        (
            "bad",
            Provider { drop_headers: vec!["not a header".to_owned()], ..with_url(URL) },
            "provider.drop_headers[0]",
            "",
        ),
    ];
    for (id, provider, field, words) in cases {
        let status = refused(admin, admin.providers().create_provider(created(id, provider.clone()))).await;
        names(&status, Code::InvalidArgument, field, words);
        assert!(!status.to_string().contains("secret"), "{status}");
    }
    let status = refused(admin, admin.providers().create_provider(created("main", with_url(URL)))).await;
    names(&status, Code::AlreadyExists, "providers/main", "");
}

#[tokio::test]
async fn redirects_that_loop_or_lead_nowhere_are_refused() {
    let system = system().await;
    let admin = system.admin();
    let config = Draft::new().redirect("a", "loop-a", &[("", "loop-b")]).redirect("b", "loop-b", &[("", "loop-a")]).0;
    let request = ApplyConfigRequest { config: Some(config), ..ApplyConfigRequest::default() };
    let status = refused(admin, admin.configs().apply_config(request)).await;
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert!(status.message().contains("loop-a") && status.message().contains("loop-b"), "{status}");
    let create = |redirect| CreateRedirectRequest {
        redirect_id: "r".to_owned(),
        redirect: Some(redirect),
        ..CreateRedirectRequest::default()
    };
    let status = refused(admin, admin.redirects().create_redirect(create(redirect("", "self", &[("", "self")])))).await;
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    let status = refused(admin, admin.redirects().create_redirect(create(redirect("", "x", &[("nobody", "m")])))).await;
    names(&status, Code::FailedPrecondition, "redirect.targets[0].provider", "nobody");
    let status = refused(admin, admin.redirects().create_redirect(create(redirect("", "x", &[])))).await;
    names(&status, Code::InvalidArgument, "redirect.targets", "");
    let status = refused(admin, admin.redirects().create_redirect(create(redirect("", "", &[("main", "m")])))).await;
    names(&status, Code::InvalidArgument, "redirect.from", "");
}

#[tokio::test]
async fn a_route_takes_none_of_the_gateways_own_paths_and_nobody_elses() {
    let system = system().await;
    let admin = system.admin();
    system.apply(Draft::new().route(route("taken", URL))).await;
    let create = |id: &str, route| CreateRouteRequest {
        route_id: id.to_owned(),
        route: Some(route),
        ..CreateRouteRequest::default()
    };
    for own in ["v1", "health", "healthz", "readyz", "metrics"] {
        let status = refused(admin, admin.routes().create_route(create(own, route("", URL)))).await;
        names(&status, Code::InvalidArgument, "route.segment", own);
    }
    let with_segment =
        |segment: &str| signalbox_proto::admin::v1::Route { segment: segment.to_owned(), ..route("", URL) };
    for segment in ["taken", "a/b", "..", "v1"] {
        let status = refused(admin, admin.routes().create_route(create("r", with_segment(segment)))).await;
        names(&status, Code::InvalidArgument, "route.segment", "");
    }
    let nowhere = signalbox_proto::admin::v1::Route { destination: None, ..route("", "") };
    let status = refused(admin, admin.routes().create_route(create("r", nowhere))).await;
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
}

#[tokio::test]
async fn an_update_names_fields_that_exist_and_a_version_that_is_current() {
    let system = system().await;
    let admin = system.admin();
    let get = || GetProviderRequest { name: "providers/main".to_owned() };
    let current = admin.providers().get_provider(get()).await.unwrap().into_inner();
    let update = |provider: Provider, paths: &[&str]| UpdateProviderRequest {
        provider: Some(provider),
        update_mask: Some(FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }),
        ..UpdateProviderRequest::default()
    };
    for path in ["timeouts.stream_idel", "nothing", "base_url.host", "", "timeouts..connect"] {
        let status = refused(admin, admin.providers().update_provider(update(current.clone(), &[path]))).await;
        names(&status, Code::InvalidArgument, "update_mask", "");
    }
    let renamed = Provider { display_name: "one".to_owned(), ..current.clone() };
    let changed =
        admin.providers().update_provider(update(renamed.clone(), &["display_name"])).await.unwrap().into_inner();
    assert_eq!((changed.revision, changed.display_name.as_str()), (current.revision + 1, "one"));
    assert_ne!(changed.etag, current.etag);
    let late = Provider { display_name: "two".to_owned(), ..current.clone() };
    let status = refused(admin, admin.providers().update_provider(update(late, &["display_name"]))).await;
    names(&status, Code::Aborted, "providers/main", "");
    let delete = DeleteProviderRequest {
        name: "providers/main".to_owned(),
        etag: current.etag,
        force: true,
        ..Default::default()
    };
    let status = refused(admin, admin.providers().delete_provider(delete)).await;
    names(&status, Code::Aborted, "providers/main", "");
    let missing = Provider { name: "providers/nobody".to_owned(), ..provider("", URL) };
    let status = refused(admin, admin.providers().update_provider(update(missing, &["display_name"]))).await;
    names(&status, Code::NotFound, "providers/nobody", "");
    let unchanged = admin.providers().update_provider(update(changed.clone(), &["*"])).await.unwrap().into_inner();
    assert_eq!(unchanged, changed, "what changes nothing makes no revision");
}

#[tokio::test]
async fn what_is_in_use_is_not_removed() {
    let system = system().await;
    let admin = system.admin();
    system.apply(Draft::new().redirect("r", "r", &[("main", "m")])).await;
    let delete =
        |force| DeleteProviderRequest { name: "providers/main".to_owned(), force, ..DeleteProviderRequest::default() };
    for force in [false, true] {
        let status = refused(admin, admin.providers().delete_provider(delete(force))).await;
        names(&status, Code::FailedPrecondition, "providers/main", "redirects/r");
    }
    let settings = Settings { default_provider: "nobody".to_owned(), ..Settings::default() };
    let request = UpdateSettingsRequest { settings: Some(settings), ..UpdateSettingsRequest::default() };
    let status = refused(admin, admin.settings().update_settings(request)).await;
    names(&status, Code::FailedPrecondition, "settings.default_provider", "nobody");
}

#[tokio::test]
async fn keys_and_credentials_are_refused_for_what_they_are_without_being_shown() {
    let system = system().await;
    let admin = system.admin();
    let create = |id: &str, key| CreateClientKeyRequest {
        client_key_id: id.to_owned(),
        client_key: Some(key),
        ..Default::default()
    };
    for secret in ["", "two words-planted", "caf\u{e9}-planted", &"planted".repeat(100)] {
        let status = refused(admin, admin.client_keys().create_client_key(create("k", client_key("", secret)))).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(!status.to_string().contains("planted"), "{status}");
    }
    let short = ClientKey {
        imported: Some(signalbox_proto::admin::v1::client_key::Imported::ImportSha256(vec![1; 31].into())),
        ..ClientKey::default()
    };
    let status = refused(admin, admin.client_keys().create_client_key(create("k", short))).await;
    names(&status, Code::InvalidArgument, "client_key.import_sha256", "32");
    let status = refused(
        admin,
        admin.client_keys().create_client_key(create("twin", client_key("", signalbox_tests::CLIENT_KEY))),
    )
    .await;
    assert!([Code::AlreadyExists, Code::InvalidArgument].contains(&status.code()), "{status}");
    assert!(!status.to_string().contains(signalbox_tests::CLIENT_KEY), "{status}");
    let create = |parent: &str, credential| CreateCredentialRequest {
        parent: parent.to_owned(),
        credential_id: "k".to_owned(),
        credential: Some(credential),
        ..CreateCredentialRequest::default()
    };
    let status =
        refused(admin, admin.credentials().create_credential(create("providers/main", credential("", "", "")))).await;
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    let status =
        refused(admin, admin.credentials().create_credential(create("providers/nobody", credential("", "", "sk-x"))))
            .await;
    assert!([Code::NotFound, Code::FailedPrecondition].contains(&status.code()), "{status}");
    let status =
        refused(admin, admin.credentials().create_credential(create("nonsense", credential("", "", "sk-x")))).await;
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
}

#[tokio::test]
async fn nothing_is_said_to_a_wrong_token() {
    let system = system().await;
    let addr = system.control_plane.admin_addr();
    for token in
        ["wrong", "", &signalbox_tests::ADMIN_TOKEN[1..], signalbox_tests::JOIN_TOKEN, signalbox_tests::CLIENT_KEY]
    {
        let stranger = Admin::new(addr, token);
        let list = stranger.providers().list_providers(ListProvidersRequest::default()).await.unwrap_err();
        let create =
            refused(system.admin(), stranger.providers().create_provider(created("x", provider("", "nonsense")))).await;
        let apply = refused(system.admin(), stranger.configs().apply_config(ApplyConfigRequest::default())).await;
        for status in [list, create, apply, stranger.list_replicas().await.unwrap_err()] {
            assert_eq!(status.code(), Code::Unauthenticated, "{token:?}: {status}");
            assert_eq!(status.get_error_details().error_info().map(|info| info.domain.as_str()), Some("signalbox.dev"));
        }
    }
}

#[tokio::test]
async fn validating_is_all_but_committing() {
    let system = system().await;
    let admin = system.admin();
    let before = admin.revision().await;
    let good = CreateProviderRequest { validate_only: true, ..created("dry", provider("", URL)) };
    assert_eq!(admin.providers().create_provider(good).await.unwrap().into_inner().name, "providers/dry");
    let bad = CreateProviderRequest { validate_only: true, ..created("dry", provider("", "nonsense")) };
    refused(admin, admin.providers().create_provider(bad)).await;
    let status =
        admin.providers().get_provider(GetProviderRequest { name: "providers/dry".to_owned() }).await.unwrap_err();
    names(&status, Code::NotFound, "providers/dry", "");
    assert_eq!(admin.revision().await, before);
}

#[tokio::test]
async fn lists_come_in_pages_and_tokens_are_not_guessed() {
    let system = system().await;
    let admin = system.admin();
    let draft = (0..5).fold(Draft::new(), |draft, number| draft.provider(provider(&format!("p{number}"), URL)));
    admin.apply(draft.0).await;
    let (mut names_seen, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListProvidersRequest { page_size: 2, page_token, ..ListProvidersRequest::default() };
        let page = admin.providers().list_providers(request).await.unwrap().into_inner();
        assert!(page.providers.len() <= 2);
        names_seen.extend(page.providers.into_iter().map(|provider| provider.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(names_seen, ["main", "p0", "p1", "p2", "p3", "p4"].map(|id| format!("providers/{id}")));
    for (page_size, page_token, field) in [(-1, "", "page_size"), (0, "made-up", "page_token")] {
        let request =
            ListProvidersRequest { page_size, page_token: page_token.to_owned(), ..ListProvidersRequest::default() };
        let status = admin.providers().list_providers(request).await.unwrap_err();
        names(&status, Code::InvalidArgument, field, "");
    }
}

#[tokio::test]
async fn everything_is_discovered_by_reflection_without_a_token() {
    let system = system().await;
    let mut client = ServerReflectionClient::new(system.admin().channel());
    let ask = |request| ServerReflectionRequest { host: String::new(), message_request: Some(request) };
    let list = ask(server_reflection_request::MessageRequest::ListServices(String::new()));
    let symbol = "signalbox.admin.v1.ProviderService".to_owned();
    let file = ask(server_reflection_request::MessageRequest::FileContainingSymbol(symbol));
    let mut answers = client.server_reflection_info(tokio_stream::iter([list, file])).await.unwrap().into_inner();
    let first = answers.message().await.unwrap().unwrap().message_response;
    let Some(server_reflection_response::MessageResponse::ListServicesResponse(services)) = first else {
        panic!("{first:?}")
    };
    let services: Vec<_> = services.service.into_iter().map(|service| service.name).collect();
    for kind in ["Provider", "Credential", "ClientKey", "Redirect", "Route", "Settings", "Config", "Replica"] {
        assert!(services.contains(&format!("signalbox.admin.v1.{kind}Service")), "{services:?}");
    }
    assert!(services.contains(&"grpc.health.v1.Health".to_owned()), "{services:?}");
    let second = answers.message().await.unwrap().unwrap().message_response;
    let Some(server_reflection_response::MessageResponse::FileDescriptorResponse(files)) = second else {
        panic!("{second:?}")
    };
    assert!(!files.file_descriptor_proto.is_empty());
}

#[tokio::test]
async fn the_older_reflection_tells_the_same() {
    let system = system().await;
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(system.admin().channel());
    let list = v1alpha::server_reflection_request::MessageRequest::ListServices(String::new());
    let request = v1alpha::ServerReflectionRequest { host: String::new(), message_request: Some(list) };
    let mut answers = client.server_reflection_info(tokio_stream::iter([request])).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response;
    let Some(v1alpha::server_reflection_response::MessageResponse::ListServicesResponse(services)) = answer else {
        panic!("{answer:?}")
    };
    assert!(services.service.iter().any(|service| service.name == "signalbox.admin.v1.ConfigService"), "{services:?}");
}

#[tokio::test]
async fn operators_at_once_get_revisions_of_their_own_and_one_of_them_the_etag() {
    let system = system().await;
    let admin = system.admin();
    let before = admin.revision().await;
    let create = async |number: u32| {
        let created = admin.providers().create_provider(created(&format!("p{number}"), provider("", URL))).await;
        created.unwrap().into_inner().revision
    };
    let mut revisions = join_all((0..20).map(create)).await;
    revisions.sort_unstable();
    assert_eq!(revisions, (before + 1..=before + 20).collect::<Vec<_>>(), "each made the next revision");
    let get = GetProviderRequest { name: "providers/main".to_owned() };
    let current = admin.providers().get_provider(get).await.unwrap().into_inner();
    let rename = async |number: u32| {
        let renamed = Provider { display_name: format!("name {number}"), ..current.clone() };
        let request = UpdateProviderRequest { provider: Some(renamed), ..UpdateProviderRequest::default() };
        admin.providers().update_provider(request).await.is_ok()
    };
    let won = join_all((0..10).map(rename)).await;
    assert_eq!(won.iter().filter(|won| **won).count(), 1, "{won:?}");
    assert_eq!(admin.revision().await, before + 21);
}

#[tokio::test]
async fn health_is_told_without_a_token() {
    let system = system().await;
    let mut client = HealthClient::new(system.admin().channel());
    let answer = client.check(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(answer.status(), ServingStatus::Serving);
}
