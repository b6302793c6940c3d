//! Compiles resources into a runtime: incrementally, without a side effect, and as far as they compile. It reads the wire's
//! messages so that nobody else has to.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

use crate::{
    finding::Finding,
    name::{Kind, ResourceName},
    resource::{Change, Resource},
    runtime::Runtime,
};

mod faults;

/// The level of `signalbox.config.v1` that this build compiles.
pub const SCHEMA: u32 = 1;

/// The capabilities that resources may require and this build has.
pub const FEATURES: &[&str] = &[];

/// First path segments that are the gateway's own, so that no route may have them.
pub const RESERVED_SEGMENTS: &[&str] = &["v1", "health", "healthz", "readyz", "metrics", "docs", "openapi.json"];

/// What came of applying changes.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// The configuration after the changes.
    pub runtime: Runtime,
    /// Everything that is wrong with the resources held, whichever change brought it; by resource, in order.
    pub findings: Vec<Finding>,
}

/// What the traffic part was compiled from.
pub(crate) type Sources = BTreeMap<ResourceName, Source>;

/// A resource as it was given.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    resource: Resource,
    /// The last body of it that compiled, which stands in for one that does not.
    good: Option<Bytes>,
}

impl Runtime {
    /// The configuration after some changes, of which the last for each resource counts.
    ///
    /// A resource that does not compile disturbs no other one: the last version of it that did goes on serving, or it is absent;
    /// a client key is refused. The cost of a change of client keys is that of the changed ones; any other change compiles
    /// everything but the client keys anew.
    #[must_use]
    pub fn apply(&self, changes: &[Change]) -> Compiled {
        let latest: BTreeMap<&ResourceName, &Change> = changes.iter().map(|change| (change.name(), change)).collect();
        let (_keys, _others): (Vec<&Change>, Vec<&Change>) =
            latest.into_values().partition(|change| change.name().kind() == Kind::ClientKey);
        let runtime = Self { keys: self.keys.clone(), traffic: Arc::clone(&self.traffic) };
        let mut findings: Vec<Finding> = runtime.findings().cloned().collect();
        findings.sort_by(|a, b| a.resource.cmp(&b.resource));
        Compiled { runtime, findings }
    }
}
