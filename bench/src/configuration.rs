//! A configuration of any size, such as an organisation has it: every team its labels, its models and its limits. It is the same
//! with each run.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use signalbox_proto::{
    admin::v1::{ClientKey, Config, Credential, Provider, Redirect, Route, client_key::Imported},
    config::v1::Limits,
};
use signalbox_tests::draft;

/// Teams that the keys belong to.
const TEAMS: usize = 50;

/// Everything but client keys: so many providers with a credential each, and so many redirects and routes, half of each.
#[must_use]
pub fn traffic(providers: usize, redirects_and_routes: usize) -> Config {
    let half = redirects_and_routes / 2;
    Config {
        providers: (0..providers).map(provider).collect(),
        credentials: (0..providers).map(credential).collect(),
        redirects: (0..half).map(|at| redirect(at, at % providers.max(1))).collect(),
        routes: (half..redirects_and_routes).map(route).collect(),
        ..Config::default()
    }
}

/// These client keys.
#[must_use]
pub fn client_keys(numbers: impl Iterator<Item = usize>) -> Config {
    Config { client_keys: numbers.map(client_key).collect(), ..Config::default() }
}

/// A document of 1,000 resources of every kind, on top of [`traffic`]; `comment` is what people call each of them.
#[must_use]
pub fn document(comment: &str) -> Config {
    let numbers = 1_000_000..;
    let mut document = Config {
        providers: numbers.clone().take(50).map(provider).collect(),
        credentials: numbers.clone().take(50).map(credential).collect(),
        client_keys: numbers.clone().take(500).map(client_key).collect(),
        redirects: numbers.clone().take(200).map(|at| redirect(at, 0)).collect(),
        routes: numbers.take(200).map(route).collect(),
        settings: None,
    };
    document.providers.iter_mut().for_each(|said| comment.clone_into(&mut said.display_name));
    document.credentials.iter_mut().for_each(|said| comment.clone_into(&mut said.display_name));
    document.client_keys.iter_mut().for_each(|said| comment.clone_into(&mut said.display_name));
    document.redirects.iter_mut().for_each(|said| comment.clone_into(&mut said.display_name));
    document.routes.iter_mut().for_each(|said| comment.clone_into(&mut said.display_name));
    document
}

/// The so many-th client key.
#[must_use]
pub fn client_key(at: usize) -> ClientKey {
    let team = at % TEAMS;
    let digest = Sha256::digest(format!("the secret of key {at}")).to_vec();
    let labels: BTreeMap<_, _> = [("team", format!("team-{team}")), ("user", format!("user-{at}"))]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
    ClientKey {
        name: format!("clientKeys/key-{at}"),
        imported: Some(Imported::ImportSha256(digest.into())),
        allowed_models: vec![format!("provider-{team}/*"), "gpt-4o*".to_owned()],
        display_name: format!("CI of team {team}"),
        limits: at.is_multiple_of(2).then(|| Limits { requests_per_minute: Some(600), ..Limits::default() }),
        labels,
        ..ClientKey::default()
    }
}

fn provider(at: usize) -> Provider {
    Provider {
        models: (0..20).map(|model| format!("model-{at}-{model}")).collect(),
        ..draft::provider(&format!("provider-{at}"), "https://models.example/v1")
    }
}

fn credential(at: usize) -> Credential {
    draft::credential(&format!("provider-{at}"), "main", &format!("sk-made-up-{at}"))
}

fn redirect(at: usize, provider: usize) -> Redirect {
    let (provider, model) = (format!("provider-{provider}"), format!("model-{provider}-0"));
    draft::redirect(&format!("redirect-{at}"), &format!("alias-{at}"), &[(&provider, &model)])
}

fn route(at: usize) -> Route {
    draft::route(&format!("route-{at}"), "https://docs.example/")
}
