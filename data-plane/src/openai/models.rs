//! The models that a caller may use, as OpenAI lists them.

use std::borrow::Cow;

use http::Method;
use serde::Serialize;
use signalbox_routing::{Caller, Model, Refusal};

use crate::{
    auth,
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
    let caller = identify(asked, exchange)?;
    let models = asked.snapshot.runtime.models(listed_for(caller.as_ref()));
    Ok(reply::json(&List { object: "list", data: models.iter().map(Entry::from).collect() }))
}

/// `GET /v1/models/{id}`; the id is as it is in the path.
///
/// # Errors
/// As [`list`], and where there is no such model for this key.
pub(crate) fn get(asked: &Asked, id: &str, exchange: &mut Exchange) -> Result<Reply, Error> {
    let caller = identify(asked, exchange)?;
    let id: Cow<'_, str> = path::decode(id).ok_or(Refusal::ModelNotFound)?;
    let model = asked.snapshot.runtime.model(listed_for(caller.as_ref()), &id).ok_or(Refusal::ModelNotFound)?;
    Ok(reply::json(&Entry::from(&model)))
}

/// Whom the models are listed for: everybody, where nobody in particular is good enough.
fn listed_for(caller: Option<&auth::Caller>) -> Caller<'_> {
    caller.map_or(Caller::Operator, auth::Caller::planned)
}

/// Who asks; `None` = nobody in particular, which is good enough where Settings say so.
fn identify(asked: &Asked, exchange: &mut Exchange) -> Result<Option<auth::Caller>, Error> {
    if asked.head.method != Method::GET && asked.head.method != Method::HEAD {
        return Err(Error::Method { allow: "GET, HEAD" });
    }
    let keyless = asked.snapshot.runtime.settings().keyless_models;
    match asked.caller(exchange) {
        Ok(caller) => Ok(Some(caller).filter(|caller| !keyless || caller.key().is_some())),
        Err(_) if keyless => Ok(None),
        Err(refused) => Err(refused),
    }
}
