//! From the model that a client asks for to an ordered, never empty list of targets. Pure: chance comes in as a seed, and what
//! became of earlier attempts is not known here.

use std::sync::Arc;

use http::Uri;

use crate::{
    endpoint::Endpoint,
    name::Id,
    runtime::{AnswerModel, Callers, ClientKey, Dialect, Provider, Redirect, Runtime},
};

mod draw;
mod explain;
mod search;
mod witness;

pub use explain::{Candidate, Explanation, Step};
use search::{Found, Search};
pub use witness::Exclusion;
use witness::{Sight, Witness};

/// What a plan is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Who asks.
    pub caller: Caller<'a>,
    /// The model as the client names it.
    pub model: &'a str,
    /// The endpoint that was called.
    pub endpoint: Endpoint,
    /// Settles every choice by weight: the same seed makes the same plan.
    pub seed: u64,
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub enum Caller<'a> {
    /// Whoever presented this key, which was accepted.
    Key(&'a ClientKey),
    /// Somebody without a client key: only providers that are for anyone serve them.
    Stranger,
    /// Nobody in particular: every model and every provider is looked at.
    Operator,
}

impl<'a> Caller<'a> {
    /// The key that was presented.
    #[must_use]
    pub const fn key(self) -> Option<&'a ClientKey> {
        match self {
            Self::Key(key) => Some(key),
            Self::Stranger | Self::Operator => None,
        }
    }

    /// Whether a model may be asked for by this name.
    fn may_ask_for(self, model: &str) -> bool {
        self.key().is_none_or(|key| key.allows(model))
    }

    /// Whether it may call a provider, and ask for any model of it under its prefix.
    fn may_use(self, provider: &Provider) -> bool {
        self.may_call(provider) && self.key().is_none_or(|key| key.allows_below(&provider.prefix))
    }

    /// Whether requests may go to a provider at all, whatever the model.
    pub(crate) fn may_call(self, provider: &Provider) -> bool {
        match self {
            Self::Key(_) | Self::Operator => true,
            Self::Stranger => provider.callers == Callers::Anyone,
        }
    }
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
        self.planned(request, &mut ())
    }

    fn planned<'a, W: Witness<'a>>(&'a self, request: &Request<'a>, witness: &mut W) -> Result<Plan, Refusal> {
        let Request { caller, model, endpoint, seed } = *request;
        if !caller.may_ask_for(model) {
            witness.sees(|| Sight::NotAllowed { model });
            return Err(Refusal::ModelNotFound);
        }
        let found = Search::new(self, caller, Some(endpoint), seed, witness).run(model);
        let Found { first, rest, redirect } = found.ok_or(Refusal::ModelNotFound)?;
        let attempts = first.provider.retry.attempts;
        let answer_model = redirect.map_or(AnswerModel::Served, |redirect| redirect.answer_model);
        Ok(Plan { first, rest, answer_model, attempts })
    }

    /// The redirect that takes a model for a caller, if one does.
    #[must_use]
    pub fn redirect(&self, caller: Caller<'_>, model: &str) -> Option<&Arc<Redirect>> {
        self.traffic.redirects.in_order(model).find(|redirect| redirect.is_for(caller.key()))
    }

    /// The models that a caller may use and that can be listed: those of fixed and of discovered lists, by `prefix/model`, and exact
    /// redirects; all of them as far as the filter of the settings lets them through.
    #[must_use]
    pub fn models(&self, caller: Caller<'_>) -> Vec<Model> {
        let filter = &self.settings().model_filter;
        let redirects = self.traffic.redirects.exact().filter(|redirect| redirect.is_for(caller.key()));
        let redirects = redirects.map(|redirect| redirect.from.as_str()).filter(|from| filter.lists(from));
        let redirects = redirects.filter_map(|from| self.model(caller, from));
        let catalog = self.models.catalog().iter().filter(|listed| caller.may_call(&listed.provider));
        let listed = catalog.map(|listed| &listed.model).filter(|model| caller.may_ask_for(&model.id)).cloned();
        // Stable, so that of a name that is both a redirect's and a provider's the redirect's is kept, as in a plan.
        let mut models: Vec<Model> = redirects.chain(listed).collect();
        models.sort_by(|a, b| a.id.cmp(&b.id));
        models.dedup_by(|a, b| a.id == b.id);
        models
    }

    /// A model that a caller may use, under any name that can be planned, listed or not.
    #[must_use]
    pub fn model(&self, caller: Caller<'_>, id: &str) -> Option<Model> {
        if !caller.may_ask_for(id) {
            return None;
        }
        let Found { first, redirect, .. } = Search::new(self, caller, None, 0, &mut ()).run(id)?;
        let owned_by = if redirect.is_some() { "signalbox".into() } else { Arc::clone(&first.provider.prefix) };
        Some(Model { id: id.into(), owned_by })
    }

    /// The provider in use that is named by its id, or else by its prefix, if the caller may use any model of it under its prefix.
    #[must_use]
    pub fn provider_for(&self, caller: Caller<'_>, prefix_or_id: &str) -> Option<Arc<Provider>> {
        let by_id = Id::parse(prefix_or_id).ok().and_then(|id| self.traffic.providers.get(&id));
        let by_prefix = || self.traffic.providers_by_prefix.get(prefix_or_id)?.as_ref();
        by_id.or_else(by_prefix).filter(|provider| caller.may_use(provider)).cloned()
    }

    /// The provider for what names neither a model nor a provider: the default one if it speaks one of these dialects, else the
    /// only one in use that does and that the caller may use.
    #[must_use]
    pub fn sole_provider(&self, caller: Caller<'_>, dialects: &[Dialect]) -> Option<Arc<Provider>> {
        let fit = |provider: &&Arc<Provider>| dialects.contains(&provider.dialect) && caller.may_use(provider);
        let default = self.settings().default_provider.as_ref().and_then(|id| self.traffic.providers.get(id));
        let only = || {
            let mut fitting = self.providers().filter(fit);
            fitting.next().filter(|_| fitting.next().is_none())
        };
        default.filter(fit).or_else(only).cloned()
    }
}

#[cfg(test)]
mod tests {
    use signalbox_proto::config::v1 as config;

    use super::*;
    use crate::fixture::{
        client_key, key, labels, listing, plan, plan_for, provider, redirect, remove, route, runtime, settings, targets,
    };

    #[test]
    fn a_name_is_looked_up_from_the_most_to_the_least_particular() {
        let runtime = runtime(&[
            listing("a", &["m", "shared", "org/m"]),
            provider("b", |b| {
                b.models = vec!["shared".into()];
                b.priority = 5;
            }),
            provider("open", |_| {}),
            redirect("exact", "alias", &["a:m"], |_| {}),
            redirect("short", "al*", &["b:short"], |_| {}),
            redirect("long", "alia*", &["b:long"], |_| {}),
            redirect("over-prefix", "a/taken", &["open"], |_| {}),
        ]);
        for (model, expected) in [
            ("alias", &["a:m"][..]),
            ("aliases", &["b:long"]),
            ("alpha", &["b:short"]),
            ("a/taken", &["open:a/taken"]),
            ("a/m", &["a:m"]),
            ("a/org/m", &["a:org/m"]),
            ("a/unknown", &[]),
            ("a/", &[]),
            ("open/anything/at-all", &["open:anything/at-all"]),
            ("open/", &[]),
            ("m", &["a:m"]),
            ("org/m", &["a:org/m"]),
            ("shared", &["b:shared", "a:shared"]),
            ("unknown", &[]),
            ("nobody/m", &[]),
            ("", &[]),
        ] {
            assert_eq!(targets(plan(&runtime, model)), expected, "{model}");
        }
    }

    #[test]
    fn the_default_provider_takes_what_nobody_claims() {
        let runtime = runtime(&[
            listing("a", &["m"]),
            provider("rest", |_| {}),
            settings(|settings| settings.default_provider = "rest".into()),
        ]);
        assert_eq!(targets(plan(&runtime, "unknown")), ["rest:unknown"]);
        assert_eq!(targets(plan(&runtime, "nobody/m")), ["rest:nobody/m"]);
        assert_eq!(targets(plan(&runtime, "m")), ["a:m"]);
        assert_eq!(targets(plan(&runtime, "a/unknown")), [""; 0]);
    }

    #[test]
    fn a_bare_name_with_a_slash_resolves_though_its_first_part_is_a_prefix() {
        let runtime = runtime(&[listing("a", &["m"]), listing("b", &["a/x"])]);
        assert_eq!(targets(plan(&runtime, "a/x")), ["b:a/x"]);
    }

    #[test]
    fn a_key_sees_the_redirects_that_are_for_it_the_most_particular_first() {
        let runtime = runtime(&[
            provider("p", |_| {}),
            redirect("all", "m", &["p:all"], |_| {}),
            redirect("team", "m", &["p:team"], |r| r.client_key_labels = labels(&[("team", "x")])),
            redirect("person", "m", &["p:person"], |r| r.client_key_labels = labels(&[("team", "x"), ("who", "y")])),
            redirect("pattern", "n*", &["p:n"], |r| r.client_key_labels = labels(&[("team", "x")])),
            client_key("none", |_| {}),
            client_key("team", |k| k.labels = labels(&[("team", "x"), ("who", "z")])),
            client_key("person", |k| k.labels = labels(&[("team", "x"), ("who", "y")])),
        ]);
        for (id, model, expected) in [
            ("none", "m", &["p:all"][..]),
            ("team", "m", &["p:team"]),
            ("person", "m", &["p:person"]),
            ("none", "nn", &[]),
            ("team", "nn", &["p:n"]),
        ] {
            assert_eq!(targets(plan_for(&runtime, key(&runtime, id), model)), expected, "{id} asks for {model}");
        }
        assert_eq!(targets(plan(&runtime, "m")), ["p:all"]);
    }

    #[test]
    fn what_a_key_may_not_use_is_answered_like_what_is_not_there() {
        let runtime = runtime(&[
            listing("a", &["m", "n"]),
            redirect("r", "alias", &["a:n"], |_| {}),
            client_key("k", |k| k.allowed_models = vec!["a/m".into(), "al*".into()]),
        ]);
        let k = key(&runtime, "k");
        let caller = Caller::Key(k.unwrap());
        let refusal = |model| runtime.plan(&Request { caller, model, endpoint: Endpoint::ChatCompletions, seed: 0 });
        assert_eq!(refusal("a/n"), Err(Refusal::ModelNotFound));
        assert_eq!(refusal("a/n"), refusal("nowhere"));
        // Only what the client asks for counts: where a redirect leads is the operator's business.
        assert_eq!(targets(plan_for(&runtime, k, "alias")), ["a:n"]);
        let ids: Vec<_> = runtime.models(caller).into_iter().map(|model| model.id.to_string()).collect();
        assert_eq!(ids, ["a/m", "alias"]);
        assert_eq!(runtime.model(caller, "a/n"), None);
        assert_eq!(runtime.model(caller, "m"), None);
    }

    #[test]
    fn redirects_lead_on_through_names_and_no_target_comes_twice() {
        let runtime = runtime(&[
            listing("a", &["m"]),
            listing("b", &["m"]),
            redirect("top", "top", &["a:x", ":middle", ":m", "a"], |r| {
                for (target, priority) in r.targets.iter_mut().zip([4, 3, 2, 1]) {
                    target.priority = priority;
                }
                r.answer_model = config::AnswerModel::Served.into();
            }),
            redirect("middle", "mid*", &["b", ":a/m"], |r| r.targets[0].priority = 1),
        ]);
        let plan = plan(&runtime, "top").unwrap();
        assert_eq!(plan.answer_model, AnswerModel::Served);
        assert_eq!(targets(Some(plan)), ["a:x", "b:middle", "a:m", "b:m", "a:top"]);
    }

    #[test]
    fn redirects_woven_together_do_not_multiply() {
        let mut changes = vec![provider("p", |_| {})];
        for level in 0..40 {
            let next = format!(":l{}", level + 1);
            let targets = ["p:x", &next, &next, &next];
            changes.push(redirect(&format!("r{level}"), &format!("l{level}"), &targets, |_| {}));
        }
        changes.push(redirect("last", "l40", &["p:end"], |_| {}));
        let mut found = targets(plan(&runtime(&changes), "l0"));
        found.sort();
        assert_eq!(found, ["p:end", "p:x"]);
    }

    #[test]
    fn a_plan_leaves_out_what_cannot_serve_it() {
        let chat_only = |p: &mut config::Provider| {
            p.base_url.clear();
            p.chat_url = "https://chat.example/full?version=1".into();
        };
        let runtime = runtime(&[
            provider("chat", chat_only),
            provider("off", |p| p.disabled = true),
            provider("on", |_| {}),
            redirect("some", "some", &["off:m", "chat:m", "on:m"], |_| {}),
            redirect("none", "none", &["off:m"], |_| {}),
        ]);
        let request = |model, endpoint| runtime.plan(&Request { caller: Caller::Operator, model, endpoint, seed: 0 });
        let embeddings = request("some", Endpoint::Embeddings).unwrap();
        assert_eq!(embeddings.first.url, "https://on.example/v1/embeddings");
        assert_eq!(embeddings.rest, []);
        let chat = request("chat/m", Endpoint::ChatCompletions).unwrap();
        assert_eq!(chat.first.url, "https://chat.example/full?version=1");
        for (model, endpoint) in [
            ("chat/m", Endpoint::Embeddings),
            ("off/m", Endpoint::ChatCompletions),
            ("none", Endpoint::ChatCompletions),
        ] {
            assert_eq!(request(model, endpoint), Err(Refusal::ModelNotFound), "{model}");
        }
        assert_eq!(runtime.models(Caller::Operator).iter().map(|model| &*model.id).collect::<Vec<_>>(), ["some"]);
    }

    #[test]
    fn what_is_meant_for_a_disabled_provider_goes_to_no_other() {
        let runtime = runtime(&[
            provider("off", |p| p.disabled = true),
            provider("rest", |_| {}),
            settings(|s| s.default_provider = "rest".into()),
        ]);
        assert!(plan(&runtime, "org/m").is_some());
        assert_eq!(plan(&runtime, "off/m"), None);
    }

    #[test]
    fn the_answer_and_the_attempts_are_those_of_the_redirect_and_the_first_target() {
        let runtime = runtime(&[
            provider("p", |p| p.retry = Some(config::Retry { attempts: Some(7), ..config::Retry::default() })),
            redirect("r", "alias", &["p:m"], |_| {}),
        ]);
        let (direct, redirected) = (plan(&runtime, "p/m").unwrap(), plan(&runtime, "alias").unwrap());
        assert_eq!((direct.answer_model, direct.attempts), (AnswerModel::Served, 7));
        assert_eq!((redirected.answer_model, redirected.attempts), (AnswerModel::Requested, 7));
    }

    #[test]
    fn a_stranger_gets_only_to_providers_that_are_for_anyone() {
        let anyone = |p: &mut config::Provider| p.callers = config::Callers::Anyone.into();
        let runtime = runtime(&[
            listing("private", &["shared", "secret"]),
            provider("public", |p| {
                anyone(p);
                p.models = vec!["shared".into(), "free".into()];
            }),
            provider("open", anyone),
            redirect("both", "both", &["private:m", "public:m"], |_| {}),
            redirect("team", "team", &["public:m"], |r| r.client_key_labels = labels(&[("team", "x")])),
            redirect("onward", "onward", &[":secret", ":shared"], |_| {}),
            settings(|s| s.default_provider = "open".into()),
            client_key("k", |_| {}),
        ]);
        let stranger = |model| {
            let request = Request { caller: Caller::Stranger, model, endpoint: Endpoint::ChatCompletions, seed: 0 };
            targets(runtime.plan(&request).ok())
        };
        for (model, expected) in [
            ("private/shared", &[][..]),
            ("public/shared", &["public:shared"]),
            ("shared", &["public:shared"]),
            // What belongs to a provider that is not for anyone goes to no other, so that nothing is told to the wrong one.
            ("secret", &[]),
            ("unknown", &["open:unknown"]),
            ("both", &["public:m"]),
            ("team", &["open:team"]),
            ("onward", &["public:shared"]),
        ] {
            assert_eq!(stranger(model), expected, "{model}");
        }
        let ids = |caller| runtime.models(caller).into_iter().map(|model| model.id.to_string()).collect::<Vec<_>>();
        assert_eq!(ids(Caller::Stranger), ["both", "onward", "public/free", "public/shared"]);
        assert_eq!(ids(Caller::Operator), ids(Caller::Key(key(&runtime, "k").unwrap())));
        assert_eq!(ids(Caller::Operator).len(), 6);
    }

    #[test]
    fn a_provider_is_named_by_its_id_or_its_prefix_to_those_who_may_use_it() {
        let runtime = runtime(&[
            provider("a", |p| p.model_prefix = "b".into()),
            provider("b", |p| p.model_prefix = "Bee Bee".into()),
            provider("off", |p| p.disabled = true),
            provider("free", |p| p.callers = config::Callers::Anyone.into()),
            client_key("all", |_| {}),
            client_key("some", |k| k.allowed_models = vec!["gpt-4o".into(), "Bee*".into()]),
        ]);
        let by = |id| Caller::Key(key(&runtime, id).unwrap());
        for (caller, name, expected) in [
            (Caller::Operator, "a", Some("a")),
            (Caller::Operator, "b", Some("b")),
            (Caller::Operator, "Bee Bee", Some("b")),
            (Caller::Operator, "off", None),
            (Caller::Operator, "", None),
            (by("all"), "a", Some("a")),
            (by("some"), "a", None),
            (by("some"), "b", Some("b")),
            (Caller::Stranger, "b", None),
            (Caller::Stranger, "free", Some("free")),
        ] {
            let found = runtime.provider_for(caller, name);
            assert_eq!(found.as_ref().map(|provider| provider.id.as_str()), expected, "{caller:?} names {name}");
        }
    }

    #[test]
    fn the_sole_provider_is_the_default_one_or_else_the_only_one_that_fits() {
        let anthropic = provider("claude", |p| p.dialect = config::Dialect::Anthropic.into());
        let two = [provider("a", |_| {}), anthropic];
        let three = [&two[..], &[provider("b", |p| p.callers = config::Callers::Anyone.into())]].concat();
        let default = |id: &str| [&three[..], &[settings(|s| s.default_provider = id.to_owned())]].concat();
        let (openai, every) = (&[Dialect::OpenAi][..], &[Dialect::OpenAi, Dialect::Anthropic][..]);
        for (changes, caller, dialects, expected) in [
            (&two[..], Caller::Operator, openai, Some("a")),
            (&two, Caller::Operator, every, None),
            (&two, Caller::Stranger, openai, None),
            (&three, Caller::Operator, openai, None),
            (&three, Caller::Stranger, every, Some("b")),
            (&default("b"), Caller::Operator, openai, Some("b")),
            (&default("claude"), Caller::Operator, every, Some("claude")),
            (&default("claude"), Caller::Operator, openai, None),
            (&default("a"), Caller::Stranger, openai, Some("b")),
        ] {
            let found = runtime(changes).sole_provider(caller, dialects);
            assert_eq!(found.as_ref().map(|provider| provider.id.as_str()), expected, "{caller:?} {dialects:?}");
        }
    }

    #[test]
    fn filters_say_what_is_listed_and_not_what_can_be_asked_for() {
        let runtime = runtime(&[
            provider("a", |p| {
                p.models = vec!["gpt-4o".into(), "gpt-3".into(), "whisper".into()];
                p.model_filter = vec!["^gpt".into()];
            }),
            provider("rest", |_| {}),
            redirect("fast", "fast", &["a:gpt-3"], |_| {}),
            redirect("gpt", "gpt", &["a:gpt-3"], |_| {}),
            settings(|s| {
                s.model_filter = vec!["4".into(), "^gpt$".into()];
                s.default_provider = "rest".into();
            }),
        ]);
        let listed: Vec<_> = runtime.models(Caller::Operator).into_iter().map(|model| model.id.to_string()).collect();
        assert_eq!(listed, ["a/gpt-4o", "gpt"]);
        for (model, expected) in [
            ("a/gpt-3", "a:gpt-3"),
            ("a/whisper", "a:whisper"),
            ("gpt-3", "a:gpt-3"),
            ("fast", "a:gpt-3"),
            // A provider does not take a bare name that it does not list.
            ("whisper", "rest:whisper"),
        ] {
            assert_eq!(targets(plan(&runtime, model)), [expected], "{model}");
        }
    }

    #[test]
    fn what_providers_are_found_to_have_is_listed_and_owned_and_restricts_nothing() {
        let asked = |p: &mut config::Provider| p.discovery = Some(config::Discovery::default());
        let fixed = |p: &mut config::Provider| {
            asked(p);
            p.models = vec!["fixed".into(), "both".into()];
            p.priority = 1;
        };
        let filtered = |p: &mut config::Provider| {
            asked(p);
            p.model_filter = vec!["^good".into()];
        };
        let before = runtime(&[
            provider("fixed", fixed),
            provider("open", asked),
            provider("filtered", filtered),
            provider("unasked", |_| {}),
            redirect("r", "alias", &[":new"], |_| {}),
        ]);
        let list = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect::<Arc<[Arc<str>]>>();
        let found = [
            ("fixed", list(&["both", "new", "new"])),
            ("open", list(&["new", "a*b", "", "line\nbreak", "org/m"])),
            ("filtered", list(&["good", "bad"])),
            ("unasked", list(&["unasked"])),
            ("gone", list(&["gone"])),
        ];
        let found = found.into_iter().map(|(id, list)| (Id::parse(id).unwrap(), list)).collect();
        let after = before.discovered(&found);
        let ids = |runtime: &Runtime| {
            runtime.models(Caller::Operator).into_iter().map(|model| model.id.to_string()).collect::<Vec<_>>()
        };
        let listed = ["alias", "filtered/good", "fixed/both", "fixed/fixed", "fixed/new", "open/new", "open/org/m"];
        assert_eq!(ids(&after), listed);
        assert_eq!(ids(&before), ["fixed/both", "fixed/fixed"]);
        for (model, expected) in [
            ("new", &["fixed:new", "open:new"][..]),
            ("alias", &["fixed:new", "open:new"]),
            ("org/m", &["open:org/m"]),
            ("good", &["filtered:good"]),
            ("bad", &[]),
            ("filtered/bad", &["filtered:bad"]),
            ("fixed/new", &["fixed:new"]),
            ("fixed/unknown", &[]),
            ("open/unknown", &["open:unknown"]),
            ("unasked", &[]),
            ("gone", &[]),
        ] {
            assert_eq!(targets(plan(&after, model)), expected, "{model}");
        }
        // It outlasts what has nothing to do with it, and goes with its provider or its reason.
        let later = after.apply(&[route("w", |_| {}), client_key("k", |_| {})]).runtime;
        assert_eq!(ids(&later), listed);
        let later = later.apply(&[remove("providers/fixed"), provider("open", |_| {})]).runtime;
        assert_eq!(ids(&later), ["filtered/good"]);
        let again = later.apply(&[provider("fixed", fixed), provider("open", asked)]).runtime;
        assert_eq!(ids(&again), ["filtered/good", "fixed/both", "fixed/fixed"]);
    }

    #[test]
    fn names_from_the_configuration_are_shared_with_it() {
        let runtime = runtime(&[listing("a", &["m"])]);
        let listed = &runtime.providers().next().unwrap().models[0];
        for model in ["m", "a/m"] {
            assert!(Arc::ptr_eq(&plan(&runtime, model).unwrap().first.model, listed), "{model}");
        }
    }

    #[test]
    fn models_are_listed_once_in_order_and_found_by_any_name_that_plans() {
        let runtime = runtime(&[
            provider("b", |b| {
                b.models = vec!["z".into(), "y".into()];
                b.model_prefix = "Bee".into();
            }),
            listing("a", &["z"]),
            provider("open", |_| {}),
            provider("off", |p| {
                p.models = vec!["m".into()];
                p.disabled = true;
            }),
            redirect("r", "a/z", &["b:y"], |_| {}),
            redirect("pattern", "pat-*", &["b:y"], |_| {}),
            redirect("hidden", "hidden", &["b:y"], |r| r.client_key_labels = labels(&[("a", "b")])),
            route("unrelated", |_| {}),
        ]);
        let listed: Vec<_> =
            runtime.models(Caller::Operator).iter().map(|m| format!("{} {}", m.id, m.owned_by)).collect();
        assert_eq!(listed, ["Bee/y Bee", "Bee/z Bee", "a/z signalbox"]);
        for (id, owner) in [
            ("a/z", Some("signalbox")),
            ("Bee/z", Some("Bee")),
            ("z", Some("a")),
            ("pat-1", Some("signalbox")),
            ("open/x", Some("open")),
            ("hidden", None),
            ("off/m", None),
            ("*", None),
        ] {
            let model = runtime.model(Caller::Operator, id);
            assert_eq!(model.as_ref().map(|model| &*model.owned_by), owner, "{id}");
            assert!(model.is_none_or(|model| *model.id == *id));
        }
    }
}
