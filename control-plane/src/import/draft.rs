//! An import in the making, and the words that all formats share: ids for names that are none, clocks, secrets, notes.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use percent_encoding::percent_decode_str;
use sha2::{Digest as _, Sha256};
use signalbox_proto::{
    admin::v1::{ClientKey, Config, Credential, Provider, Settings, client_key, credential},
    config::v1::ForwardProxy,
};
use signalbox_routing::Id;
use url::Url;

use super::{EVERY_SECOND, Error, Format, Import, Note};
use crate::key;

/// Longest clock, as everywhere in a configuration.
const LONGEST_S: f64 = 86_400.0;

/// Longest slug: with its hash it is still an id.
const MAX_SLUG: usize = 54;

/// An import in the making.
#[derive(Debug)]
pub(super) struct Draft {
    /// The resources so far.
    pub(super) config: Config,
    /// How often the file wants to be looked at.
    pub(super) watch: Option<Duration>,
    listen: Option<SocketAddr>,
    notes: Vec<Note>,
    ids: BTreeSet<String>,
    secrets: BTreeSet<[u8; 32]>,
}

impl Draft {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self {
            config: Config::default(),
            watch: Some(EVERY_SECOND),
            listen: None,
            notes: Vec::new(),
            ids: BTreeSet::new(),
            secrets: BTreeSet::new(),
        }
    }

    /// The import, unless nothing came of it.
    pub(super) fn finish(self, format: Format) -> Result<Import, Error> {
        let Self { config, watch, listen, notes, .. } = self;
        let Config { providers, credentials, client_keys, redirects, routes, settings: _ } = &config;
        if providers.len() + credentials.len() + client_keys.len() + redirects.len() + routes.len() == 0 {
            return Err(Error::Nothing);
        }
        Ok(Import { format, config, notes, listen, watch })
    }

    /// Says what is not as it was.
    pub(super) fn note(&mut self, key: impl Into<String>, text: impl Into<String>) {
        self.notes.push(Note { key: key.into(), text: text.into() });
    }

    /// The settings that the file says something about.
    pub(super) fn settings(&mut self) -> &mut Settings {
        self.config.settings.get_or_insert_default()
    }

    /// Where clients connect. A host that is no address is one of this machine's, and which, nobody can tell from here.
    pub(super) fn listen(&mut self, host: Option<&str>, port: u16) {
        let ip = match host {
            None | Some("localhost") => Ipv4Addr::LOCALHOST.into(),
            Some(host) => host.parse().unwrap_or_else(|_| {
                self.note("host", "is no IP address, and so 127.0.0.1 is taken; `--listen` says otherwise");
                IpAddr::V4(Ipv4Addr::LOCALHOST)
            }),
        };
        let listen = SocketAddr::new(ip, port);
        self.note("host, port", format!("are up to `--listen {listen}`, which is the default with `--config-file`"));
        self.listen = Some(listen);
    }

    /// An id for a name: the name itself where it can be one, else its letters and digits and a hash that tells it from others like it.
    pub(super) fn id(&mut self, name: &str) -> String {
        let id = id(name);
        if self.ids.insert(id.clone()) {
            return id;
        }
        // The same name once more: the next number that nobody has.
        let again = (2_u32..).map(|number| self::id(&format!("{name} {number}"))).find(|id| !self.ids.contains(id));
        let again = again.unwrap_or(id);
        self.ids.insert(again.clone());
        again
    }

    /// Adds a provider.
    pub(super) fn provider(&mut self, provider: Provider) {
        self.config.providers.push(provider);
    }

    /// Adds one of a provider's keys.
    pub(super) fn credential(&mut self, provider: &str, id: &str, secret: String) {
        self.config.credentials.push(Credential {
            name: format!("providers/{provider}/credentials/{id}"),
            source: Some(credential::Source::Secret(secret)),
            ..Credential::default()
        });
    }

    /// Adds a key that clients have already. `place` is where it is in the file, `name` what it is called there.
    pub(super) fn client_key(&mut self, place: &str, name: &str, secret: &str) -> Result<(), Error> {
        if !key::is_presentable(secret) {
            return Err(Error::key(place, "a client key is 1 to 512 visible ASCII characters without white space"));
        }
        if !self.secrets.insert(Sha256::digest(secret).into()) {
            self.note(place, "is the same key as one before it, and is left out");
            return Ok(());
        }
        let id = self.id(name);
        let display_name = if id == name { String::new() } else { name.to_owned() };
        self.config.client_keys.push(ClientKey {
            name: format!("clientKeys/{id}"),
            imported: Some(client_key::Imported::ImportSecret(secret.to_owned())),
            display_name,
            ..ClientKey::default()
        });
        Ok(())
    }
}

/// An id for a name; the same for the same name, whenever it is asked for.
pub(super) fn id(name: &str) -> String {
    if Id::parse(name).is_ok() {
        return name.to_owned();
    }
    let mut slug = String::new();
    for character in name.chars().map(|character| character.to_ascii_lowercase()) {
        if character.is_ascii_alphanumeric() {
            slug.push(character);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    if !slug.starts_with(|first: char| first.is_ascii_lowercase()) {
        slug.insert_str(0, "id-");
    }
    slug.truncate(MAX_SLUG);
    let hash: String = Sha256::digest(name).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{hash}", slug.trim_end_matches('-'))
}

/// A clock of so many seconds.
pub(super) fn seconds(key: &str, seconds: f64) -> Result<Duration, Error> {
    if (0.001..=LONGEST_S).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(Error::key(key, "must be from 0.001 to 86,400 seconds"))
    }
}

/// A clock as the schemas have it, and no longer than they allow.
pub(super) fn wire(clock: Duration) -> Option<prost_types::Duration> {
    clock.min(Duration::from_secs_f64(LONGEST_S)).try_into().ok()
}

/// An http or https address.
pub(super) fn address(key: &str, text: &str) -> Result<String, Error> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    match url {
        Some(_) => Ok(text.to_owned()),
        None => Err(Error::key(key, "must be an address such as https://api.example.com/v1")),
    }
}

/// A proxy with its user and password apart, as they are kept apart here; empty = directly.
pub(super) fn forward_proxy(key: &str, text: &str) -> Result<ForwardProxy, Error> {
    const RULE: &str = "must be http://, https://, socks5:// or socks5h:// with host and port, such as socks5://user:password@host:1080, or empty";
    if text.is_empty() {
        return Ok(ForwardProxy::default());
    }
    let refused = || Error::key(key, RULE);
    let mut url = Url::parse(text).map_err(|_| refused())?;
    let plain = |part: &str| percent_decode_str(part).decode_utf8().map(String::from).map_err(|_| refused());
    let (username, password) = (plain(url.username())?, plain(url.password().unwrap_or_default())?);
    let known = matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h") && url.has_host();
    let bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    if !known || !bare || url.set_username("").is_err() || url.set_password(None).is_err() {
        return Err(refused());
    }
    Ok(ForwardProxy { url: url.as_str().trim_end_matches('/').to_owned(), username, password })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_can_be_an_id_is_one_and_others_are_a_slug_with_a_hash() {
        for (name, expected) in [
            ("gpt-4", "gpt-4"),
            ("gpt-3.5-turbo", "gpt-3-5-turbo-"),
            ("Claude 4-Default", "claude-4-default-"),
            ("4o", "id-4o-"),
            ("模型", "id-"),
            ("", "id-"),
            ("-a-", "a-"),
        ] {
            let id = id(name);
            assert!(id.starts_with(expected) && Id::parse(&id).is_ok(), "{name:?} became {id}");
            assert_eq!(id == name, Id::parse(name).is_ok(), "{name}");
        }
        assert_eq!(id(&"Long ".repeat(40)).len(), 63);
        assert_ne!(id("GPT 4"), id("gpt 4"));
    }

    #[test]
    fn what_is_called_the_same_twice_has_two_ids() {
        let mut draft = Draft::new();
        let ids = [draft.id("user"), draft.id("user"), draft.id("user")];
        assert_eq!(ids[0], "user");
        assert!(ids[1].starts_with("user-2-") && ids[2].starts_with("user-3-"), "{ids:?}");
    }

    #[test]
    fn a_proxy_is_told_apart_from_its_user() {
        for (text, url, username, password) in [
            ("", "", "", ""),
            ("http://127.0.0.1:9190", "http://127.0.0.1:9190", "", ""),
            ("socks5://u:p%40s+@h:1080/", "socks5://h:1080", "u", "p@s+"),
            ("https://u@h", "https://h", "u", ""),
        ] {
            let expected = ForwardProxy { url: url.into(), username: username.into(), password: password.into() };
            assert_eq!(forward_proxy("proxy", text).as_ref(), Ok(&expected), "{text}");
        }
        for bad in ["proxy:3128", "ftp://h:1", "socks5://", "http://h:1/path", "nonsense"] {
            let error = forward_proxy("routes.a.proxy", bad).unwrap_err().to_string();
            assert!(error.starts_with("`routes.a.proxy`: must be http://"), "{error}");
        }
    }

    #[test]
    fn clocks_have_limits() {
        assert_eq!(seconds("t", 0.5), Ok(Duration::from_millis(500)));
        for bad in [0.0, -1.0, 86_401.0, f64::NAN, f64::INFINITY] {
            assert!(seconds("t", bad).is_err(), "{bad}");
        }
    }
}
