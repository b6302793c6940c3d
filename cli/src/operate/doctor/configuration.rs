//! What the configuration itself shows: providers that have no key to use, keys that end, routes that nobody can call. Pure.

use signalbox_proto::{
    admin::v1::{ClientKey, Config, Credential, Provider, Route},
    config::v1::{Callers, CredentialSource},
};

use super::{Line, expiry};

/// Looks at a configuration, at this moment in seconds since 1970.
pub(super) fn look(config: &Config, now: i64) -> Vec<Line> {
    let Config { providers, credentials, client_keys, redirects, routes, settings: _ } = config;
    let mut lines: Vec<Line> = providers.iter().filter_map(|provider| unusable(provider, credentials)).collect();
    let next = "`signalbox keys rotate` makes a successor";
    let ending = |key: &ClientKey| expiry(&key.name, key.expire_time.filter(|_| !key.disabled)?, now, next);
    lines.extend(client_keys.iter().filter_map(ending));
    let usable = client_keys.iter().any(|key| is_usable(key, now));
    lines
        .extend(routes.iter().filter(|route| !route.disabled && route.client_key_required && !usable).map(unreachable));
    if !usable && !providers.iter().any(|provider| provider.callers() == Callers::Anyone) {
        lines.push(Line::warn(
            "client keys",
            "there is none in use, so that nobody can call",
            "`signalbox keys create`",
        ));
    }
    if lines.is_empty() {
        let counts = format!(
            "{} providers, {} credentials, {} client keys, {} redirects, {} routes",
            providers.len(),
            credentials.len(),
            client_keys.len(),
            redirects.len(),
            routes.len()
        );
        lines.push(Line::ok("configuration", counts));
    }
    lines
}

pub(super) fn is_usable(key: &ClientKey, now: i64) -> bool {
    !key.disabled && key.expire_time.is_none_or(|end| end.seconds > now)
}

fn unusable(provider: &Provider, credentials: &[Credential]) -> Option<Line> {
    let prefix = format!("{}/", provider.name);
    let own: Vec<&Credential> = credentials.iter().filter(|credential| credential.name.starts_with(&prefix)).collect();
    let asks = !provider.disabled && provider.credential_source() != CredentialSource::Client;
    let remote = provider.base_url.starts_with("https://") || provider.chat_url.starts_with("https://");
    if asks && !own.is_empty() && own.iter().all(|credential| credential.disabled) {
        let next = "enable one of them, or disable the provider";
        Some(Line::warn(&provider.name, "all its credentials are disabled", next))
    } else if asks && own.is_empty() && remote {
        let next = "give it one with `signalbox apply`, or leave it so where the upstream asks for none";
        Some(Line::warn(&provider.name, "has no credential: requests go there without a key", next))
    } else {
        None
    }
}

fn unreachable(route: &Route) -> Line {
    Line::warn(
        &route.name,
        "asks for a client key, and none is in use",
        "`signalbox keys create`, or disable the route",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let provider =
            |name: &str| Provider { name: name.into(), base_url: "https://a/v1".into(), ..Provider::default() };
        let credential = |name: &str, disabled| Credential { name: name.into(), disabled, ..Credential::default() };
        Config {
            providers: vec![provider("providers/a"), provider("providers/ab"), provider("providers/c")],
            credentials: vec![
                credential("providers/a/credentials/main", false),
                credential("providers/c/credentials/main", true),
            ],
            client_keys: vec![ClientKey { name: "clientKeys/ci".into(), ..ClientKey::default() }],
            ..Config::default()
        }
    }

    fn about(lines: &[Line]) -> Vec<&str> {
        lines.iter().map(|line| line.about.as_str()).collect()
    }

    #[test]
    fn a_provider_without_a_key_to_use_is_told() {
        assert_eq!(about(&look(&config(), 0)), ["providers/ab", "providers/c"]);
        let mut resting = config();
        resting.providers.iter_mut().for_each(|provider| provider.disabled = true);
        assert_eq!(about(&look(&resting, 0)), ["configuration"]);
    }

    #[test]
    fn where_no_key_is_in_use_nobody_can_call() {
        let mut config = config();
        config.providers.truncate(1);
        config.routes = vec![Route { name: "routes/r".into(), client_key_required: true, ..Route::default() }];
        config.client_keys.iter_mut().for_each(|key| key.disabled = true);
        assert_eq!(about(&look(&config, 0)), ["routes/r", "client keys"]);
    }
}
