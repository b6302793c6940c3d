//! aggregator: many providers behind one name space, and tokens of those who may call.

use regex::Regex;
use serde::Deserialize;
use signalbox_proto::{
    admin::v1::Provider,
    config::v1::{Dialect, Discovery, LogLevel, Pool, Timeouts},
};

use super::{
    Error,
    draft::{Draft, address, seconds, wire},
    json,
};

/// What there is where the file does not say.
const PORT: u16 = 8080;

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct File {
    host: Option<String>,
    port: Option<u16>,
    log_level: Option<String>,
    providers: Vec<String>,
    #[serde(default)]
    tokens: Vec<String>,
    #[serde(default)]
    supported_models: Vec<String>,
    max_connections: Option<u32>,
    max_keepalive_connections: Option<u32>,
    keepalive_expiry: Option<f64>,
    stream_timeout: Option<f64>,
    non_stream_timeout: Option<f64>,
    max_response_size: Option<u64>,
}

pub(super) fn read(text: &str) -> Result<Draft, Error> {
    let mut draft = Draft::new();
    let file: File = json::read(text, &mut draft)?;
    let shared = shared(&file)?;
    for (index, line) in file.providers.iter().enumerate() {
        provider(&format!("providers[{index}]"), line, &shared, &mut draft)?;
    }
    for (index, line) in file.tokens.iter().enumerate() {
        token(index, line, &mut draft)?;
    }
    for (index, pattern) in file.supported_models.iter().enumerate() {
        let rule = "must be a regular expression without look-around and back-references, which are not known here";
        Regex::new(pattern).map_err(|_| Error::key(format!("supported_models[{index}]"), rule))?;
    }
    let log_level = log_level(file.log_level.as_deref(), &mut draft)?;
    let settings = draft.settings();
    settings.keyless_models = true;
    settings.model_filter = file.supported_models;
    settings.log_level = log_level.into();
    if file.providers.len() > 1 {
        draft.note(
            "max_connections, max_keepalive_connections",
            "hold for each provider by itself, and no longer for all together",
        );
    }
    draft.listen(file.host.as_deref(), file.port.unwrap_or(PORT));
    Ok(draft)
}

/// What all providers have in common.
fn shared(file: &File) -> Result<Provider, Error> {
    let stream = seconds("stream_timeout", file.stream_timeout.unwrap_or(300.0))?;
    let plain = seconds("non_stream_timeout", file.non_stream_timeout.unwrap_or(30.0))?;
    Ok(Provider {
        dialect: Dialect::Openai.into(),
        discovery: Some(Discovery::default()),
        timeouts: Some(Timeouts {
            // It begins before anybody can tell a stream from a plain answer, which `total` ends in time.
            response_header: wire(stream.max(plain)),
            first_event: wire(stream),
            stream_idle: wire(stream),
            total: wire(plain),
            ..Timeouts::default()
        }),
        pool: Some(Pool {
            max_idle: Some(file.max_keepalive_connections.unwrap_or(20)),
            idle_timeout: wire(seconds("keepalive_expiry", file.keepalive_expiry.unwrap_or(30.0))?),
            max_connections: Some(file.max_connections.unwrap_or(100)),
            ..Pool::default()
        }),
        max_response_bytes: Some(file.max_response_size.unwrap_or(10 * 1024 * 1024)),
        ..Provider::default()
    })
}

fn provider(place: &str, line: &str, shared: &Provider, draft: &mut Draft) -> Result<(), Error> {
    let mut parts = line.splitn(3, '|').map(str::trim);
    let (Some(name), Some(url)) = (parts.next().filter(|name| !name.is_empty()), parts.next()) else {
        return Err(Error::key(place, "must be `name|base_url|api_key`"));
    };
    if name.contains(['/', '*']) {
        return Err(Error::key(place, "has a name with `/` or `*`, which no model could be asked for by"));
    }
    let id = draft.id(name);
    draft.provider(Provider {
        name: format!("providers/{id}"),
        base_url: address(place, url)?,
        model_prefix: if id == name { String::new() } else { name.to_owned() },
        ..shared.clone()
    });
    if let Some(key) = parts.next().filter(|key| !key.is_empty()) {
        draft.credential(&id, "main", key.to_owned());
    }
    Ok(())
}

fn token(index: usize, line: &str, draft: &mut Draft) -> Result<(), Error> {
    let place = format!("tokens[{index}]");
    match line.split_once('|') {
        Some((description, token)) => draft.client_key(&place, description.trim(), token.trim()),
        None => Err(Error::key(place, "must be `description|token`")),
    }
}

fn log_level(text: Option<&str>, draft: &mut Draft) -> Result<LogLevel, Error> {
    match text.map(str::to_ascii_uppercase).as_deref() {
        None | Some("WARNING" | "WARN") => Ok(LogLevel::Warn),
        Some("DEBUG") => Ok(LogLevel::Debug),
        Some("INFO") => Ok(LogLevel::Info),
        Some("ERROR") => Ok(LogLevel::Error),
        Some("CRITICAL") => {
            draft.note("log_level", "is ERROR here, as there is nothing above it");
            Ok(LogLevel::Error)
        }
        Some(_) => Err(Error::key("log_level", "must be DEBUG, INFO, WARNING, ERROR or CRITICAL")),
    }
}
