//! The walk from a model, over redirects and the redirects that they lead to, to targets in the order in which they are tried.

use std::{ptr, sync::Arc};

use http::Uri;

use super::{
    Caller, Target,
    draw::Draw,
    witness::{Exclusion, Sight, Witness},
};
use crate::{
    endpoint::Endpoint,
    name::Id,
    runtime::{Destination, Models, Provider, Redirect, RedirectTarget, Runtime, Traffic},
};

/// A walk under way.
pub(super) struct Search<'a, 'w, W> {
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
    /// What is being looked at; `None` = the model itself.
    led_by: Option<&'a RedirectTarget>,
    /// The redirects so far that lead on, with the models that led there. Each is followed once, since its targets are in the
    /// plan then; this bounds the walk however redirects are woven together.
    followed: Vec<(&'a Redirect, &'a str)>,
    witness: &'w mut W,
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

impl<'a, 'w, W: Witness<'a>> Search<'a, 'w, W> {
    pub(super) fn new(
        runtime: &'a Runtime,
        caller: Caller<'a>,
        endpoint: Option<Endpoint>,
        seed: u64,
        witness: &'w mut W,
    ) -> Self {
        Self {
            traffic: &runtime.traffic,
            models: &runtime.models,
            caller,
            endpoint,
            draw: Draw::new(seed),
            first: None,
            rest: Vec::new(),
            pending: Vec::new(),
            led_by: None,
            followed: Vec::new(),
            witness,
        }
    }

    /// Walks from a model as far as it goes. `None` = it leads nowhere.
    pub(super) fn run(mut self, model: &'a str) -> Option<Found<'a>> {
        let redirect = self.resolve(model);
        while let Some(Step { target, asked }) = self.pending.pop() {
            self.led_by = Some(target);
            match &target.to {
                Destination::Provider { id, model } => {
                    let model = model.clone().unwrap_or_else(|| asked.into());
                    match self.traffic.providers.get(id) {
                        Some(provider) => self.add(provider, model),
                        None => self.exclude(id, model, Exclusion::Disabled),
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
        let Some(redirect) = self.redirect(model) else {
            self.look_up(model);
            return None;
        };
        if redirect.leads_on() {
            let same = |(followed, asked): &(&'a Redirect, &str)| ptr::eq(*followed, redirect) && *asked == model;
            if self.followed.iter().any(same) {
                self.witness.sees(|| Sight::Again { redirect, model });
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

    /// The redirect that takes a model for the caller.
    fn redirect(&mut self, model: &'a str) -> Option<&'a Redirect> {
        let key = self.caller.key();
        let mut ranked = self.traffic.redirects.in_order(model).map(|redirect| &**redirect);
        let redirect = ranked.by_ref().find(|redirect| {
            let fits = redirect.is_for(key);
            if !fits {
                self.witness.sees(|| Sight::NotForCaller { redirect, model });
            }
            fits
        })?;
        self.witness.sees(|| Sight::Redirected { redirect, model, outranked: ranked.collect() });
        Some(redirect)
    }

    /// Finds the providers of a model that no redirect takes.
    fn look_up(&mut self, model: &'a str) {
        let (traffic, models) = (self.traffic, self.models);
        let split = model.split_once('/');
        let prefixed = split.and_then(|(prefix, name)| Some((prefix, traffic.providers_by_prefix.get(prefix)?, name)));
        match prefixed {
            Some((_, Some(provider), name)) => {
                if let Some(name) = models.served(provider, name) {
                    self.witness.sees(|| Sight::Prefixed { provider, model });
                    return self.add(provider, name);
                }
                self.witness.sees(|| Sight::Unserved { provider, model });
            }
            Some((prefix, None, _)) => self.witness.sees(|| Sight::PrefixDisabled { prefix }),
            None => {}
        }
        if let Some((name, owners)) = models.owners(model) {
            self.witness.sees(|| Sight::Listed { model });
            for owner in owners {
                self.add(owner, Arc::clone(name));
            }
            return;
        }
        self.witness.sees(|| Sight::Unlisted { model });
        match prefixed {
            Some((prefix, ..)) => self.witness.sees(|| Sight::Claimed { prefix }),
            None => self.fall_back(model),
        }
    }

    /// Asks the default provider for a model that is nobody's.
    fn fall_back(&mut self, model: &'a str) {
        let id = self.traffic.settings.default_provider.as_ref();
        match id.and_then(|id| self.traffic.providers.get(id)) {
            Some(provider) => {
                self.witness.sees(|| Sight::Default { provider, model });
                self.add(provider, model.into());
            }
            None => self.witness.sees(|| Sight::NoDefault { disabled: id, model }),
        }
    }

    /// Adds a target, unless something is against it.
    fn add(&mut self, provider: &'a Arc<Provider>, model: Arc<str>) {
        let url = match self.judge(provider, &model) {
            Ok(url) => url,
            Err(exclusion) => return self.exclude(&provider.id, model, exclusion),
        };
        let target = Target { provider: Arc::clone(provider), url, model };
        let led_by = self.led_by;
        self.witness.sees(|| Sight::Taken { led_by, target: target.clone() });
        match self.first {
            None => self.first = Some(target),
            Some(_) => self.rest.push(target),
        }
    }

    fn exclude(&mut self, provider: &'a Id, model: Arc<str>, exclusion: Exclusion) {
        let led_by = self.led_by;
        self.witness.sees(|| Sight::Excluded { led_by, provider, model, exclusion });
    }

    /// The URL at which the provider is asked for the model. Refused where the provider is not for the caller or does not have the
    /// endpoint, or the plan has the target already.
    fn judge(&self, provider: &Arc<Provider>, model: &Arc<str>) -> Result<Uri, Exclusion> {
        if !self.caller.may_call(provider) {
            return Err(Exclusion::NotForStrangers);
        }
        let url = match self.endpoint {
            Some(endpoint) => provider.url(endpoint, model),
            None => provider.places.keys().find_map(|endpoint| provider.url(*endpoint, model)),
        };
        let known = |target: &Target| Arc::ptr_eq(&target.provider, provider) && target.model == *model;
        let url = url.ok_or(Exclusion::NoEndpoint)?;
        if self.first.iter().chain(&self.rest).any(known) { Err(Exclusion::Repeated) } else { Ok(url) }
    }
}
