//! A write before it is judged: its edits, one after the other, on top of a state that stays as it is.

use std::{collections::BTreeMap, sync::Arc};

use prost_reflect::DynamicMessage;
use signalbox_routing::{Effect, Fault, Finding, Kind, ResourceName};

use super::{Difference, DifferenceKind, Edit, Error, held::Held};
use crate::{
    message::{Message, differing_fields},
    secrets::{self, Secrets, top_level},
    state::{State, Stored},
};

/// A resource as it is wanted.
#[derive(Debug)]
pub(super) struct Wanted {
    /// What is to be kept of it, without its secrets.
    pub(super) kept: DynamicMessage,
    /// All its secrets.
    pub(super) secrets: Secrets,
}

/// The resources that a write touches, as they are wanted; `None` = gone.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    base: &'a State,
    held: &'a BTreeMap<ResourceName, Held>,
    wanted: BTreeMap<ResourceName, Option<Wanted>>,
}

impl<'a> Draft<'a> {
    /// Goes through the edits. `held` has the secrets of every resource that they put.
    pub(super) fn new(
        base: &'a State,
        held: &'a BTreeMap<ResourceName, Held>,
        edits: Vec<Edit>,
    ) -> Result<Self, Error> {
        let mut draft = Self { base, held, wanted: BTreeMap::new() };
        for edit in edits {
            match edit {
                Edit::Put(message) => draft.put(&message)?,
                Edit::Restore(message, _) => draft.restore(&message)?,
                Edit::Delete(name) => draft.delete(name)?,
            }
        }
        Ok(draft)
    }

    fn put(&mut self, message: &Message) -> Result<(), Error> {
        let name = message.name()?;
        let mut kept = message.kept();
        let given = secrets::take(&mut kept);
        let secrets = {
            let before = self.secrets(&name);
            let secret = |path: String| {
                let secret = given.get(&path).or_else(|| before?.get(&path))?.clone();
                Some((path, secret))
            };
            secrets::vacancies(&mut kept).into_iter().filter_map(secret).collect()
        };
        self.wanted.insert(name, Some(Wanted { kept, secrets }));
        Ok(())
    }

    fn restore(&mut self, message: &Message) -> Result<(), Error> {
        let name = message.name()?;
        let mut kept = message.kept();
        let restored = self.held.get(&name).map(|held| &held.restored);
        let secret = |path: String| {
            let secret = restored?.get(&path)?.clone();
            Some((path, secret))
        };
        let secrets = secrets::vacancies(&mut kept).into_iter().filter_map(secret).collect();
        self.wanted.insert(name, Some(Wanted { kept, secrets }));
        Ok(())
    }

    /// The secrets of a resource as the edits so far left them.
    fn secrets(&self, name: &ResourceName) -> Option<&Secrets> {
        match self.wanted.get(name) {
            Some(wanted) => wanted.as_ref().map(|wanted| &wanted.secrets),
            None => self.held.get(name).map(|held| &held.secrets),
        }
    }

    fn delete(&mut self, name: ResourceName) -> Result<(), Error> {
        if name.kind() == Kind::Settings {
            let finding =
                Finding { resource: name, field: String::new(), fault: Fault::Missing, effect: Effect::KeptPrevious };
            return Err(Error::Invalid(vec![finding]));
        }
        self.wanted.insert(name, None);
        Ok(())
    }

    /// What the write comes to, by name; what is as wanted already is dropped.
    pub(super) fn differences(self) -> Vec<(Difference, Option<Wanted>)> {
        let Self { base, held, wanted } = self;
        let none = Held::default();
        let different = wanted.into_iter().filter_map(|(name, wanted)| {
            let held = held.get(&name).unwrap_or(&none);
            let difference = difference(name.clone(), base.get(&name), held, wanted.as_ref())?;
            Some((difference, wanted))
        });
        different.collect()
    }
}

fn difference(
    name: ResourceName,
    stored: Option<&Arc<Stored>>,
    held: &Held,
    wanted: Option<&Wanted>,
) -> Option<Difference> {
    let none = Secrets::new();
    let steps = held.steps_to(wanted.map_or(&none, |wanted| &wanted.secrets));
    let secrets: Vec<String> = steps.iter().map(|step| step.field().to_owned()).collect();
    let (kind, fields) = match (stored, wanted) {
        (None, None) => return None,
        (None, Some(_)) => (DifferenceKind::Create, Vec::new()),
        (Some(_), None) => (DifferenceKind::Delete, Vec::new()),
        (Some(stored), Some(wanted)) => match fields(stored, &secrets, wanted) {
            fields if fields.is_empty() => return None,
            fields => (DifferenceKind::Update, fields),
        },
    };
    Some(Difference { name, kind, fields, secrets })
}

fn fields(stored: &Stored, secrets: &[String], wanted: &Wanted) -> Vec<String> {
    let mut fields = differing_fields(&stored.message().kept(), &wanted.kept);
    fields.extend(secrets.iter().map(|field| top_level(field).to_owned()));
    fields.into_iter().collect()
}
