//! The models that a caller may use, as OpenAI lists them.

use std::{borrow::Cow, sync::Arc};

use http::Method;
use serde::Serialize;
use signalbox_routing::{Caller, ClientKey, Model, Refusal};

use crate::{
    errors::Error,
    exchange::Exchange,
    http::Asked,
    path,
    reply::{self, Reply},
};

/// When every model was made, as far as anybody is told: 2025-01-01. Nobody knows, but clients want a number that stays.
const CREATED: u64 = 1_735_689_600;

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'a str,
}

impl<'a> From<&'a Model> for Entry<'a> {
    fn from(model: &'a Model) -> Self {
        Self { id: &model.id, object: "model", created: CREATED, owned_by: &model.owned_by }
    }
}

/// `GET /v1/models`
///
/// # Errors
/// Where the method is another, or a key is asked for and not accepted.
pub(crate) fn list(asked: &Asked, exchange: &mut Exchange) -> Result<Reply, Error> {
    let key = identify(asked, exchange)?;
    let models = asked.snapshot.runtime.models(caller(key.as_deref()));
    Ok(reply::json(&List { object: "list", data: models.iter().map(Entry::from).collect() }))
}

/// `GET /v1/models/{id}`; the id is as it is in the path.
///
/// # Errors
/// As [`list`], and where there is no such model for this key.
pub(crate) fn get(asked: &Asked, id: &str, exchange: &mut Exchange) -> Result<Reply, Error> {
    let key = identify(asked, exchange)?;
    let id: Cow<'_, str> = path::decode(id).ok_or(Refusal::ModelNotFound)?;
    let model = asked.snapshot.runtime.model(caller(key.as_deref()), &id).ok_or(Refusal::ModelNotFound)?;
    Ok(reply::json(&Entry::from(&model)))
}

/// Whom the models are listed for: everybody, where nobody in particular is good enough.
fn caller(key: Option<&ClientKey>) -> Caller<'_> {
    key.map_or(Caller::Operator, Caller::Key)
}

/// Who asks; `None` = nobody in particular, which is good enough where Settings say so.
fn identify(asked: &Asked, exchange: &mut Exchange) -> Result<Option<Arc<ClientKey>>, Error> {
    if asked.head.method != Method::GET && asked.head.method != Method::HEAD {
        return Err(Error::Method { allow: "GET, HEAD" });
    }
    match asked.caller(exchange).and_then(|caller| Ok(caller.known()?.clone())) {
        Ok(key) => Ok(Some(key)),
        Err(_) if asked.snapshot.runtime.settings().keyless_models => Ok(None),
        Err(refused) => Err(refused),
    }
}
