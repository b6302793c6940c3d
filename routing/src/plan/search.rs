//! The walk from a model, over redirects and the redirects that they lead to, to targets in the order in which they are tried.

use std::{ptr, sync::Arc};

use super::{Caller, Target, draw::Draw};
use crate::{
    endpoint::Endpoint,
    runtime::{Destination, Models, Provider, Redirect, RedirectTarget, Runtime, Traffic},
};

/// A walk under way.
pub(super) struct Search<'a> {
    traffic: &'a Traffic,
    models: &'a Models,
    caller: Caller<'a>,
    /// `None` = any endpoint will do.
    endpoint: Option<Endpoint>,
    draw: Draw,
    first: Option<Target>,
    rest: Vec<Target>,
    /// What is still to be looked at; the next one is the last.
    pending: Vec<Step<'a>>,
    /// The redirects so far that lead on, with the models that led there. Each is followed once, since its targets are in the
    /// plan then; this bounds the walk however redirects are woven together.
    followed: Vec<(&'a Redirect, &'a str)>,
}

/// A redirect's target, and the model that led there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step<'a> {
    pub(super) target: &'a RedirectTarget,
    pub(super) asked: &'a str,
}

/// What a walk came to.
pub(super) struct Found<'a> {
    pub(super) first: Target,
    pub(super) rest: Vec<Target>,
    /// The redirect that took the model, if any did.
    pub(super) redirect: Option<&'a Redirect>,
}

impl<'a> Search<'a> {
    pub(super) fn new(runtime: &'a Runtime, caller: Caller<'a>, endpoint: Option<Endpoint>, seed: u64) -> Self {
        Self {
            traffic: &runtime.traffic,
            models: &runtime.models,
            caller,
            endpoint,
            draw: Draw::new(seed),
            first: None,
            rest: Vec::new(),
            pending: Vec::new(),
            followed: Vec::new(),
        }
    }

    /// Walks from a model as far as it goes. `None` = it leads nowhere.
    pub(super) fn run(mut self, model: &'a str) -> Option<Found<'a>> {
        let redirect = self.resolve(model);
        while let Some(Step { target, asked }) = self.pending.pop() {
            match &target.to {
                Destination::Provider { id, model } => {
                    if let Some(provider) = self.traffic.providers.get(id) {
                        self.add(provider, model.clone().unwrap_or_else(|| asked.into()));
                    }
                }
                Destination::Model(model) => {
                    self.resolve(model);
                }
            }
        }
        Some(Found { first: self.first?, rest: self.rest, redirect })
    }

    /// Takes a model one step further: into the targets of the redirect that it belongs to, or to the providers that serve it.
    fn resolve(&mut self, model: &'a str) -> Option<&'a Redirect> {
        let Some(redirect) = self.traffic.redirects.find(model, self.caller.key()) else {
            self.look_up(model);
            return None;
        };
        if redirect.leads_on() {
            let same =
                |(followed, asked): &(&'a Redirect, &str)| ptr::eq(*followed, &raw const **redirect) && *asked == model;
            if self.followed.iter().any(same) {
                return Some(redirect);
            }
            self.followed.push((redirect, model));
        }
        let before = self.pending.len();
        self.pending.extend(redirect.targets.iter().map(|target| Step { target, asked: model }));
        if let Some(steps) = self.pending.get_mut(before..) {
            self.draw.order(steps);
            steps.reverse();
        }
        Some(redirect)
    }

    /// Finds the providers of a model that no redirect takes.
    fn look_up(&mut self, model: &'a str) {
        let traffic = self.traffic;
        let prefixed =
            model.split_once('/').and_then(|(prefix, name)| Some((traffic.providers_by_prefix.get(prefix)?, name)));
        if let Some((Some(provider), name)) = prefixed
            && let Some(name) = self.models.served(provider, name)
        {
            self.add(provider, name);
        } else if let Some((name, owners)) = self.models.owners(model) {
            for owner in owners {
                self.add(owner, Arc::clone(name));
            }
        } else if prefixed.is_none()
            && let Some(provider) = traffic.settings.default_provider.as_ref().and_then(|id| traffic.providers.get(id))
        {
            self.add(provider, model.into());
        }
    }

    /// Adds a target, unless the provider is not for the caller or does not have the endpoint, or the plan has the target already.
    fn add(&mut self, provider: &Arc<Provider>, model: Arc<str>) {
        if !self.caller.may_call(provider) {
            return;
        }
        let url = match self.endpoint {
            Some(endpoint) => provider.url(endpoint, &model),
            None => provider.places.keys().find_map(|endpoint| provider.url(*endpoint, &model)),
        };
        let known = |target: &Target| Arc::ptr_eq(&target.provider, provider) && target.model == model;
        let Some(url) = url.filter(|_| !self.first.iter().chain(&self.rest).any(known)) else { return };
        let target = Target { provider: Arc::clone(provider), url, model };
        match self.first {
            None => self.first = Some(target),
            Some(_) => self.rest.push(target),
        }
    }
}
