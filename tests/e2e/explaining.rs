//! What an explanation says is what a data plane does.

use signalbox_proto::{
    admin::v1::{ClientKey, ExplainRouteRequest, ExplainRouteResponse, Provider, Redirect},
    config::v1::Callers,
};
use signalbox_tests::{
    CLIENT_KEY, Draft, System, Upstream,
    draft::{client_key, provider, redirect},
};

const STRANGER: &str = "";

/// Keys by id, and what each presents.
const KEYS: [(&str, &str); 4] =
    [("stories", CLIENT_KEY), ("team", "the-teams-key"), ("off", "a-disabled-key"), (STRANGER, "")];

const MODELS: [&str; 8] = ["a/m", "m", "fast", "free", "off/m", "nobody/m", "unknown", "a/unknown"];

async fn system(open_to_strangers: bool, upstream: &Upstream) -> System {
    let system = System::start().await;
    let listing = |id: &str, models: &[&str]| Provider {
        models: models.iter().map(|model| (*model).to_owned()).collect(),
        ..provider(id, &upstream.url())
    };
    let labels = || [("team".to_owned(), "a".to_owned())].into();
    let team = Redirect { client_key_labels: labels(), ..redirect("team", "fast", &[("off", "m"), ("a", "m")]) };
    let callers = if open_to_strangers { Callers::Anyone } else { Callers::ClientKeys };
    let mut draft = Draft::new()
        .provider(listing("a", &["m"]))
        .credential("a", "main", "sk-a")
        .provider(Provider { callers: callers.into(), ..listing("open", &["free"]) })
        .provider(Provider { disabled: true, ..listing("off", &["m"]) })
        .redirect("all", "fast", &[("off", "m")])
        .client_key(ClientKey {
            labels: labels(),
            allowed_models: vec!["a/*".to_owned(), "fast".to_owned()],
            ..client_key("team", "the-teams-key")
        })
        .client_key(ClientKey { disabled: true, ..client_key("off", "a-disabled-key") });
    draft.0.redirects.push(team);
    system.apply(draft).await;
    system
}

async fn explained(system: &System, key: &str, model: &str) -> ExplainRouteResponse {
    let client_key = if key == STRANGER { String::new() } else { format!("clientKeys/{key}") };
    let request = ExplainRouteRequest { client_key, model: model.to_owned(), ..ExplainRouteRequest::default() };
    system.admin().configs().explain_route(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn every_request_goes_where_its_explanation_says_or_is_refused_as_it_says() {
    let upstream = Upstream::start().await;
    for open_to_strangers in [true, false] {
        let system = system(open_to_strangers, &upstream).await;
        for (key, secret) in KEYS {
            for model in MODELS {
                let said = explained(&system, key, model).await;
                let client = system.client();
                let client = if key == STRANGER { client.without_key() } else { client.with_key(secret) };
                let reply = client.chat(model).await;
                let case = format!("`{key}` asks for {model}: {}\n{said:#?}", reply.text());
                match said.refusal {
                    Some(refusal) => {
                        assert_eq!((u32::from(reply.status), reply.code()), (refusal.status, refusal.code), "{case}");
                    }
                    None => {
                        assert_eq!(reply.status, 200, "{case}");
                        let first = said.candidates.first().map(|candidate| candidate.provider.as_str());
                        let provider = format!("providers/{}", reply.header("x-signalbox-provider"));
                        assert_eq!(first, Some(provider.as_str()), "{case}");
                    }
                }
            }
        }
    }
}
