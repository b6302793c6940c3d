//! The rules of what is said for operators only: names for people, and labels. No data plane looks at these, so that no compiler
//! does either. A client key's labels do travel, and are the compiler's business.

use std::collections::BTreeMap;

use signalbox_routing::{Effect, Fault, Finding, ResourceName};

use super::Message;

/// Longest display name, label or label's value, in bytes.
const MAX_BYTES: usize = 256;

/// Most labels of a resource.
const MAX_LABELS: usize = 64;

/// Everything about the message that breaks such a rule.
pub(crate) fn findings(name: &ResourceName, message: &Message) -> Vec<Finding> {
    let mut faults: Vec<(String, Fault)> =
        text(message.display_name()).err().map(|fault| ("display_name".to_owned(), fault)).into_iter().collect();
    match message {
        Message::ClientKey(_) => {}
        _ => faults.extend(message.labels().into_iter().flat_map(labels)),
    }
    let finding = |(field, fault)| Finding { resource: name.clone(), field, fault, effect: Effect::KeptPrevious };
    faults.into_iter().map(finding).collect()
}

fn labels(labels: &BTreeMap<String, String>) -> Vec<(String, Fault)> {
    if labels.len() > MAX_LABELS {
        return vec![("labels".to_owned(), Fault::OutOfRange("at most 64 labels"))];
    }
    let fault = |(key, value): (&String, &String)| {
        let sound = if key.is_empty() { Err(Fault::Missing) } else { text(key).and_then(|()| text(value)) };
        sound.err().map(|fault| (format!("labels[{key:?}]"), fault))
    };
    labels.iter().filter_map(fault).collect()
}

fn text(text: &str) -> Result<(), Fault> {
    if text.len() > MAX_BYTES || text.contains(char::is_control) {
        return Err(Fault::OutOfRange("at most 256 bytes, without control characters"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use signalbox_proto::admin::v1 as admin;

    use super::*;

    fn faults(display_name: &str, labels: BTreeMap<String, String>) -> Vec<String> {
        let route = admin::Route { display_name: display_name.to_owned(), labels, ..Default::default() };
        let name = ResourceName::parse("routes/r").unwrap();
        let findings = findings(&name, &route.into());
        findings.into_iter().map(|finding| format!("{} {}", finding.field, finding.fault.reason())).collect()
    }

    fn label(key: &str, value: &str) -> BTreeMap<String, String> {
        [(key.to_owned(), value.to_owned())].into()
    }

    #[test]
    fn a_label_has_a_key_and_both_are_short_and_printable() {
        let long = "x".repeat(MAX_BYTES + 1);
        assert!(faults("", label("team", "")).is_empty());
        assert_eq!(faults("", label("", "x")), ["labels[\"\"] FIELD_REQUIRED"]);
        assert_eq!(faults("", label("team", "a\nb")), ["labels[\"team\"] OUT_OF_RANGE"]);
        assert_eq!(faults("", label("team", &long)), ["labels[\"team\"] OUT_OF_RANGE"]);
        assert_eq!(faults("", label(&long, "")).len(), 1);
    }

    #[test]
    fn labels_are_counted() {
        let many = |count: usize| (0..count).map(|label| (format!("l{label}"), String::new())).collect();
        assert!(faults("", many(MAX_LABELS)).is_empty());
        assert_eq!(faults("", many(MAX_LABELS + 1)), ["labels OUT_OF_RANGE"]);
    }

    #[test]
    fn a_display_name_fits_on_a_line() {
        assert!(faults("Docs, old and new", BTreeMap::new()).is_empty());
        assert_eq!(faults("Docs\u{1b}[1m", BTreeMap::new()), ["display_name OUT_OF_RANGE"]);
        assert_eq!(faults(&"x".repeat(MAX_BYTES + 1), BTreeMap::new()), ["display_name OUT_OF_RANGE"]);
    }
}
