//! Where requests would go.

use signalbox_proto::{
    admin::v1::{ExplainRouteRequest, ExplainRouteResponse, Redirect},
    config::v1::Callers,
};

use super::{
    documents::{everything, labels, listing, merge, redirect},
    *,
};

async fn explained(app: &Running, request: ExplainRouteRequest) -> ExplainRouteResponse {
    app.config().explain_route(request).await.unwrap().into_inner()
}

fn asks(key: &str, model: &str) -> ExplainRouteRequest {
    let client_key = if key.is_empty() { String::new() } else { format!("clientKeys/{key}") };
    ExplainRouteRequest { client_key, model: model.to_owned(), ..ExplainRouteRequest::default() }
}

fn steps(answer: &ExplainRouteResponse) -> Vec<String> {
    answer.steps.iter().map(|step| format!("{} {}", step.resource, step.effect)).collect()
}

fn refused(answer: &ExplainRouteResponse) -> Option<(u32, &str)> {
    answer.refusal.as_ref().map(|refusal| (refusal.status, refusal.code.as_str()))
}

#[tokio::test]
async fn a_request_is_explained_step_by_step_for_the_key_that_makes_it() {
    let app = Running::start().await;
    app.apply(merge(everything())).await.unwrap();
    let dev = explained(&app, asks("dev", "fast")).await;
    assert_eq!(steps(&dev), ["redirects/team takes `fast` and leads to 1 target; it goes before `all`"]);
    let candidate = &dev.candidates[0];
    assert_eq!((candidate.provider.as_str(), candidate.model.as_str()), ("providers/a", "gpt-4o-mini"));
    assert_eq!(candidate.url, "https://upstream.test/v1/chat/completions");
    assert_eq!(candidate.credentials, ["providers/a/credentials/main"]);
    assert_eq!((refused(&dev), dev.revision), (None, app.revision().await));

    let ci = explained(&app, asks("ci", "fast")).await;
    assert_eq!(
        steps(&ci),
        [
            "redirects/team matches `fast`, but is for keys with the labels team=a",
            "redirects/all takes `fast` and leads to 1 target",
        ]
    );
    assert_eq!(ci.candidates[0].model, "gpt-4o");
    let not_allowed = explained(&app, asks("ci", "other")).await;
    assert_eq!(steps(&not_allowed), ["clientKeys/ci its allowed_models do not let it ask for `other`"]);
    assert_eq!(refused(&not_allowed), Some((404, "model_not_found")));
    assert!(!format!("{dev:?}{ci:?}").contains("s-c"), "no secret is told");
    app.stop().await;
}

#[tokio::test]
async fn who_is_turned_away_is_told_why() {
    let app = Running::start().await;
    let mut config = everything();
    config.client_keys[0].disabled = true;
    config.client_keys[1].expire_time = Some(prost_types::Timestamp { seconds: 1, nanos: 0 });
    app.apply(merge(config)).await.unwrap();
    for (key, step, code) in [
        ("ci", "clientKeys/ci is disabled", "invalid_api_key"),
        ("dev", "clientKeys/dev has expired", "invalid_api_key"),
        ("", " no provider is for callers without a client key", "missing_api_key"),
    ] {
        let answer = explained(&app, asks(key, "gpt-4o")).await;
        assert_eq!((steps(&answer), refused(&answer)), (vec![step.to_owned()], Some((401, code))));
        assert!(answer.candidates.is_empty());
    }
    let open = Provider { callers: Callers::Anyone.into(), ..listing("open", &["free"]) };
    app.apply(merge(Config { providers: vec![open], ..Config::default() })).await.unwrap();
    let free = explained(&app, asks("", "free")).await;
    assert_eq!((refused(&free), free.candidates.len()), (None, 1));
    assert!(
        steps(&free).iter().any(|step| step == "providers/open has no credentials: what is sent to it carries no key")
    );
    let private = explained(&app, asks("", "gpt-4o")).await;
    assert_eq!(refused(&private), Some((401, "missing_api_key")));
    assert_eq!(private.candidates[0].excluded, "the provider is only for callers with a client key");
    app.stop().await;
}

#[tokio::test]
async fn the_past_and_what_is_not_applied_yet_can_be_asked_too() {
    let app = Running::start().await;
    let first = app.apply(merge(everything())).await.unwrap().revision;
    let moved = Config {
        redirects: vec![Redirect {
            client_key_labels: labels(&[("team", "a")]),
            ..redirect("team", "fast", &["b:llama"])
        }],
        ..Config::default()
    };
    let would = explained(&app, ExplainRouteRequest { config: Some(moved.clone()), ..asks("dev", "fast") }).await;
    assert_eq!((would.candidates[0].provider.as_str(), would.revision), ("providers/b", first));
    assert_eq!(app.revision().await, first, "nothing is applied");
    app.apply(merge(moved.clone())).await.unwrap();
    let was = explained(&app, ExplainRouteRequest { revision: first, ..asks("dev", "fast") }).await;
    assert_eq!((was.candidates[0].provider.as_str(), was.revision), ("providers/a", first));
    let is = explained(&app, asks("dev", "fast")).await;
    assert_eq!((is.candidates[0].provider.as_str(), is.revision), ("providers/b", first + 1));

    let both = ExplainRouteRequest { config: Some(moved), revision: first, ..asks("dev", "fast") };
    let refused = async |request| app.config().explain_route(request).await.unwrap_err();
    assert_eq!(violations(&refused(both).await)[0].0, "revision");
    let broken = Config { redirects: vec![redirect("r", "", &["a"])], ..Config::default() };
    let status = refused(ExplainRouteRequest { config: Some(broken), ..asks("dev", "m") }).await;
    assert_eq!(violations(&status)[0].0, "config.redirects[0].from");
    app.stop().await;
}

#[tokio::test]
async fn what_can_be_asked_is_said() {
    let app = Running::start().await;
    app.apply(merge(everything())).await.unwrap();
    let refused = async |request| app.config().explain_route(request).await.unwrap_err();
    assert_eq!(violations(&refused(asks("ci", "")).await)[0].0, "model");
    let endpoint = |endpoint: &str| ExplainRouteRequest { endpoint: endpoint.to_owned(), ..asks("ci", "gpt-4o") };
    let status = refused(endpoint("/v1/models")).await;
    assert_eq!(violations(&status)[0].0, "endpoint");
    assert!(violations(&status)[0].1.contains("/v1/embeddings") || status.message().contains("is no endpoint"));
    assert_eq!(refused(asks("nobody", "m")).await.code(), Code::NotFound);
    assert_eq!(refused(ExplainRouteRequest { revision: 99, ..asks("ci", "m") }).await.code(), Code::NotFound);
    let embeddings = explained(&app, endpoint("/v1/embeddings")).await;
    assert_eq!(embeddings.candidates[0].url, "https://upstream.test/v1/embeddings");
    app.stop().await;
}
