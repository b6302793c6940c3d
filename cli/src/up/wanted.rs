//! The configuration that `up` brings about: the demo provider, the accounts of the environment and the client key in the data
//! folder. What an operator has changed since stays changed. Pure: it is told what is there and says what shall be.

use std::{collections::BTreeMap, net::SocketAddr};

use secrecy::{ExposeSecret as _, SecretString};
use signalbox_proto::{
    admin::v1::{ClientKey, Config, Credential, Provider, client_key, credential},
    config::v1::Dialect,
};

use crate::{accounts::Account, demo::Demo};

/// The provider in front of the demo upstream.
pub(super) const DEMO: &str = "demo";

/// The client key whose text is in the data folder.
pub(super) const CLIENT_KEY: &str = "clientKeys/default";

const OWNER: (&str, &str) = ("managed-by", "signalbox-up");

/// The labels of everything that `up` makes. Without them a resource is the operator's own and left alone.
pub(super) fn owner_labels() -> BTreeMap<String, String> {
    BTreeMap::from([(OWNER.0.to_owned(), OWNER.1.to_owned())])
}

fn is_ours(labels: &BTreeMap<String, String>) -> bool {
    labels.get(OWNER.0).is_some_and(|owner| owner == OWNER.1)
}

/// A provider's full name.
pub(super) fn provider_name(id: &str) -> String {
    format!("providers/{id}")
}

/// The full name of the one credential that `up` gives a provider.
pub(super) fn credential_name(provider: &str) -> String {
    format!("providers/{provider}/credentials/up")
}

/// A provider and its credential as they are, where they are.
#[derive(Debug, Default)]
pub(super) struct Upstream {
    pub(super) provider: Option<Provider>,
    pub(super) credential: Option<Credential>,
}

impl Upstream {
    /// The loopback address that the provider is at, if it is at one.
    pub(super) fn loopback(&self) -> Option<SocketAddr> {
        let authority = self.provider.as_ref()?.base_url.strip_prefix("http://")?.strip_suffix("/v1")?;
        authority.parse().ok().filter(|addr: &SocketAddr| addr.ip().is_loopback())
    }
}

/// The configuration in the making.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    config: Config,
}

impl Wanted {
    /// An account of the environment is a provider at its base URL with its key.
    pub(super) fn account(&mut self, account: &Account, have: Upstream) {
        let new =
            || Provider { display_name: format!("{} (from the environment)", account.provider), ..Provider::default() };
        self.upstream(account.provider, &account.key, have, |provider| {
            let provider = provider.unwrap_or_else(new);
            Provider { base_url: account.base_url.clone(), ..provider }
        });
    }

    /// The demo upstream is a provider with its models, in use.
    pub(super) fn demo(&mut self, base_url: String, key: &SecretString, have: Upstream) {
        let new = || Provider { display_name: "Demo (built in)".to_owned(), ..Provider::default() };
        self.upstream(DEMO, key, have, |provider| {
            let models = Demo::models().map(str::to_owned).collect();
            Provider { base_url, models, disabled: false, ..provider.unwrap_or_else(new) }
        });
    }

    /// Without the demo upstream its provider takes no requests. It is kept, since redirects may refer to it.
    pub(super) fn no_demo(&mut self, have: Upstream) {
        let ours = have.provider.filter(|provider| is_ours(&provider.labels));
        self.config.providers.extend(ours.map(|provider| Provider { disabled: true, ..provider }));
    }

    /// The client key is the one in the data folder. Returns whether it is.
    pub(super) fn client_key(&mut self, key: &SecretString, have: Option<ClientKey>) -> bool {
        let new = || ClientKey { display_name: "Default".to_owned(), ..ClientKey::default() };
        if have.as_ref().is_some_and(|have| !is_ours(&have.labels)) {
            return false;
        }
        self.config.client_keys.push(ClientKey {
            name: CLIENT_KEY.to_owned(),
            imported: Some(client_key::Imported::ImportSecret(key.expose_secret().to_owned())),
            ..have.unwrap_or_else(new)
        });
        true
    }

    /// The configuration to apply.
    pub(super) fn into_config(self) -> Config {
        self.config
    }

    fn upstream(
        &mut self,
        id: &str,
        key: &SecretString,
        have: Upstream,
        wanted: impl FnOnce(Option<Provider>) -> Provider,
    ) {
        if have.provider.as_ref().is_some_and(|provider| !is_ours(&provider.labels)) {
            tracing::info!(provider = id, "provider left as it is: it was not made by `up`");
            return;
        }
        self.config.providers.push(Provider {
            name: provider_name(id),
            dialect: Dialect::Openai.into(),
            ..wanted(have.provider)
        });
        if have.credential.as_ref().is_none_or(|credential| is_ours(&credential.labels)) {
            self.config.credentials.push(Credential {
                name: credential_name(id),
                source: Some(credential::Source::Secret(key.expose_secret().to_owned())),
                ..have.credential.unwrap_or_default()
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
        Account { provider: "openai", base_url: "https://api.example/v1".into(), key: "sk-1".into() }
    }

    fn ours() -> BTreeMap<String, String> {
        owner_labels()
    }

    #[test]
    fn an_account_becomes_a_provider_with_a_credential() {
        let mut wanted = Wanted::default();
        wanted.account(&account(), Upstream::default());
        let Config { providers, credentials, .. } = wanted.into_config();
        let [provider] = &providers[..] else { panic!("one provider") };
        assert_eq!(
            (provider.name.as_str(), provider.base_url.as_str()),
            ("providers/openai", "https://api.example/v1")
        );
        assert_eq!(provider.dialect(), Dialect::Openai);
        let [credential] = &credentials[..] else { panic!("one credential") };
        assert_eq!(credential.name, "providers/openai/credentials/up");
        assert!(credential.source == Some(credential::Source::Secret("sk-1".into())));
    }

    #[test]
    fn what_an_operator_has_changed_since_stays_changed() {
        let provider = Provider { labels: ours(), models: vec!["m".into()], disabled: true, ..Provider::default() };
        let credential = Credential { labels: ours(), weight: Some(3), ..Credential::default() };
        let mut wanted = Wanted::default();
        wanted.account(&account(), Upstream { provider: Some(provider), credential: Some(credential) });
        let Config { providers, credentials, .. } = wanted.into_config();
        assert_eq!((&providers[0].models[..], providers[0].disabled), (&["m".to_owned()][..], true));
        assert_eq!(credentials[0].weight, Some(3));
    }

    #[test]
    fn a_demo_upstream_is_found_where_it_was() {
        let loopback = |base_url: &str| {
            let provider = Some(Provider { base_url: base_url.into(), ..Provider::default() });
            Upstream { provider, credential: None }.loopback()
        };
        assert_eq!(loopback("http://127.0.0.1:4321/v1"), Some("127.0.0.1:4321".parse().unwrap()));
        for elsewhere in ["http://192.0.2.1:4321/v1", "https://127.0.0.1:4321/v1", "http://demo:80/v1", ""] {
            assert_eq!(loopback(elsewhere), None);
        }
        assert_eq!(Upstream::default().loopback(), None);
    }

    #[test]
    fn a_resource_of_the_operators_own_is_left_alone() {
        let mut wanted = Wanted::default();
        wanted.account(&account(), Upstream { provider: Some(Provider::default()), credential: None });
        assert!(!wanted.client_key(&"sb_1".into(), Some(ClientKey::default())));
        wanted.no_demo(Upstream { provider: Some(Provider::default()), credential: None });
        assert_eq!(wanted.into_config(), Config::default());
    }

    #[test]
    fn the_demo_comes_and_goes_with_its_upstream() {
        let mut wanted = Wanted::default();
        wanted.demo("http://127.0.0.1:1/v1".into(), &"key".into(), Upstream::default());
        let mut provider = wanted.into_config().providers.remove(0);
        assert!(provider.models.contains(&"echo".to_owned()) && !provider.disabled);

        provider.labels = ours();
        let mut wanted = Wanted::default();
        wanted.no_demo(Upstream { provider: Some(provider.clone()), credential: None });
        let off = wanted.into_config().providers.remove(0);
        assert_eq!(off, Provider { disabled: true, ..provider });

        let mut wanted = Wanted::default();
        wanted.demo("http://127.0.0.1:2/v1".into(), &"key".into(), Upstream { provider: Some(off), credential: None });
        assert!(!wanted.into_config().providers[0].disabled);

        let mut wanted = Wanted::default();
        wanted.no_demo(Upstream::default());
        assert_eq!(wanted.into_config(), Config::default());
    }

    #[test]
    fn the_client_key_keeps_its_limits_when_its_text_changes() {
        let have =
            ClientKey { labels: ours(), disabled: true, allowed_models: vec!["a*".into()], ..ClientKey::default() };
        let mut wanted = Wanted::default();
        assert!(wanted.client_key(&"sb_2".into(), Some(have)));
        let key = wanted.into_config().client_keys.remove(0);
        assert!(key.imported == Some(client_key::Imported::ImportSecret("sb_2".into())));
        assert_eq!((key.disabled, &key.allowed_models[..]), (true, &["a*".to_owned()][..]));
    }
}
