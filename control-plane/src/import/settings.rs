//! Settings that a file says something about, and the settings that there are: what an import may set, what it leaves as it is, and how a
//! file that is the source has its way. Field by field, driven by the schema.

use prost_reflect::{DynamicMessage, FieldDescriptor, ReflectMessage as _};
use signalbox_proto::admin::v1::Settings;
use signalbox_routing::Kind;

use crate::message;

/// A field that says something else already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Its name.
    pub field: String,
    /// What it says, as JSON.
    pub now: String,
    /// What the file wants it to say, as JSON.
    pub wanted: String,
}

/// What an import may do to the settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Merged {
    /// The settings with what was not set before; `None` = there is nothing to do.
    pub settings: Option<Settings>,
    /// What is left as it is.
    pub conflicts: Vec<Conflict>,
}

/// Sets what is wanted where nothing is set.
#[must_use]
pub fn merge(current: &Settings, wanted: &Settings) -> Merged {
    let (mut merged, wanted) = (dynamic(current), dynamic(wanted));
    let (mut conflicts, mut is_new) = (Vec::new(), false);
    for (field, value) in wanted.fields() {
        if !merged.has_field(&field) {
            merged.set_field(&field, value.clone());
            is_new = true;
        } else if *merged.get_field(&field) != *value {
            let (now, wanted) = (shown(&merged, &field), shown(&wanted, &field));
            conflicts.push(Conflict { field: field.name().to_owned(), now, wanted });
        }
    }
    Merged { settings: is_new.then(|| typed(&merged)), conflicts }
}

/// Sets what is wanted, and clears what was wanted before and is no more.
#[must_use]
pub fn overlay(current: &Settings, wanted: &Settings, before: &Settings) -> Settings {
    let mut over = dynamic(current);
    for (field, _) in dynamic(before).fields() {
        over.clear_field(&field);
    }
    for (field, value) in dynamic(wanted).fields() {
        over.set_field(&field, value.clone());
    }
    typed(&over)
}

fn dynamic(settings: &Settings) -> DynamicMessage {
    message::dynamic(Kind::Settings, settings)
}

fn typed(settings: &DynamicMessage) -> Settings {
    #[expect(clippy::expect_used, reason = "the type and the descriptor are generated from one schema")]
    settings.transcode_to().expect("a generated type has the fields of its schema")
}

/// One field as JSON.
fn shown(settings: &DynamicMessage, field: &FieldDescriptor) -> String {
    let mut alone = DynamicMessage::new(settings.descriptor());
    alone.set_field(field, settings.get_field(field).into_owned());
    let json = serde_json::to_value(&alone).unwrap_or_default();
    json.get(field.json_name()).map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Settings {
        Settings { base_path: "/a".into(), keyless_models: true, request_log: Some(false), ..Settings::default() }
    }

    #[test]
    fn an_import_sets_what_is_not_set_and_leaves_what_differs() {
        let current =
            Settings { name: "settings".into(), base_path: "/b".into(), keyless_models: true, ..Settings::default() };
        let Merged { settings, conflicts } = merge(&current, &wanted());
        assert_eq!(settings, Some(Settings { request_log: Some(false), ..current.clone() }));
        let expected = Conflict { field: "base_path".into(), now: "\"/b\"".into(), wanted: "\"/a\"".into() };
        assert_eq!(conflicts, [expected]);
        let again = merge(&settings.unwrap(), &wanted());
        assert_eq!((again.settings, again.conflicts.len()), (None, 1));
    }

    #[test]
    fn a_source_has_its_way_and_takes_back_what_it_said_before() {
        let current = Settings { base_path: "/b".into(), drop_headers: vec!["x".into()], ..Settings::default() };
        let first = overlay(&current, &wanted(), &Settings::default());
        assert_eq!(first, Settings { drop_headers: vec!["x".into()], ..wanted() });
        let next = Settings { base_path: "/c".into(), ..Settings::default() };
        let then = overlay(&first, &next, &wanted());
        assert_eq!(then, Settings { base_path: "/c".into(), drop_headers: vec!["x".into()], ..Settings::default() });
    }
}
