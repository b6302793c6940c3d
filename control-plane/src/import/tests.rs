//! What each of the five files comes to, and what is said of files that are none.

use std::time::Duration;

use signalbox_proto::{
    admin::v1::{ClientKey, Credential, Provider, Route, client_key::Imported, credential::Source, route::Destination},
    config::v1::{
        AnswerModel, Callers, CredentialChoice, CredentialSource, Dialect, LogLevel, Timeouts, header_value::Content,
    },
};

use super::*;

mod faults;

const LEAFLET: &str = include_str!("../../../tests/predecessors/leaflet.env");
const AGGREGATOR: &str = include_str!("../../../tests/predecessors/aggregator.config.json");
const REDIRECTOR: &str = include_str!("../../../tests/predecessors/redirector.config.json");
const ROUTER: &str = include_str!("../../../tests/predecessors/router.config.json");
const POOL: &str = include_str!("../../../tests/predecessors/pool.env");
const FILES: [(Format, &str); 5] = [
    (Format::Leaflet, LEAFLET),
    (Format::Aggregator, AGGREGATOR),
    (Format::Redirector, REDIRECTOR),
    (Format::Router, ROUTER),
    (Format::Pool, POOL),
];

fn read(text: &str, format: Format) -> Import {
    Import::read(text, format).unwrap()
}

/// Connect, response header, first event, stream idle and total, in seconds; 0 = as by default.
fn clocks(provider: &Provider) -> [i64; 5] {
    let Timeouts { connect, response_header, first_event, stream_idle, total } = provider.timeouts.unwrap();
    [connect, response_header, first_event, stream_idle, total].map(|clock| clock.map_or(0, |clock| clock.seconds))
}

fn credentials(credentials: &[Credential]) -> Vec<(&str, &str)> {
    let secrets = credentials.iter().filter_map(|credential| match &credential.source {
        Some(Source::Secret(secret)) => Some((credential.name.as_str(), secret.as_str())),
        _ => None,
    });
    secrets.collect()
}

fn keys(keys: &[ClientKey]) -> Vec<(&str, &str)> {
    let secrets = keys.iter().filter_map(|key| match &key.imported {
        Some(Imported::ImportSecret(secret)) => Some((key.name.as_str(), secret.as_str())),
        _ => None,
    });
    secrets.collect()
}

fn notes(import: &Import) -> Vec<&str> {
    import.notes.iter().map(|note| note.key.as_str()).collect()
}

#[test]
fn leaflet_is_one_provider_for_anyone_with_a_key_to_fall_back_on() {
    let import = read(LEAFLET, Format::Leaflet);
    let [provider] = &import.config.providers[..] else { panic!("one provider") };
    assert_eq!((provider.name.as_str(), provider.base_url.as_str()), ("providers/leaflet", "http://127.0.0.1:9101/v1"));
    assert_eq!((provider.dialect(), provider.callers()), (Dialect::Openai, Callers::Anyone));
    assert_eq!(provider.credential_source(), CredentialSource::Client);
    assert_eq!(provider.credential_prefixes, ["Bearer ", "sk-"]);
    assert!(provider.discovery.is_some());
    assert_eq!(clocks(provider), [5, 600, 600, 600, 1800]);
    let pool = provider.pool.unwrap();
    assert_eq!((pool.max_idle, pool.max_connections), (Some(100), Some(200)));
    assert_eq!(provider.retry.as_ref().unwrap().attempts, Some(3));
    let expected = [("providers/leaflet/credentials/static", "sk-leaflet-static")];
    assert_eq!(credentials(&import.config.credentials), expected);
    let settings = import.config.settings.as_ref().unwrap();
    assert_eq!((settings.default_provider.as_str(), settings.keyless_models), ("leaflet", true));
    assert_eq!(settings.cors.as_ref().unwrap().allowed_origins, ["*"]);
    assert_eq!(import.listen, Some("127.0.0.1:8080".parse().unwrap()));
    assert_eq!(notes(&import), ["models", "host, port"]);
}

#[test]
fn leaflet_needs_no_more_than_its_upstream() {
    let import = read("UPSTREAM_BASE_URL=https://api.example/v1\nRETRY_TIMES=0", Format::Leaflet);
    assert_eq!(clocks(&import.config.providers[0]), [5, 600, 600, 600, 600]);
    assert_eq!(import.config.providers[0].retry.as_ref().unwrap().attempts, Some(1));
    assert!(import.config.credentials.is_empty());
}

#[test]
fn aggregator_is_a_provider_a_line_and_a_client_key_a_token() {
    let import = read(AGGREGATOR, Format::Aggregator);
    let names: Vec<_> = import.config.providers.iter().map(|p| (p.name.as_str(), p.base_url.as_str())).collect();
    let expected =
        [("providers/zhipu", "http://127.0.0.1:9101/api/paas/v4"), ("providers/openai", "http://127.0.0.1:9102/v1")];
    assert_eq!(names, expected);
    for provider in &import.config.providers {
        assert_eq!((provider.callers(), provider.max_response_bytes), (Callers::Unspecified, Some(10_485_760)));
        assert!(provider.discovery.is_some());
        assert_eq!(clocks(provider), [0, 300, 300, 300, 30]);
        let pool = provider.pool.unwrap();
        assert_eq!((pool.max_idle, pool.max_connections), (Some(20), Some(100)));
        assert_eq!(pool.idle_timeout.unwrap().seconds, 30);
    }
    let expected =
        [("providers/zhipu/credentials/main", "zhipu-key"), ("providers/openai/credentials/main", "sk-openai-key")];
    assert_eq!(credentials(&import.config.credentials), expected);
    let expected = [("clientKeys/admin", "sk-admin-123456"), ("clientKeys/user1", "sk-user1-789012")];
    assert_eq!(keys(&import.config.client_keys), expected);
    let settings = import.config.settings.as_ref().unwrap();
    assert_eq!(settings.model_filter, [".*glm.*", ".*gpt.*", ".*claude.*"]);
    assert_eq!((settings.keyless_models, settings.log_level()), (true, LogLevel::Warn));
    assert_eq!(import.listen, Some("127.0.0.1:8001".parse().unwrap()));
}

#[test]
fn aggregators_names_may_be_anything_that_stands_before_a_slash() {
    let text = r#"{"providers": ["Zhipu AI|http://a|", "b|http://b"], "tokens": ["Ann B.|t1", "ann|t2", "ann|t3", "x|t1"],
                   "log_level": "critical", "extra": 1}"#;
    let import = read(text, Format::Aggregator);
    let [zhipu, b] = &import.config.providers[..] else { panic!("two providers") };
    assert!(zhipu.name.starts_with("providers/zhipu-ai-"), "{}", zhipu.name);
    assert_eq!((zhipu.model_prefix.as_str(), b.model_prefix.as_str()), ("Zhipu AI", ""));
    assert!(import.config.credentials.is_empty());
    let [first, ann, other] = &import.config.client_keys[..] else { panic!("three keys: the fourth is one of them") };
    assert_eq!((first.display_name.as_str(), ann.name.as_str()), ("Ann B.", "clientKeys/ann"));
    assert!(other.name.starts_with("clientKeys/ann-2-"), "{}", other.name);
    assert_eq!(import.config.settings.as_ref().unwrap().log_level(), LogLevel::Error);
    let expected = ["extra", "tokens[3]", "log_level", "max_connections, max_keepalive_connections", "host, port"];
    assert_eq!(notes(&import), expected);
    assert_eq!(import.listen, Some("127.0.0.1:8080".parse().unwrap()));
}

#[test]
fn redirector_is_one_full_address_with_keys_and_redirects() {
    let import = read(REDIRECTOR, Format::Redirector);
    let [provider] = &import.config.providers[..] else { panic!("one provider") };
    assert_eq!(provider.chat_url, "http://127.0.0.1:9101/v1/chat/completions");
    assert_eq!((provider.base_url.as_str(), provider.callers()), ("", Callers::Unspecified));
    let expected = [("providers/redirector/credentials/main", "sk-upstream-key")];
    assert_eq!(credentials(&import.config.credentials), expected);
    let expected = [("clientKeys/redirector-1", "client-key-1"), ("clientKeys/redirector-2", "client-key-2")];
    assert_eq!(keys(&import.config.client_keys), expected);
    let redirects: Vec<_> = import
        .config
        .redirects
        .iter()
        .map(|redirect| {
            let [target] = &redirect.targets[..] else { panic!("one target") };
            assert_eq!(redirect.answer_model(), AnswerModel::Requested);
            (redirect.from.as_str(), target.provider.as_str(), target.model.as_str())
        })
        .collect();
    let expected =
        [("gpt-3.5-turbo", "redirector", "gpt-3.5-turbo-0125"), ("gpt-4", "redirector", "gpt-4-turbo-preview")];
    assert_eq!(redirects, expected);
    assert_eq!(import.config.redirects[1].name, "redirects/gpt-4");
    assert!(import.config.redirects[0].name.starts_with("redirects/gpt-3-5-turbo-"));
    assert_eq!(import.config.settings.as_ref().unwrap().default_provider, "redirector");
    assert_eq!(import.listen, Some("127.0.0.1:5000".parse().unwrap()));
    assert_eq!(notes(&import), ["/metrics", "host, port"]);
}

#[test]
fn router_is_a_route_a_mount_with_its_policy_on_it() {
    let import = read(ROUTER, Format::Router);
    assert!(import.config.providers.is_empty() && import.config.client_keys.is_empty());
    let routes: Vec<_> = import.config.routes.iter().map(mount).collect();
    let direct = "";
    let expected = [
        ("routes/anthropic", "http://127.0.0.1:9102", direct, true, false, 2),
        ("routes/byok", "http://127.0.0.1:9101", direct, false, false, 0),
        ("routes/gemini", "http://127.0.0.1:9103", "http://127.0.0.1:9190", false, false, 1),
        ("routes/off", "http://127.0.0.1:9101", direct, false, true, 0),
        ("routes/ollama", "http://127.0.0.1:9104", direct, false, false, 0),
        ("routes/openai", "http://127.0.0.1:9101", direct, false, false, 1),
        ("routes/proxy", "universal", direct, false, false, 0),
    ];
    assert_eq!(routes, expected);
    for route in &import.config.routes {
        assert_eq!(route.drop_headers, ["x-forwarded-for", "x-real-ip", "cf-connecting-ip"]);
        assert_eq!((route.client_key_required, route.timeout.unwrap().seconds), (false, 180));
        assert!(route.headers.values().all(|header| matches!(header.content, Some(Content::Secret(_)))));
    }
    let settings = import.config.settings.as_ref().unwrap();
    assert_eq!((settings.base_path.as_str(), settings.request_log), ("/api/llm", Some(false)));
    assert_eq!(import.watch, Some(Duration::from_secs(30)));
    assert_eq!(import.listen, Some("127.0.0.1:3000".parse().unwrap()));
}

/// Name, target, proxy, whether configured headers win, whether it is off, and how many headers it has.
fn mount(route: &Route) -> (&str, &str, &str, bool, bool, usize) {
    let target = match route.destination.as_ref().unwrap() {
        Destination::TargetUrl(url) => url,
        Destination::Universal(_) => "universal",
    };
    let proxy = route.forward_proxy.as_ref().unwrap().url.as_str();
    (&route.name, target, proxy, route.overwrite_headers.unwrap(), route.disabled, route.headers.len())
}

#[test]
fn routers_global_words_hold_where_a_mount_has_none_of_its_own() {
    let text = r#"{"global_proxy": "socks5://u:p@h:1080", "force_header_overwrite": true, "server": {"base_path": "v1/x/"},
        "routes": {"a": {"target_url": "http://a"}, "B.c": {"target_url": "http://b", "proxy": "", "force_header_overwrite": false}}}"#;
    let import = read(text, Format::Router);
    let [b, a] = &import.config.routes[..] else { panic!("two routes") };
    assert_eq!(mount(a), ("routes/a", "http://a", "socks5://h:1080", true, false, 0));
    let proxy = a.forward_proxy.as_ref().unwrap();
    assert_eq!((proxy.username.as_str(), proxy.password.as_str()), ("u", "p"));
    assert!(b.name.starts_with("routes/b-c-"), "{}", b.name);
    assert_eq!((b.segment.as_str(), a.segment.as_str()), ("B.c", ""));
    assert_eq!((b.forward_proxy.as_ref().unwrap().url.as_str(), b.overwrite_headers), ("", Some(false)));
    assert_eq!(import.config.settings.as_ref().unwrap().base_path, "/v1/x");
    assert_eq!(import.config.settings.as_ref().unwrap().request_log, None);
}

#[test]
fn router_says_how_often_it_is_looked_at() {
    for (interval, expected) in [
        ("", None),
        (r#""reload_interval": -1"#, None),
        (r#""reload_interval": 0"#, Some(1)),
        (r#""reload_interval": 7"#, Some(7)),
    ] {
        let text = format!(r#"{{"server": {{{interval}}}, "routes": {{"a": {{"target_url": "http://a"}}}}}}"#);
        assert_eq!(read(&text, Format::Router).watch, expected.map(Duration::from_secs), "{interval}");
    }
}

#[test]
fn pool_is_a_conversation_with_its_tokens_in_turn() {
    let import = read(POOL, Format::Pool);
    let [provider] = &import.config.providers[..] else { panic!("one provider") };
    assert_eq!((provider.dialect(), provider.callers()), (Dialect::Conversation, Callers::Unspecified));
    assert_eq!(provider.chat_url, "http://127.0.0.1:9101/chat");
    assert_eq!(provider.probe_url, "http://127.0.0.1:9101/project");
    assert_eq!(provider.models, ["ChatGPT 4.1-Default", "Claude 4-Default", "DeepSeek R1-Default"]);
    assert_eq!(provider.credential_choice(), CredentialChoice::LeastRecentlyUsed);
    let conversation = provider.conversation.as_ref().unwrap();
    assert_eq!(conversation.create_url, "http://127.0.0.1:9101/conversation");
    assert_eq!(conversation.headers["referer"], "http://127.0.0.1:9101/conversation/{conversation_id}");
    assert_eq!(clocks(provider), [30, 30, 30, 30, 12 * (30 + 8)]);
    let retry = provider.retry.as_ref().unwrap();
    assert_eq!((retry.attempts, retry.attempts_per_credential), (Some(12), Some(4)));
    assert_eq!((retry.backoff_base.unwrap().seconds, retry.backoff_cap.unwrap().seconds), (1, 8));
    assert_eq!(retry.statuses, [502, 503, 504]);
    let expected = [
        ("providers/pool/credentials/token-1", "token_1"),
        ("providers/pool/credentials/token-2", "token_2"),
        ("providers/pool/credentials/token-3", "token_3"),
    ];
    assert_eq!(credentials(&import.config.credentials), expected);
    let expected = [("clientKeys/pool-1", "your-api-key-1"), ("clientKeys/pool-2", "your-api-key-2")];
    assert_eq!(keys(&import.config.client_keys), expected);
    let bare: Vec<_> = import.config.redirects.iter().map(|redirect| redirect.from.as_str()).collect();
    assert_eq!(bare, provider.models);
    assert_eq!(import.config.settings, None);
    assert_eq!(import.listen, Some("0.0.0.0:3333".parse().unwrap()));
    assert_eq!(notes(&import), ["APP_NAME", "RETRY_DELAY", "host, port"]);
}

#[test]
fn pool_without_keys_is_for_anyone() {
    let text = "TARGET_API_URL=http://a/chat\nREQUIRE_API_KEY=false\nDEBUG=true\nMAX_RETRIES=99\nRETRY_DELAY=0\nTOKEN_POOL=[\"a\",\"b\"]";
    let import = read(text, Format::Pool);
    let provider = &import.config.providers[0];
    assert_eq!(
        (provider.callers(), provider.conversation.as_ref().unwrap().create_url.as_str()),
        (Callers::Anyone, "")
    );
    assert_eq!(provider.retry.as_ref().unwrap().attempts, Some(100), "there is a limit");
    let settings = import.config.settings.as_ref().unwrap();
    assert_eq!((settings.keyless_models, settings.log_level()), (true, LogLevel::Debug));
}

#[test]
fn a_process_may_bring_its_variables() {
    let of = |text: &str| {
        text.lines()
            .filter_map(|line| line.split_once('='))
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect::<Vec<_>>()
    };
    let by_environment = Import::from_environment(of(LEAFLET).into_iter().chain(of("PATH=/bin")), Format::Leaflet);
    assert_eq!(by_environment, Some(Ok(read(LEAFLET, Format::Leaflet))), "what is not about it is no business of its");
    assert!(Import::from_environment(of(LEAFLET), Format::Pool).unwrap().is_err());
    assert_eq!(Import::from_environment(of(LEAFLET), Format::Router), None);
}

#[test]
fn every_file_is_known_by_its_keys_and_read_the_same_twice() {
    for (format, text) in FILES {
        assert_eq!(Format::recognise(text), Ok(format));
        assert_eq!(read(text, format), read(text, format));
    }
    for native in
        ["providers: []", "{\"clientKeys\": []}", "# mine\nsettings:\n  basePath: /a", "routes:\n- name: routes/a"]
    {
        assert_eq!(Format::recognise(native), Ok(Format::Signalbox), "{native}");
    }
    for (text, expected) in [
        (
            "{\"what\": 1, \"ever\": 2}",
            "its format is not known by its keys (ever, what): say which it is with --config-format",
        ),
        ("A=1\nB=2", "its format is not known by its keys (A, B): say which it is with --config-format"),
        ("- 1", "its format is not known by its keys (it has none): say which it is with --config-format"),
        (" \n", "it is empty: an empty file would take everything away, so it is refused"),
    ] {
        assert_eq!(Format::recognise(text).unwrap_err().to_string(), expected, "{text}");
    }
}

#[test]
fn our_own_words_are_read_as_json_and_as_yaml() {
    let json = r#"{"routes": [{"name": "routes/a", "targetUrl": "http://a", "timeout": "5s"}], "settings": {"base_path": "/x"}}"#;
    let yaml = "routes:\n  - name: routes/a\n    targetUrl: http://a\n    timeout: 5s\nsettings: {basePath: /x}\n";
    let (json, yaml) = (read(json, Format::Signalbox), read(yaml, Format::Signalbox));
    assert_eq!(json, yaml);
    assert_eq!(json.config.routes[0].timeout.unwrap().seconds, 5);
    assert_eq!((json.listen, json.watch), (None, Some(Duration::from_secs(1))));
}
