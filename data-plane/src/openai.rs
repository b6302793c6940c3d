//! The OpenAI API: the rooms of a request in their order. Each `?` leads to an answer, and no room knows the next.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, header::CONTENT_ENCODING, request::Parts};
use signalbox_routing::{Endpoint, Form, Plan, Provider, Refusal, Request};
use tokio::time::Instant;

use crate::{
    attempt::{self, Call},
    auth::{self, Caller},
    errors::Error,
    exchange::Exchange,
    form,
    headers::{self, X_STAINLESS_READ_TIMEOUT, X_STAINLESS_TIMEOUT},
    http::Asked,
    live::Snapshot,
    reply::{self, Reply},
    upstream::{OwnKeys, Payload, Upload},
};

pub(crate) mod envelope;
pub(crate) mod ids;
pub(crate) mod kept;
pub(crate) mod models;
mod realtime;

use envelope::{Envelope, UsageWish};
use ids::Keeper;

/// Why a body is not read, judged by its headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Media {
    /// It is not said to be JSON, and must be.
    #[error("the request's content type is not application/json")]
    NoJson,
    /// It is not said to be a form, and must be.
    #[error("the request's content type is not multipart/form-data")]
    NoForm,
    /// It is compressed.
    #[error("the request has a content encoding")]
    Encoding,
}

/// Carries a request with a model to whoever serves it.
///
/// # Errors
/// Whatever ends it before an upstream's answer is committed.
pub(crate) async fn complete(asked: Asked, endpoint: Endpoint, exchange: &mut Exchange) -> Result<Reply, Error> {
    if endpoint.form() == Form::WebSocket {
        return Box::pin(realtime::open(asked, exchange)).await;
    }
    if asked.head.method != Method::POST {
        return Err(Error::Method { allow: "POST" });
    }
    let caller = asked.caller(exchange)?;
    check_media(&asked.head.headers, endpoint.form())?;
    let (head, body, snapshot) = asked.body()?;
    let mut keeper = Keeper::default();
    let Said { requested_model, stream, usage, tokens, body } = match endpoint.form() {
        Form::Multipart => Said::of_form(form::Form::open(&head.headers, body).await?),
        Form::Json | Form::WebSocket => Said::of_json(body.collect().await?, &mut keeper)?,
    };
    exchange.record.model = Some(Arc::clone(&requested_model));
    exchange.record.stream = stream;
    exchange.expect_tokens(tokens);
    let named = kept::named(&snapshot, &caller, &keeper, &head.headers)?;
    let (plan, own_keys) = plan(&snapshot, &caller, &requested_model, endpoint)?;
    let plan = only(plan, named.as_deref())?;
    let deadline = deadline(&head.headers, exchange.record.started);
    let request_id = exchange.record.request_id;
    let (method, query, headers) = cleaned(head);
    let keepalive = snapshot.runtime.settings().stream_keepalive;
    let call = Call {
        endpoint,
        tag: None,
        method,
        query,
        headers,
        own_keys,
        body,
        stream,
        usage,
        keepalive,
        requested_model,
        request_id,
        deadline,
    };
    let won = attempt::run(&snapshot.upstreams, plan, call, &mut exchange.record.trail).await?;
    Ok(reply::of_won(won))
}

/// How many tokens a request may take: four bytes of it make one, as a rule of thumb, and the answer may be as long as it says.
fn estimate(text: &[u8], max_tokens: Option<u64>) -> u64 {
    (text.len() as u64 / 4).saturating_add(max_tokens.unwrap_or_default())
}

/// Where a caller's request goes, and with which keys of its own.
///
/// # Errors
/// Where there is nowhere to send it. A stranger is told that a key is missing, as nothing else would help.
pub(crate) fn plan(
    snapshot: &Snapshot,
    caller: &Caller,
    model: &str,
    endpoint: Endpoint,
) -> Result<(Plan, OwnKeys), Error> {
    let request = Request { caller: caller.planned(), model, endpoint, seed: fastrand::u64(..) };
    let planned = snapshot.runtime.plan(&request);
    let plan = planned.map_err(|refusal| caller.known().map_or_else(Error::from, |_| refusal.into()))?;
    let providers = [&plan.first].into_iter().chain(&plan.rest).map(|target| &target.provider);
    let own_keys = caller.own_keys(&snapshot.runtime, providers)?;
    Ok((plan, own_keys))
}

/// The part of a plan that leads to a provider that was named.
fn only(plan: Plan, named: Option<&Provider>) -> Result<Plan, Refusal> {
    let Some(named) = named else { return Ok(plan) };
    let Plan { first, rest, answer_model, attempts } = plan;
    let mut targets = [first].into_iter().chain(rest).filter(|target| target.provider.id == named.id);
    let first = targets.next().ok_or(Refusal::ModelNotFound)?;
    Ok(Plan { first, rest: targets.collect(), answer_model, attempts })
}

/// What of a request's head goes on to a provider.
fn cleaned(head: Parts) -> (Method, Option<Box<str>>, HeaderMap) {
    let Parts { method, uri, mut headers, .. } = head;
    headers::clean_request(&mut headers);
    (method, auth::strip_query(uri.query()).map(Into::into), headers)
}

/// What a body says, and the body.
struct Said {
    requested_model: Arc<str>,
    stream: bool,
    usage: UsageWish,
    /// How many tokens it may take, as far as can be said beforehand.
    tokens: u64,
    body: Payload,
}

impl Said {
    fn of_json(text: Bytes, keeper: &mut Keeper) -> Result<Self, Error> {
        let text = keeper.take_from(text)?;
        let Envelope { model, model_span, stream, usage, max_tokens, .. } = Envelope::parse(&text)?;
        let tokens = estimate(&text, max_tokens);
        let requested_model = model.into();
        Ok(Self { requested_model, stream, usage, tokens, body: Payload::Json { text, model_span } })
    }

    fn of_form(form: form::Form) -> Self {
        let form::Form { beginning, model, model_span, stream, rest } = form;
        let body = Payload::Form { beginning, model_span, rest: rest.map(Upload::new) };
        // Nothing is spliced into a form: what its stream reports is passed on as it is.
        Self { requested_model: model.into(), stream, usage: UsageWish::Asked, tokens: 0, body }
    }
}

fn check_media(headers: &HeaderMap, form: Form) -> Result<(), Media> {
    let (wanted, otherwise) = match form {
        Form::Multipart => ("multipart/form-data", Media::NoForm),
        Form::Json | Form::WebSocket => ("application/json", Media::NoJson),
    };
    if !headers::is_of_type(headers, wanted) {
        return Err(otherwise);
    }
    let plain =
        headers.get_all(CONTENT_ENCODING).iter().all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    if plain { Ok(()) } else { Err(Media::Encoding) }
}

/// When the client stops waiting, as the OpenAI SDKs say; where it is said more than once, the earliest of what is said, since an
/// answer after that may find nobody.
fn deadline(headers: &HeaderMap, started: Instant) -> Option<Instant> {
    // Found in one walk, which is less than to look for both.
    let told = headers.iter().filter(|(name, _)| [X_STAINLESS_READ_TIMEOUT, X_STAINLESS_TIMEOUT].contains(name));
    let told = told.filter_map(|(_, seconds)| {
        let seconds: f64 = seconds.to_str().ok()?.parse().ok()?;
        Duration::try_from_secs_f64(seconds).ok().filter(|wait| !wait.is_zero())
    });
    started.checked_add(told.min()?)
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header::CONTENT_TYPE};

    use super::*;

    #[test]
    fn only_plain_json_is_read() {
        for (content_type, encoding, expected) in [
            (Some("application/json"), None, Ok(())),
            (Some("Application/JSON; charset=utf-8"), Some("identity"), Ok(())),
            (Some("application/json"), Some("gzip"), Err(Media::Encoding)),
            (Some("application/jsonp"), None, Err(Media::NoJson)),
            (Some("text/plain"), None, Err(Media::NoJson)),
            (Some("multipart/form-data; boundary=x"), None, Err(Media::NoJson)),
            (None, None, Err(Media::NoJson)),
        ] {
            let mut headers = HeaderMap::new();
            content_type.map(|value| headers.insert(CONTENT_TYPE, HeaderValue::from_static(value)));
            encoding.map(|value| headers.insert(CONTENT_ENCODING, HeaderValue::from_static(value)));
            assert_eq!(check_media(&headers, Form::Json), expected, "{content_type:?} {encoding:?}");
        }
        for (content_type, expected) in [
            ("multipart/form-data; boundary=x", Ok(())),
            ("multipart/mixed; boundary=x", Err(Media::NoForm)),
            ("application/json", Err(Media::NoForm)),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
            assert_eq!(check_media(&headers, Form::Multipart), expected, "{content_type}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_clients_deadline_counts_from_the_start() {
        let started = Instant::now();
        for (value, expected) in [
            ("600", Some(600.0)),
            ("0.5", Some(0.5)),
            ("0", None),
            ("-1", None),
            ("NaN", None),
            ("inf", None),
            ("1e300", None),
            ("soon", None),
        ] {
            let expected = expected.map(|seconds| started + Duration::from_secs_f64(seconds));
            for name in [X_STAINLESS_READ_TIMEOUT, X_STAINLESS_TIMEOUT] {
                let headers = HeaderMap::from_iter([(name, HeaderValue::from_static(value))]);
                assert_eq!(deadline(&headers, started), expected, "{value}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_several_deadlines_the_earliest_counts() {
        let started = Instant::now();
        let (python, node) = (X_STAINLESS_READ_TIMEOUT, X_STAINLESS_TIMEOUT);
        for (told, expected) in [
            (vec![(&python, "20"), (&python, "10")], 10),
            (vec![(&node, "10"), (&node, "20")], 10),
            (vec![(&python, "20"), (&node, "10")], 10),
            (vec![(&node, "20"), (&python, "10")], 10),
            (vec![(&python, "0"), (&python, "soon"), (&node, "20")], 20),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in &told {
                headers.append(*name, HeaderValue::from_static(value));
            }
            assert_eq!(deadline(&headers, started), Some(started + Duration::from_secs(expected)), "{told:?}");
        }
    }
}
