//! Which fields two versions of a resource differ in.

use std::collections::BTreeSet;

use prost_reflect::{DynamicMessage, FieldDescriptor, ReflectMessage as _};

use super::spec::is_output_only;

/// The names of the top-level fields that differ between what is kept of two versions.
pub(crate) fn fields(before: &DynamicMessage, after: &DynamicMessage) -> BTreeSet<String> {
    let differs = |field: &FieldDescriptor| {
        before.has_field(field) != after.has_field(field) || before.get_field(field) != after.get_field(field)
    };
    let schema = after.descriptor();
    let fields = schema.fields().filter(|field| differs(field) && !is_output_only(field));
    fields.map(|field| field.name().to_owned()).collect()
}
