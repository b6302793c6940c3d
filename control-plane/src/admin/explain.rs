//! Where a request would go: the walk that data planes plan with, told step by step. What only data planes know is not considered.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use signalbox_proto::admin::v1::{
    ExplainRouteRequest, ExplainRouteResponse,
    explain_route_response::{Candidate, Refusal, Step},
};
use signalbox_routing::{
    self as routing, Caller, Callers, ClientKey, CredentialSource, Endpoint, Explanation, Kind, Provider, Request,
    ResourceName,
};

use super::{
    error::{Error, Violation, resource_type},
    verbs::{Verbs, parse_name},
};
use crate::{message::Message, state::State};

/// What the endpoints that carry a model are below.
const API_ROOT: &str = "/v1";

/// What is asked about.
struct Question {
    caller: Option<ResourceName>,
    model: String,
    endpoint: Endpoint,
}

/// Who would be asking.
enum Who {
    Known(Arc<ClientKey>),
    Stranger,
    /// Nobody who is let in.
    TurnedAway(Step, Refusal),
}

impl Verbs {
    /// Where a request would go.
    pub(super) async fn explain(&self, request: ExplainRouteRequest) -> Result<ExplainRouteResponse, Error> {
        let ExplainRouteRequest { client_key, model, endpoint, revision, config } = request;
        let question = Question::read(&client_key, model, &endpoint)?;
        if config.is_some() && revision != 0 {
            let rule = "goes not together with `config`, which is merged into the current configuration";
            return Err(Violation::new("revision", "MEANINGLESS", rule).into());
        }
        let (state, revision) = match config {
            Some(config) => {
                let merged = self.merged(config).await?;
                (merged.state, merged.revision)
            }
            None => {
                let state = self.state_at(revision).await?;
                let revision = state.position.revision;
                (state, revision)
            }
        };
        Ok(ExplainRouteResponse { revision: revision.get(), ..question.answer(&state)? })
    }
}

impl Question {
    fn read(client_key: &str, model: String, endpoint: &str) -> Result<Self, Violation> {
        let named = (!client_key.is_empty()).then(|| parse_name(client_key, Kind::ClientKey, "client_key"));
        let caller = named.transpose()?;
        if model.is_empty() {
            return Err(Violation::missing("model"));
        }
        let found = match endpoint {
            "" => Some(Endpoint::ChatCompletions),
            path => path.strip_prefix(API_ROOT).and_then(Endpoint::from_path),
        };
        let endpoint = found.ok_or_else(|| {
            let all: Vec<_> = Endpoint::ALL.iter().map(|endpoint| format!("{API_ROOT}{}", endpoint.path())).collect();
            let rule = format!("`{endpoint}` is no endpoint whose requests name a model; there are {}", all.join(", "));
            Violation::new("endpoint", "UNKNOWN_ENDPOINT", rule)
        })?;
        Ok(Self { caller, model, endpoint })
    }

    /// The revision in it is for whoever knows which one this is.
    fn answer(&self, state: &State) -> Result<ExplainRouteResponse, Error> {
        let who = self.who(state)?;
        let caller = match &who {
            Who::Known(key) => Caller::Key(key),
            Who::Stranger => Caller::Stranger,
            Who::TurnedAway(step, refusal) => {
                let (steps, refusal) = (vec![step.clone()], Some(refusal.clone()));
                return Ok(ExplainRouteResponse { steps, refusal, ..ExplainRouteResponse::default() });
            }
        };
        // With one seed as good as any: which of equals goes first is drawn anew with each request.
        let request = Request { caller, model: &self.model, endpoint: self.endpoint, seed: 0 };
        let Explanation { steps, candidates, plan } = state.runtime.explain(&request);
        let mut steps: Vec<Step> = steps.into_iter().map(step).collect();
        for provider in plan.iter().flat_map(|plan| std::iter::once(&plan.first).chain(&plan.rest)) {
            steps.extend(keys(state, &provider.provider));
        }
        steps.dedup();
        let refusal = match (plan, caller) {
            (Ok(_), _) => None,
            // A stranger is told that a key is missing, as nothing else would help.
            (Err(_), Caller::Stranger) => Some(missing_key()),
            (Err(refusal), _) => Some(refuse(404, "model_not_found", refusal.to_string())),
        };
        let candidates = candidates.into_iter().map(candidate).collect();
        Ok(ExplainRouteResponse { steps, candidates, refusal, revision: 0 })
    }

    fn who(&self, state: &State) -> Result<Who, Error> {
        let runtime = &state.runtime;
        let Some(name) = &self.caller else {
            let open = runtime.providers().any(|provider| provider.callers == Callers::Anyone);
            let step =
                Step { resource: String::new(), effect: "no provider is for callers without a client key".into() };
            return Ok(if open { Who::Stranger } else { Who::TurnedAway(step, missing_key()) });
        };
        let missing =
            || Error::NotFound { resource_type: resource_type(Kind::ClientKey), name: name.as_str().to_owned() };
        let Message::ClientKey(said) = state.get(name).ok_or_else(missing)?.message() else { return Err(missing()) };
        let why = match runtime.client_key(said.sha256()) {
            None => "is not in force as it is written",
            Some(key) if key.disabled => "is disabled",
            Some(key) if !key.usable_at(now_ms()) => "has expired",
            Some(key) => return Ok(Who::Known(Arc::clone(key))),
        };
        let step = Step { resource: name.as_str().to_owned(), effect: why.to_owned() };
        Ok(Who::TurnedAway(step, refuse(401, "invalid_api_key", "the key is not accepted".to_owned())))
    }
}

fn step(step: routing::Step) -> Step {
    let routing::Step { resource, effect } = step;
    Step { resource: resource.map_or_else(String::new, |name| name.as_str().to_owned()), effect }
}

/// What there is to say of the keys that a provider would be asked with.
fn keys(state: &State, provider: &Provider) -> Option<Step> {
    let effect = match provider.credential_source {
        CredentialSource::Client => "is asked with the caller's own key, if it presents one that is no client key",
        CredentialSource::Pool if !provider.credentials.is_empty() => return None,
        CredentialSource::Pool if state.credentials(&provider.id, None).next().is_some() => {
            "has no usable credential: what is sent to it carries no key"
        }
        CredentialSource::Pool => "has no credentials: what is sent to it carries no key",
    };
    Some(Step { resource: ResourceName::provider(&provider.id).as_str().to_owned(), effect: effect.to_owned() })
}

fn candidate(candidate: routing::Candidate) -> Candidate {
    let routing::Candidate { provider, model, rank, came_to } = candidate;
    let (priority, weight) = rank.unwrap_or_default();
    let (url, credentials, excluded) = match came_to {
        Ok(target) => {
            let credentials = target.provider.credentials.iter().map(|credential| credential.name.to_string());
            (target.url.to_string(), credentials.collect(), String::new())
        }
        Err(exclusion) => (String::new(), Vec::new(), exclusion.to_string()),
    };
    let provider = ResourceName::provider(&provider).as_str().to_owned();
    Candidate { provider, model: model.to_string(), priority, weight, url, credentials, excluded }
}

fn missing_key() -> Refusal {
    refuse(401, "missing_api_key", "no key was presented".to_owned())
}

/// As data planes refuse it.
fn refuse(status: u32, code: &str, message: String) -> Refusal {
    Refusal { status, code: code.to_owned(), message }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
