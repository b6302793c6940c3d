//! What holds for every configuration, tried on many that chance makes up.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use bytes::Bytes;
use proptest::{
    collection::{btree_map, vec},
    prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest},
    sample::{Index, select},
};
use signalbox_proto::config::v1 as config;

use crate::{
    endpoint::Endpoint,
    fixture::{
        at, client_key, compile, credential, digest, id, key, labels, provider, redirect, remove, route, runtime,
        settings, upsert,
    },
    name::{Id, ResourceName},
    plan::{Caller, Request},
    resource::Change,
    runtime::{Callers, Runtime},
};

const PROVIDERS: [&str; 4] = ["pa", "pb", "pc", "pd"];
const KEYS: [&str; 3] = ["ka", "kb", "kc"];
/// A redirect's `from` by its place; each leads only to later ones, so that they never run in a circle.
const FROMS: [&str; 4] = ["r0", "r1", "m*", "pa/x"];
const MODELS: [&str; 12] = ["m", "mm", "n", "o/p", "r0", "r1", "pa/m", "pa/x", "pb/o/p", "pc/unknown", "unknown", ""];

fn a_provider(place: usize) -> impl Strategy<Value = Change> {
    let models = vec(select(&["m", "mm", "n", "o/p"][..]), 0..3);
    let filter = vec(select(&["^m", "p$", "x"][..]), 0..2);
    let kind = select(&[Kind::Plain, Kind::ChatOnly, Kind::Asked, Kind::Azure, Kind::Anthropic][..]);
    (models, filter, kind, -1..2, any::<bool>(), any::<bool>()).prop_map(
        move |(models, filter, kind, priority, disabled, anyone)| {
            provider(PROVIDERS[place], |p| {
                p.models = models.into_iter().map(str::to_owned).collect();
                p.model_filter = filter.into_iter().map(str::to_owned).collect();
                p.priority = priority;
                p.disabled = disabled;
                p.callers = if anyone { config::Callers::Anyone.into() } else { 0 };
                kind.make(p);
            })
        },
    )
}

/// What a provider is, besides what any may be.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Plain,
    ChatOnly,
    Asked,
    Azure,
    Anthropic,
}

impl Kind {
    fn make(self, provider: &mut config::Provider) {
        match self {
            Self::Plain => {}
            Self::ChatOnly => provider.chat_url = std::mem::take(&mut provider.base_url),
            Self::Asked => provider.discovery = Some(config::Discovery::default()),
            Self::Azure => {
                provider.dialect = config::Dialect::AzureOpenai.into();
                provider.azure_openai = Some(config::AzureOpenAi { api_version: "2024-10-21".into() });
            }
            Self::Anthropic => provider.dialect = config::Dialect::Anthropic.into(),
        }
    }
}

/// What providers, there or not, are found to have.
fn some_lists() -> impl Strategy<Value = BTreeMap<Id, Arc<[Arc<str>]>>> {
    let names = vec(prop_oneof![select(&MODELS[..]).prop_map(str::to_owned), any::<String>()], 0..4);
    let list = names.prop_map(|names| names.into_iter().map(Arc::from).collect::<Arc<[Arc<str>]>>());
    btree_map(select(&PROVIDERS[..]).prop_map(id), list, 0..4)
}

fn a_credential() -> impl Strategy<Value = Change> {
    (select(&PROVIDERS[..]), select(&["a", "b"][..]), any::<bool>(), 0..3_u32).prop_map(
        |(provider, id, disabled, weight)| {
            credential(provider, id, |c| {
                c.disabled = disabled;
                c.weight = Some(weight);
            })
        },
    )
}

fn a_key() -> impl Strategy<Value = Change> {
    let allowed = vec(select(&["*", "m*", "r0", "pa/*", "*p"][..]), 0..3);
    (select(&KEYS[..]), allowed, any::<bool>(), any::<bool>()).prop_map(|(id, allowed, disabled, team)| {
        client_key(id, |k| {
            k.allowed_models = allowed.into_iter().map(str::to_owned).collect();
            k.disabled = disabled;
            k.labels = if team { labels(&[("team", "x")]) } else { BTreeMap::new() };
        })
    })
}

fn a_target(place: usize) -> impl Strategy<Value = config::redirect::Target> {
    let onward = ["r1", "m", "o/p", "unknown"].into_iter().skip(place).collect::<Vec<_>>();
    let to = prop_oneof![
        (select(&PROVIDERS[..]), select(&["", "m", "other"][..])).prop_map(|(p, m)| (p.to_owned(), m.to_owned())),
        select(onward).prop_map(|model| (String::new(), model.to_owned())),
    ];
    (to, 0..3_u32, -1..2).prop_map(|((provider, model), weight, priority)| config::redirect::Target {
        provider,
        model,
        weight: Some(weight),
        priority,
    })
}

fn a_redirect(place: usize) -> impl Strategy<Value = Change> {
    (vec(a_target(place), 1..4), any::<bool>()).prop_map(move |(targets, team)| {
        redirect(&format!("r{place}"), FROMS[place], &[], |r| {
            r.targets = targets;
            r.client_key_labels = if team { labels(&[("team", "x")]) } else { BTreeMap::new() };
        })
    })
}

fn a_change() -> impl Strategy<Value = Change> {
    let removal = prop_oneof![
        (0..PROVIDERS.len()).prop_map(|place| format!("providers/{}", PROVIDERS[place])),
        (0..PROVIDERS.len()).prop_map(|place| format!("providers/{}/credentials/a", PROVIDERS[place])),
        (0..KEYS.len()).prop_map(|place| format!("clientKeys/{}", KEYS[place])),
        (0..FROMS.len()).prop_map(|place| format!("redirects/r{place}")),
        Just("routes/w".to_owned()),
        Just("settings".to_owned()),
    ];
    prop_oneof![
        3 => (0..PROVIDERS.len()).prop_flat_map(a_provider),
        2 => a_credential(),
        2 => a_key(),
        4 => (0..FROMS.len()).prop_flat_map(a_redirect),
        1 => any::<bool>().prop_map(|disabled| route("w", |r| r.disabled = disabled)),
        1 => (select(&PROVIDERS[..]), any::<bool>()).prop_map(|(id, filtered)| settings(|s| {
            s.default_provider = id.to_owned();
            s.model_filter = if filtered { vec!["m".into()] } else { Vec::new() };
        })),
        3 => removal.prop_map(|name| remove(&name)),
    ]
}

/// Changes, at the end of which nothing dangles: whoever is referred to is there, and what nobody claims has its provider.
fn some_changes() -> impl Strategy<Value = Vec<Change>> {
    let end = (a_provider(0), a_provider(1), a_provider(2), a_provider(3)).prop_map(|(a, b, c, d)| vec![a, b, c, d]);
    (vec(a_change(), 0..24), end).prop_map(|(mut changes, end)| {
        changes.extend(end);
        changes.push(settings(|s| s.default_provider = "pd".into()));
        (1..).zip(changes).map(|(revision, change)| at(revision, change)).collect()
    })
}

fn callers(runtime: &Runtime) -> impl Iterator<Item = Caller<'_>> {
    let keys = KEYS.iter().filter_map(|id| key(runtime, id)).map(Caller::Key);
    [Caller::Operator, Caller::Stranger].into_iter().chain(keys)
}

/// All that can be seen of a configuration from outside.
fn seen(runtime: &Runtime) -> String {
    let mut seen = format!("{:?}\n", runtime.settings());
    let providers = runtime.providers().map(|provider| format!("{provider:?}\n"));
    seen.extend(providers.chain(runtime.routes().map(|route| format!("{route:?}\n"))));
    for caller in callers(runtime) {
        let _ = writeln!(seen, "{caller:?} {:?}", runtime.models(caller));
        for model in MODELS {
            for endpoint in [Endpoint::ChatCompletions, Endpoint::Embeddings] {
                let plans = [1, 2, 3].map(|seed| runtime.plan(&Request { caller, model, endpoint, seed }));
                let _ = writeln!(seen, "{model} {endpoint:?} {:?} {plans:?}", runtime.model(caller, model));
            }
        }
    }
    seen
}

/// Only the last change of each resource.
fn settled(changes: &[Change]) -> Vec<Change> {
    let last: BTreeMap<&ResourceName, &Change> = changes.iter().map(|change| (change.name(), change)).collect();
    last.into_values().cloned().collect()
}

proptest! {
    #[test]
    fn changes_one_after_another_come_to_the_same_as_all_at_once(
        changes in some_changes(),
        found in some_lists(),
        cuts in vec(any::<Index>(), 0..6),
    ) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.index(changes.len())).collect();
        cuts.extend([0, changes.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|ends| &changes[ends[0]..ends[1]]);
        let piecewise = pieces.fold(Runtime::default(), |runtime, piece| runtime.apply(piece).runtime);
        prop_assert_eq!(piecewise.findings().next(), None);
        let at_once = runtime(&settled(&changes));
        prop_assert_eq!(seen(&piecewise), seen(&at_once));
        prop_assert_eq!(seen(&piecewise.discovered(&found)), seen(&at_once.discovered(&found)));
    }

    #[test]
    fn what_was_found_is_kept_over_changes_as_though_it_were_found_after_them(
        changes in some_changes(),
        more in vec(a_change(), 0..8),
        found in some_lists(),
    ) {
        let before = compile(&changes).runtime;
        let asked = |runtime: &Runtime| -> Vec<Id> {
            let asked = runtime.providers().filter(|provider| provider.discovery.is_some());
            asked.map(|provider| provider.id.clone()).collect()
        };
        let kept = asked(&before);
        let found: BTreeMap<_, _> = found.into_iter().filter(|(id, _)| kept.contains(id)).collect();
        let then = before.discovered(&found).apply(&more).runtime;
        prop_assert_eq!(seen(&then), seen(&before.apply(&more).runtime.discovered(&found)));
    }

    #[test]
    fn what_is_found_restricts_nothing(changes in some_changes(), found in some_lists(), model in select(&MODELS[..])) {
        let before = compile(&changes).runtime;
        let after = before.discovered(&found);
        for caller in callers(&before) {
            let asked = |runtime: &Runtime| runtime.model(caller, model).is_some();
            // For strangers a name may turn out to belong to somebody who is not for them.
            prop_assert!(!asked(&before) || asked(&after) || matches!(caller, Caller::Stranger));
        }
    }

    #[test]
    fn a_plan_leads_only_to_providers_in_use_that_have_the_endpoint(
        changes in vec(a_change(), 0..30),
        found in some_lists(),
        model in prop_oneof![select(&MODELS[..]).prop_map(str::to_owned), any::<String>()],
        place in 0..Endpoint::ALL.len(),
        seed in any::<u64>(),
    ) {
        let runtime = compile(&changes).runtime.discovered(&found);
        let endpoint = Endpoint::ALL[place];
        for caller in callers(&runtime) {
            let Ok(plan) = runtime.plan(&Request { caller, model: &model, endpoint, seed }) else { continue };
            prop_assert!(caller.key().is_none_or(|key| key.allows(&model)));
            prop_assert!(runtime.model(caller, &model).is_some());
            for target in std::iter::once(&plan.first).chain(&plan.rest) {
                prop_assert!(runtime.providers().any(|provider| *provider == target.provider));
                prop_assert!(!matches!(caller, Caller::Stranger) || target.provider.callers == Callers::Anyone);
                prop_assert_eq!(target.provider.url(endpoint, &target.model), Some(target.url.clone()));
            }
        }
        for caller in callers(&runtime) {
            for model in runtime.models(caller) {
                prop_assert_eq!(runtime.model(caller, &model.id), Some(model));
            }
        }
    }

    #[test]
    fn an_explanation_says_what_a_plan_does(
        changes in vec(a_change(), 0..30),
        found in some_lists(),
        model in prop_oneof![select(&MODELS[..]).prop_map(str::to_owned), any::<String>()],
        place in 0..Endpoint::ALL.len(),
        seed in any::<u64>(),
    ) {
        let runtime = compile(&changes).runtime.discovered(&found);
        for caller in callers(&runtime) {
            let request = Request { caller, model: &model, endpoint: Endpoint::ALL[place], seed };
            let plan = runtime.plan(&request);
            let explained = runtime.explain(&request);
            prop_assert_eq!(&explained.plan, &plan);
            let planned: Vec<_> = plan.iter().flat_map(|plan| std::iter::once(&plan.first).chain(&plan.rest)).collect();
            let taken = explained.candidates.iter().map_while(|candidate| candidate.came_to.as_ref().ok());
            prop_assert_eq!(taken.collect::<Vec<_>>(), planned.clone());
            let lost = explained.candidates.iter().skip(planned.len());
            prop_assert!(lost.clone().all(|candidate| candidate.came_to.is_err()));
            prop_assert!(!explained.steps.is_empty(), "there is always something to say");
        }
    }

    #[test]
    fn no_bytes_disturb_the_compiler_or_another_resource(
        mut changes in vec(a_change(), 1..8),
        flips in vec((any::<Index>(), any::<Index>(), any::<u8>()), 0..12),
        noise in vec(any::<u8>(), 0..64),
        place in 0..6_usize,
    ) {
        for (change, byte, value) in flips {
            let change = change.get_mut(&mut changes);
            if let Change::Upsert(resource) = change && !resource.body.is_empty() {
                let mut body = resource.body.to_vec();
                *byte.get_mut(&mut body) = value;
                resource.body = body.into();
            }
        }
        let names = ["settings", "providers/x", "providers/x/credentials/y", "clientKeys/x", "redirects/x", "routes/x"];
        changes.push(upsert(names[place], Bytes::from(noise)));
        let untouched = [provider("fine", |_| {}), client_key("fine", |_| {})];
        let after = runtime(&untouched).apply(&changes).runtime;
        seen(&after);
        prop_assert!(after.client_key(&digest("fine")).is_some());
        prop_assert!(after.providers().any(|provider| provider.id.as_str() == "fine"));
    }
}

#[test]
fn nothing_that_is_printed_holds_a_secret() {
    use config::header_value::Content;
    let secret = |text: &str| config::HeaderValue { content: Some(Content::Secret(text.to_owned())), overwrite: None };
    let proxy = |url: &str| {
        let (url, username, password) = (url.to_owned(), "user".to_owned(), "hunter2".to_owned());
        Some(config::ForwardProxy { url, username, password })
    };
    let good = [
        settings(|s| s.forward_proxy = proxy("http://proxy:1")),
        provider("p", |p| {
            p.headers.insert("authorization".into(), secret("hunter2"));
            p.forward_proxy = proxy("socks5://proxy:1");
        }),
        credential("p", "c", |c| c.source = Some(config::credential::Source::Secret("hunter2".into()))),
        route("r", |r| {
            r.headers.insert("x-key".into(), secret("hunter2"));
        }),
    ];
    let bad = [
        settings(|s| s.forward_proxy = proxy("http://user:hunter2@proxy")),
        provider("p", |p| {
            p.headers.insert("authorization".into(), secret("hunter2\r\n"));
            p.base_url = "https://user:hunter2@p.example/?key=hunter2".into();
            p.forward_proxy = proxy("");
        }),
        credential("p", "c", |c| c.source = Some(config::credential::Source::Secret("hunter2\n".into()))),
        upsert("providers/q/credentials/c", "hunter2"),
        upsert("clientKeys/k", "hunter2"),
    ];
    let first = compile(&good);
    let second = first.runtime.apply(&bad);
    assert_eq!((first.findings.len(), second.findings.len() >= bad.len()), (0, true));
    let plan = first.runtime.plan(&Request {
        caller: Caller::Operator,
        model: "p/m",
        endpoint: Endpoint::ChatCompletions,
        seed: 0,
    });
    let findings: Vec<String> = second.findings.iter().map(ToString::to_string).collect();
    let printed = format!("{first:#?} {second:#?} {good:#?} {bad:#?} {plan:#?} {findings:#?}");
    // Neither as text nor as the bytes of one.
    let bytes = format!("{:?}", b"hunter2").replace(['[', ']'], "");
    let one_line = format!("{first:?} {second:?} {good:?} {bad:?} {plan:?}");
    for printed in [printed, one_line] {
        assert!(!printed.contains("hunter2") && !printed.contains(&bytes), "{printed}");
    }
}
