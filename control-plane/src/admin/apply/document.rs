//! Reads a document: which resources are wanted, and where in it each of them is. It does not look at what there is.

use std::{fmt, sync::Arc};

use signalbox_proto::admin::v1::Config;
use signalbox_routing::{Finding, ResourceName};

use crate::{
    admin::{
        error::{Places, Violation},
        resource::Resource,
        sealed::Sealed,
        verbs::parse_name,
    },
    message::Message,
};

/// Makes the message, on top of what is stored.
type Make = Box<dyn FnOnce(Option<&Message>) -> Result<Message, Finding> + Send>;

/// A resource as it is wanted.
pub(super) struct Wanted {
    /// Its name.
    pub(super) name: ResourceName,
    /// The rest of it.
    pub(super) make: Make,
}

impl fmt::Debug for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wanted").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A document that says at most one thing about each resource.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// Its resources.
    pub(super) wanted: Vec<Wanted>,
    /// Where they are.
    pub(super) places: Places,
    /// The secrets of those that bring none.
    sealed: Arc<Sealed>,
}

impl Document {
    /// Reads a document.
    ///
    /// # Errors
    /// Every name in it that is none of its kind, or that comes twice.
    pub(super) fn read(config: Config, sealed: &Arc<Sealed>) -> Result<Self, Vec<Violation>> {
        let (document, violations) = Self::read_some(config, sealed);
        if violations.is_empty() { Ok(document) } else { Err(violations) }
    }

    /// Reads what can be read of a document, and says what cannot.
    pub(super) fn read_some(config: Config, sealed: &Arc<Sealed>) -> (Self, Vec<Violation>) {
        let Config { providers, credentials, client_keys, redirects, routes, settings } = config;
        let mut document = Self { sealed: Arc::clone(sealed), ..Self::default() };
        let mut violations = Vec::new();
        document.take("providers", providers, &mut violations);
        document.take("credentials", credentials, &mut violations);
        document.take("client_keys", client_keys, &mut violations);
        document.take("redirects", redirects, &mut violations);
        document.take("routes", routes, &mut violations);
        if let Some(mut settings) = settings {
            // There is only one, so that it needs no name.
            settings.name = ResourceName::settings().as_str().to_owned();
            violations.extend(document.add("config.settings".to_owned(), settings).err());
        }
        (document, violations)
    }

    fn take<R: Resource>(&mut self, field: &str, resources: Vec<R>, violations: &mut Vec<Violation>) {
        for (index, resource) in resources.into_iter().enumerate() {
            violations.extend(self.add(format!("config.{field}[{index}]"), resource).err());
        }
    }

    fn add<R: Resource>(&mut self, place: String, resource: R) -> Result<(), Violation> {
        let name = parse_name(resource.name(), R::KIND, &format!("{place}.name"))?;
        if let Some(earlier) = self.places.note(name.clone(), place.clone()) {
            let rule = format!("`{name}` is said twice: {earlier} says it too");
            return Err(Violation::new(format!("{place}.name"), "DUPLICATE_NAME", rule));
        }
        let (made, sealed) = (name.clone(), Arc::clone(&self.sealed));
        let make = move |stored: Option<&Message>| {
            let message = resource.into_message(&made, sealed.client_key(&made).or(stored))?;
            Ok(sealed.fill(&made, message))
        };
        self.wanted.push(Wanted { name, make: Box::new(make) });
        Ok(())
    }
}
