//! Providers that are asked for their models: what is listed, who takes a name, and what stays when an upstream does not answer.

use signalbox_proto::{
    admin::v1::{Provider, Settings},
    config::v1::{Dialect, Discovery},
};
use signalbox_tests::{
    Client, Draft, System, Upstream,
    draft::{client_key, provider},
    logs,
    upstream::Answer,
    wait::eventually,
};

/// A provider that is asked for its models, every 10 min.
fn asked(id: &str, upstream: &Upstream) -> Provider {
    Provider { discovery: Some(Discovery::default()), ..provider(id, &upstream.url()) }
}

fn list(ids: &[&str]) -> Answer {
    let data: Vec<_> = ids.iter().map(|id| serde_json::json!({"id": id, "object": "model"})).collect();
    Answer::json(200, &serde_json::json!({"object": "list", "data": data}))
}

async fn listed(client: &Client) -> Vec<String> {
    let list = client.get("/v1/models").await.json();
    let models = list["data"].as_array().expect("a list of models").iter();
    models.map(|model| model["id"].as_str().expect("an id").to_owned()).collect()
}

/// Waits until exactly these models are listed.
async fn until_listed(client: &Client, expected: &[&str]) {
    let what = format!("a list of {expected:?}");
    eventually(&what, async || (listed(client).await == expected).then_some(())).await;
}

/// Who was asked for what when a client asked for a model.
async fn served(client: &Client, model: &str) -> String {
    let reply = client.chat(model).await;
    match reply.status {
        200 => format!("{}/{}", reply.header("x-signalbox-provider"), reply.header("x-signalbox-model")),
        _ => reply.code(),
    }
}

#[tokio::test]
async fn the_lists_of_all_providers_are_merged_and_filtered() {
    let (system, zhipu, openai) = (System::start().await, Upstream::start().await, Upstream::start().await);
    zhipu.serve_models(&["glm-4", "glm-4-air", "embedding-2"]);
    openai.serve_models(&["gpt-4o", "gpt-3.5 turbo", "whisper-1", "gpt-*", ""]);
    let filtered = Provider { model_filter: vec!["^gpt".to_owned()], ..asked("openai", &openai) };
    let fixed = Provider { models: vec!["glm-own".to_owned()], ..provider("fixed", &zhipu.url()) };
    let filters = Settings { model_filter: vec!["glm".to_owned(), "4o$".to_owned()], ..Settings::default() };
    let prefixed = Provider { model_prefix: "Zhipu AI".to_owned(), ..asked("zhipu", &zhipu) };
    let draft = Draft::new().provider(prefixed).credential("zhipu", "main", "sk-zhipu").provider(filtered);
    system.apply(draft.provider(fixed).settings(filters)).await;
    let client = system.client();
    until_listed(&client, &["Zhipu AI/glm-4", "Zhipu AI/glm-4-air", "fixed/glm-own", "openai/gpt-4o"]).await;
    let model = client.get("/v1/models/openai/gpt-4o").await.json();
    assert_eq!((model["object"].as_str(), model["owned_by"].as_str()), (Some("model"), Some("openai")));
    let request = zhipu.request(0).await;
    assert_eq!((request.method.as_str(), request.target.as_str()), ("GET", "/v1/models"));
    assert_eq!(request.header("authorization"), Some("Bearer sk-zhipu"));
    assert_eq!(request.header("accept-encoding"), Some("identity"));
    for (model, expected) in [
        ("glm-4", "zhipu/glm-4"),
        ("gpt-3.5 turbo", "openai/gpt-3.5 turbo"),
        ("embedding-2", "zhipu/embedding-2"),
        ("openai/whisper-1", "openai/whisper-1"),
        ("openai/never-heard-of", "openai/never-heard-of"),
        ("whisper-1", "model_not_found"),
        ("fixed/glm-4", "model_not_found"),
    ] {
        assert_eq!(served(&client, model).await, expected, "{model}");
    }
}

#[tokio::test]
async fn an_upstream_that_is_down_holds_nothing_up_and_is_asked_again_soon() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    upstream.answer(Answer::reset());
    upstream.answer(Answer::error(503));
    let late = upstream.answer_live();
    system.apply(Draft::new().provider(asked("slow-to-rise", &upstream))).await;
    let client = system.client();
    assert_eq!(listed(&client).await, [""; 0]);
    upstream.request(2).await;
    assert_eq!(client.get("/readyz").await.status, 200);
    assert_eq!(served(&client, "slow-to-rise/any").await, "slow-to-rise/any");
    late.play(list(&["m"]));
    until_listed(&client, &["slow-to-rise/m"]).await;
    let complaints = logs::holding("cannot list the models");
    let complaints = complaints.iter().filter(|line| line["provider"] == "slow-to-rise" && line["level"] == "WARN");
    assert_eq!(complaints.count(), 1, "one line for as long as it is down");
}

#[tokio::test]
async fn a_list_is_kept_when_the_next_one_fails_and_when_the_configuration_changes() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    upstream.answer(list(&["m", "n"]));
    let main = asked("main", &upstream);
    system.apply(Draft::new().provider(main.clone())).await;
    let client = system.client();
    until_listed(&client, &["main/m", "main/n"]).await;

    let unrelated = Draft::new().client_key(client_key("other", "sb_other"));
    system.apply(unrelated.redirect("r", "alias", &[("main", "m")])).await;
    assert_eq!(listed(&client).await, ["alias", "main/m", "main/n"]);
    assert_eq!(upstream.seen().len(), 1, "a provider that has not changed is not asked anew");

    upstream.answer(Answer::error(500));
    let changed = Provider { priority: 7, ..main.clone() };
    system.apply(Draft::new().provider(changed.clone())).await;
    upstream.request(1).await;
    assert_eq!(listed(&client).await, ["alias", "main/m", "main/n"]);
    upstream.answer(list(&["n", "o"]));
    until_listed(&client, &["alias", "main/n", "main/o"]).await;

    system.apply(Draft::new().provider(Provider { discovery: None, ..changed })).await;
    assert_eq!(listed(&client).await, ["alias"]);
    upstream.answer(Answer::error(500));
    system.apply(Draft::new().provider(main)).await;
    upstream.request(3).await;
    assert_eq!(listed(&client).await, ["alias"], "what was forgotten does not come back");
    upstream.answer(list(&["n", "o"]));
    until_listed(&client, &["alias", "main/n", "main/o"]).await;
}

#[tokio::test]
async fn of_two_that_have_a_model_the_higher_priority_takes_it_and_else_the_lower_id() {
    let (system, a, b) = (System::start().await, Upstream::start().await, Upstream::start().await);
    for upstream in [&a, &b] {
        upstream.serve_models(&["shared"]);
    }
    system.apply(Draft::new().provider(asked("b", &b)).provider(asked("a", &a))).await;
    let client = system.client();
    until_listed(&client, &["a/shared", "b/shared"]).await;
    assert_eq!(served(&client, "shared").await, "a/shared");
    a.answer(Answer::error(500));
    let provider = async || client.chat("shared").await.header("x-signalbox-attempts").to_owned();
    assert_eq!(provider().await, "2", "the other one is there to fail over to");
    system.apply(Draft::new().provider(Provider { priority: 1, ..asked("b", &b) }).provider(asked("a", &a))).await;
    assert_eq!(served(&client, "shared").await, "b/shared");
}

#[tokio::test]
async fn each_dialect_is_asked_in_its_own_way() {
    let (system, anthropic, gemini, azure) =
        (System::start().await, Upstream::start().await, Upstream::start().await, Upstream::start().await);
    let page = |ids: &[&str], more: bool| {
        let data: Vec<_> = ids.iter().map(|id| serde_json::json!({"id": id, "type": "model"})).collect();
        Answer::json(200, &serde_json::json!({"data": data, "has_more": more, "last_id": ids.last()}))
    };
    anthropic.answer(page(&["claude-a", "claude b"], true));
    anthropic.answer(page(&["claude-c"], false));
    gemini.serve_models(&["models/gemini-2.5-pro"]);
    azure.serve_models(&["gpt-4o"]);
    let of = |dialect: Dialect, provider| Provider { dialect: dialect.into(), ..provider };
    let draft = Draft::new()
        .provider(of(Dialect::Anthropic, asked("anthropic", &anthropic)))
        .credential("anthropic", "main", "sk-ant")
        .provider(of(Dialect::Gemini, asked("gemini", &gemini)))
        .provider(Provider {
            base_url: format!("http://{}", azure.addr()),
            ..of(Dialect::AzureOpenai, asked("azure", &azure))
        })
        .credential("azure", "main", "az-key");
    system.apply(draft).await;
    let expected =
        ["anthropic/claude b", "anthropic/claude-a", "anthropic/claude-c", "azure/gpt-4o", "gemini/gemini-2.5-pro"];
    until_listed(&system.client(), &expected).await;
    let (first, second) = (anthropic.request(0).await, anthropic.request(1).await);
    assert_eq!(first.target, "/v1/models?limit=1000");
    assert_eq!(second.target, "/v1/models?limit=1000&after_id=claude+b");
    for request in [first, second] {
        assert_eq!(request.header("x-api-key"), Some("sk-ant"));
        assert!(request.header("anthropic-version").is_some() && request.header("authorization").is_none());
    }
    assert_eq!(azure.request(0).await.target, "/openai/v1/models");
    assert_eq!(azure.request(0).await.header("api-key"), Some("az-key"));
}

#[tokio::test]
async fn a_list_has_bounds_and_what_is_no_list_is_none() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    let many: Vec<String> = (0..10_001).map(|number| format!("m{number}")).collect();
    upstream.answer(list(&many.iter().map(String::as_str).collect::<Vec<_>>()));
    let padding = " ".repeat(10 * 1024 * 1024 + 1);
    upstream.answer(Answer::status(200).body(format!("{{\"data\":[{padding}]}}")));
    upstream.answer(Answer::status(200).header("content-type", "text/html").body("<html>welcome</html>"));
    upstream.answer(Answer::status(302).header("location", "/v1/elsewhere").body("moved"));
    system.apply(Draft::new().provider(asked("odd", &upstream))).await;
    upstream.request(3).await;
    assert_eq!(listed(&system.client()).await, [""; 0]);
    assert!(upstream.seen().iter().all(|request| request.target == "/v1/models"), "no redirect is followed");
    upstream.answer(Answer::json(200, &serde_json::json!([{"id": "m"}])));
    until_listed(&system.client(), &["odd/m"]).await;
}

#[tokio::test]
async fn a_provider_is_asked_again_every_so_often() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    upstream.answer(list(&["old"]));
    upstream.answer(list(&["new"]));
    let often = Discovery { interval: Some(prost_types::Duration { seconds: 10, nanos: 0 }) };
    system.apply(Draft::new().provider(Provider { discovery: Some(often), ..asked("main", &upstream) })).await;
    until_listed(&system.client(), &["main/old"]).await;
    until_listed(&system.client(), &["main/new"]).await;
    assert_eq!(served(&system.client(), "new").await, "main/new");
    assert_eq!(served(&system.client(), "old").await, "model_not_found");
}
