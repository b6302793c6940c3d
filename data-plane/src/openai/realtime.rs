//! Realtime sessions: a WebSocket handshake whose model is in its query. Once the provider has agreed, the connections are joined.

use std::{ops::Range, sync::Arc};

use http::Method;
use signalbox_routing::Endpoint;
use url::form_urlencoded;

use super::{
    cleaned, deadline,
    envelope::{self, Field, MAX_MODEL_BYTES, UsageWish},
    ids::Keeper,
    kept, only, plan,
};
use crate::{
    attempt::{self, Call},
    auth,
    errors::Error,
    exchange::Exchange,
    http::Asked,
    reply::{self, Reply},
    tunnel,
    upstream::Payload,
};

/// Opens a session with whoever serves its model.
///
/// # Errors
/// Whatever ends it before an upstream's answer is committed.
pub(crate) async fn open(mut asked: Asked, exchange: &mut Exchange) -> Result<Reply, Error> {
    if asked.head.method != Method::GET {
        return Err(Error::Method { allow: "GET" });
    }
    auth::take_from_protocols(&mut asked.head.headers);
    let caller = asked.caller(exchange)?;
    let client = tunnel::asked_for(&mut asked.head).ok_or(Error::NoHandshake)?;
    let Asked { head, snapshot, .. } = asked;
    let named = kept::named(&snapshot, &caller, &Keeper::default(), &head.headers)?;
    let deadline = deadline(&head.headers, exchange.record.started);
    let (method, query, headers) = cleaned(head);
    let (requested_model, model_span) = model(query.as_deref().unwrap_or_default())?;
    exchange.record.model = Some(Arc::clone(&requested_model));
    let (plan, own_keys) = plan(&snapshot, &caller, &requested_model, Endpoint::Realtime)?;
    let call = Call {
        endpoint: Endpoint::Realtime,
        tag: None,
        method,
        query,
        headers,
        own_keys,
        body: Payload::Handshake { model_span },
        stream: false,
        usage: UsageWish::Asked,
        keepalive: None,
        requested_model,
        request_id: exchange.record.request_id,
        deadline,
    };
    let plan = only(plan, named.as_deref())?;
    let trail = &mut exchange.record.trail;
    let mut won = attempt::run(&snapshot.upstreams, plan, call, trail).await?;
    let upstream = won.upgrade.take();
    let mut reply = reply::of_won(won);
    if let (Some(upstream), Some(provider)) = (upstream, &trail.provider) {
        tunnel::join(&mut reply, client, upstream, provider.timeouts.stream_idle);
    }
    Ok(reply)
}

/// The model that a query names, and where its value is.
fn model(query: &str) -> Result<(Arc<str>, Range<usize>), envelope::Error> {
    let mut found = None;
    let mut at = 0;
    for pair in query.split('&') {
        let is_model =
            form_urlencoded::parse(pair.as_bytes()).next().filter(|(name, _)| name.eq_ignore_ascii_case("model"));
        if let Some((name, value)) = is_model {
            if name != "model" || found.is_some() {
                return Err(envelope::Error::Repeated(Field::Model));
            }
            let start = at + pair.find('=').map_or(pair.len(), |mark| mark + 1);
            found = Some((Arc::from(&*value), start..at + pair.len()));
        }
        at += pair.len() + 1;
    }
    let (model, span): (Arc<str>, _) = found.ok_or(envelope::Error::Missing(Field::Model))?;
    if model.is_empty() || model.len() > MAX_MODEL_BYTES {
        Err(envelope::Error::ModelLength)
    } else {
        Ok((model, span))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_found_in_the_query() {
        for (query, expected) in [
            ("model=m", Ok(("m", "m"))),
            ("a=b&model=main%2Fgpt+4o&c", Ok(("main/gpt 4o", "main%2Fgpt+4o"))),
            ("", Err("Missing(Model)")),
            ("models=m", Err("Missing(Model)")),
            ("model=", Err("ModelLength")),
            ("model", Err("ModelLength")),
            ("model=a&model=a", Err("Repeated(Model)")),
            ("model=a&mod%65l=b", Err("Repeated(Model)")),
            ("Model=a", Err("Repeated(Model)")),
        ] {
            let found = model(query).map_err(|error| format!("{error:?}"));
            let found = found.as_ref().map(|(model, span)| (&**model, &query[span.clone()])).map_err(String::as_str);
            assert_eq!(found, expected, "{query}");
        }
    }
}
