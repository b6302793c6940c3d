//! Redirects, and the order in which they are asked whether a model is theirs.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use super::ClientKey;
use crate::{glob::Glob, name::Id};

/// A requested model becomes one or more targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// Its id.
    pub id: Id,
    /// The requested model, as a pattern.
    pub from: Glob,
    /// By descending priority. Never empty.
    pub targets: Vec<RedirectTarget>,
    /// What the answer's `model` says.
    pub answer_model: AnswerModel,
    /// Labels that a key must carry, all of them.
    pub client_key_labels: BTreeMap<String, String>,
}

impl Redirect {
    /// Whether it applies to requests with this key.
    #[must_use]
    pub fn is_for(&self, key: Option<&ClientKey>) -> bool {
        self.client_key_labels
            .iter()
            .all(|(label, value)| key.is_some_and(|key| key.labels.get(label) == Some(&**value)))
    }

    /// The models that it leads on to.
    pub(crate) fn onward(&self) -> impl Iterator<Item = &Arc<str>> {
        self.targets.iter().filter_map(|target| match &target.to {
            Destination::Model(model) => Some(model),
            Destination::Provider { .. } => None,
        })
    }

    /// Whether it leads on to other models.
    pub(crate) fn leads_on(&self) -> bool {
        self.onward().next().is_some()
    }
}

/// One place a redirected request may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedirectTarget {
    /// Where that is.
    pub to: Destination,
    /// Share among targets of the same priority; 0 = after the others.
    pub weight: u32,
    /// Higher is tried first.
    pub priority: i32,
}

/// What a redirected request is sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A provider.
    Provider {
        /// Its id.
        id: Id,
        /// The model asked of it; `None` = the one that led here.
        model: Option<Arc<str>>,
    },
    /// Whoever takes this model when a client asks for it.
    Model(Arc<str>),
}

/// What the `model` of an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerModel {
    /// The name that the client asked for.
    Requested,
    /// The name that the upstream reports, untouched.
    Served,
}

/// The redirects in force.
#[derive(Debug, Clone, Default)]
pub(crate) struct Redirects {
    /// By exact `from`; several where they are for different keys, the most particular first.
    exact: BTreeMap<Arc<str>, Vec<Arc<Redirect>>>,
    /// Those with a pattern, longest pattern first.
    patterns: Vec<Arc<Redirect>>,
}

impl Redirects {
    /// Adds a redirect at its place in the order.
    pub(crate) fn insert(&mut self, redirect: Arc<Redirect>) {
        let ranked = if redirect.from.is_exact() {
            self.exact.entry(Arc::clone(redirect.from.text())).or_default()
        } else {
            &mut self.patterns
        };
        let at = ranked.partition_point(|other| rank(other) < rank(&redirect));
        ranked.insert(at, redirect);
    }

    pub(crate) fn remove(&mut self, redirect: &Redirect) {
        let ranked = self.exact.get_mut(redirect.from.as_str()).unwrap_or(&mut self.patterns);
        ranked.retain(|other| other.id != redirect.id);
    }

    /// Every redirect that takes a model for some key or other.
    pub(crate) fn candidates(&self, model: &str) -> impl Iterator<Item = &Arc<Redirect>> {
        let mut closed = false;
        self.in_order(model)
            .take_while(move |redirect| !std::mem::replace(&mut closed, redirect.client_key_labels.is_empty()))
    }

    /// The redirects for one exact model each, by model and then the most particular first.
    pub(crate) fn exact(&self) -> impl Iterator<Item = &Arc<Redirect>> {
        self.exact.values().flatten()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Redirect>> {
        self.exact().chain(&self.patterns)
    }

    /// Every redirect for the model, in the order in which they are asked whether it is theirs.
    pub(crate) fn in_order(&self, model: &str) -> impl Iterator<Item = &Arc<Redirect>> {
        let exact = self.exact.get(model).into_iter().flatten();
        exact.chain(self.patterns.iter().filter(move |redirect| redirect.from.matches(model)))
    }
}

/// The longest pattern first, then by pattern; of equal ones the one with the most labels; the id settles the rest.
fn rank(redirect: &Redirect) -> impl Ord {
    let Redirect { id, from, client_key_labels, .. } = redirect;
    (Reverse(from.literals()), from, Reverse(client_key_labels.len()), id)
}
