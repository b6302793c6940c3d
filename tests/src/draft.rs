//! Configurations as stories need them: small, with clocks that are short enough to run out in a test.

use std::time::Duration;

use signalbox_proto::{
    admin::v1::{ClientKey, Config, Credential, Provider, Redirect, Route, Settings, client_key, credential, route},
    config::v1::{Dialect, Ejection, HeaderValue, Retry, header_value, redirect::Target},
};

/// A configuration in the making.
#[derive(Debug, Clone, Default)]
pub struct Draft(pub Config);

impl Draft {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a provider with one credential, whose key is `sk-{id}`.
    pub fn upstream(self, id: &str, url: &str) -> Self {
        self.provider(provider(id, url)).credential(id, "main", &format!("sk-{id}"))
    }

    /// Adds a provider.
    pub fn provider(mut self, provider: Provider) -> Self {
        self.0.providers.push(provider);
        self
    }

    /// Adds a credential.
    pub fn credential(mut self, provider: &str, id: &str, secret: &str) -> Self {
        self.0.credentials.push(credential(provider, id, secret));
        self
    }

    /// Adds a client key.
    pub fn client_key(mut self, key: ClientKey) -> Self {
        self.0.client_keys.push(key);
        self
    }

    /// Adds a redirect with its targets in the order of their rank.
    pub fn redirect(mut self, id: &str, from: &str, targets: &[(&str, &str)]) -> Self {
        self.0.redirects.push(redirect(id, from, targets));
        self
    }

    /// Adds a route.
    pub fn route(mut self, route: Route) -> Self {
        self.0.routes.push(route);
        self
    }

    /// Sets the settings.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.0.settings = Some(settings);
        self
    }
}

/// A provider that speaks OpenAI's API, with back-offs too short to notice, and that is never ejected however often a story has it fail.
pub fn provider(id: &str, url: &str) -> Provider {
    Provider {
        name: format!("providers/{id}"),
        dialect: Dialect::Openai.into(),
        base_url: url.to_owned(),
        retry: Some(Retry { backoff_base: millis(1), backoff_cap: millis(4), ..Retry::default() }),
        ejection: Some(Ejection { failures: Some(0), ..Ejection::default() }),
        ..Provider::default()
    }
}

/// A credential of a provider.
pub fn credential(provider: &str, id: &str, secret: &str) -> Credential {
    Credential {
        name: format!("providers/{provider}/credentials/{id}"),
        source: Some(credential::Source::Secret(secret.to_owned())),
        ..Credential::default()
    }
}

/// A client key that clients have already.
pub fn client_key(id: &str, secret: &str) -> ClientKey {
    ClientKey {
        name: format!("clientKeys/{id}"),
        imported: Some(client_key::Imported::ImportSecret(secret.to_owned())),
        ..ClientKey::default()
    }
}

/// A redirect with its targets in the order of their rank. A target is a provider and the model asked of it; either may be empty.
pub fn redirect(id: &str, from: &str, targets: &[(&str, &str)]) -> Redirect {
    let targets = targets.iter().zip((0..).map(|rank: i32| -rank)).map(|((provider, model), priority)| Target {
        provider: (*provider).to_owned(),
        model: (*model).to_owned(),
        priority,
        ..Target::default()
    });
    Redirect {
        name: format!("redirects/{id}"),
        from: from.to_owned(),
        targets: targets.collect(),
        ..Redirect::default()
    }
}

/// A route whose segment is its id.
pub fn route(id: &str, target_url: &str) -> Route {
    Route {
        name: format!("routes/{id}"),
        destination: Some(route::Destination::TargetUrl(target_url.to_owned())),
        ..Route::default()
    }
}

/// A configured header.
pub fn header(value: &str, overwrite: Option<bool>) -> HeaderValue {
    HeaderValue { content: Some(header_value::Content::Value(value.to_owned())), overwrite }
}

/// A duration as the schemas have it.
pub fn millis(millis: u64) -> Option<prost_types::Duration> {
    Duration::from_millis(millis).try_into().ok()
}
