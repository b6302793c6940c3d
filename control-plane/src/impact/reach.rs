//! Which models can be had before and after a change, by whoever carries certain labels: worked out once for all keys that are alike
//! in this, since of a hundred thousand keys most are.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use signalbox_proto::admin::v1::Finding;
use signalbox_routing::{Caller, ClientKey, Id, Labels, Limits, Runtime};

use super::finding;

/// Names of models that are tried at most.
const MAX_NAMES: usize = 2000;

/// Sets of labels that are told apart at most.
const MAX_SCOPES: usize = 256;

/// What stands for a model that nobody claims.
pub(super) const ANY: &str = "*";

/// The labels of a key that any redirect asks for.
pub(super) type Scope = BTreeMap<String, String>;

/// Which models can be had.
pub(super) struct Reaches<'a> {
    before: &'a Runtime,
    after: &'a Runtime,
    /// Made when they are first asked for: of most changes of client keys they are not.
    words: OnceCell<Words>,
    known: BTreeMap<Scope, Rc<Reach>>,
    /// Whether there were more scopes than are told apart.
    overrun: bool,
}

/// What two configurations speak of.
struct Words {
    /// The names that are tried.
    names: Vec<String>,
    /// How many are not.
    left_out: usize,
    /// The labels that redirects ask for.
    asked_for: BTreeSet<(String, String)>,
}

impl Words {
    fn of(runtimes: [&Runtime; 2]) -> Self {
        let mut names: BTreeSet<String> = [ANY.to_owned()].into();
        let mut asked_for = BTreeSet::new();
        for runtime in runtimes {
            for redirect in runtime.redirects() {
                names.insert(redirect.from.as_str().to_owned());
                let labels = redirect.client_key_labels.iter();
                asked_for.extend(labels.map(|(key, value)| (key.clone(), value.clone())));
            }
            for provider in runtime.providers() {
                let prefix = &provider.prefix;
                if provider.models.is_empty() {
                    names.insert(format!("{prefix}/{ANY}"));
                }
                names.extend(provider.models.iter().map(|model| format!("{prefix}/{model}")));
                names.extend(provider.models.iter().map(|model| model.to_string()));
            }
        }
        let left_out = names.len().saturating_sub(MAX_NAMES);
        Self { names: names.into_iter().take(MAX_NAMES).collect(), left_out, asked_for }
    }
}

/// Which models can be had by whoever carries certain labels.
#[derive(Debug)]
pub(super) struct Reach {
    /// Those that could be had before, and whether they still can.
    pub(super) before: Vec<(String, bool)>,
    /// Those that can be had afterwards.
    pub(super) after: BTreeSet<String>,
}

impl Reach {
    /// Whether anything can no longer be had.
    pub(super) fn loses(&self) -> bool {
        self.before.iter().any(|(_, still)| !still)
    }
}

impl<'a> Reaches<'a> {
    pub(super) const fn new(before: &'a Runtime, after: &'a Runtime) -> Self {
        Self { before, after, words: OnceCell::new(), known: BTreeMap::new(), overrun: false }
    }

    fn words(&self) -> &Words {
        self.words.get_or_init(|| Words::of([self.before, self.after]))
    }

    /// The part of a key's labels that matters.
    pub(super) fn scope(&self, labels: &Labels) -> Scope {
        let carried = self.words().asked_for.iter().filter(|(key, value)| labels.get(key) == Some(value));
        carried.cloned().collect()
    }

    /// What can be had with these labels; `None` = there are too many kinds of keys.
    pub(super) fn of(&mut self, scope: &Scope) -> Option<Rc<Reach>> {
        if let Some(known) = self.known.get(scope) {
            return Some(Rc::clone(known));
        }
        if self.known.len() == MAX_SCOPES {
            self.overrun = true;
            return None;
        }
        let key = holder(scope)?;
        let caller = Caller::Key(&key);
        let has = |runtime: &Runtime, name: &str| runtime.model(caller, name).is_some();
        let after: BTreeSet<String> = self.words().names.iter().filter(|name| has(self.after, name)).cloned().collect();
        let before = self.words().names.iter().filter(|name| has(self.before, name));
        let before = before.map(|name| (name.clone(), after.contains(name))).collect();
        let reach = Rc::new(Reach { before, after });
        self.known.insert(scope.clone(), Rc::clone(&reach));
        Some(reach)
    }

    /// The models that strangers can no longer have.
    pub(super) fn lost_by_strangers(&self) -> Vec<String> {
        let has = |runtime: &Runtime, name: &str| runtime.model(Caller::Stranger, name).is_some();
        let lost =
            self.words().names.iter().filter(|name| *name != ANY && has(self.before, name) && !has(self.after, name));
        lost.cloned().collect()
    }

    /// What was not looked at.
    pub(super) fn shortfall(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let left_out = self.words.get().map_or(0, |words| words.left_out);
        if left_out > 0 {
            let message = format!("{left_out} names of models were not looked at: there are too many");
            findings.push(finding("", "NOT_CONSIDERED", message));
        }
        if self.overrun {
            let message = format!("only client keys of {MAX_SCOPES} kinds, by the labels of redirects, were looked at");
            findings.push(finding("", "NOT_CONSIDERED", message));
        }
        findings
    }

    /// Whether a model can be had before and after, by a key.
    pub(super) fn has(&self, key: &ClientKey, name: &str) -> (bool, bool) {
        let has = |runtime: &Runtime| runtime.model(Caller::Key(key), name).is_some();
        (has(self.before), has(self.after))
    }
}

/// A key that may ask for every model and carries these labels.
pub(super) fn holder(labels: &Scope) -> Option<ClientKey> {
    Some(ClientKey {
        id: Id::parse("anybody").ok()?,
        sha256: [0; 32],
        allowed_models: Box::default(),
        expires_at_ms: None,
        disabled: false,
        labels: labels.clone().into(),
        limits: Limits::default(),
    })
}
