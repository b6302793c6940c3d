//! A provider from the wire, but for its credentials, which are resources of their own.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use signalbox_proto::config::v1 as config;

use super::{Claims, Written, address, decode, faults::Faults, header, value};
use crate::{
    finding::Fault,
    name::{Id, ResourceName},
    runtime::{Callers, CredentialChoice, CredentialSource, Dialect, Provider, Settings},
};

mod conversation;
mod patience;
mod place;

/// Most models in a fixed list.
const MAX_MODELS: usize = 10_000;

/// Most prefixes that are removed from a caller's own key.
const MAX_CREDENTIAL_PREFIXES: usize = 16;

/// How often a provider is asked for its models: by default, at most and at least.
const EVERY: Duration = Duration::from_secs(10 * 60);
const OFTEN: Duration = Duration::from_secs(10);
const SELDOM: Duration = Duration::from_secs(24 * 60 * 60);

/// What a provider stands among.
pub(super) struct Around<'a> {
    pub(super) settings: &'a Settings,
    pub(super) prefixes: &'a Claims<Arc<str>>,
    /// The providers in use before.
    pub(super) previous: &'a BTreeMap<Id, Arc<Provider>>,
}

pub(super) fn compile(name: &ResourceName, body: &Bytes, around: &Around<'_>) -> Result<Written<Provider>, Faults> {
    let wire: config::Provider = decode(body)?;
    let mut faults = Faults::default();
    let settings = around.settings;
    let id = faults.take("id", value::own_id(&wire.id, name));
    let dialect = faults.take("dialect", dialect(wire.dialect));
    let at = place::compile(dialect, &wire, &mut faults);
    let prefix = faults.take("model_prefix", prefix(&wire.model_prefix, around.prefixes));
    let headers = header::policy(wire.headers, &wire.drop_headers, settings.overwrite_headers, settings, &mut faults);
    let proxy = match wire.forward_proxy {
        Some(own) => address::proxy(own, &mut faults),
        None => settings.forward_proxy.clone(),
    };
    let (connect, timeouts) = patience::clocks(wire.timeouts.unwrap_or_default(), &mut faults);
    let max_connections = patience::max_connections(wire.pool.as_ref(), &mut faults);
    let profile = patience::profile(proxy, connect, wire.pool.unwrap_or_default(), &mut faults);
    let retry = patience::retry(dialect, wire.retry.unwrap_or_default(), &mut faults);
    let ejection = patience::ejection(wire.ejection.unwrap_or_default(), &mut faults);
    let models = models(&wire.models, &mut faults);
    let credential_choice = faults.take("credential_choice", choice(wire.credential_choice));
    let callers = faults.take("callers", callers(wire.callers));
    let credential_source = faults.take("credential_source", source(wire.credential_source));
    let credential_prefixes = credential_prefixes(&wire.credential_prefixes, &mut faults);
    let discovery = discovery(dialect, &wire.base_url, wire.discovery, &mut faults);
    let known = id.as_ref().and_then(|id| around.previous.get(id)).map(|known| &known.model_filter);
    let model_filter = value::filter("model_filter", &wire.model_filter, known, &mut faults);
    let max_response_bytes =
        wire.max_response_bytes.map(|limit| value::number(Some(limit), 1, 1..=u64::MAX, "1 byte or more"));
    let max_response_bytes = max_response_bytes.and_then(|limit| faults.take("max_response_bytes", limit));
    let conversation = conversation::compile(dialect, wire.conversation, &mut faults);
    faults.finish(|| {
        let place::Places { places, root, probe_url } = at?;
        let value = Provider {
            id: id?,
            dialect: dialect?,
            places,
            root,
            prefix: prefix?,
            profile: Arc::new(profile?),
            headers,
            timeouts: timeouts?,
            retry: retry?,
            models,
            priority: wire.priority,
            credential_choice: credential_choice?,
            credentials: Vec::new(),
            callers: callers?,
            credential_source: credential_source?,
            credential_prefixes,
            discovery,
            model_filter,
            max_response_bytes,
            max_connections,
            ejection: ejection?,
            request_usage: wire.request_usage.unwrap_or(true),
            pass_openai_headers: wire.pass_openai_headers,
            conversation,
            probe_url,
        };
        Some(Written { value, disabled: wire.disabled })
    })
}

fn dialect(wire: i32) -> Result<Dialect, Fault> {
    match config::Dialect::try_from(wire) {
        Ok(config::Dialect::Openai) => Ok(Dialect::OpenAi),
        Ok(config::Dialect::AzureOpenai) => Ok(Dialect::AzureOpenAi),
        Ok(config::Dialect::Anthropic) => Ok(Dialect::Anthropic),
        Ok(config::Dialect::Gemini) => Ok(Dialect::Gemini),
        Ok(config::Dialect::Conversation) => Ok(Dialect::Conversation),
        Ok(config::Dialect::Unspecified) => Err(Fault::Missing),
        Err(_) => Err(value::refused(&wire.to_string(), "must be a dialect that this build speaks")),
    }
}

fn prefix(text: &str, taken: &Claims<Arc<str>>) -> Result<Arc<str>, Fault> {
    let prefix = value::prefix(text)?;
    taken.get(&prefix).map_or(Ok(prefix), |holder| Err(Fault::Taken(holder.clone())))
}

fn models(wire: &[String], faults: &mut Faults) -> Vec<Arc<str>> {
    if wire.len() > MAX_MODELS {
        faults.add("models", Fault::OutOfRange("at most 10,000 models"));
    }
    let mut seen = BTreeSet::new();
    let written = wire.iter().enumerate();
    let models = written.filter_map(|(at, text)| faults.take(format_args!("models[{at}]"), value::model(text)));
    models.filter(|model| seen.insert(Arc::clone(model))).collect()
}

fn choice(wire: i32) -> Result<CredentialChoice, Fault> {
    match config::CredentialChoice::try_from(wire) {
        Ok(config::CredentialChoice::Unspecified | config::CredentialChoice::LeastRecentlyUsed) => {
            Ok(CredentialChoice::LeastRecentlyUsed)
        }
        Ok(config::CredentialChoice::LeastUsed) => Ok(CredentialChoice::LeastUsed),
        Ok(config::CredentialChoice::Weighted) => Ok(CredentialChoice::Weighted),
        Ok(config::CredentialChoice::LeastInFlight) => Ok(CredentialChoice::LeastInFlight),
        Err(_) => Err(value::refused(&wire.to_string(), "must be a choice that this build knows")),
    }
}

fn callers(wire: i32) -> Result<Callers, Fault> {
    match config::Callers::try_from(wire) {
        Ok(config::Callers::Unspecified | config::Callers::ClientKeys) => Ok(Callers::ClientKeys),
        Ok(config::Callers::Anyone) => Ok(Callers::Anyone),
        Err(_) => Err(value::refused(&wire.to_string(), "must be callers that this build knows")),
    }
}

fn source(wire: i32) -> Result<CredentialSource, Fault> {
    match config::CredentialSource::try_from(wire) {
        Ok(config::CredentialSource::Unspecified | config::CredentialSource::Pool) => Ok(CredentialSource::Pool),
        Ok(config::CredentialSource::Client) => Ok(CredentialSource::Client),
        Err(_) => Err(value::refused(&wire.to_string(), "must be a source that this build knows")),
    }
}

fn credential_prefixes(wire: &[String], faults: &mut Faults) -> Vec<Arc<str>> {
    if wire.len() > MAX_CREDENTIAL_PREFIXES {
        faults.add("credential_prefixes", Fault::OutOfRange("at most 16 prefixes"));
    }
    let written = wire.iter().enumerate();
    written
        .filter_map(|(at, text)| faults.take(format_args!("credential_prefixes[{at}]"), credential_prefix(text)))
        .collect()
}

fn credential_prefix(text: &str) -> Result<Arc<str>, Fault> {
    // What stands in a header: visible characters, and the space after a scheme.
    match text.len() {
        0 => Err(Fault::Missing),
        1..=64 if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) => Ok(text.into()),
        _ => Err(value::refused(text, "must be at most 64 visible ASCII characters and spaces")),
    }
}

fn discovery(
    dialect: Option<Dialect>,
    base_url: &str,
    wire: Option<config::Discovery>,
    faults: &mut Faults,
) -> Option<Duration> {
    let config::Discovery { interval } = wire?;
    if base_url.is_empty() || dialect == Some(Dialect::Conversation) {
        faults.add("discovery", Fault::Meaningless("there is no list of models below a `base_url`"));
    }
    let interval = value::duration(interval, EVERY);
    let interval = interval.and_then(|interval| value::number(Some(interval), EVERY, OFTEN..=SELDOM, "10 s to 24 h"));
    faults.take("discovery.interval", interval)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::{
        endpoint::Endpoint,
        fixture::{at, faults, provider, runtime},
        runtime::{Ejection, HeaderPolicy, HttpVersion, ModelFilter, Place, Profile, Retry, RetryOn, Timeouts},
    };

    #[test]
    fn a_provider_that_says_nothing_has_the_stated_defaults() {
        let runtime = runtime(&[provider("p", |_| {})]);
        let place = |endpoint: Endpoint| {
            (endpoint, Place::Fixed(format!("https://p.example/v1{}", endpoint.path()).parse().unwrap()))
        };
        let places = Endpoint::ALL.into_iter().filter(|endpoint| !endpoint.is_anthropic()).map(place).collect();
        let expected = Provider {
            id: Id::parse("p").unwrap(),
            dialect: Dialect::OpenAi,
            places,
            root: Some("https://p.example/v1".parse().unwrap()),
            prefix: "p".into(),
            profile: Arc::new(Profile {
                proxy: None,
                connect_timeout: Duration::from_secs(5),
                max_idle: 100,
                idle_timeout: Duration::from_secs(90),
                http_version: HttpVersion::Negotiated,
            }),
            headers: HeaderPolicy::default(),
            timeouts: Timeouts {
                response_header: Duration::from_secs(60),
                first_event: Duration::from_secs(120),
                stream_idle: Duration::from_secs(300),
                total: Duration::from_secs(600),
            },
            retry: Retry {
                attempts: 3,
                backoff_base: Duration::from_millis(250),
                backoff_cap: Duration::from_secs(8),
                statuses: vec![500, 502, 503, 504],
                attempts_per_credential: None,
                on: RetryOn::default(),
            },
            models: Vec::new(),
            priority: 0,
            credential_choice: CredentialChoice::LeastRecentlyUsed,
            credentials: Vec::new(),
            callers: Callers::ClientKeys,
            credential_source: CredentialSource::Pool,
            credential_prefixes: Vec::new(),
            discovery: None,
            model_filter: ModelFilter::default(),
            max_response_bytes: None,
            max_connections: None,
            ejection: Ejection::default(),
            request_usage: true,
            pass_openai_headers: false,
            conversation: None,
            probe_url: "https://p.example/v1/models".parse().unwrap(),
        };
        assert_eq!(**runtime.providers().next().unwrap(), expected);
    }

    #[test]
    fn a_provider_is_taken_over_field_by_field() {
        let second = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
        let runtime = runtime(&[provider("p", |p| {
            p.chat_url = "https://chat.example/full".into();
            p.timeouts = Some(config::Timeouts {
                connect: second(1),
                response_header: second(2),
                first_event: second(3),
                stream_idle: second(4),
                total: second(5),
            });
            p.pool = Some(config::Pool {
                max_idle: Some(0),
                idle_timeout: second(6),
                http_version: config::HttpVersion::Http2.into(),
                max_connections: Some(9),
            });
            p.retry = Some(config::Retry {
                attempts: Some(1),
                backoff_base: second(7),
                backoff_cap: second(8),
                statuses: vec![599, 408, 599],
                attempts_per_credential: Some(2),
                on_connect_failure: Some(false),
                on_rate_limit: None,
                on_server_error: Some(true),
                on_timeout: Some(false),
            });
            p.models = vec!["b".into(), "a".into(), "b".into()];
            p.priority = -1;
            p.credential_choice = config::CredentialChoice::LeastInFlight.into();
        })]);
        let found = runtime.providers().next().unwrap();
        assert_eq!(found.url(Endpoint::ChatCompletions, "m").unwrap(), "https://chat.example/full");
        assert_eq!(found.url(Endpoint::Embeddings, "m").unwrap(), "https://p.example/v1/embeddings");
        let clocks = found.timeouts;
        let clocks = [
            found.profile.connect_timeout,
            clocks.response_header,
            clocks.first_event,
            clocks.stream_idle,
            clocks.total,
        ];
        assert_eq!(clocks.map(|clock| clock.as_secs()), [1, 2, 3, 4, 5]);
        assert_eq!((found.profile.max_idle, found.profile.idle_timeout.as_secs()), (0, 6));
        assert_eq!(found.profile.http_version, HttpVersion::Http2);
        assert_eq!((found.retry.attempts, &found.retry.statuses[..]), (1, &[408, 599][..]));
        assert_eq!((found.retry.backoff_base.as_secs(), found.retry.backoff_cap.as_secs()), (7, 8));
        assert_eq!(found.models, ["b".into(), "a".into()]);
        assert_eq!((found.priority, found.credential_choice), (-1, CredentialChoice::LeastInFlight));
        assert_eq!(found.max_connections, NonZeroU32::new(9));
        assert_eq!(found.retry.attempts_per_credential, NonZeroU32::new(2));
        let on = RetryOn { connect_failure: false, rate_limit: true, server_error: true, timeout: false };
        assert_eq!(found.retry.on, on);
    }

    #[test]
    fn an_overloaded_anthropic_is_tried_again() {
        let anthropic = |p: &mut config::Provider| p.dialect = config::Dialect::Anthropic.into();
        let runtime = runtime(&[provider("p", anthropic)]);
        assert_eq!(runtime.providers().next().unwrap().retry.statuses, [500, 502, 503, 504, 529]);
    }

    #[test]
    fn every_fault_is_found() {
        let zero = Some(prost_types::Duration::default());
        let faults = faults(&[provider("p", |p| {
            p.id = "q".into();
            p.dialect = 0;
            p.base_url = "api.example".into();
            p.chat_url = "https://u:p@chat.example".into();
            p.model_prefix = "a/b".into();
            p.forward_proxy = Some(config::ForwardProxy { url: "x".into(), ..config::ForwardProxy::default() });
            p.timeouts = Some(config::Timeouts {
                connect: zero,
                response_header: zero,
                first_event: zero,
                stream_idle: zero,
                total: zero,
            });
            p.pool = Some(config::Pool {
                max_idle: Some(10_001),
                idle_timeout: zero,
                http_version: 9,
                max_connections: Some(0),
            });
            p.retry = Some(config::Retry {
                attempts: Some(101),
                backoff_base: zero,
                backoff_cap: zero,
                statuses: vec![500, 429, 65_536 + 500],
                attempts_per_credential: Some(0),
                ..config::Retry::default()
            });
            p.models = vec!["ok".into(), "*".into()];
            p.credential_choice = 9;
        })]);
        let expected = [
            "id INVALID_TEXT",
            "dialect FIELD_REQUIRED",
            "base_url INVALID_URL",
            "chat_url INVALID_URL",
            "model_prefix INVALID_TEXT",
            "forward_proxy.url INVALID_URL",
            "timeouts.connect OUT_OF_RANGE",
            "timeouts.response_header OUT_OF_RANGE",
            "timeouts.first_event OUT_OF_RANGE",
            "timeouts.stream_idle OUT_OF_RANGE",
            "timeouts.total OUT_OF_RANGE",
            "pool.max_connections OUT_OF_RANGE",
            "pool.max_idle OUT_OF_RANGE",
            "pool.idle_timeout OUT_OF_RANGE",
            "pool.http_version INVALID_TEXT",
            "retry.attempts OUT_OF_RANGE",
            "retry.attempts_per_credential OUT_OF_RANGE",
            "retry.backoff_base OUT_OF_RANGE",
            "retry.backoff_cap OUT_OF_RANGE",
            "retry.statuses[1] OUT_OF_RANGE",
            "retry.statuses[2] OUT_OF_RANGE",
            "models[1] INVALID_TEXT",
            "credential_choice INVALID_TEXT",
        ];
        assert_eq!(faults, expected.map(|fault| format!("providers/p {fault}")));
    }

    #[test]
    fn what_goes_to_a_provider_and_comes_back_is_taken_over() {
        let second = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
        let runtime = runtime(&[provider("p", |p| {
            p.callers = config::Callers::Anyone.into();
            p.credential_source = config::CredentialSource::Client.into();
            p.credential_prefixes = vec!["Bearer ".into(), "sk-".into()];
            p.discovery = Some(config::Discovery { interval: second(10) });
            p.model_filter = vec!["^a".into(), "z$".into()];
            p.max_response_bytes = Some(1);
            p.ejection = Some(config::Ejection { failures: Some(0), base: second(11), cap: second(12) });
            p.request_usage = Some(false);
            p.pass_openai_headers = true;
            p.probe_url = "https://probe.example/up".into();
        })]);
        let found = runtime.providers().next().unwrap();
        assert_eq!((found.callers, found.credential_source), (Callers::Anyone, CredentialSource::Client));
        assert_eq!(found.credential_prefixes, ["Bearer ".into(), "sk-".into()]);
        assert_eq!((found.discovery, found.max_response_bytes), (Some(Duration::from_secs(10)), Some(1)));
        assert_eq!(["ab", "xz", "za"].map(|model| found.model_filter.lists(model)), [true, true, false]);
        let (base, cap) = (Duration::from_secs(11), Duration::from_secs(12));
        assert_eq!(found.ejection, Ejection { failures: 0, base, cap });
        assert_eq!((found.request_usage, found.pass_openai_headers), (false, true));
        assert_eq!(found.probe_url, "https://probe.example/up");
    }

    #[test]
    fn every_fault_in_what_goes_to_a_provider_and_comes_back_is_found() {
        let zero = Some(prost_types::Duration::default());
        let faults = faults(&[provider("p", |p| {
            p.callers = 9;
            p.credential_source = 9;
            p.credential_prefixes = vec!["sk-".into(), String::new(), "é".into()];
            p.discovery = Some(config::Discovery { interval: Some(prost_types::Duration { seconds: 9, nanos: 0 }) });
            p.model_filter = vec!["ok".into(), "(".into(), "a(?=b)".into()];
            p.max_response_bytes = Some(0);
            p.ejection = Some(config::Ejection { failures: None, base: zero, cap: zero });
        })]);
        let expected = [
            "ejection.base OUT_OF_RANGE",
            "ejection.cap OUT_OF_RANGE",
            "callers INVALID_TEXT",
            "credential_source INVALID_TEXT",
            "credential_prefixes[1] FIELD_REQUIRED",
            "credential_prefixes[2] INVALID_TEXT",
            "discovery.interval OUT_OF_RANGE",
            "model_filter[1] INVALID_EXPRESSION",
            "model_filter[2] INVALID_EXPRESSION",
            "max_response_bytes OUT_OF_RANGE",
        ];
        assert_eq!(faults, expected.map(|fault| format!("providers/p {fault}")));
    }

    #[test]
    fn models_are_asked_for_where_there_is_a_list_of_them() {
        let asked = |interval| Some(config::Discovery { interval });
        let found = runtime(&[provider("p", |p| p.discovery = asked(None))]);
        assert_eq!(found.providers().next().unwrap().discovery, Some(Duration::from_secs(600)));
        let chat_only = provider("p", |p| {
            p.chat_url = std::mem::take(&mut p.base_url);
            p.discovery = asked(None);
        });
        let conversation = provider("p", |p| {
            p.dialect = config::Dialect::Conversation.into();
            p.chat_url = "https://p.example/chat".into();
            p.discovery = asked(None);
        });
        for without in [chat_only, conversation] {
            assert_eq!(faults(&[without]), ["providers/p discovery MEANINGLESS"]);
        }
    }

    #[test]
    fn a_filter_that_is_too_large_is_refused() {
        let filtered = |filter: Vec<String>| faults(&[provider("p", |p| p.model_filter = filter)]);
        assert_eq!(filtered(vec!["a".to_owned(); 1001]), ["providers/p model_filter OUT_OF_RANGE"]);
        assert_eq!(filtered(vec![r"\w{2000}".to_owned()]), ["providers/p model_filter[0] INVALID_EXPRESSION"]);
        assert_eq!(filtered(vec![r"\w{50}".to_owned(); 20]), ["providers/p model_filter INVALID_EXPRESSION"]);
    }

    #[test]
    fn a_prefix_belongs_to_the_older_provider_even_while_that_is_disabled() {
        let faults = faults(&[
            at(
                1,
                provider("z", |p| {
                    p.model_prefix = "same".into();
                    p.disabled = true;
                }),
            ),
            at(2, provider("a", |p| p.model_prefix = "same".into())),
            provider("nowhere", |p| p.base_url.clear()),
        ]);
        assert_eq!(faults, ["providers/a model_prefix ALREADY_TAKEN", "providers/nowhere base_url FIELD_REQUIRED"]);
    }
}
