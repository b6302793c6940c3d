//! What a change comes to: field by field for whoever reviews it, and in its consequences for clients. It compares two states and
//! decides nothing; no secret gets into what it says.

mod fields;

pub(crate) use fields::{field_changes, with_secrets};
