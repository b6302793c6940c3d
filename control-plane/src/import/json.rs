//! Reads JSON into what a format is made of: it says where a fault is, and which keys nobody knows. It never repeats a value.

use prost_reflect::{DynamicMessage, MessageDescriptor};
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer};
use serde_json::{Map, Value, error::Category};
use serde_path_to_error::{Path, Track};
use signalbox_proto::DESCRIPTORS;

use super::{Error, Format, draft::Draft};
use crate::proto_json::problem;

/// The message that a configuration in this gateway's own words is.
const CONFIG: &str = "signalbox.admin.v1.Config";

/// Reads a document. Keys that the format does not know are noted.
pub(super) fn read<T: DeserializeOwned>(text: &str, draft: &mut Draft) -> Result<T, Error> {
    let (mut json, mut track) = (serde_json::Deserializer::from_str(text), Track::new());
    let mut unknown = Vec::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
    let read = serde_ignored::deserialize(tracked, |path| unknown.push(path.to_string()));
    let path = track.path();
    let read = read.and_then(|read| json.end().map(|()| read)).map_err(|error| fault(&error, &path))?;
    for key in unknown {
        draft.note(key, "is not known here, and is left out");
    }
    Ok(read)
}

/// Reads a document in this gateway's own words.
pub(super) fn read_config(text: &str) -> Result<DynamicMessage, Error> {
    let mut json = serde_json::Deserializer::from_str(text);
    let read = config_of(&mut json)?;
    json.end().map_err(|error| fault(&error, &Track::new().path()))?;
    Ok(read)
}

/// The same, from what has been read already.
pub(super) fn config_of<'de, D>(deserializer: D) -> Result<DynamicMessage, Error>
where
    D: Deserializer<'de, Error = serde_json::Error>,
{
    let mut track = Track::new();
    let tracked = serde_path_to_error::Deserializer::new(deserializer, &mut track);
    schema().deserialize(tracked).map_err(|error| fault(&error, &track.path()))
}

/// What a document in this gateway's own words is made of.
pub(super) fn schema() -> MessageDescriptor {
    #[expect(clippy::expect_used, reason = "the schemas are compiled in, and a test reads one")]
    DESCRIPTORS.get_message_by_name(CONFIG).expect("there is a message for the whole configuration")
}

/// The format that an object is of.
pub(super) fn recognise(text: &str) -> Result<Format, Error> {
    let mut json = serde_json::Deserializer::from_str(text);
    let read =
        serde::Deserialize::deserialize(&mut json).and_then(|read: Map<String, Value>| json.end().map(|()| read));
    of_keys(&read.map_err(|error| fault(&error, &Track::new().path()))?)
}

/// The format that has these keys.
pub(super) fn of_keys(keys: &Map<String, Value>) -> Result<Format, Error> {
    let has = |known: &[&str]| known.iter().any(|key| keys.contains_key(*key));
    let texts =
        |key: &str| keys.get(key).and_then(Value::as_array).is_some_and(|list| list.iter().any(Value::is_string));
    if has(&["api", "allowed_keys", "model_redirects"]) {
        Ok(Format::Redirector)
    } else if keys.get("routes").is_some_and(Value::is_object) {
        Ok(Format::Router)
    } else if has(&["supported_models", "tokens"]) || texts("providers") {
        Ok(Format::Aggregator)
    } else if has(&["providers", "credentials", "clientKeys", "client_keys", "redirects", "routes", "settings"]) {
        Ok(Format::Signalbox)
    } else {
        Err(Error::unrecognised(keys.keys().map(String::as_str)))
    }
}

/// Where something is, for whoever wrote it.
pub(super) fn key(path: &Path) -> String {
    if path.iter().len() == 0 { "the document".to_owned() } else { path.to_string() }
}

/// The fault, without the values that the parser repeats.
fn fault(error: &serde_json::Error, path: &Path) -> Error {
    let (line, column) = (error.line(), error.column());
    let problem = problem(error);
    match error.classify() {
        // What is wrong with the text itself is said without its contents.
        Category::Syntax | Category::Eof | Category::Io => Error::Syntax { line, column, problem },
        Category::Data if path.iter().len() == 0 && line > 0 => Error::Syntax { line, column, problem },
        Category::Data => Error::Key { key: key(path), line: (line > 0).then_some(line), rule: problem.into() },
    }
}
