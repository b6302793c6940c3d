//! From the model that a client asks for to an ordered, never empty list of targets. Pure: chance comes in as a seed, and what
//! became of earlier attempts is not known here.

use std::sync::Arc;

use http::Uri;

use crate::{
    endpoint::Endpoint,
    runtime::{AnswerModel, ClientKey, Provider, Runtime},
};

mod draw;
mod search;

use search::{Found, Search};

/// What a plan is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The key that was presented, already accepted. `None` = none is needed; every model is allowed then.
    pub key: Option<&'a ClientKey>,
    /// The model as the client names it.
    pub model: &'a str,
    /// The endpoint that was called.
    pub endpoint: Endpoint,
    /// Settles every choice by weight: the same seed makes the same plan.
    pub seed: u64,
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Tried first.
    pub first: Target,
    /// Tried after it, in order.
    pub rest: Vec<Target>,
    /// What the `model` of the answer says.
    pub answer_model: AnswerModel,
    /// Attempts over all targets and credentials together; at least one.
    pub attempts: u32,
}

/// One place that a request may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The provider.
    pub provider: Arc<Provider>,
    /// Its URL for the endpoint.
    pub url: Uri,
    /// The model asked of it.
    pub model: Arc<str>,
}

/// Why there is no plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nobody serves the model at this endpoint, or the key may not use it: the same on purpose, so that models cannot be guessed.
    #[error("the model does not exist or may not be used with this key")]
    ModelNotFound,
}

/// A model as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Model {
    /// What clients write.
    pub id: Arc<str>,
    /// The prefix of the provider behind it, or `signalbox` for a redirect.
    pub owned_by: Arc<str>,
}

impl Runtime {
    /// Plans a request: a redirect for the exact model, else by pattern, else `prefix/model`, else the providers that list the
    /// name, else the default provider.
    ///
    /// # Errors
    /// [`Refusal::ModelNotFound`] where nobody serves the model at this endpoint or the key may not use it.
    pub fn plan(&self, request: &Request<'_>) -> Result<Plan, Refusal> {
        let Request { key, model, endpoint, seed } = *request;
        let found = allowed(key, model).then(|| Search::new(&self.traffic, key, Some(endpoint), seed).run(model));
        let Found { first, rest, redirect } = found.flatten().ok_or(Refusal::ModelNotFound)?;
        let attempts = first.provider.retry.attempts;
        let answer_model = redirect.map_or(AnswerModel::Served, |redirect| redirect.answer_model);
        Ok(Plan { first, rest, answer_model, attempts })
    }

    /// The models that a key may use and that can be listed: those of fixed lists, by `prefix/model`, and exact redirects.
    #[must_use]
    pub fn models(&self, key: Option<&ClientKey>) -> Vec<Model> {
        let redirects = self.traffic.redirects.exact().filter(|redirect| redirect.is_for(key));
        let redirects = redirects.filter_map(|redirect| self.model(key, redirect.from.as_str()));
        let listed = self.traffic.catalog.iter().filter(|model| allowed(key, &model.id)).cloned();
        // Stable, so that of a name that is both a redirect's and a provider's the redirect's is kept, as in a plan.
        let mut models: Vec<Model> = redirects.chain(listed).collect();
        models.sort_by(|a, b| a.id.cmp(&b.id));
        models.dedup_by(|a, b| a.id == b.id);
        models
    }

    /// A model that a key may use, under any name that can be planned, listed or not.
    #[must_use]
    pub fn model(&self, key: Option<&ClientKey>, id: &str) -> Option<Model> {
        if !allowed(key, id) {
            return None;
        }
        let Found { first, redirect, .. } = Search::new(&self.traffic, key, None, 0).run(id)?;
        let owned_by = if redirect.is_some() { "signalbox".into() } else { Arc::clone(&first.provider.prefix) };
        Some(Model { id: id.into(), owned_by })
    }
}

fn allowed(key: Option<&ClientKey>, model: &str) -> bool {
    key.is_none_or(|key| key.allows(model))
}
