//! Documents as operators write them, for the tests of what is done with whole configurations.

use std::collections::BTreeMap;

use signalbox_proto::{
    admin::v1::{Finding, Redirect, Route, Settings, client_key::Imported},
    config::v1::{self as config, redirect::Target},
};

use super::*;

pub(super) fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// A provider with a fixed list of models.
pub(super) fn listing(id: &str, models: &[&str]) -> Provider {
    let models = models.iter().map(|model| (*model).to_owned()).collect();
    Provider { name: format!("providers/{id}"), models, ..provider() }
}

/// A key whose secret is its id, followed by `-secret`.
pub(super) fn key(id: &str, allowed: &[&str]) -> ClientKey {
    ClientKey {
        name: format!("clientKeys/{id}"),
        imported: Some(Imported::ImportSecret(format!("{id}-secret"))),
        allowed_models: allowed.iter().map(|model| (*model).to_owned()).collect(),
        ..ClientKey::default()
    }
}

/// A redirect to `provider:model` or `:model`.
pub(super) fn redirect(id: &str, from: &str, targets: &[&str]) -> Redirect {
    let target = |text: &&str| {
        let (provider, model) = text.split_once(':').unwrap_or((text, ""));
        Target { provider: provider.to_owned(), model: model.to_owned(), ..Target::default() }
    };
    let (name, from) = (format!("redirects/{id}"), from.to_owned());
    Redirect { name, from, targets: targets.iter().map(target).collect(), ..Redirect::default() }
}

pub(super) fn route(id: &str) -> Route {
    let destination = Some(signalbox_proto::admin::v1::route::Destination::TargetUrl(format!("https://{id}.test")));
    Route { name: format!("routes/{id}"), destination, ..Route::default() }
}

/// Something of every kind, with a secret wherever there can be one.
pub(super) fn everything() -> Config {
    use config::header_value::Content;
    let secret = |text: &str| config::HeaderValue { content: Some(Content::Secret(text.to_owned())), overwrite: None };
    let proxy = |password: &str| {
        let (url, username) = ("http://proxy.test:3128".to_owned(), "user".to_owned());
        Some(config::ForwardProxy { url, username, password: password.to_owned() })
    };
    let owned = listing("a", &["gpt-4o", "gpt-4o-mini"]);
    let owned = Provider {
        headers: [("x-upstream".to_owned(), secret("s-header"))].into(),
        forward_proxy: proxy("s-provider-proxy"),
        labels: labels(&[("team", "a")]),
        ..owned
    };
    let team = Redirect { client_key_labels: labels(&[("team", "a")]), ..redirect("team", "fast", &["a:gpt-4o-mini"]) };
    let hook = Route { headers: [("x-hook".to_owned(), secret("s-route"))].into(), ..route("hook") };
    let settings =
        Settings { default_provider: "b".to_owned(), forward_proxy: proxy("s-proxy"), ..Settings::default() };
    Config {
        providers: vec![owned, listing("b", &[])],
        credentials: vec![
            Credential { name: "providers/a/credentials/main".to_owned(), ..credential("s-credential") },
            Credential { name: "providers/b/credentials/main".to_owned(), ..credential("s-other") },
        ],
        client_keys: vec![
            key("ci", &["gpt-*", "fast"]),
            ClientKey { labels: labels(&[("team", "a")]), ..key("dev", &[]) },
        ],
        redirects: vec![redirect("all", "fast", &["a:gpt-4o"]), team],
        routes: vec![hook],
        settings: Some(settings),
    }
}

/// The document applied to what there is.
pub(super) fn merge(config: Config) -> ApplyConfigRequest {
    ApplyConfigRequest { config: Some(config), ..ApplyConfigRequest::default() }
}

/// Findings, each as `resource CODE: message`.
pub(super) fn told(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(|finding| format!("{} {}: {}", finding.resource, finding.code, finding.message)).collect()
}
