//! What the audit is told of a write.

use std::{borrow::Cow, sync::Arc, time::SystemTime};

use signalbox_routing::{InvalidName, ResourceName, Revision};

use super::{Edit, Entry};
use crate::audit::{DONE, Deed, What};

impl Entry {
    /// That it was done.
    pub(crate) fn done(&self, resource: String, revision: Option<Revision>, time: SystemTime) -> Deed {
        let what = What {
            actor: Arc::from(self.actor.as_str()),
            source_ip: self.source_ip,
            method: Cow::Borrowed(self.method),
            resource,
            code: Cow::Borrowed(DONE),
            reason: Cow::Borrowed(""),
            request_id: self.request.as_ref().map(|request| request.id.to_string()).unwrap_or_default(),
        };
        Deed { time, what, revision: revision.map(Revision::get), repeated: 0 }
    }
}

/// The one resource that the edits are about, with what belongs to it; empty = several, or none.
pub(super) fn subject(edits: &[Edit]) -> Result<String, InvalidName> {
    Ok(common(edits)?.map(|name| name.as_str().to_owned()).unwrap_or_default())
}

fn common(edits: &[Edit]) -> Result<Option<ResourceName>, InvalidName> {
    let mut subject: Option<ResourceName> = None;
    for edit in edits {
        let name = match edit {
            Edit::Put(message) | Edit::Restore(message, _) => message.name()?,
            Edit::Delete(name) => name.clone(),
        };
        subject = match subject.take() {
            None => Some(name),
            Some(whole) if name == whole || name.parent().as_ref() == Some(&whole) => Some(whole),
            Some(part) if part.parent().as_ref() == Some(&name) => Some(name),
            Some(part) if part.parent().is_some() && part.parent() == name.parent() => part.parent(),
            Some(_) => return Ok(None),
        };
    }
    Ok(subject)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(names: &[&str]) -> String {
        let edits: Vec<_> = names.iter().map(|name| Edit::Delete(ResourceName::parse(name).unwrap())).collect();
        subject(&edits).unwrap()
    }

    #[test]
    fn an_entry_is_about_one_resource_with_what_belongs_to_it() {
        let (provider, one, two) = ("providers/a", "providers/a/credentials/x", "providers/a/credentials/y");
        for names in [&[provider][..], &[one, two, provider], &[provider, one], &[one, two]] {
            assert_eq!(about(names), provider, "{names:?}");
        }
        assert_eq!(about(&[one]), one);
        for several in [&[][..], &[provider, "providers/b"], &[one, "providers/b/credentials/x"], &["routes/a", one]] {
            assert_eq!(about(several), "", "{several:?}");
        }
    }
}
