//! Where the endpoints of a provider are: which ones its API has, and how that spells their URLs.

use std::collections::BTreeMap;

use http::Uri;
use signalbox_proto::config::v1 as config;

use super::super::{address, faults::Faults, value};
use crate::{
    endpoint::Endpoint,
    finding::Fault,
    runtime::{Dialect, Place, below},
};

/// What Gemini's OpenAI-compatible endpoint has (<https://ai.google.dev/gemini-api/docs/openai>).
const GEMINI: [Endpoint; 3] = [Endpoint::ChatCompletions, Endpoint::Embeddings, Endpoint::ImagesGenerations];

/// What Azure OpenAI has not, besides Anthropic's endpoints (<https://learn.microsoft.com/azure/ai-foundry/openai/latest>).
const NOT_AZURE: [Endpoint; 3] = [Endpoint::Moderations, Endpoint::Rerank, Endpoint::ImagesVariations];

/// Where everything of a provider is.
pub(super) struct Places {
    pub(super) places: BTreeMap<Endpoint, Place>,
    pub(super) root: Option<Uri>,
    pub(super) probe_url: Uri,
}

pub(super) fn compile(dialect: Option<Dialect>, wire: &config::Provider, faults: &mut Faults) -> Option<Places> {
    let config::Provider { base_url, chat_url, azure_openai, probe_url, .. } = wire;
    if azure_openai.is_some() && dialect.is_some_and(|dialect| dialect != Dialect::AzureOpenAi) {
        faults.add("azure_openai", Fault::Meaningless("the dialect is not DIALECT_AZURE_OPENAI"));
    }
    let api_version = azure_openai.as_ref().map_or("", |azure| azure.api_version.as_str());
    let api_version = faults.take("azure_openai.api_version", self::api_version(api_version));
    missing(dialect, base_url, chat_url, faults);
    let base = (!base_url.is_empty()).then(|| faults.take("base_url", address::root(base_url)));
    let chat = (!chat_url.is_empty()).then(|| faults.take("chat_url", address::whole(chat_url)));
    let probe = (!probe_url.is_empty()).then(|| faults.take("probe_url", address::whole(probe_url)));
    let (mut places, mut root) = (BTreeMap::new(), None);
    if let Some(base) = base {
        let all = below_base(dialect?, &base?, api_version?);
        (places, root) = faults.take("base_url", all).map(|(places, root)| (places, Some(root)))?;
    }
    if let Some(chat) = chat {
        places.insert(Endpoint::ChatCompletions, Place::Fixed(chat?));
    }
    let probe_url = match (probe, &root, places.get(&Endpoint::ChatCompletions)) {
        (Some(probe), ..) => probe?,
        (None, Some(root), _) => below(root, "/models", root.query()).ok()?,
        (None, None, Some(Place::Fixed(chat))) => beside(chat)?,
        (None, None, _) => return None,
    };
    Some(Places { places, root, probe_url })
}

/// Notes which address a dialect is short of, or has no use for.
fn missing(dialect: Option<Dialect>, base_url: &str, chat_url: &str, faults: &mut Faults) {
    match dialect {
        Some(Dialect::Conversation) if chat_url.is_empty() => faults.add("chat_url", Fault::Missing),
        Some(Dialect::Anthropic) if !chat_url.is_empty() => {
            faults.add("chat_url", Fault::Meaningless("Anthropic's API has no chat completions"));
            if base_url.is_empty() {
                faults.add("base_url", Fault::Missing);
            }
        }
        _ if base_url.is_empty() && chat_url.is_empty() => faults.add("base_url", Fault::Missing),
        _ => {}
    }
}

/// A version of Azure's API, or nothing.
fn api_version(text: &str) -> Result<&str, Fault> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if text.len() <= 64 && text.bytes().all(plain) {
        Ok(text)
    } else {
        Err(value::refused(text, "must be a version such as 2024-10-21 or v1"))
    }
}

/// The endpoints of an API below its root, and the root of what no model is part of.
fn below_base(dialect: Dialect, base: &str, api_version: &str) -> Result<(BTreeMap<Endpoint, Place>, Uri), Fault> {
    let base = match dialect {
        // The portal shows the address with the path of the v1 API, or without.
        Dialect::AzureOpenAi => {
            base.strip_suffix("/openai/v1").or_else(|| base.strip_suffix("/openai")).unwrap_or(base)
        }
        Dialect::OpenAi | Dialect::Anthropic | Dialect::Gemini | Dialect::Conversation => base,
    };
    let root = match (dialect, api_version) {
        (Dialect::AzureOpenAi, "") => address::join(base, "/openai/v1")?,
        (Dialect::AzureOpenAi, version) => address::join(base, &format!("/openai?api-version={version}"))?,
        _ => address::join(base, "")?,
    };
    let place = |endpoint: Endpoint| match (dialect, api_version) {
        (Dialect::AzureOpenAi, version) if !version.is_empty() => dated(base, endpoint, version),
        (Dialect::AzureOpenAi, _) => address::join(base, &format!("/openai/v1{}", endpoint.path())).map(Place::Fixed),
        _ => address::join(base, endpoint.path()).map(Place::Fixed),
    };
    let served = Endpoint::ALL.into_iter().filter(|endpoint| has(dialect, *endpoint));
    let places: Result<_, Fault> = served.map(|endpoint| Ok((endpoint, place(endpoint)?))).collect();
    Ok((places?, root))
}

/// Whether an API has an endpoint below its root.
fn has(dialect: Dialect, endpoint: Endpoint) -> bool {
    match dialect {
        Dialect::OpenAi => !endpoint.is_anthropic(),
        Dialect::AzureOpenAi => !endpoint.is_anthropic() && !NOT_AZURE.contains(&endpoint),
        Dialect::Anthropic => endpoint.is_anthropic(),
        Dialect::Gemini => GEMINI.contains(&endpoint),
        Dialect::Conversation => false,
    }
}

/// Where Azure has an endpoint in the versions that bear a date.
fn dated(base: &str, endpoint: Endpoint, version: &str) -> Result<Place, Fault> {
    let named = |before: String, after: String| {
        // The name is put between two texts that make a URL with any name between them.
        address::join(&before, &format!("m{after}"))
            .map(|_| Place::Named { before: before.into(), after: after.into() })
    };
    match endpoint {
        Endpoint::Responses => {
            address::join(base, &format!("/openai/responses?api-version={version}")).map(Place::Fixed)
        }
        Endpoint::Realtime => named(format!("{base}/openai/realtime?api-version={version}&deployment="), String::new()),
        endpoint => named(format!("{base}/openai/deployments/"), format!("{}?api-version={version}", endpoint.path())),
    }
}

/// Where an upstream that is known by its chat's address alone can be asked without a charge: for its models, if they are in the
/// usual place beside it, else at that address itself, since only to post there costs anything.
fn beside(chat: &Uri) -> Option<Uri> {
    let Some(root) = chat.path().strip_suffix(Endpoint::ChatCompletions.path()) else { return Some(chat.clone()) };
    let mut parts = chat.clone().into_parts();
    parts.path_and_query = Some(format!("{root}/models").parse().ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        fixture::{faults, provider, runtime},
        resource::Change,
        runtime::Provider,
    };

    fn one(dialect: config::Dialect, base_url: &str, edit: impl FnOnce(&mut config::Provider)) -> Change {
        provider("p", |p| {
            p.dialect = dialect.into();
            p.base_url = base_url.to_owned();
            edit(p);
        })
    }

    fn only(change: Change) -> Arc<Provider> {
        Arc::clone(runtime(&[change]).providers().next().unwrap())
    }

    fn azure(base_url: &str, api_version: &str) -> Arc<Provider> {
        let azure = Some(config::AzureOpenAi { api_version: api_version.to_owned() });
        only(one(config::Dialect::AzureOpenai, base_url, |p| p.azure_openai = azure))
    }

    fn url(provider: &Provider, endpoint: Endpoint, model: &str) -> Option<String> {
        provider.url(endpoint, model).map(|url| url.to_string())
    }

    #[test]
    fn each_api_has_its_own_endpoints() {
        let root = "https://up.example/v1";
        let openai = only(one(config::Dialect::Openai, root, |_| {}));
        let azure = azure("https://up.example", "");
        let anthropic = only(one(config::Dialect::Anthropic, root, |_| {}));
        let gemini = only(one(config::Dialect::Gemini, root, |_| {}));
        let conversation = one(config::Dialect::Conversation, root, |p| p.chat_url = "https://up.example/chat".into());
        let conversation = only(conversation);
        for endpoint in Endpoint::ALL {
            let has = [&openai, &azure, &anthropic, &gemini, &conversation].map(|provider| provider.has(endpoint));
            let expected = match endpoint {
                Endpoint::ChatCompletions => [true, true, false, true, true],
                Endpoint::Embeddings | Endpoint::ImagesGenerations => [true, true, false, true, false],
                Endpoint::Messages | Endpoint::MessagesCountTokens => [false, false, true, false, false],
                Endpoint::Moderations | Endpoint::Rerank | Endpoint::ImagesVariations => {
                    [true, false, false, false, false]
                }
                _ => [true, true, false, false, false],
            };
            assert_eq!(has, expected, "{endpoint:?}");
        }
        assert_eq!(
            url(&anthropic, Endpoint::MessagesCountTokens, "m").unwrap(),
            format!("{root}/messages/count_tokens")
        );
        assert_eq!(url(&conversation, Endpoint::ChatCompletions, "m").unwrap(), "https://up.example/chat");
    }

    #[test]
    fn azure_has_a_path_for_each_deployment_in_its_dated_versions() {
        let dated = azure("https://n.example/", "2024-10-21");
        for (endpoint, expected) in [
            (
                Endpoint::ChatCompletions,
                "https://n.example/openai/deployments/gpt%204%2Fo/chat/completions?api-version=2024-10-21",
            ),
            (
                Endpoint::AudioTranscriptions,
                "https://n.example/openai/deployments/gpt%204%2Fo/audio/transcriptions?api-version=2024-10-21",
            ),
            (Endpoint::Responses, "https://n.example/openai/responses?api-version=2024-10-21"),
            (Endpoint::Realtime, "https://n.example/openai/realtime?api-version=2024-10-21&deployment=gpt%204%2Fo"),
        ] {
            assert_eq!(url(&dated, endpoint, "gpt 4/o").as_deref(), Some(expected));
        }
        for hostile in ["", ".", ".."] {
            assert_eq!(url(&dated, Endpoint::ChatCompletions, hostile), None, "{hostile:?}");
        }
        let below = |rest| dated.below(rest).unwrap().to_string();
        assert_eq!(below("/files/f?limit=1"), "https://n.example/openai/files/f?api-version=2024-10-21&limit=1");
        assert_eq!(below("/models"), "https://n.example/openai/models?api-version=2024-10-21");
        assert_eq!(dated.probe_url, *"https://n.example/openai/models?api-version=2024-10-21");
    }

    #[test]
    fn azure_has_one_path_for_all_deployments_in_its_undated_version() {
        for base in ["https://n.example", "https://n.example/openai", "https://n.example/openai/v1/"] {
            let undated = azure(base, "");
            let chat = url(&undated, Endpoint::ChatCompletions, "..").unwrap();
            assert_eq!(chat, "https://n.example/openai/v1/chat/completions", "{base}");
            assert_eq!(undated.models_url().unwrap(), "https://n.example/openai/v1/models");
            assert_eq!(undated.below("/files?a=b").unwrap(), "https://n.example/openai/v1/files?a=b");
        }
    }

    #[test]
    fn what_is_probed_is_what_is_said_or_costs_nothing() {
        let at = |base: &str, chat: &str, probe: &str| {
            let set = |p: &mut config::Provider| (p.chat_url, p.probe_url) = (chat.to_owned(), probe.to_owned());
            only(one(config::Dialect::Openai, base, set))
        };
        for (base, chat, probe, expected) in [
            ("https://b.example/v1/", "", "", "https://b.example/v1/models"),
            ("https://b.example", "https://c.example/chat", "", "https://b.example/models"),
            ("", "https://c.example/v1/chat/completions", "", "https://c.example/v1/models"),
            ("", "https://c.example/talk?a=b", "", "https://c.example/talk?a=b"),
            ("https://b.example", "", "https://d.example/up?now", "https://d.example/up?now"),
        ] {
            assert_eq!(at(base, chat, probe).probe_url, expected, "{base} {chat} {probe}");
        }
        let chat_only = at("", "https://c.example/chat", "");
        assert_eq!((chat_only.models_url(), chat_only.below("/files")), (None, None));
    }

    #[test]
    fn every_fault_is_found() {
        let set = |p: &mut config::Provider| {
            p.azure_openai = Some(config::AzureOpenAi { api_version: "2024&x=y".into() });
            p.probe_url = "ftp://probe.example".into();
        };
        for (change, expected) in [
            (
                one(config::Dialect::AzureOpenai, "https://n.example?x", set),
                &["azure_openai.api_version INVALID_TEXT", "base_url INVALID_URL", "probe_url INVALID_URL"][..],
            ),
            (
                one(config::Dialect::Gemini, "https://g.example", |p| {
                    p.azure_openai = Some(config::AzureOpenAi::default())
                }),
                &["azure_openai MEANINGLESS"],
            ),
            (
                one(config::Dialect::Anthropic, "", |p| p.chat_url = "https://a.example".into()),
                &["chat_url MEANINGLESS", "base_url FIELD_REQUIRED"],
            ),
            (one(config::Dialect::Conversation, "https://c.example", |_| {}), &["chat_url FIELD_REQUIRED"]),
        ] {
            assert_eq!(
                faults(&[change]),
                expected.iter().map(|fault| format!("providers/p {fault}")).collect::<Vec<_>>()
            );
        }
    }
}
