//! pool: a pool of upstream tokens, and a conversation that is made anew for each chat.

use std::time::Duration;

use signalbox_proto::{
    admin::v1::{Provider, Redirect},
    config::v1::{Callers, Conversation, CredentialChoice, Dialect, LogLevel, Retry, Timeouts, redirect::Target},
};

use super::{
    Error,
    draft::{Draft, address, id, wire},
    variables::Variables,
};

const ID: &str = "pool";

/// Most attempts of a request.
const MAX_ATTEMPTS: u32 = 100;

pub(super) fn read(variables: &mut Variables) -> Result<Draft, Error> {
    let mut draft = Draft::new();
    let models = variables.list("AVAILABLE_MODELS")?;
    let tokens = variables.list("TOKEN_POOL")?;
    let provider = provider(variables, &models, &tokens)?;
    draft.provider(provider);
    for (index, token) in tokens.into_iter().enumerate() {
        draft.credential(ID, &format!("token-{}", index + 1), token);
    }
    for model in models {
        draft.config.redirects.push(bare(model));
    }
    callers(variables, &mut draft)?;
    if variables.flag("DEBUG", false)? {
        draft.settings().log_level = LogLevel::Debug.into();
    }
    if variables.text("APP_NAME").is_some() {
        draft.note("APP_NAME", "is not shown: `/` names this gateway");
    }
    draft.note(
        "RETRY_DELAY",
        "is the longest that the first wait may be, not its exact length: waits are drawn at random",
    );
    let host = variables.text("HOST");
    let port = variables.number("PORT", 3333)?;
    draft.listen(host.as_deref(), port);
    variables.note_rest(&mut draft);
    Ok(draft)
}

/// Who may call.
fn callers(variables: &mut Variables, draft: &mut Draft) -> Result<(), Error> {
    let keys = variables.list("API_KEYS")?;
    for (index, key) in keys.iter().enumerate() {
        draft.client_key(&format!("API_KEYS[{index}]"), &format!("{ID}-{}", index + 1), key)?;
    }
    if variables.flag("REQUIRE_API_KEY", true)? {
        if keys.is_empty() {
            draft.note("API_KEYS", "has none: nobody can call");
        }
        return Ok(());
    }
    for provider in &mut draft.config.providers {
        provider.callers = Callers::Anyone.into();
    }
    draft.settings().keyless_models = true;
    Ok(())
}

fn provider(variables: &mut Variables, models: &[String], tokens: &[String]) -> Result<Provider, Error> {
    let chat_url = variables.required("TARGET_API_URL", "it is the upstream's address for chats")?;
    let create_url = url(variables, "CONVERSATION_API_URL")?;
    let referer = url(variables, "MESSAGE_API_URL")?;
    let timeout = variables.seconds("TIMEOUT", Duration::from_secs(30))?;
    let retries = variables.number("MAX_RETRIES", 3_u32)?;
    let delay = delay(variables)?;
    let per_token = retries.saturating_add(1).min(MAX_ATTEMPTS);
    let attempts =
        per_token.saturating_mul(u32::try_from(tokens.len().max(1)).unwrap_or(MAX_ATTEMPTS)).min(MAX_ATTEMPTS);
    let longest_delay = delay.saturating_mul(2_u32.saturating_pow(retries));
    let headers = (!referer.is_empty())
        .then(|| ("referer".to_owned(), format!("{}/{{conversation_id}}", referer.trim_end_matches('/'))));
    Ok(Provider {
        name: format!("providers/{ID}"),
        dialect: Dialect::Conversation.into(),
        chat_url: address("TARGET_API_URL", &chat_url)?,
        probe_url: url(variables, "PROJECT_API_URL")?,
        models: models.to_vec(),
        credential_choice: CredentialChoice::LeastRecentlyUsed.into(),
        conversation: Some(Conversation {
            create_url,
            headers: headers.into_iter().collect(),
            ..Conversation::default()
        }),
        timeouts: Some(Timeouts {
            connect: wire(timeout),
            response_header: wire(timeout),
            first_event: wire(timeout),
            stream_idle: wire(timeout),
            // Nothing but the number of attempts ended a request.
            total: wire(timeout.saturating_add(longest_delay).saturating_mul(attempts)),
        }),
        retry: Some(Retry {
            attempts: Some(attempts),
            attempts_per_credential: Some(per_token),
            backoff_base: wire(delay),
            backoff_cap: wire(longest_delay),
            // Beside 429, which is tried again in any case.
            statuses: vec![502, 503, 504],
            ..Retry::default()
        }),
        ..Provider::default()
    })
}

/// The shortest wait that can be told from none stands for none.
fn delay(variables: &mut Variables) -> Result<Duration, Error> {
    let text = variables.text("RETRY_DELAY").unwrap_or_else(|| "1.0".to_owned());
    if text.parse().is_ok_and(|seconds: f64| seconds == 0.0) {
        return Ok(Duration::from_millis(1));
    }
    super::draft::seconds("RETRY_DELAY", text.parse().unwrap_or(f64::NAN))
}

fn url(variables: &mut Variables, name: &'static str) -> Result<String, Error> {
    variables.text(name).map_or_else(|| Ok(String::new()), |text| address(name, &text))
}

/// The bare name is listed too, as it was.
fn bare(model: String) -> Redirect {
    Redirect {
        name: format!("redirects/{}", id(&model)),
        from: model.clone(),
        targets: vec![Target { provider: ID.to_owned(), model, ..Target::default() }],
        ..Redirect::default()
    }
}
