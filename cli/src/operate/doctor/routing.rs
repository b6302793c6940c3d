//! What requests would come to: keys that can ask for nothing, redirects that others stand before or that lead nowhere. It asks the control
//! plane, so that it cannot judge otherwise than the data planes do.

use jiff::Timestamp;
use signalbox_proto::admin::v1::{ClientKey, Config, ExplainRouteRequest, ExplainRouteResponse, Provider, Redirect};
use signalbox_routing::Glob;

use super::{Line, Session, configuration::is_usable};
use crate::operate::error::Error;

/// Most keys, and most redirects, that are looked at: each takes at least one call.
const MOST: usize = 200;

/// Most models that are tried for one key.
const TRIES: usize = 10;

/// Looks at where requests would go.
pub(super) async fn look(session: &Session, config: &Config) -> Vec<Line> {
    match Box::pin(all(session, config)).await {
        Ok(lines) => lines,
        Err(error) => vec![Line::unseen("routing", &error)],
    }
}

async fn all(session: &Session, config: &Config) -> Result<Vec<Line>, Error> {
    let now = Timestamp::now().as_second();
    let keys: Vec<&ClientKey> = config.client_keys.iter().filter(|key| is_usable(key, now)).collect();
    let models = models(config);
    let mut lines = Vec::new();
    for key in keys.iter().take(MOST) {
        lines.extend(idle(session, key, &models).await?);
    }
    for redirect in config.redirects.iter().take(MOST) {
        lines.extend(shadowed(session, redirect, &keys).await?);
    }
    if lines.is_empty() {
        lines.push(Line::ok("routing", "every key has a model that it can use, and every redirect is reached"));
    }
    if keys.len() > MOST || config.redirects.len() > MOST {
        let says = format!("only the first {MOST} keys and redirects were looked at");
        lines.push(Line::warn("routing", says, "look at one with `signalbox explain`"));
    }
    Ok(lines)
}

/// Names that a request can ask for: what redirects take, and what providers list.
fn models(config: &Config) -> Vec<String> {
    let redirects = config.redirects.iter().map(|redirect| sample(&redirect.from));
    let listed = |provider: &Provider| {
        let id = provider.name.trim_start_matches("providers/");
        let prefix = if provider.model_prefix.is_empty() { id } else { &provider.model_prefix };
        let any = provider.models.is_empty().then(|| "any".to_owned());
        let models = provider.models.iter().cloned().chain(any);
        models.map(|model| format!("{prefix}/{model}")).collect::<Vec<_>>()
    };
    let enabled = config.providers.iter().filter(|provider| !provider.disabled);
    let bare = enabled.clone().flat_map(|provider| provider.models.iter().cloned());
    redirects.chain(enabled.flat_map(listed)).chain(bare).collect()
}

/// A name that a pattern takes.
fn sample(pattern: &str) -> String {
    pattern.replace('*', "x")
}

/// Whether none of the models that a key may ask for can be had.
async fn idle(session: &Session, key: &ClientKey, models: &[String]) -> Result<Option<Line>, Error> {
    let globs: Vec<Glob> = key.allowed_models.iter().map(|pattern| Glob::new(pattern)).collect();
    let allowed = |model: &&String| globs.is_empty() || globs.iter().any(|glob| glob.matches(model));
    let named = key.allowed_models.iter().map(|pattern| sample(pattern));
    let candidates: Vec<String> = models.iter().filter(allowed).cloned().chain(named).take(TRIES).collect();
    for model in candidates {
        if explain(session, &key.name, model).await?.refusal.is_none() {
            return Ok(None);
        }
    }
    let says = "may ask for no model that anybody serves";
    Ok(Some(Line::warn(&key.name, says, "`signalbox explain --key ID --model MODEL` says why; see its allowed_models")))
}

/// Whether a redirect is passed over, or leads nowhere.
async fn shadowed(session: &Session, redirect: &Redirect, keys: &[&ClientKey]) -> Result<Option<Line>, Error> {
    let (name, model) = (&redirect.name, sample(&redirect.from));
    let carries =
        |key: &&&ClientKey| redirect.client_key_labels.iter().all(|label| key.labels.get(label.0) == Some(label.1));
    let may = |key: &&&ClientKey| {
        key.allowed_models.is_empty() || key.allowed_models.iter().any(|pattern| Glob::new(pattern).matches(&model))
    };
    let Some(key) = keys.iter().filter(carries).find(may) else {
        let says = format!("no client key in use may ask for `{model}` and carries its labels");
        return Ok(Some(Line::warn(name, says, "remove it, or let a key use it")));
    };
    let answer = explain(session, &key.name, model.clone()).await?;
    if !answer.steps.iter().any(|step| step.resource == *name) {
        let says = format!("others go before it: a request for `{model}` does not come to it");
        return Ok(Some(Line::warn(name, says, "`signalbox explain` shows which; remove one of them")));
    }
    let nowhere =
        answer.refusal.map(|refusal| format!("a request for `{model}` would be refused: {}", refusal.message));
    Ok(nowhere.map(|says| Line::warn(name, says, "`signalbox explain` shows why each target is excluded")))
}

async fn explain(session: &Session, key: &str, model: String) -> Result<ExplainRouteResponse, Error> {
    let request = ExplainRouteRequest { client_key: key.to_owned(), model, ..ExplainRouteRequest::default() };
    session.control.call("ConfigService/ExplainRoute", &request).await?.read()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_asked_for_is_what_redirects_take_and_providers_list() {
        let provider = |name: &str, models: &[&str]| Provider {
            name: name.into(),
            models: models.iter().map(|model| (*model).to_owned()).collect(),
            ..Provider::default()
        };
        let config = Config {
            providers: vec![
                provider("providers/a", &["m"]),
                Provider { model_prefix: "bee".into(), ..provider("providers/b", &[]) },
                Provider { disabled: true, ..provider("providers/c", &["n"]) },
            ],
            redirects: vec![Redirect { from: "fast-*".into(), ..Redirect::default() }],
            ..Config::default()
        };
        assert_eq!(models(&config), ["fast-x", "a/m", "bee/any", "m"]);
    }
}
