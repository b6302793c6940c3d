//! AIP-193: every error has exactly one ErrorInfo, with a reason in upper snake case and this API's domain.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor, Value as Field};

use super::*;

/// What a caller may get wrong in any request: nothing in it, or nonsense in all of it.
fn wrong(message: &MessageDescriptor) -> [DynamicMessage; 2] {
    let mut nonsense = DynamicMessage::new(message.clone());
    for field in message.fields() {
        if let Some(value) = nonsense_for(&field) {
            nonsense.set_field(&field, value);
        }
    }
    [DynamicMessage::new(message.clone()), nonsense]
}

fn nonsense_for(field: &FieldDescriptor) -> Option<Field> {
    let value = match field.kind() {
        Kind::String => Field::String("!\u{1}nonsense".to_owned()),
        Kind::Int32 => Field::I32(-7),
        Kind::Uint32 => Field::U32(u32::MAX),
        Kind::Uint64 => Field::U64(u64::MAX),
        Kind::Enum(_) => Field::EnumNumber(4711),
        Kind::Bytes => Field::Bytes(vec![0xff].into()),
        _ => return None,
    };
    match (field.is_list(), field.is_map()) {
        (_, true) => None,
        (true, false) => Some(Field::List(vec![value])),
        (false, false) => Some(value),
    }
}

#[tokio::test]
async fn whatever_goes_wrong_is_said_in_one_way() {
    let app = Running::start().await;
    let mut refused = 0;
    for method in methods() {
        for request in wrong(&method.input()) {
            if method.name() == "WaitForRevision" && request.fields().next().is_none() {
                // Nothing is wrong with it: it waits.
                continue;
            }
            let called = timeout(PATIENCE, app.call_by(&method, &request)).await.expect("every call is answered");
            let Err(status) = called else { continue };
            refused += 1;
            let (code, reason) = refusal(&status);
            let upper = reason.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
            assert!(upper && !reason.is_empty(), "{}: {reason}", method.full_name());
            assert!(
                !status.message().is_empty() && code != Code::Internal && code != Code::Unknown,
                "{}: {status}",
                method.full_name()
            );
        }
    }
    assert!(refused > methods().len(), "nonsense is refused nearly everywhere: {refused}");
    app.stop().await;
}
