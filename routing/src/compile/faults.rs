//! The faults of one resource as they are found: all of them, not only the first.

use std::fmt::Display;

use crate::{
    finding::{Effect, Fault, Finding},
    name::ResourceName,
};

/// Faults by the path of the field that they are in.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<(String, Fault)>);

impl Faults {
    /// A single fault of the resource as a whole.
    pub(super) fn whole(fault: Fault) -> Self {
        Self::one("", fault)
    }

    /// A single fault of a field.
    pub(super) fn one(field: &str, fault: Fault) -> Self {
        Self(vec![(field.to_owned(), fault)])
    }

    pub(super) fn add(&mut self, field: impl Display, fault: Fault) {
        self.0.push((field.to_string(), fault));
    }

    /// What a field holds, or `None` with its fault noted.
    pub(super) fn take<T, E: Into<Fault>>(&mut self, field: impl Display, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.add(field, error.into())).ok()
    }

    /// What was built of fields without a fault.
    pub(super) fn finish<T>(self, build: impl FnOnce() -> Option<T>) -> Result<T, Self> {
        match build() {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(self),
        }
    }

    pub(super) fn into_findings(self, resource: &ResourceName, effect: Effect) -> impl Iterator<Item = Finding> {
        self.0.into_iter().map(move |(field, fault)| Finding { resource: resource.clone(), field, fault, effect })
    }

    #[cfg(test)]
    pub(super) fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(field, _)| field.as_str())
    }
}
