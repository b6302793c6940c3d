//! Field masks (AIP-134, AIP-161) over any message, by its descriptor. It knows no particular resource and no store.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage as _};
use prost_types::FieldMask;

use crate::message::is_output_only;

/// Paths that a mask has at most: more than any message has fields.
const MAX_PATHS: usize = 256;

/// Longest word for which the field that was meant is looked for, in bytes.
const LONGEST_WORD: usize = 64;

/// Which fields of a stored resource an update takes over.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Mask {
    /// Those that the update populates, messages in it field by field.
    Populated,
    /// All: what the update does not have is cleared.
    Everything,
    /// These: what the update does not have of them is cleared.
    Paths(Vec<Vec<FieldDescriptor>>),
}

/// Why a path in a mask is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// No field of that name.
    #[error("`{path}` is not in {message}{}", hint(nearest.as_deref()))]
    Unknown {
        /// The path.
        path: String,
        /// The message that was looked into.
        message: String,
        /// The path that may have been meant.
        nearest: Option<String>,
    },
    /// It leads into something that is replaced as a whole.
    #[error("`{path}` leads into `{whole}`, which is replaced as a whole: name that")]
    Inside {
        /// The path.
        path: String,
        /// The field that can be named.
        whole: String,
    },
    /// More paths than there can be reason for.
    #[error("{0} paths are too many: at most {MAX_PATHS}, or `*` for every field")]
    TooMany(usize),
    /// `*` among others.
    #[error("`*` means every field and stands alone")]
    Star,
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |nearest| format!(": did you mean `{nearest}`?"))
}

impl Mask {
    /// Reads a mask for a message. Absent or empty means the populated fields.
    ///
    /// # Errors
    /// Every path that is none.
    pub(crate) fn read(mask: Option<FieldMask>, message: &MessageDescriptor) -> Result<Self, Vec<Fault>> {
        let paths = mask.map(|mask| mask.paths).unwrap_or_default();
        if paths.is_empty() {
            return Ok(Self::Populated);
        }
        if paths == ["*"] {
            return Ok(Self::Everything);
        }
        if paths.len() > MAX_PATHS {
            return Err(vec![Fault::TooMany(paths.len())]);
        }
        let mut found = Vec::with_capacity(paths.len());
        let mut faults = Vec::new();
        for path in &paths {
            match resolve(path, message) {
                Ok(fields) => found.push(fields),
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() { Ok(Self::Paths(found)) } else { Err(faults) }
    }

    /// Carries the masked fields of `update` over to `stored`. Fields that are not the caller's to set stay as they are stored.
    pub(crate) fn merge(&self, update: &DynamicMessage, stored: &mut DynamicMessage) {
        match self {
            Self::Populated => overlay(update, stored),
            Self::Everything => {
                for field in update.descriptor().fields().filter(|field| !is_ours(field)) {
                    copy(&[field], update, stored);
                }
            }
            Self::Paths(paths) => {
                for path in paths.iter().filter(|path| !path.first().is_some_and(is_ours)) {
                    copy(path, update, stored);
                }
            }
        }
    }
}

/// The name and what is output only are the control plane's; the etag is compared, never taken over.
fn is_ours(field: &FieldDescriptor) -> bool {
    is_output_only(field) || matches!(field.name(), "name" | "etag")
}

/// The message inside a field, where its fields can be named one by one. Well-known types are values.
fn inside(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    match field.kind() {
        Kind::Message(message) if !field.is_list() && !field.is_map() => {
            (message.package_name() != "google.protobuf").then_some(message)
        }
        _ => None,
    }
}

fn resolve(path: &str, root: &MessageDescriptor) -> Result<Vec<FieldDescriptor>, Fault> {
    if path == "*" {
        return Err(Fault::Star);
    }
    let mut fields: Vec<FieldDescriptor> = Vec::new();
    for word in path.split('.') {
        let message = match fields.last() {
            None => root.clone(),
            Some(field) => {
                inside(field).ok_or_else(|| Fault::Inside { path: path.to_owned(), whole: joined(&fields, None) })?
            }
        };
        let field = message.get_field_by_name(word).ok_or_else(|| Fault::Unknown {
            path: path.to_owned(),
            message: message.name().to_owned(),
            nearest: nearest(word, &message).map(|name| joined(&fields, Some(&name))),
        })?;
        fields.push(field);
    }
    Ok(fields)
}

fn joined(fields: &[FieldDescriptor], last: Option<&str>) -> String {
    fields.iter().map(FieldDescriptor::name).chain(last).collect::<Vec<_>>().join(".")
}

/// The field whose name is a typing error away.
pub(super) fn nearest(word: &str, message: &MessageDescriptor) -> Option<String> {
    if word.len() > LONGEST_WORD {
        return None;
    }
    let limit = 2.max(word.len() / 3);
    message
        .fields()
        .map(|field| (distance(word, field.name()), field.name().to_owned()))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, name)| name)
}

/// Levenshtein's edit distance.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, a) in a.chars().enumerate() {
        let mut left = i + 1;
        let mut diagonal = i;
        for (above, b) in row.iter_mut().skip(1).zip(b.chars()) {
            let best = (diagonal + usize::from(a != b)).min(*above + 1).min(left + 1);
            diagonal = std::mem::replace(above, best);
            left = best;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

fn copy(path: &[FieldDescriptor], from: &DynamicMessage, to: &mut DynamicMessage) {
    let Some((field, rest)) = path.split_first() else { return };
    if rest.is_empty() {
        if from.has_field(field) {
            to.set_field(field, from.get_field(field).into_owned());
        } else {
            to.clear_field(field);
        }
    } else if from.has_field(field) || to.has_field(field) {
        // Where neither has the message, there is nothing to clear in it and no reason to make it appear.
        if let (Some(from), Some(to)) = (from.get_field(field).as_message(), to.get_field_mut(field).as_message_mut()) {
            copy(rest, from, to);
        }
    }
}

fn overlay(from: &DynamicMessage, to: &mut DynamicMessage) {
    for (field, value) in from.fields().filter(|(field, _)| !is_ours(field)) {
        match value.as_message() {
            // An empty message says something by being there, such as a forward proxy without a URL.
            Some(inner) if inside(&field).is_some() && inner.fields().next().is_some() => {
                if let Some(to) = to.get_field_mut(&field).as_message_mut() {
                    overlay(inner, to);
                }
            }
            _ => to.set_field(&field, value.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use prost_types::Duration;
    use signalbox_proto::{
        DESCRIPTORS,
        admin::v1::Provider,
        config::v1::{ForwardProxy, HeaderValue, Timeouts, header_value::Content},
    };

    use super::*;

    fn descriptor() -> MessageDescriptor {
        DESCRIPTORS.get_message_by_name("signalbox.admin.v1.Provider").unwrap()
    }

    fn mask(paths: &[&str]) -> Option<FieldMask> {
        Some(FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() })
    }

    fn merged(paths: &[&str], update: &Provider, stored: &Provider) -> Provider {
        let dynamic = |provider: &Provider| {
            let mut message = DynamicMessage::new(descriptor());
            message.transcode_from(provider).unwrap();
            message
        };
        let mut result = dynamic(stored);
        Mask::read(mask(paths), &descriptor()).unwrap().merge(&dynamic(update), &mut result);
        result.transcode_to().unwrap()
    }

    fn seconds(seconds: i64) -> Option<Duration> {
        Some(Duration { seconds, nanos: 0 })
    }

    fn stored() -> Provider {
        Provider {
            name: "providers/a".into(),
            base_url: "https://a.test".into(),
            display_name: "A".into(),
            headers: [("x-a".to_owned(), HeaderValue { content: Some(Content::Value("1".into())), overwrite: None })]
                .into(),
            timeouts: Some(Timeouts { connect: seconds(1), stream_idle: seconds(2), ..Timeouts::default() }),
            forward_proxy: Some(ForwardProxy { url: "http://proxy.test:1".into(), ..ForwardProxy::default() }),
            revision: 7,
            ..Provider::default()
        }
    }

    #[test]
    fn a_path_takes_over_one_field_and_leaves_its_neighbours() {
        let update = Provider {
            display_name: "not named".into(),
            timeouts: Some(Timeouts { stream_idle: seconds(90), ..Timeouts::default() }),
            ..Provider::default()
        };
        let mut expected = stored();
        expected.timeouts.as_mut().unwrap().stream_idle = seconds(90);
        assert_eq!(merged(&["timeouts.stream_idle"], &update, &stored()), expected);
    }

    #[test]
    fn a_named_field_that_is_absent_is_cleared() {
        let mut expected = stored();
        expected.timeouts.as_mut().unwrap().connect = None;
        expected.display_name.clear();
        expected.headers.clear();
        let paths = ["timeouts.connect", "display_name", "headers", "pool.max_idle"];
        assert_eq!(merged(&paths, &Provider::default(), &stored()), expected);
    }

    #[test]
    fn a_named_message_is_replaced_as_a_whole() {
        let update =
            Provider { timeouts: Some(Timeouts { total: seconds(3), ..Timeouts::default() }), ..Provider::default() };
        assert_eq!(merged(&["timeouts"], &update, &stored()).timeouts, update.timeouts);
    }

    #[test]
    fn without_a_mask_populated_fields_are_taken_over_and_none_is_cleared() {
        let update = Provider {
            display_name: "B".into(),
            timeouts: Some(Timeouts { connect: Some(Duration { seconds: 0, nanos: 500 }), ..Timeouts::default() }),
            forward_proxy: Some(ForwardProxy::default()),
            ..Provider::default()
        };
        let mut expected = stored();
        expected.display_name = "B".into();
        expected.timeouts.as_mut().unwrap().connect = Some(Duration { seconds: 0, nanos: 500 });
        expected.forward_proxy = Some(ForwardProxy::default());
        assert_eq!(merged(&[], &update, &stored()), expected);
    }

    #[test]
    fn a_star_replaces_everything_but_what_is_ours() {
        let update =
            Provider { base_url: "https://b.test".into(), revision: 1, etag: "x".into(), ..Provider::default() };
        let expected = Provider {
            name: "providers/a".into(),
            base_url: "https://b.test".into(),
            revision: 7,
            ..Provider::default()
        };
        assert_eq!(merged(&["*"], &update, &stored()), expected);
        assert_eq!(merged(&["revision", "name", "etag", "create_time"], &update, &stored()), stored());
    }

    #[test]
    fn an_unknown_path_names_the_field_that_was_meant() {
        let fault = |path: &str| Mask::read(mask(&[path]), &descriptor()).unwrap_err().remove(0).to_string();
        assert_eq!(fault("bse_url"), "`bse_url` is not in Provider: did you mean `base_url`?");
        assert_eq!(fault("baseUrl"), "`baseUrl` is not in Provider: did you mean `base_url`?");
        assert_eq!(
            fault("timeouts.streamIdle"),
            "`timeouts.streamIdle` is not in Timeouts: did you mean `timeouts.stream_idle`?"
        );
        assert_eq!(fault("favourite_colour"), "`favourite_colour` is not in Provider");
        assert_eq!(fault(""), "`` is not in Provider");
        assert_eq!(fault("headers.x-a"), "`headers.x-a` leads into `headers`, which is replaced as a whole: name that");
        assert_eq!(
            fault("timeouts.connect.seconds"),
            "`timeouts.connect.seconds` leads into `timeouts.connect`, which is replaced as a whole: name that"
        );
        let many = vec!["priority"; MAX_PATHS + 1];
        assert_eq!(Mask::read(mask(&many), &descriptor()), Err(vec![Fault::TooMany(MAX_PATHS + 1)]));
        let faults = Mask::read(mask(&["*", "priority", "nope"]), &descriptor()).unwrap_err();
        assert_eq!(faults.len(), 2);
        assert_eq!(faults[0], Fault::Star);
    }
}
