//! redirector: one upstream, the client keys that may use it, and models that become others.

use std::collections::BTreeMap;

use serde::Deserialize;
use signalbox_proto::{
    admin::v1::{Provider, Redirect},
    config::v1::{AnswerModel, Dialect, redirect::Target},
};

use super::{
    Error,
    draft::{Draft, address},
    json,
};

const ID: &str = "redirector";

/// Its only port.
const PORT: u16 = 5000;

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct File {
    api: Api,
    #[serde(default)]
    allowed_keys: Vec<String>,
    #[serde(default)]
    model_redirects: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object with url and key")]
struct Api {
    url: String,
    #[serde(default)]
    key: String,
}

pub(super) fn read(text: &str) -> Result<Draft, Error> {
    let mut draft = Draft::new();
    let File { api, allowed_keys, model_redirects } = json::read(text, &mut draft)?;
    draft.provider(Provider {
        name: format!("providers/{ID}"),
        dialect: Dialect::Openai.into(),
        chat_url: address("api.url", &api.url)?,
        ..Provider::default()
    });
    if !api.key.is_empty() {
        draft.credential(ID, "main", api.key);
    }
    for (index, key) in allowed_keys.iter().enumerate() {
        draft.client_key(&format!("allowed_keys[{index}]"), &format!("{ID}-{}", index + 1), key)?;
    }
    if allowed_keys.is_empty() {
        draft.note("allowed_keys", "has none: nobody can call");
    }
    for (from, model) in model_redirects {
        redirect(from, model, &mut draft)?;
    }
    ID.clone_into(&mut draft.settings().default_provider);
    draft.note(
        "/metrics",
        "is Prometheus text; `/metrics?format=json` or `Accept: application/json` has the JSON of before",
    );
    draft.listen(None, PORT);
    Ok(draft)
}

fn redirect(from: String, model: String, draft: &mut Draft) -> Result<(), Error> {
    let key = format!("model_redirects.{from}");
    if from.is_empty() || model.is_empty() {
        return Err(Error::key(key, "must be a model's name on both sides"));
    }
    if from.contains('*') {
        draft.note(key, "is a pattern here: `*` stands for any characters");
    }
    draft.config.redirects.push(Redirect {
        name: format!("redirects/{}", super::draft::id(&from)),
        from,
        targets: vec![Target { provider: ID.to_owned(), model, ..Target::default() }],
        answer_model: AnswerModel::Requested.into(),
        ..Redirect::default()
    });
    Ok(())
}
