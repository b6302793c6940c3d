//! A provider from the wire, but for its credentials, which are resources of their own.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::Uri;
use signalbox_proto::config::v1 as config;

use super::{Claims, Written, address, decode, faults::Faults, header, value};
use crate::{
    endpoint::Endpoint,
    finding::Fault,
    name::ResourceName,
    runtime::{
        Callers, CredentialChoice, CredentialSource, Dialect, Ejection, HttpVersion, ModelFilter, Profile, Provider,
        Proxy, Retry, RetryOn, Settings, Timeouts,
    },
};

/// Most models in a fixed list.
const MAX_MODELS: usize = 10_000;

/// Statuses that may be tried again besides those that always are: what a busy or broken upstream answers. Any other says that
/// the request itself is at fault.
const RETRIED: [u16; 3] = [408, 409, 425];

/// What a provider stands among.
pub(super) struct Around<'a> {
    pub(super) settings: &'a Settings,
    pub(super) prefixes: &'a Claims<Arc<str>>,
}

pub(super) fn compile(name: &ResourceName, body: &Bytes, around: &Around<'_>) -> Result<Written<Provider>, Faults> {
    let config::Provider {
        id,
        dialect,
        base_url,
        chat_url,
        model_prefix,
        headers,
        drop_headers,
        forward_proxy,
        timeouts,
        pool,
        retry,
        models,
        priority,
        credential_choice,
        disabled,
        ..
    } = decode(body)?;
    let mut faults = Faults::default();
    let settings = around.settings;
    let id = faults.take("id", value::own_id(&id, name));
    let dialect = faults.take("dialect", self::dialect(dialect));
    let urls = urls(&base_url, &chat_url, &mut faults);
    let prefix = faults.take("model_prefix", prefix(&model_prefix, around.prefixes));
    let headers = header::policy(headers, &drop_headers, settings.overwrite_headers, settings, &mut faults);
    let proxy = match forward_proxy {
        Some(own) => address::proxy(own, &mut faults),
        None => settings.forward_proxy.clone(),
    };
    let (connect, timeouts) = clocks(timeouts.unwrap_or_default(), &mut faults);
    let profile = profile(proxy, connect, pool.unwrap_or_default(), &mut faults);
    let retry = self::retry(retry.unwrap_or_default(), &mut faults);
    let models = self::models(&models, &mut faults);
    let credential_choice = faults.take("credential_choice", choice(credential_choice));
    faults.finish(|| {
        let value = Provider {
            id: id?,
            dialect: dialect?,
            urls,
            prefix: prefix?,
            profile: Arc::new(profile?),
            headers,
            timeouts: timeouts?,
            retry: retry?,
            models,
            priority,
            credential_choice: credential_choice?,
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
            probe_url: None,
        };
        Some(Written { value, disabled })
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

/// Where each endpoint is that can be reached.
fn urls(base_url: &str, chat_url: &str, faults: &mut Faults) -> BTreeMap<Endpoint, Uri> {
    let mut urls = BTreeMap::new();
    if base_url.is_empty() && chat_url.is_empty() {
        faults.add("base_url", Fault::Missing);
    }
    if !base_url.is_empty() {
        let all = address::root(base_url).and_then(|root| {
            Endpoint::ALL.into_iter().map(|endpoint| Ok((endpoint, address::join(&root, endpoint.path())?))).collect()
        });
        urls = faults.take("base_url", all).unwrap_or_default();
    }
    if !chat_url.is_empty() {
        let chat = faults.take("chat_url", address::whole(chat_url));
        urls.extend(chat.map(|url| (Endpoint::ChatCompletions, url)));
    }
    urls
}

fn prefix(text: &str, taken: &Claims<Arc<str>>) -> Result<Arc<str>, Fault> {
    let prefix = value::prefix(text)?;
    taken.get(&prefix).map_or(Ok(prefix), |holder| Err(Fault::Taken(holder.clone())))
}

fn profile(
    proxy: Option<Proxy>,
    connect_timeout: Option<Duration>,
    pool: config::Pool,
    faults: &mut Faults,
) -> Option<Profile> {
    let config::Pool { max_idle, idle_timeout, http_version, max_connections: _ } = pool;
    let defaults = Profile::default();
    let max_idle = max_idle.map(|max_idle| usize::try_from(max_idle).unwrap_or(usize::MAX));
    let max_idle = value::number(max_idle, defaults.max_idle, 0..=10_000, "0 to 10,000");
    let max_idle = faults.take("pool.max_idle", max_idle);
    let idle_timeout = faults.take("pool.idle_timeout", value::duration(idle_timeout, defaults.idle_timeout));
    let http_version = faults.take("pool.http_version", self::http_version(http_version));
    Some(Profile {
        proxy,
        connect_timeout: connect_timeout?,
        max_idle: max_idle?,
        idle_timeout: idle_timeout?,
        http_version: http_version?,
    })
}

fn http_version(wire: i32) -> Result<HttpVersion, Fault> {
    match config::HttpVersion::try_from(wire) {
        Ok(config::HttpVersion::Unspecified) => Ok(HttpVersion::Negotiated),
        Ok(config::HttpVersion::Http1) => Ok(HttpVersion::Http1),
        Ok(config::HttpVersion::Http2) => Ok(HttpVersion::Http2),
        Err(_) => Err(value::refused(&wire.to_string(), "must be an HTTP version that this build speaks")),
    }
}

/// The connect clock, which belongs to the profile, and the others.
fn clocks(wire: config::Timeouts, faults: &mut Faults) -> (Option<Duration>, Option<Timeouts>) {
    let config::Timeouts { connect, response_header, first_event, stream_idle, total } = wire;
    let mut clock =
        |field: &str, wire, default| faults.take(format_args!("timeouts.{field}"), value::duration(wire, default));
    let connect = clock("connect", connect, Profile::default().connect_timeout);
    let response_header = clock("response_header", response_header, Duration::from_secs(60));
    let first_event = clock("first_event", first_event, Duration::from_secs(120));
    let stream_idle = clock("stream_idle", stream_idle, Duration::from_secs(300));
    let total = clock("total", total, Duration::from_secs(600));
    let timeouts = || {
        Some(Timeouts {
            response_header: response_header?,
            first_event: first_event?,
            stream_idle: stream_idle?,
            total: total?,
        })
    };
    (connect, timeouts())
}

fn retry(wire: config::Retry, faults: &mut Faults) -> Option<Retry> {
    let config::Retry { attempts, backoff_base, backoff_cap, statuses, .. } = wire;
    let attempts = faults.take("retry.attempts", value::number(attempts, 3, 1..=10, "1 to 10"));
    let base = faults.take("retry.backoff_base", value::duration(backoff_base, Duration::from_millis(250)));
    let cap = faults.take("retry.backoff_cap", value::duration(backoff_cap, Duration::from_secs(8)));
    let mut retried: Vec<u16> = Vec::new();
    for (at, status) in statuses.into_iter().enumerate() {
        retried.extend(faults.take(format_args!("retry.statuses[{at}]"), self::status(status)));
    }
    if retried.is_empty() {
        retried.extend([500, 502, 503, 504]);
    }
    retried.sort_unstable();
    retried.dedup();
    Some(Retry {
        attempts: attempts?,
        backoff_base: base?,
        backoff_cap: cap?,
        statuses: retried,
        attempts_per_credential: None,
        on: RetryOn::default(),
    })
}

fn status(wire: u32) -> Result<u16, Fault> {
    let status = u16::try_from(wire).ok().filter(|status| RETRIED.contains(status) || (500..=599).contains(status));
    status.ok_or(Fault::OutOfRange("408, 409, 425 or 500 to 599; 401, 402, 403 and 429 are always tried again"))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fixture::{at, faults, provider, runtime},
        name::Id,
        runtime::HeaderPolicy,
    };

    #[test]
    fn a_provider_that_says_nothing_has_the_stated_defaults() {
        let runtime = runtime(&[provider("p", |_| {})]);
        let urls = |endpoint: Endpoint| (endpoint, format!("https://p.example/v1{}", endpoint.path()).parse().unwrap());
        let expected = Provider {
            id: Id::parse("p").unwrap(),
            dialect: Dialect::OpenAi,
            urls: Endpoint::ALL.map(urls).into(),
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
            probe_url: None,
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
                max_connections: None,
            });
            p.retry = Some(config::Retry {
                attempts: Some(1),
                backoff_base: second(7),
                backoff_cap: second(8),
                statuses: vec![599, 408, 599],
                ..config::Retry::default()
            });
            p.models = vec!["b".into(), "a".into(), "b".into()];
            p.priority = -1;
            p.credential_choice = config::CredentialChoice::LeastInFlight.into();
        })]);
        let found = runtime.providers().next().unwrap();
        assert_eq!(found.urls[&Endpoint::ChatCompletions], "https://chat.example/full");
        assert_eq!(found.urls[&Endpoint::Embeddings], "https://p.example/v1/embeddings");
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
                max_connections: None,
            });
            p.retry = Some(config::Retry {
                attempts: Some(11),
                backoff_base: zero,
                backoff_cap: zero,
                statuses: vec![500, 429, 65_536 + 500],
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
            "pool.max_idle OUT_OF_RANGE",
            "pool.idle_timeout OUT_OF_RANGE",
            "pool.http_version INVALID_TEXT",
            "retry.attempts OUT_OF_RANGE",
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
