//! A plan with its reasons: the walk that plans, told step by step. It decides nothing, so that it can only say what happens.

use std::sync::Arc;

use super::{
    Caller, Plan, Refusal, Request, Target,
    witness::{Exclusion, Sight, Witness},
};
use crate::{
    name::{Id, ResourceName},
    runtime::{Redirect, RedirectTarget, Runtime},
};

/// Where a request goes, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// How the model was looked up, in order.
    pub steps: Vec<Step>,
    /// Every place that was considered: those of the plan in its order, then those that lost.
    pub candidates: Vec<Candidate>,
    /// What [`Runtime::plan`] says.
    pub plan: Result<Plan, Refusal>,
}

/// One step of the look-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What was looked at; `None` = the request as a whole.
    pub resource: Option<ResourceName>,
    /// What came of it, for people.
    pub effect: String,
}

/// A place that was considered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The provider's id.
    pub provider: Id,
    /// The model that would be asked of it.
    pub model: Arc<str>,
    /// The priority and the weight of the redirect's target that led there; `None` = no redirect did.
    pub rank: Option<(i32, u32)>,
    /// The place in the plan, or why it is in none.
    pub came_to: Result<Target, Exclusion>,
}

impl Runtime {
    /// Plans a request and says why: the same walk as [`Runtime::plan`]'s.
    #[must_use]
    pub fn explain(&self, request: &Request<'_>) -> Explanation {
        let mut account = Account { caller: request.caller, steps: Vec::new(), taken: Vec::new(), lost: Vec::new() };
        let plan = self.planned(request, &mut account);
        let Account { steps, taken, lost, .. } = account;
        Explanation { steps, candidates: taken.into_iter().chain(lost).collect(), plan }
    }
}

/// What a walk has told so far.
struct Account<'a> {
    caller: Caller<'a>,
    steps: Vec<Step>,
    taken: Vec<Candidate>,
    lost: Vec<Candidate>,
}

impl<'a> Witness<'a> for Account<'a> {
    fn sees(&mut self, sight: impl FnOnce() -> Sight<'a>) {
        let rank = |target: &RedirectTarget| (target.priority, target.weight);
        match sight() {
            Sight::Taken { led_by, target } => self.taken.push(Candidate {
                provider: target.provider.id.clone(),
                model: Arc::clone(&target.model),
                rank: led_by.map(rank),
                came_to: Ok(target),
            }),
            Sight::Excluded { led_by, provider, model, exclusion } => {
                let (provider, rank) = (provider.clone(), led_by.map(rank));
                self.lost.push(Candidate { provider, model, rank, came_to: Err(exclusion) });
            }
            sight => self.steps.extend(step(self.caller, &sight)),
        }
    }
}

/// A sight in words.
fn step(caller: Caller<'_>, sight: &Sight<'_>) -> Option<Step> {
    let provider = |id: &Id, effect| (Some(ResourceName::provider(id)), effect);
    let (resource, effect) = match sight {
        Sight::NotAllowed { model } => {
            let key = caller.key().map(|key| ResourceName::client_key(&key.id));
            (key, format!("its allowed_models do not let it ask for `{model}`"))
        }
        Sight::NotForCaller { redirect, model } => {
            (named(redirect), format!("matches `{model}`, but is for keys with {}", labels(redirect)))
        }
        Sight::Redirected { redirect, model, outranked } => (named(redirect), redirected(redirect, model, outranked)),
        Sight::Again { redirect, model } => {
            (named(redirect), format!("takes `{model}` once more: its targets are considered already"))
        }
        Sight::Prefixed { provider: found, model } => {
            provider(&found.id, format!("`{model}` begins with its prefix `{}/`, and it serves the rest", found.prefix))
        }
        Sight::Unserved { provider: found, model } => provider(
            &found.id,
            format!("`{model}` begins with its prefix `{}/`, but the rest is not among its models", found.prefix),
        ),
        Sight::PrefixDisabled { prefix } => (None, format!("`{prefix}/` is the prefix of a provider that is disabled")),
        Sight::Listed { model } => (None, format!("`{model}` is among the models of a provider")),
        Sight::Unlisted { model } => (None, format!("no redirect takes `{model}`, and no provider lists it")),
        Sight::Default { provider: found, model } => {
            provider(&found.id, format!("is the default provider, which is asked for `{model}`"))
        }
        Sight::NoDefault { disabled: Some(id), .. } => provider(id, "is the default provider, but disabled".to_owned()),
        Sight::NoDefault { disabled: None, model } => {
            (Some(ResourceName::settings()), format!("have no default_provider to ask for `{model}`"))
        }
        Sight::Claimed { prefix } => {
            (None, format!("the default provider is not asked, since `{prefix}/` belongs to another"))
        }
        Sight::Taken { .. } | Sight::Excluded { .. } => return None,
    };
    Some(Step { resource, effect })
}

fn named(redirect: &Redirect) -> Option<ResourceName> {
    Some(ResourceName::redirect(&redirect.id))
}

fn redirected(redirect: &Redirect, model: &str, outranked: &[&Redirect]) -> String {
    let (from, targets) = (&redirect.from, redirect.targets.len());
    let pattern = if from.is_exact() { String::new() } else { format!(" by its pattern `{}`", from.as_str()) };
    let plural = if targets == 1 { "" } else { "s" };
    let mut effect = format!("takes `{model}`{pattern} and leads to {targets} target{plural}");
    if !outranked.is_empty() {
        let ids: Vec<_> = outranked.iter().map(|redirect| format!("`{}`", redirect.id)).collect();
        effect.push_str(&format!("; it goes before {}", ids.join(", ")));
    }
    effect
}

fn labels(redirect: &Redirect) -> String {
    let labels = redirect.client_key_labels.iter().map(|(label, value)| format!("{label}={value}"));
    format!("the labels {}", labels.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        endpoint::Endpoint,
        fixture::{client_key, key, labels, listing, provider, redirect, runtime, settings},
    };

    /// The steps, each as `resource: effect`, and the candidates, each as `provider:model` with why it lost.
    fn told(runtime: &Runtime, caller: Caller<'_>, model: &str) -> (Vec<String>, Vec<String>) {
        let request = Request { caller, model, endpoint: Endpoint::Embeddings, seed: 1 };
        let Explanation { steps, candidates, plan } = runtime.explain(&request);
        assert_eq!(plan, runtime.plan(&request));
        let step = |step: &Step| match &step.resource {
            Some(resource) => format!("{resource}: {}", step.effect),
            None => step.effect.clone(),
        };
        let candidate = |candidate: &Candidate| match &candidate.came_to {
            Ok(_) => format!("{}:{}", candidate.provider, candidate.model),
            Err(exclusion) => format!("{}:{} ({exclusion})", candidate.provider, candidate.model),
        };
        (steps.iter().map(step).collect(), candidates.iter().map(candidate).collect())
    }

    #[test]
    fn every_step_says_why_and_every_candidate_why_it_lost() {
        let runtime = runtime(&[
            listing("a", &["m"]),
            provider("off", |p| p.disabled = true),
            provider("chat", |p| p.chat_url = std::mem::take(&mut p.base_url)),
            redirect("team", "fast", &["a:x"], |r| r.client_key_labels = labels(&[("team", "x")])),
            redirect("all", "fast", &["off:m", "chat:m", ":m", "a:m"], |_| {}),
            redirect("pattern", "f*", &["a"], |_| {}),
            client_key("k", |_| {}),
        ]);
        let (steps, candidates) = told(&runtime, Caller::Key(key(&runtime, "k").unwrap()), "fast");
        assert_eq!(
            steps,
            [
                "redirects/team: matches `fast`, but is for keys with the labels team=x",
                "redirects/all: takes `fast` and leads to 4 targets; it goes before `pattern`",
                "`m` is among the models of a provider",
            ]
        );
        let mut sorted = candidates;
        sorted.sort();
        assert_eq!(
            sorted,
            [
                "a:m",
                "a:m (the same model of the same provider comes earlier)",
                "chat:m (the provider does not serve this endpoint)",
                "off:m (the provider is disabled)",
            ]
        );
    }

    #[test]
    fn what_leads_nowhere_is_explained_too() {
        let runtime = runtime(&[
            listing("a", &["m"]),
            provider("off", |p| p.disabled = true),
            client_key("k", |k| k.allowed_models = vec!["a/*".into()]),
        ]);
        let k = Caller::Key(key(&runtime, "k").unwrap());
        for (caller, model, expected) in [
            (k, "m", vec!["clientKeys/k: its allowed_models do not let it ask for `m`"]),
            (
                k,
                "a/n",
                vec![
                    "providers/a: `a/n` begins with its prefix `a/`, but the rest is not among its models",
                    "no redirect takes `a/n`, and no provider lists it",
                    "the default provider is not asked, since `a/` belongs to another",
                ],
            ),
            (
                Caller::Operator,
                "off/m",
                vec![
                    "`off/` is the prefix of a provider that is disabled",
                    "no redirect takes `off/m`, and no provider lists it",
                    "the default provider is not asked, since `off/` belongs to another",
                ],
            ),
            (
                Caller::Operator,
                "n",
                vec![
                    "no redirect takes `n`, and no provider lists it",
                    "settings: have no default_provider to ask for `n`",
                ],
            ),
        ] {
            assert_eq!(told(&runtime, caller, model), (expected.into_iter().map(str::to_owned).collect(), vec![]));
        }
        let (_, candidates) = told(&runtime, Caller::Stranger, "m");
        assert_eq!(candidates, ["a:m (the provider is only for callers with a client key)"]);
    }

    #[test]
    fn the_default_provider_is_said_to_be_the_default() {
        let runtime = runtime(&[provider("rest", |_| {}), settings(|s| s.default_provider = "rest".into())]);
        let (steps, candidates) = told(&runtime, Caller::Operator, "any");
        assert_eq!(steps[1], "providers/rest: is the default provider, which is asked for `any`");
        assert_eq!(candidates, ["rest:any"]);
    }
}
