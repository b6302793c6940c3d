//! This gateway's own words: `admin.v1.Config` in proto JSON, written as JSON or as YAML.

use serde_json::{Map, Value};
use signalbox_proto::admin::v1::Config;

use super::{Error, Format, draft::Draft, json};

pub(super) fn read(text: &str) -> Result<Draft, Error> {
    let read =
        if text.trim_start().starts_with('{') { json::read_config(text)? } else { json::config_of(yaml(text)?)? };
    #[expect(clippy::expect_used, reason = "the type and the descriptor are generated from one schema")]
    let config: Config = read.transcode_to().expect("a generated type has the fields of its schema");
    let mut draft = Draft::new();
    draft.config = config;
    Ok(draft)
}

/// The format that a YAML document is of.
pub(super) fn recognise(text: &str) -> Result<Format, Error> {
    match yaml(text)? {
        Value::Object(keys) => json::of_keys(&keys),
        _ => json::of_keys(&Map::new()),
    }
}

fn yaml(text: &str) -> Result<Value, Error> {
    serde_saphyr::from_str(text).map_err(|error| {
        let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
        let (line, column) =
            (usize::try_from(line).unwrap_or(usize::MAX), usize::try_from(column).unwrap_or(usize::MAX));
        // Its own words may hold what is there.
        Error::Syntax { line, column, problem: "is no YAML that can be read, and no other format".to_owned() }
    })
}
