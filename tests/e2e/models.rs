//! From the name that a client writes to the model that an upstream is asked for.

use signalbox_proto::{
    admin::v1::{ClientKey, Provider, Redirect, Settings},
    config::v1::AnswerModel,
};
use signalbox_tests::{
    Client, Draft, System, Upstream,
    draft::{client_key, provider, redirect},
};

/// Asks for a model; returns who was asked for what.
async fn resolve(client: &Client, model: &str) -> String {
    let reply = client.chat(model).await;
    match reply.status {
        200 => format!("{}/{}", reply.header("x-signalbox-provider"), reply.header("x-signalbox-model")),
        _ => reply.code(),
    }
}

#[tokio::test]
async fn a_name_is_a_redirect_a_pattern_a_prefix_a_bare_name_or_the_default_providers_in_that_order() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    let listing = |id: &str, models: &[&str]| Provider {
        models: models.iter().map(|model| (*model).to_owned()).collect(),
        ..provider(id, &upstream.url())
    };
    let a = Provider { model_prefix: "Acme AI".to_owned(), ..listing("a", &["only-a", "both"]) };
    let b = Provider { priority: 1, ..listing("b", &["both", "fast"]) };
    let draft = Draft::new()
        .provider(a)
        .provider(b)
        .provider(listing("c", &[]))
        .redirect("fast", "fast", &[("a", "quick-model")])
        .redirect("family", "gpt-*", &[("b", "both")])
        .redirect("longer", "gpt-4*", &[("c", "")])
        .redirect("chain", "chained", &[("", "fast")])
        .redirect("within", "c/old", &[("c", "new")]);
    system.apply(draft.settings(Settings { default_provider: "providers/c".to_owned(), ..Settings::default() })).await;
    let client = system.client();
    for (model, expected) in [
        ("fast", "a/quick-model"),
        ("gpt-3.5", "b/both"),
        ("gpt-4o", "c/gpt-4o"),
        ("chained", "a/quick-model"),
        ("c/old", "c/new"),
        ("c/anything/with/slashes", "c/anything/with/slashes"),
        ("Acme AI/only-a", "a/only-a"),
        ("only-a", "a/only-a"),
        ("both", "b/both"),
        ("b/fast", "b/fast"),
        ("nobody/knows", "c/nobody/knows"),
    ] {
        assert_eq!(resolve(&client, model).await, expected, "{model}");
    }
    assert_eq!(upstream.seen().len(), 11);
    assert_eq!(upstream.request(0).await.model(), "quick-model");
}

#[tokio::test]
async fn unknown_and_not_allowed_are_told_in_the_same_words() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    let limited = ClientKey {
        allowed_models: vec!["main/small-*".to_owned(), "tiny".to_owned()],
        ..client_key("limited", "sb_limited")
    };
    let draft = Draft::new().upstream("main", &upstream.url()).redirect("tiny", "tiny", &[("main", "large")]);
    system.apply(draft.client_key(limited)).await;
    let client = system.client().with_key("sb_limited");
    assert_eq!(client.chat("main/small-1").await.status, 200);
    assert_eq!(client.chat("tiny").await.status, 200, "what a redirect leads to is the operator's choice");
    let (unknown, forbidden) = (client.chat("nobody/large").await, client.chat("main/large").await);
    for reply in [&unknown, &forbidden] {
        assert_eq!((reply.status, reply.code().as_str()), (404, "model_not_found"));
        assert_eq!(reply.json().pointer("/error/param"), Some(&"model".into()));
        assert_eq!(reply.json().pointer("/error/type"), Some(&"invalid_request_error".into()));
    }
    assert_eq!(unknown.body, forbidden.body);
    assert_eq!(upstream.seen().len(), 2);
}

#[tokio::test]
async fn a_redirect_may_be_for_some_keys_only() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    let labelled = |id: &str, team: &str| ClientKey {
        labels: [("team".to_owned(), team.to_owned())].into(),
        ..client_key(id, &format!("sb_{id}"))
    };
    let for_red = Redirect {
        client_key_labels: [("team".to_owned(), "red".to_owned())].into(),
        ..redirect("smart-red", "smart", &[("main", "large")])
    };
    let mut draft = Draft::new().upstream("main", &upstream.url()).redirect("smart", "smart", &[("main", "small")]);
    draft.0.redirects.push(for_red);
    system.apply(draft.client_key(labelled("red", "red")).client_key(labelled("blue", "blue"))).await;
    for (key, expected) in [("sb_red", "main/large"), ("sb_blue", "main/small")] {
        assert_eq!(resolve(&system.client().with_key(key), "smart").await, expected, "{key}");
    }
}

#[tokio::test]
async fn the_answer_names_the_model_as_requested_or_as_served() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    let served = Redirect { answer_model: AnswerModel::Served.into(), ..redirect("b", "served", &[("main", "large")]) };
    let mut draft = Draft::new().upstream("main", &upstream.url()).redirect("a", "requested", &[("main", "large")]);
    draft.0.redirects.push(served);
    system.apply(draft).await;
    for (model, expected) in [("requested", "requested"), ("served", "large")] {
        assert_eq!(system.client().chat(model).await.json().get("model"), Some(&expected.into()));
        let frames = system.client().chat_stream(model).await.rest().await;
        let (last, events) = frames.split_last().unwrap();
        assert_eq!(last, "data: [DONE]\n\n");
        assert!(events.iter().all(|event| event.contains(&format!(r#""model":"{expected}""#))), "{events:?}");
    }
}

#[tokio::test]
async fn a_disabled_provider_has_no_models() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    let main = provider("main", &upstream.url());
    system.apply(Draft::new().provider(main.clone()).redirect("alias", "alias", &[("main", "m")])).await;
    assert_eq!(resolve(&system.client(), "alias").await, "main/m");
    system.apply(Draft::new().provider(Provider { disabled: true, ..main })).await;
    for model in ["main/m", "alias"] {
        assert_eq!(resolve(&system.client(), model).await, "model_not_found", "{model}");
    }
    assert_eq!(upstream.seen().len(), 1);
}
