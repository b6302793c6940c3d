//! Every word that an operator can say of a resource comes back as it was said, and one that is wrong is named.

use signalbox_proto::{
    admin::v1::{
        ClientKey, CreateClientKeyRequest, CreateProviderRequest, CreateRouteRequest, GetClientKeyRequest,
        GetProviderRequest, GetRouteRequest, GetSettingsRequest, Provider, Route, Settings, UpdateSettingsRequest,
        route::Destination,
    },
    config::v1::{
        AzureOpenAi, Callers, Conversation, Cors, CredentialSource, Dialect, Discovery, Ejection, Limits, LogLevel,
        Pool, Retry, Universal,
    },
};
use signalbox_tests::{
    Draft, Setup, System,
    draft::{client_key, millis, provider, route},
};
use tonic::Code;

use crate::refusal::{names, refused};

const URL: &str = "http://127.0.0.1:9/v1";

async fn system() -> System {
    Setup { data_planes: 0, ..Setup::default() }.start().await
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

/// A provider about which everything is said that can be said of any.
fn talkative(dialect: Dialect) -> Provider {
    Provider {
        dialect: dialect.into(),
        pool: Some(Pool { max_connections: Some(9), ..Pool::default() }),
        retry: Some(Retry {
            attempts: Some(100),
            attempts_per_credential: Some(2),
            on_connect_failure: Some(false),
            on_rate_limit: Some(false),
            on_server_error: Some(true),
            on_timeout: Some(false),
            ..Retry::default()
        }),
        callers: Callers::Anyone.into(),
        credential_source: CredentialSource::Client.into(),
        credential_prefixes: words(&["Bearer ", "sk-"]),
        model_filter: words(&["^gpt", "turbo$"]),
        max_response_bytes: Some(10_485_760),
        ejection: Some(Ejection { failures: Some(0), base: millis(1), cap: millis(2) }),
        request_usage: Some(false),
        pass_openai_headers: true,
        probe_url: "https://status.example/up".to_owned(),
        ..provider("", URL)
    }
}

fn conversation() -> Conversation {
    Conversation {
        create_url: "https://up.example/new".to_owned(),
        create_body: r#"{"title": "{unix_time_ms}"}"#.to_owned(),
        id_pointers: words(&["/conversation/id"]),
        headers: [("Referer".to_owned(), "https://up.example/c/{conversation_id}".to_owned())].into(),
        chat_body: r#"{"text": "{message}"}"#.to_owned(),
        text_pointers: words(&["", "/text"]),
        delta_pointers: words(&["/delta"]),
        end_pointers: words(&["/done"]),
        error_pointers: words(&["/error"]),
    }
}

async fn create(system: &System, id: &str, provider: Provider) -> Provider {
    let request = CreateProviderRequest { provider_id: id.to_owned(), provider: Some(provider), ..Default::default() };
    system.admin().providers().create_provider(request).await.expect("it is a good provider").into_inner();
    let request = GetProviderRequest { name: format!("providers/{id}") };
    system.admin().providers().get_provider(request).await.expect("it is there").into_inner()
}

/// What an operator said, without what the control plane adds.
fn said(provider: Provider) -> Provider {
    Provider { name: String::new(), create_time: None, update_time: None, revision: 0, etag: String::new(), ..provider }
}

#[tokio::test]
async fn a_provider_comes_back_as_it_was_said() {
    let system = system().await;
    let discovery = Some(Discovery { interval: millis(10_000) });
    let azure = Some(AzureOpenAi { api_version: "2024-10-21".to_owned() });
    for (id, wanted) in [
        ("openai", Provider { discovery, ..talkative(Dialect::Openai) }),
        ("azure", Provider { azure_openai: azure, ..talkative(Dialect::AzureOpenai) }),
        (
            "conversation",
            Provider {
                chat_url: "https://up.example/chat".to_owned(),
                conversation: Some(conversation()),
                ..talkative(Dialect::Conversation)
            },
        ),
    ] {
        let wanted = Provider { model_prefix: format!("{id} ai"), ..wanted };
        let found = said(create(&system, id, wanted.clone()).await);
        assert_eq!(found, Provider { name: String::new(), ..wanted }, "{id}");
    }
}

#[tokio::test]
async fn a_bad_word_of_a_provider_is_named() {
    let system = system().await;
    let plain = || provider("", URL);
    let conversation = |conversation: Conversation| Provider {
        dialect: Dialect::Conversation.into(),
        chat_url: "https://up.example/chat".to_owned(),
        conversation: Some(conversation),
        ..plain()
    };
    let cases = [
        (Provider { discovery: Some(Discovery { interval: millis(9_999) }), ..plain() }, "discovery.interval", "10 s"),
        (Provider { model_filter: words(&["ok", "(open"]), ..plain() }, "model_filter[1]", "unclosed group"),
        (Provider { max_response_bytes: Some(0), ..plain() }, "max_response_bytes", "1 byte"),
        (
            Provider { pool: Some(Pool { max_connections: Some(0), ..Pool::default() }), ..plain() },
            "pool.max_connections",
            "1 to",
        ),
        (
            Provider { retry: Some(Retry { attempts: Some(101), ..Retry::default() }), ..plain() },
            "retry.attempts",
            "1 to 100",
        ),
        (Provider { credential_prefixes: words(&[""]), ..plain() }, "credential_prefixes[0]", "required"),
        (Provider { probe_url: "status".to_owned(), ..plain() }, "probe_url", "http"),
        (Provider { callers: 7, ..plain() }, "callers", "7"),
        (Provider { azure_openai: Some(AzureOpenAi::default()), ..plain() }, "azure_openai", "DIALECT_AZURE_OPENAI"),
        (Provider { conversation: Some(Conversation::default()), ..plain() }, "conversation", "DIALECT_CONVERSATION"),
        (Provider { dialect: Dialect::Conversation.into(), ..plain() }, "chat_url", "required"),
        (
            conversation(Conversation { chat_body: "{message}".to_owned(), ..Conversation::default() }),
            "conversation.chat_body",
            "JSON",
        ),
        (
            conversation(Conversation { end_pointers: words(&["done"]), ..Conversation::default() }),
            "conversation.end_pointers[0]",
            "pointer",
        ),
    ];
    for (provider, field, rule) in cases {
        let request =
            CreateProviderRequest { provider_id: "bad".to_owned(), provider: Some(provider), ..Default::default() };
        let status = refused(system.admin(), system.admin().providers().create_provider(request)).await;
        names(&status, Code::InvalidArgument, &format!("provider.{field}"), rule);
    }
}

#[tokio::test]
async fn the_settings_come_back_as_they_were_said_and_a_bad_word_is_named() {
    let system = system().await;
    let cors = Cors {
        allowed_origins: words(&["https://app.example"]),
        allowed_methods: words(&["POST"]),
        allowed_headers: words(&["Authorization"]),
        exposed_headers: words(&["x-request-id"]),
        allow_credentials: true,
        max_age: millis(5_000),
    };
    let wanted = Settings {
        cors: Some(cors.clone()),
        model_filter: words(&["glm"]),
        log_level: LogLevel::Debug.into(),
        stream_keepalive: millis(0),
        ..Settings::default()
    };
    system.apply(Draft::new().settings(wanted.clone())).await;
    let request = GetSettingsRequest { name: "settings".to_owned() };
    let found = system.admin().settings().get_settings(request).await.expect("there always are").into_inner();
    let found = (found.cors, found.model_filter, found.log_level, found.stream_keepalive);
    assert_eq!(found, (wanted.cors, wanted.model_filter, wanted.log_level, wanted.stream_keepalive));

    let with = |cors| Settings { cors: Some(cors), ..Settings::default() };
    let origins = |origins: &[&str]| with(Cors { allowed_origins: words(origins), ..Cors::default() });
    for (settings, field, rule) in [
        (origins(&[]), "cors.allowed_origins", "required"),
        (origins(&["https://app.example/path"]), "cors.allowed_origins[0]", "origin"),
        (origins(&["https://app.example", "*"]), "cors.allowed_origins[1]", "alone"),
        (with(Cors { allowed_origins: words(&["*"]), ..cors }), "cors.allow_credentials", "by name"),
        (Settings { model_filter: words(&["*"]), ..Settings::default() }, "model_filter[0]", "repetition"),
        (Settings { log_level: 9, ..Settings::default() }, "log_level", "9"),
        (Settings { stream_keepalive: millis(86_400_001), ..Settings::default() }, "stream_keepalive", "24 h"),
    ] {
        let settings = Settings { name: "settings".to_owned(), ..settings };
        let request = UpdateSettingsRequest { settings: Some(settings), ..UpdateSettingsRequest::default() };
        let status = refused(system.admin(), system.admin().settings().update_settings(request)).await;
        names(&status, Code::InvalidArgument, &format!("settings.{field}"), rule);
    }
}

#[tokio::test]
async fn limits_and_ranges_come_back_as_they_were_said_and_bad_ones_are_named() {
    let system = system().await;
    let (keys, routes) = (|| system.admin().client_keys(), || system.admin().routes());
    let limited = |limits: Limits| CreateClientKeyRequest {
        client_key_id: "limited".to_owned(),
        client_key: Some(ClientKey { limits: Some(limits), ..client_key("", "sb_limited") }),
        ..CreateClientKeyRequest::default()
    };
    let zero = Limits { requests_per_minute: Some(0), ..Limits::default() };
    let status = refused(system.admin(), keys().create_client_key(limited(zero))).await;
    names(&status, Code::InvalidArgument, "client_key.limits.requests_per_minute", "1 or more");
    let limits = Limits { requests_per_minute: Some(1), tokens_per_minute: Some(2), max_in_flight: Some(3) };
    keys().create_client_key(limited(limits)).await.expect("it is a good key");
    let request = GetClientKeyRequest { name: "clientKeys/limited".to_owned() };
    assert_eq!(keys().get_client_key(request).await.expect("it is there").into_inner().limits, Some(limits));

    let to = |ranges: &[&str]| Some(Destination::Universal(Universal { allowed_ranges: words(ranges) }));
    let open = |ranges: &[&str]| CreateRouteRequest {
        route_id: "any".to_owned(),
        route: Some(Route { destination: to(ranges), ..route("", "") }),
        ..CreateRouteRequest::default()
    };
    for bad in ["169.254.0.0/16", "0.0.0.0/0", "fe80::/10", "localhost"] {
        let status = refused(system.admin(), routes().create_route(open(&["10.0.0.0/8", bad]))).await;
        names(&status, Code::InvalidArgument, "route.universal.allowed_ranges[1]", bad);
    }
    routes().create_route(open(&["10.0.0.0/8", "::1"])).await.expect("it is a good route");
    let request = GetRouteRequest { name: "routes/any".to_owned() };
    let found = routes().get_route(request).await.expect("it is there").into_inner().destination;
    assert_eq!(found, to(&["10.0.0.0/8", "::1"]));
}
