//! Compiles resources into a runtime: incrementally, purely, and as far as they go. It alone reads `signalbox.config.v1`, so that
//! nothing else has to know the wire.

use std::{collections::BTreeMap, fmt, sync::Arc};

use bytes::Bytes;
use prost::Message;

use crate::{
    finding::{Fault, Finding},
    name::{Kind, ResourceName},
    resource::{Change, Resource},
    runtime::{Models, Runtime},
};

mod address;
mod chain;
mod client_key;
mod cors;
mod credential;
mod faults;
mod header;
mod provider;
mod redirect;
mod route;
mod settings;
mod traffic;
mod universal;
mod value;

use faults::Faults;
pub use route::RESERVED_SEGMENTS;

/// The level of `signalbox.config.v1` that this build compiles.
pub const SCHEMA: u32 = 1;

/// The capabilities that a resource may require and this build has.
pub const FEATURES: &[&str] = &[];

/// What came of applying changes.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// The configuration after the changes.
    pub runtime: Runtime,
    /// Everything that is wrong with the resources held, whichever change brought it, by resource.
    pub findings: Vec<Finding>,
}

impl Runtime {
    /// The configuration after some changes, of which the last one for each resource counts.
    ///
    /// A resource that does not compile disturbs no other: the last version of it that did goes on serving, else it is absent, and
    /// a client key is refused. Of two that claim the same, the one with the lower revision has it. Changes of client keys cost
    /// what the changed ones do; with any other change everything but the client keys is compiled anew.
    #[must_use]
    pub fn apply(&self, changes: &[Change]) -> Compiled {
        self.after(changes.iter().map(Change::step).collect())
    }

    /// The configuration of these resources alone, as [`apply`](Self::apply) makes it.
    #[must_use]
    pub fn of<'a>(resources: impl IntoIterator<Item = &'a Resource>) -> Compiled {
        Self::default().after(resources.into_iter().map(|resource| (&resource.name, Some(resource))).collect())
    }

    fn after(&self, latest: BTreeMap<&ResourceName, Option<&Resource>>) -> Compiled {
        let (keys, others): (Vec<Step<'_>>, Vec<Step<'_>>) =
            latest.into_iter().partition(|(name, _)| name.kind() == Kind::ClientKey);
        let mut runtime = self.clone();
        if !others.is_empty() {
            runtime.traffic = Arc::new(traffic::compile(&self.traffic, &others));
            runtime.models = Arc::new(Models::of(&runtime.traffic, self.models.found()));
        }
        client_key::apply(&mut runtime.keys, &keys);
        let mut findings: Vec<Finding> = runtime.findings().cloned().collect();
        findings.sort_by(|a, b| a.resource.cmp(&b.resource));
        Compiled { runtime, findings }
    }
}

/// A resource's name and the resource from now on; `None` = it is removed.
type Step<'a> = (&'a ResourceName, Option<&'a Resource>);

/// What everything but the client keys is compiled from.
pub(crate) type Sources = BTreeMap<ResourceName, Source>;

/// A resource as it was given.
#[derive(Clone)]
pub(crate) struct Source {
    resource: Resource,
    /// The last body of it that compiled, which stands in for one that does not.
    good: Option<Bytes>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The bodies may hold secrets; the resource's own `Debug` leaves them out.
        self.resource.fmt(f)
    }
}

/// A resource that compiles, whether or not it is in use.
#[derive(Debug)]
struct Written<T> {
    value: T,
    disabled: bool,
}

/// Who has what only one may have.
type Claims<K> = BTreeMap<K, ResourceName>;

/// Whether a text can be a model's own name.
pub(crate) fn is_model(text: &str) -> bool {
    value::model(text).is_ok()
}

fn decode<M: Message + Default>(body: &Bytes) -> Result<M, Faults> {
    M::decode(body.clone()).map_err(|_| Faults::whole(Fault::Undecodable))
}

/// Refuses a resource that requires what this build does not have.
fn supported(resource: &Resource) -> Result<(), Faults> {
    let mut faults = Faults::default();
    for feature in resource.required_features.iter().filter(|feature| !FEATURES.contains(&feature.as_str())) {
        faults.add("", Fault::UnknownFeature(value::shown(feature)));
    }
    faults.finish(|| Some(()))
}
