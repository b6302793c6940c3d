//! What an import says of itself: what it made, what it left as it is, and what is not as it was. Pure text, without a secret.

use std::fmt::{self, Display, Formatter};

use signalbox_control_plane::import::{Conflict, Format, Note};
use signalbox_proto::admin::v1::{Change, change::Kind};

use crate::table::Table;

/// An import that has been done, or tried out.
#[derive(Debug)]
pub struct Report {
    /// The file, or the environment.
    pub from: String,
    /// What it was read as.
    pub format: Format,
    /// Whether nothing was committed.
    pub dry_run: bool,
    /// The revision that holds now.
    pub revision: u64,
    /// Whether everything was as wanted before.
    pub unchanged: bool,
    /// Every resource of the file.
    pub names: Vec<String>,
    /// What changed.
    pub changes: Vec<Change>,
    /// Settings that say something else, and go on saying it.
    pub conflicts: Vec<Conflict>,
    /// What is not as it was.
    pub notes: Vec<Note>,
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { from, format, revision, .. } = self;
        match (self.unchanged, self.dry_run) {
            (true, _) => writeln!(f, "{from} ({format}): everything is as it says already, at revision {revision}.\n")?,
            (false, true) => {
                writeln!(f, "{from} ({format}): tried out on top of revision {revision}, nothing is changed.\n")?
            }
            (false, false) => writeln!(f, "{from} ({format}): imported as revision {revision}.\n")?,
        }
        let outcome = |name| vec![String::clone(name), self.outcome(name)];
        Table::new(&["Resource", "What happens to it"], self.names.iter().map(outcome)).fmt(f)?;
        if !self.conflicts.is_empty() {
            writeln!(f, "\nThese settings say something else already, and are left as they are:\n")?;
            let conflict = |conflict: &Conflict| {
                let Conflict { field, now, wanted } = conflict;
                vec![field.clone(), now.clone(), wanted.clone()]
            };
            Table::new(&["Setting", "It says", "The file says"], self.conflicts.iter().map(conflict)).fmt(f)?;
        }
        if !self.notes.is_empty() {
            writeln!(f, "\nNot quite as before:\n")?;
            let note = |note: &Note| vec![note.key.clone(), note.text.clone()];
            Table::new(&["In the file", "Here"], self.notes.iter().map(note)).fmt(f)?;
        }
        Ok(())
    }
}

impl Report {
    fn outcome(&self, name: &String) -> String {
        let Some(change) = self.changes.iter().find(|change| change.resource == *name) else {
            return "stays as it is".to_owned();
        };
        let fields = change.fields.as_ref().map(|fields| fields.paths.join(", ")).unwrap_or_default();
        match (change.kind(), self.dry_run) {
            (Kind::Create, false) => "made".to_owned(),
            (Kind::Create, true) => "would be made".to_owned(),
            (Kind::Update | Kind::Unspecified, false) => format!("changed: {fields}"),
            (Kind::Update | Kind::Unspecified, true) => format!("would be changed: {fields}"),
            (Kind::Delete, _) => "removed".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use prost_types::FieldMask;

    use super::*;

    fn report() -> Report {
        let change = |resource: &str, kind: Kind, fields: &[&str]| Change {
            resource: resource.into(),
            kind: kind.into(),
            fields: Some(FieldMask { paths: fields.iter().map(|field| (*field).to_owned()).collect() }),
            field_changes: Vec::new(),
        };
        Report {
            from: "config.json".into(),
            format: Format::Redirector,
            dry_run: false,
            revision: 7,
            unchanged: false,
            names: vec!["providers/a".into(), "redirects/b".into(), "settings".into()],
            changes: vec![
                change("providers/a", Kind::Create, &[]),
                change("settings", Kind::Update, &["cors", "base_path"]),
            ],
            conflicts: vec![Conflict { field: "log_level".into(), now: "1".into(), wanted: "2".into() }],
            notes: vec![Note { key: "/metrics".into(), text: "is Prometheus text".into() }],
        }
    }

    #[test]
    fn a_report_says_what_was_made_what_was_left_and_what_is_not_as_it_was() {
        let text = report().to_string();
        assert!(text.starts_with("config.json (redirector): imported as revision 7.\n"), "{text}");
        for row in [
            ["providers/a", "made"],
            ["redirects/b", "stays as it is"],
            ["settings", "changed: cors, base_path"],
            ["log_level", "2"],
            ["/metrics", "is Prometheus text"],
        ] {
            assert!(text.lines().any(|line| row.iter().all(|word| line.contains(word))), "{row:?} in {text}");
        }
    }

    #[test]
    fn what_is_tried_out_would_only_be() {
        let text = Report { dry_run: true, ..report() }.to_string();
        assert!(text.contains("nothing is changed") && text.contains("would be made"), "{text}");
        let text = Report { unchanged: true, changes: Vec::new(), ..report() }.to_string();
        assert!(text.contains("everything is as it says already") && !text.contains(" made"), "{text}");
    }
}
