//! This gateway's own words: `admin.v1.Config` in proto JSON, written as JSON or as YAML.

use prost_reflect::DynamicMessage;
use serde::de::DeserializeSeed as _;
use serde_json::{Map, Value};
use serde_path_to_error::Track;
use signalbox_proto::admin::v1::Config;

use super::{Error, Format, draft::Draft, json};

pub(super) fn read(text: &str) -> Result<Draft, Error> {
    let mut draft = Draft::new();
    let mut documents = documents(text)?.into_iter();
    draft.config = documents.next().unwrap_or_default();
    match documents.next() {
        None => Ok(draft),
        Some(_) => Err(Error::Several),
    }
}

/// Every document of a text: one of JSON, any number of YAML.
pub(super) fn documents(text: &str) -> Result<Vec<Config>, Error> {
    if text.trim_start().starts_with('{') {
        return Ok(vec![typed(&json::read_config(text)?)]);
    }
    let values = yaml(text)?;
    let alone = values.len() == 1;
    let placed = |number: usize, fault: Error| if alone { on_its_line(text, fault) } else { fault.in_document(number) };
    let read = |(index, value)| match json::config_of::<Value>(value) {
        Ok(read) => Ok(typed(&read)),
        Err(fault) => Err(placed(index + 1, fault)),
    };
    values.into_iter().enumerate().map(read).collect()
}

fn typed(read: &DynamicMessage) -> Config {
    #[expect(clippy::expect_used, reason = "the type and the descriptor are generated from one schema")]
    read.transcode_to().expect("a generated type has the fields of its schema")
}

fn yaml(text: &str) -> Result<Vec<Value>, Error> {
    serde_saphyr::from_multiple(text).map_err(|error| {
        let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
        let (line, column) =
            (usize::try_from(line).unwrap_or(usize::MAX), usize::try_from(column).unwrap_or(usize::MAX));
        // Its own words may hold what is there.
        Error::Syntax { line, column, problem: "is no YAML that can be read, and no other format".to_owned() }
    })
}

/// The same fault with the line that it is on: a value knows its key and not its place, so that the text is read again.
fn on_its_line(text: &str, fault: Error) -> Error {
    let mut track = Track::new();
    let read = serde_saphyr::with_deserializer_from_str(text, |yaml| {
        json::schema().deserialize(serde_path_to_error::Deserializer::new(yaml, &mut track)).map(drop)
    });
    let place = read.err().and_then(|error| usize::try_from(error.location()?.line()).ok());
    match (fault, place) {
        (Error::Key { key, line: None, rule }, Some(line)) if key == json::key(&track.path()) => {
            Error::Key { key, line: Some(line), rule }
        }
        (fault, _) => fault,
    }
}

/// The format that a YAML document is of.
pub(super) fn recognise(text: &str) -> Result<Format, Error> {
    match yaml(text)?.first() {
        Some(Value::Object(keys)) => json::of_keys(keys),
        _ => json::of_keys(&Map::new()),
    }
}
