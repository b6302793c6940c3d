//! Strangers, and the keys of their own that they bring along: where these go, where they never go, and what comes back.

use http::Method;
use serde_json::json;
use signalbox_proto::{
    admin::v1::{ClientKey, Provider, Settings},
    config::v1::{Callers, CredentialSource, Dialect},
};
use signalbox_tests::{
    Answer, CLIENT_KEY, Draft, Reply, System, Upstream, chat,
    draft::{self, provider},
    logs,
    wait::eventually,
};

const CHAT: &str = "/v1/chat/completions";

/// A provider that is for anyone.
fn open(id: &str, url: &str) -> Provider {
    Provider { callers: Callers::Anyone.into(), ..provider(id, url) }
}

/// A provider that is for anyone, and asked with its caller's own key.
fn byo(id: &str, url: &str) -> Provider {
    Provider {
        credential_source: CredentialSource::Client.into(),
        credential_prefixes: vec!["Bearer ".to_owned(), "sk-".to_owned()],
        ..open(id, url)
    }
}

/// One provider, `byo`, with a key of its own to fall back on.
async fn system() -> (System, Upstream) {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    system.apply(Draft::new().provider(byo("byo", &upstream.url())).credential("byo", "spare", "sk-spare")).await;
    (system, upstream)
}

/// A chat with headers and a query of one's own, and no client key.
async fn ask(system: &System, model: &str, headers: &[(&str, &str)], query: &str) -> Reply {
    let mut request = system.client().without_key().request(Method::POST, &format!("{CHAT}{query}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Reply::to(request.header("content-type", "application/json").body(chat(model).to_string())).await
}

#[tokio::test]
async fn a_callers_own_key_goes_on_from_each_of_the_four_places_without_its_prefixes() {
    let (system, upstream) = system().await;
    let cases: [(&[(&str, &str)], &str); 8] = [
        (&[("authorization", "Bearer your-token")], ""),
        (&[("authorization", "Bearer sk-your-token")], ""),
        (&[("authorization", "Bearer Bearer your-token")], ""),
        (&[("authorization", "Bearer Bearer sk-your-token")], ""),
        (&[("authorization", "your-token")], ""),
        (&[("x-api-key", "your-token")], ""),
        (&[("api-key", "sk-your-token")], ""),
        (&[], "?api_key=your-token&kept=1"),
    ];
    for (number, (headers, query)) in cases.into_iter().enumerate() {
        let reply = ask(&system, "byo/m", headers, query).await;
        assert_eq!(reply.status, 200, "{headers:?} {query}: {}", reply.text());
        let seen = upstream.request(number).await;
        assert_eq!(seen.header("authorization"), Some("Bearer your-token"), "{headers:?} {query}");
        assert_eq!((seen.header("x-api-key"), seen.header("api-key")), (None, None), "{headers:?}");
        assert!(!seen.target.contains("your-token"), "{}", seen.target);
        assert_eq!(seen.target.ends_with("?kept=1"), query.ends_with("&kept=1"), "{}", seen.target);
    }
}

#[tokio::test]
async fn a_callers_own_key_is_sent_where_the_dialect_looks_for_it() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    let azure = Provider { dialect: Dialect::AzureOpenai.into(), ..byo("azure", &upstream.url()) };
    system.apply(Draft::new().provider(azure)).await;
    assert_eq!(ask(&system, "azure/m", &[("authorization", "Bearer mine")], "").await.status, 200);
    let seen = upstream.only();
    assert_eq!((seen.header("api-key"), seen.header("authorization")), (Some("mine"), None));
}

#[tokio::test]
async fn who_presents_nothing_or_a_client_key_is_served_with_the_providers_own() {
    let (system, upstream) = system().await;
    assert_eq!(ask(&system, "byo/m", &[], "").await.status, 200);
    assert_eq!(system.client().chat("byo/m").await.status, 200);
    for number in 0..2 {
        assert_eq!(upstream.request(number).await.header("authorization"), Some("Bearer sk-spare"));
    }
}

#[tokio::test]
async fn a_client_key_never_goes_upstream_whatever_it_hides_behind() {
    let (system, upstream) = system().await;
    let off = ClientKey { disabled: true, ..draft::client_key("off", "sb_off") };
    system.apply(Draft::new().client_key(off).client_key(draft::client_key("prefixed", "sk-of-ours"))).await;
    for key in [
        "Bearer sb_off".to_owned(),
        format!("Bearer sk-{CLIENT_KEY}"),
        format!("Bearer Bearer {CLIENT_KEY}"),
        format!("Bearer Bearer sk-{CLIENT_KEY}"),
        "Bearer Bearer sk-of-ours".to_owned(),
        CLIENT_KEY.to_owned(),
        format!("Bearer{CLIENT_KEY}"),
        format!("Basic {CLIENT_KEY}"),
        "Bearer sk-".to_owned(),
    ] {
        let reply = ask(&system, "byo/m", &[("authorization", &key)], "").await;
        assert_eq!((reply.status, reply.code().as_str()), (401, "invalid_api_key"), "{key}");
    }
    assert!(upstream.seen().is_empty(), "{:?}", upstream.seen());
}

#[tokio::test]
async fn a_key_of_ones_own_stays_away_from_providers_that_have_theirs() {
    let (system, own, pooled) = (System::start().await, Upstream::start().await, Upstream::start().await);
    let draft = Draft::new().provider(byo("own", &own.url())).provider(open("pooled", &pooled.url())).credential(
        "pooled",
        "k",
        "sk-pooled",
    );
    system.apply(draft.redirect("m", "m", &[("own", "x"), ("pooled", "y")])).await;
    own.answer(Answer::error(500));
    let mine: &[_] = &[("authorization", "Bearer mine")];
    let reply = ask(&system, "m", mine, "").await;
    assert_eq!((reply.status, reply.header("x-signalbox-provider")), (200, "pooled"));
    assert_eq!(own.only().header("authorization"), Some("Bearer mine"));
    assert_eq!(ask(&system, "pooled/y", mine, "").await.status, 200);
    for number in 0..2 {
        let seen = pooled.request(number).await;
        assert_eq!(seen.header("authorization"), Some("Bearer sk-pooled"));
        assert!(!format!("{seen:?}").contains("mine"), "{seen:?}");
    }
}

#[tokio::test]
async fn what_an_upstream_says_of_a_callers_own_key_is_the_callers_to_hear_and_harms_no_pool() {
    let (system, upstream) = system().await;
    for status in [401, 402, 403] {
        let body = json!({"error": {"message": "Incorrect API key provided: mine-12345", "code": status}}).to_string();
        let refusal = Answer::status(status).header("content-type", "application/json").header("x-theirs", "kept");
        upstream.answer(refusal.body(&body));
        let reply = ask(&system, "byo/m", &[("authorization", "Bearer mine-12345")], "").await;
        assert_eq!((reply.status, reply.text(), reply.header("x-theirs")), (status, body.as_str(), "kept"));
        assert_eq!(reply.header("x-signalbox-attempts"), "1");
    }
    upstream.answer(Answer::status(429).header("retry-after", "30").body("{}"));
    let limited = ask(&system, "byo/m", &[("authorization", "Bearer mine-12345")], "").await;
    assert_eq!((limited.status, limited.header("retry-after")), (429, "30"));

    let reply = ask(&system, "byo/m", &[], "").await;
    assert_eq!((reply.status, reply.header("x-signalbox-attempts")), (200, "1"));
    let pool = &system.client().get("/health").await.json()["credential_pools"]["byo"];
    assert_eq!((&pool["usable"], &pool["failures"]), (&json!(1), &json!(0)), "{pool}");
}

#[tokio::test]
async fn a_stranger_is_served_only_where_a_provider_is_for_anyone() {
    let (system, upstream) = system().await;
    system.apply(Draft::new().upstream("closed", &upstream.url())).await;
    for model in ["closed/m", "nobody/m"] {
        let reply = ask(&system, model, &[], "").await;
        assert_eq!((reply.status, reply.code().as_str()), (401, "missing_api_key"), "{model}");
        let reply = ask(&system, model, &[("authorization", "Bearer mine")], "").await;
        assert_eq!((reply.status, reply.code().as_str()), (401, "invalid_api_key"), "{model}");
    }
    let twice = [("authorization", "Bearer mine"), ("x-api-key", "other")];
    let reply = ask(&system, "byo/m", &twice, "").await;
    assert_eq!((reply.status, reply.code().as_str()), (400, "ambiguous_api_key"));
    assert!(upstream.seen().is_empty());
    assert_eq!(system.client().chat("closed/m").await.status, 200);
}

#[tokio::test]
async fn a_stranger_is_told_of_the_models_that_are_for_anyone() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    let listing = |provider: Provider| Provider { models: vec!["m".to_owned()], ..provider };
    let draft = Draft::new()
        .provider(listing(byo("byo", &upstream.url())))
        .provider(listing(provider("closed", &upstream.url())));
    system.apply(draft).await;
    let listed = async |client: &signalbox_tests::Client| {
        let list = client.get("/v1/models").await.json();
        let models = list["data"].as_array().expect("a list").iter();
        models.map(|model| model["id"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let stranger = system.client().with_key("mine");
    assert_eq!(listed(&stranger).await, ["byo/m"]);
    assert_eq!(
        (stranger.get("/v1/models/byo/m").await.status, stranger.get("/v1/models/closed/m").await.status),
        (200, 404)
    );
    assert_eq!(listed(&system.client()).await, ["byo/m", "closed/m"]);
    system.apply(Draft::new().settings(Settings { keyless_models: true, ..Settings::default() })).await;
    assert_eq!(listed(&stranger).await, ["byo/m", "closed/m"]);
}

#[tokio::test]
async fn the_record_says_that_it_was_a_stranger_and_not_with_which_key() {
    let (system, _upstream) = system().await;
    let reply = ask(&system, "byo/m", &[("authorization", "Bearer mine-not-to-be-logged")], "").await;
    let id = reply.header("x-request-id").to_owned();
    let line = eventually("a line in the access log", async || logs::access(&id)).await;
    assert_eq!((line.get("client_key.id"), line.get("credential.name")), (Some(&json!("stranger")), None), "{line}");
    assert!(!logs::all().contains("mine-not-to-be-logged"));
}
