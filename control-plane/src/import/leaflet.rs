//! leaflet: one upstream, which gets the caller's own key, or a static one where the caller has none.

use std::time::Duration;

use signalbox_proto::{
    admin::v1::Provider,
    config::v1::{Callers, Cors, CredentialSource, Dialect, Discovery, Pool, Retry, Timeouts},
};

use super::{
    Error,
    draft::{Draft, address, wire},
    variables::Variables,
};

const ID: &str = "leaflet";

pub(super) fn read(variables: &mut Variables) -> Result<Draft, Error> {
    let mut draft = Draft::new();
    let base_url =
        variables.required("UPSTREAM_BASE_URL", "it is the address of the upstream's API, which ends in /v1")?;
    let connect = variables.seconds("CONNECT_TIMEOUT", Duration::from_secs(5))?;
    let read = variables.seconds("READ_TIMEOUT", Duration::from_secs(600))?;
    let attempts = variables.number("RETRY_TIMES", 2_u32)?.saturating_add(1);
    draft.provider(Provider {
        name: format!("providers/{ID}"),
        dialect: Dialect::Openai.into(),
        base_url: address("UPSTREAM_BASE_URL", &base_url)?,
        callers: Callers::Anyone.into(),
        credential_source: CredentialSource::Client.into(),
        credential_prefixes: vec!["Bearer ".to_owned(), "sk-".to_owned()],
        discovery: Some(Discovery::default()),
        // The one clock there was held for each read by itself, whatever was waited for.
        timeouts: Some(Timeouts {
            connect: wire(connect),
            response_header: wire(read),
            first_event: wire(read),
            stream_idle: wire(read),
            total: wire(read.saturating_mul(attempts)),
        }),
        pool: Some(Pool {
            max_idle: Some(variables.number("MAX_KEEPALIVE", 100)?),
            max_connections: Some(variables.number("MAX_CONNECTIONS", 200)?),
            ..Pool::default()
        }),
        retry: Some(Retry { attempts: Some(attempts), ..Retry::default() }),
        ..Provider::default()
    });
    if let Some(secret) = variables.text("STATIC_API_KEY") {
        draft.credential(ID, "static", secret);
    }
    let settings = draft.settings();
    ID.clone_into(&mut settings.default_provider);
    settings.keyless_models = true;
    settings.cors = Some(Cors { allowed_origins: vec!["*".to_owned()], ..Cors::default() });
    draft.note(
        "models",
        format!("are listed by their full names, such as `{ID}/gpt-4o`; bare names can be asked for all the same"),
    );
    let host = variables.text("HOST");
    let port = variables.number("PORT", 8080)?;
    draft.listen(host.as_deref(), port);
    variables.note_rest(&mut draft);
    Ok(draft)
}
