//! From what operators say to what data planes are told: names become ids, references become bare ids, and defaults that depend on
//! the resource itself are filled in. Everything that only operators need stays behind.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message as _;
use signalbox_proto::{admin::v1 as admin, config::v1 as config};
use signalbox_routing::{Effect, Fault, Finding, ResourceName};

use crate::message::{ClientKey, Message};

/// The resource as it travels to data planes. `message` has its secrets inside.
///
/// # Errors
/// What cannot be said in the data planes' terms; everything else is for the compiler to judge.
pub(crate) fn body(name: &ResourceName, message: &Message) -> Result<Bytes, Finding> {
    Ok(match message {
        Message::Settings(said) => settings(said).encode_to_vec(),
        Message::Provider(said) => provider(name, said)?.encode_to_vec(),
        Message::Credential(said) => credential(name, said).encode_to_vec(),
        Message::ClientKey(key) => client_key(name, key).encode_to_vec(),
        Message::Redirect(said) => redirect(name, said).encode_to_vec(),
        Message::Route(said) => route(name, said)?.encode_to_vec(),
    }
    .into())
}

/// The id in a reference to a provider, which may be given as id or as full name.
pub(crate) fn provider_id(reference: &str) -> &str {
    reference.strip_prefix("providers/").unwrap_or(reference)
}

/// What clients write before the slash to reach a provider.
pub(crate) fn model_prefix<'a>(name: &'a ResourceName, said: &'a admin::Provider) -> &'a str {
    or_id(name, &said.model_prefix)
}

/// The first path segment that a route answers to.
pub(crate) fn segment<'a>(name: &'a ResourceName, said: &'a admin::Route) -> &'a str {
    or_id(name, &said.segment)
}

fn or_id<'a>(name: &'a ResourceName, text: &'a str) -> &'a str {
    if text.is_empty() { name.id() } else { text }
}

fn settings(said: &admin::Settings) -> config::Settings {
    let admin::Settings {
        name: _,
        base_path,
        keyless_models,
        default_provider,
        forward_proxy,
        overwrite_headers,
        drop_headers,
        request_log,
        max_request_bytes,
        cors,
        model_filter,
        log_level,
        stream_keepalive,
        update_time: _,
        revision: _,
        etag: _,
    } = said.clone();
    config::Settings {
        base_path,
        keyless_models,
        default_provider: provider_id(&default_provider).to_owned(),
        forward_proxy,
        overwrite_headers,
        drop_headers,
        request_log,
        max_request_bytes,
        cors,
        model_filter,
        log_level,
        stream_keepalive,
    }
}

fn provider(name: &ResourceName, said: &admin::Provider) -> Result<config::Provider, Finding> {
    let model_prefix = model_prefix(name, said).to_owned();
    let admin::Provider {
        name: _,
        dialect,
        base_url,
        chat_url,
        model_prefix: _,
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
        callers,
        credential_source,
        credential_prefixes,
        discovery,
        model_filter,
        max_response_bytes,
        ejection,
        request_usage,
        pass_openai_headers,
        azure_openai,
        conversation,
        probe_url,
        display_name: _,
        labels: _,
        create_time: _,
        update_time: _,
        revision: _,
        etag: _,
    } = said.clone();
    Ok(config::Provider {
        id: name.id().to_owned(),
        dialect,
        base_url,
        chat_url,
        model_prefix,
        headers: lower_case(name, headers)?,
        drop_headers,
        forward_proxy,
        timeouts,
        pool,
        retry,
        models,
        priority,
        credential_choice,
        disabled,
        callers,
        credential_source,
        credential_prefixes,
        discovery,
        model_filter,
        max_response_bytes,
        ejection,
        request_usage,
        pass_openai_headers,
        azure_openai,
        conversation,
        probe_url,
    })
}

fn credential(name: &ResourceName, said: &admin::Credential) -> config::Credential {
    let admin::Credential {
        name: _,
        source,
        weight,
        max_in_flight,
        disabled,
        display_name: _,
        secret_version: _,
        labels: _,
        create_time: _,
        update_time: _,
        revision: _,
        etag: _,
    } = said.clone();
    config::Credential {
        id: name.id().to_owned(),
        provider: name.parent().map(|provider| provider.id().to_owned()).unwrap_or_default(),
        source: source.map(|source| match source {
            admin::credential::Source::Secret(secret) => config::credential::Source::Secret(secret),
            admin::credential::Source::SecretRef(place) => config::credential::Source::SecretRef(place),
        }),
        weight,
        max_in_flight,
        disabled,
    }
}

fn client_key(name: &ResourceName, key: &ClientKey) -> config::ClientKey {
    let admin::ClientKey {
        name: _,
        secret: _,
        imported: _,
        display_prefix: _,
        allowed_models,
        expire_time,
        disabled,
        display_name: _,
        limits,
        labels,
        create_time: _,
        update_time: _,
        revision: _,
        etag: _,
    } = key.said().clone();
    config::ClientKey {
        id: name.id().to_owned(),
        sha256: Bytes::copy_from_slice(key.sha256()),
        allowed_models,
        expire_time,
        disabled,
        labels,
        limits,
    }
}

fn redirect(name: &ResourceName, said: &admin::Redirect) -> config::Redirect {
    let admin::Redirect {
        name: _,
        from,
        targets,
        answer_model,
        client_key_labels,
        display_name: _,
        labels: _,
        create_time: _,
        update_time: _,
        revision: _,
        etag: _,
    } = said.clone();
    let bare = |target: config::redirect::Target| config::redirect::Target {
        provider: provider_id(&target.provider).to_owned(),
        ..target
    };
    config::Redirect {
        id: name.id().to_owned(),
        from,
        targets: targets.into_iter().map(bare).collect(),
        answer_model,
        client_key_labels,
    }
}

fn route(name: &ResourceName, said: &admin::Route) -> Result<config::Route, Finding> {
    let segment = segment(name, said).to_owned();
    let admin::Route {
        name: _,
        segment: _,
        destination,
        headers,
        overwrite_headers,
        drop_headers,
        forward_proxy,
        client_key_required,
        timeout,
        disabled,
        display_name: _,
        labels: _,
        create_time: _,
        update_time: _,
        revision: _,
        etag: _,
    } = said.clone();
    Ok(config::Route {
        id: name.id().to_owned(),
        segment,
        destination: destination.map(|destination| match destination {
            admin::route::Destination::TargetUrl(url) => config::route::Destination::TargetUrl(url),
            admin::route::Destination::Universal(universal) => config::route::Destination::Universal(universal),
        }),
        headers: lower_case(name, headers)?,
        overwrite_headers,
        drop_headers,
        forward_proxy,
        client_key_required,
        timeout,
        disabled,
    })
}

/// Headers by lower-case name. Two names that differ in case only are one header, and which of the two was meant is not ours to say.
fn lower_case(
    resource: &ResourceName,
    headers: BTreeMap<String, config::HeaderValue>,
) -> Result<BTreeMap<String, config::HeaderValue>, Finding> {
    let mut lower = BTreeMap::new();
    for (name, value) in headers {
        if lower.insert(name.to_ascii_lowercase(), value).is_some() {
            return Err(Finding {
                resource: resource.clone(),
                field: format!("headers[{name:?}]"),
                fault: Fault::Text { text: name, rule: "the header is there twice, in other letters" },
                effect: Effect::KeptPrevious,
            });
        }
    }
    Ok(lower)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Fingerprint;

    fn converted<M: prost::Message + Default>(name: &str, message: impl Into<Message>) -> M {
        M::decode(body(&ResourceName::parse(name).unwrap(), &message.into()).unwrap()).unwrap()
    }

    #[test]
    fn a_provider_is_known_by_its_id_unless_it_has_a_prefix() {
        let named = |model_prefix: &str| -> config::Provider {
            let said = admin::Provider { model_prefix: model_prefix.to_owned(), ..Default::default() };
            converted("providers/openai", said)
        };
        assert_eq!((named("").id, named("").model_prefix), ("openai".to_owned(), "openai".to_owned()));
        assert_eq!(named("gpt").model_prefix, "gpt");
    }

    #[test]
    fn a_route_answers_to_its_id_unless_it_has_a_segment() {
        let at = |segment: &str| -> config::Route {
            converted("routes/docs", admin::Route { segment: segment.to_owned(), ..Default::default() })
        };
        assert_eq!((at("").segment, at("Docs_2").segment), ("docs".to_owned(), "Docs_2".to_owned()));
    }

    #[test]
    fn providers_are_referred_to_by_id_however_they_were_named() {
        let target = |provider: &str| config::redirect::Target { provider: provider.to_owned(), ..Default::default() };
        let targets = vec![target("providers/a"), target("b"), target("")];
        let redirect: config::Redirect = converted("redirects/r", admin::Redirect { targets, ..Default::default() });
        assert_eq!(redirect.targets, [target("a"), target("b"), target("")]);

        let said = admin::Settings { default_provider: "providers/a".to_owned(), ..Default::default() };
        let settings: config::Settings = converted("settings", said);
        assert_eq!(settings.default_provider, "a");
    }

    #[test]
    fn a_credential_knows_its_provider() {
        let source = Some(admin::credential::Source::Secret("s".to_owned()));
        let said = admin::Credential { source, weight: Some(0), ..Default::default() };
        let credential: config::Credential = converted("providers/p/credentials/main", said);
        let source = Some(config::credential::Source::Secret("s".to_owned()));
        let expected = config::Credential {
            id: "main".to_owned(),
            provider: "p".to_owned(),
            source,
            weight: Some(0),
            ..Default::default()
        };
        assert!(credential == expected);
    }

    #[test]
    fn of_a_client_key_only_the_digest_travels() {
        let said = admin::ClientKey { allowed_models: vec!["a/*".to_owned()], ..Default::default() };
        let fingerprint = Fingerprint { sha256: [5; 32], display_prefix: "sb_visible".to_owned() };
        let key: config::ClientKey = converted("clientKeys/k", ClientKey::new(said, fingerprint));
        assert_eq!((key.id.as_str(), key.sha256.as_ref()), ("k", [5; 32].as_slice()));
        assert_eq!(key.allowed_models, ["a/*"]);
    }

    #[test]
    fn headers_travel_in_lower_case_and_each_is_there_once() {
        let value = |text: &str| config::HeaderValue {
            content: Some(config::header_value::Content::Value(text.to_owned())),
            overwrite: None,
        };
        let with = |names: &[&str]| {
            let headers = names.iter().map(|name| ((*name).to_owned(), value(name))).collect();
            Message::from(admin::Provider { headers, ..Default::default() })
        };
        let provider: config::Provider = converted("providers/p", with(&["X-Team", "accept"]));
        assert_eq!(provider.headers.into_keys().collect::<Vec<_>>(), ["accept", "x-team"]);

        let finding = body(&ResourceName::parse("providers/p").unwrap(), &with(&["X-Team", "x-team"])).unwrap_err();
        assert_eq!(finding.field, "headers[\"x-team\"]");
    }
}
