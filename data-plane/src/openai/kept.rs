//! What providers keep for their clients: files, batches and responses. Each is asked of the provider that keeps it, which its id
//! says, or a header, or the configuration where only one can be meant.

use std::sync::Arc;

use http::{HeaderMap, Method};
use signalbox_routing::{AnswerModel, Dialect, Endpoint, Form, Plan, Provider, Target};

use super::{
    check_media, cleaned, deadline,
    envelope::UsageWish,
    ids::{self, Keeper},
};
use crate::{
    attempt::{self, Call},
    auth::Caller,
    errors::Error,
    exchange::Exchange,
    form::Passing,
    headers::X_SIGNALBOX_PROVIDER,
    http::Asked,
    live::Snapshot,
    path::{Kept, Shelf},
    reply::{self, Reply},
    splice::Tag,
    upstream::{Payload, Upload},
};

/// Those that keep things in the way of OpenAI's API.
const DIALECTS: [Dialect; 2] = [Dialect::OpenAi, Dialect::AzureOpenAi];

/// Passes a request on to the provider that keeps what it is about.
///
/// # Errors
/// Whatever ends it before an upstream's answer is committed.
pub(crate) async fn pass(asked: Asked, kept: Kept<'_>, exchange: &mut Exchange) -> Result<Reply, Error> {
    let allow = kept.allow();
    if !allow.split(", ").any(|method| method == asked.head.method.as_str()) {
        return Err(Error::Method { allow });
    }
    let caller = asked.caller(exchange)?;
    let creates = kept.id.is_none() && asked.head.method == Method::POST;
    if creates {
        check_media(&asked.head.headers, if kept.shelf == Shelf::Files { Form::Multipart } else { Form::Json })?;
    }
    let (head, body, snapshot) = asked.body()?;
    let mut keeper = Keeper::default();
    let id = kept.id.map(|id| keeper.take(id)).transpose()?;
    let body = if creates && kept.shelf == Shelf::Files {
        Payload::Upload(Upload::new(Passing::unread(body)))
    } else {
        Payload::Held(keeper.take_from(body.collect().await?)?)
    };
    let deadline = deadline(&head.headers, exchange.record.started);
    let named = head.headers.get(X_SIGNALBOX_PROVIDER).cloned();
    let (method, query, headers) = cleaned(head);
    let query = query.map(|query| keeper.take_from_query(&query)).transpose()?.filter(|query| !query.is_empty());
    let named = keeper.id().or_else(|| named.as_ref().map(|name| name.to_str().unwrap_or_default()));
    let provider = provider(&snapshot, &caller, named)?;
    if creates && kept.shelf == Shelf::Batches && !may_ask_for_anything(&caller, &provider) {
        return Err(ids::Error::Unknown.into());
    }
    let stream = kept.shelf == Shelf::Responses && asks_for_stream(query.as_deref());
    exchange.record.stream = stream;
    let plan = plan(Arc::clone(&provider), &kept.path(id)).ok_or(ids::Error::Unknown)?;
    let call = Call {
        endpoint: Endpoint::Responses,
        tag: Some(Tag { suffix: ids::suffix(provider.id.as_str()), lists: kept.is_list_of_its_own() }),
        method,
        query: query.map(Into::into),
        headers,
        own_keys: caller.own_keys(&snapshot.runtime, [&provider].into_iter())?,
        body,
        stream,
        usage: UsageWish::Asked,
        keepalive: snapshot.runtime.settings().stream_keepalive,
        requested_model: "".into(),
        request_id: exchange.record.request_id,
        deadline,
    };
    let won = attempt::run(&snapshot.upstreams, plan, call, &mut exchange.record.trail).await?;
    Ok(reply::of_won(won))
}

/// The provider that a request's headers name, if they name one.
///
/// # Errors
/// Where the caller may not use it, or there is none such.
pub(super) fn named(
    snapshot: &Snapshot,
    caller: &Caller,
    keeper: &Keeper,
    headers: &HeaderMap,
) -> Result<Option<Arc<Provider>>, Error> {
    let header = headers.get(X_SIGNALBOX_PROVIDER).map(|name| name.to_str().unwrap_or_default());
    let Some(name) = keeper.id().or(header) else { return Ok(None) };
    let provider = snapshot.runtime.provider_for(caller.planned(), name).ok_or_else(|| unknown(caller))?;
    Ok(Some(provider))
}

fn provider(snapshot: &Snapshot, caller: &Caller, name: Option<&str>) -> Result<Arc<Provider>, Error> {
    let Some(name) = name else {
        let sole = snapshot.runtime.sole_provider(caller.planned(), &DIALECTS);
        return sole.ok_or_else(|| caller.known().map_or_else(Error::from, |_| ids::Error::Unnamed.into()));
    };
    let provider = snapshot.runtime.provider_for(caller.planned(), name);
    provider.filter(|provider| DIALECTS.contains(&provider.dialect)).ok_or_else(|| unknown(caller))
}

/// A stranger is told that a key is missing, as nothing else would help.
fn unknown(caller: &Caller) -> Error {
    caller.known().map_or_else(Error::from, |_| ids::Error::Unknown.into())
}

/// Whether no model of a provider is out of the caller's reach. A batch names its models in a file that the gateway does not read,
/// so a key for some models only must not send one.
fn may_ask_for_anything(caller: &Caller, provider: &Provider) -> bool {
    // No model is called like this, so that only a pattern that leaves nothing out allows it.
    let any = format!("{}/\u{7f}", provider.prefix);
    caller.key().is_none_or(|key| key.allows(&any))
}

fn asks_for_stream(query: Option<&str>) -> bool {
    query.unwrap_or_default().split('&').any(|pair| pair == "stream=true")
}

fn plan(provider: Arc<Provider>, path: &str) -> Option<Plan> {
    let url = provider.below(path)?;
    let attempts = provider.retry.attempts;
    let first = Target { provider, url, model: "".into() };
    Some(Plan { first, rest: Vec::new(), answer_model: AnswerModel::Served, attempts })
}
