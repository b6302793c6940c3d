//! Client keys: making, replacing and revoking them. The text of a key passes through once, to standard output, and nowhere else.

use std::time::Duration;

use clap::{Args, Subcommand};
use signalbox_proto::{
    admin::v1::{ClientKey, CreateClientKeyRequest, RotateClientKeyRequest, RotateClientKeyResponse},
    config::v1::Limits,
};

use super::{
    On, Session,
    apply::label,
    error::Error,
    fleet,
    get::{Delete, Get},
    moment,
    view::{self, Done},
};

/// What to do with client keys.
#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Make a key, and show it: it is shown only this once
    Create(On<Create>),
    /// Make a successor with the same rights, and let the old key expire after an overlap
    Rotate(On<Rotate>),
    /// Remove a key, so that every data plane refuses it
    Revoke(On<Revoke>),
    /// List the keys
    List(On<List>),
}

/// The flags of `keys create`.
#[derive(Debug, Args)]
pub struct Create {
    /// The last part of its name
    pub id: String,
    /// The models that it may ask for, with * for any run of characters [default: every model]
    #[arg(long, value_name = "MODEL,…", value_delimiter = ',')]
    pub models: Vec<String>,
    /// When it ends: so long from now, such as 30d, or a moment, such as 2027-01-01T00:00:00Z [default: never]
    #[arg(long, value_name = "TIME", value_parser = moment::point)]
    pub expire: Option<prost_types::Timestamp>,
    /// A label; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    pub label: Vec<(String, String)>,
    /// What people call it
    #[arg(long, value_name = "WORDS", default_value = "")]
    pub display_name: String,
    /// Requests a minute, on each data plane
    #[arg(long, value_name = "N")]
    pub rpm: Option<u32>,
    /// Tokens a minute, on each data plane
    #[arg(long, value_name = "N")]
    pub tpm: Option<u32>,
    /// Requests under way at once, on each data plane
    #[arg(long, value_name = "N")]
    pub max_in_flight: Option<u32>,
    /// Print the key and nothing else: KEY=$(signalbox keys create ci -q)
    #[arg(short, long)]
    pub quiet: bool,
    /// Wait until every connected data plane takes it
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "60s", value_parser = moment::length)]
    pub wait: Option<Duration>,
}

/// The flags of `keys rotate`.
#[derive(Debug, Args)]
pub struct Rotate {
    /// The key that is to go
    pub id: String,
    /// How long both are taken; 0s = the old one is refused at once
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = moment::length)]
    pub overlap: Duration,
    /// The last part of the successor's name [default: the old one with -2, -3 and so on]
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    pub successor: String,
    /// Print the new key and nothing else
    #[arg(short, long)]
    pub quiet: bool,
    /// Wait until every connected data plane takes it
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "60s", value_parser = moment::length)]
    pub wait: Option<Duration>,
}

/// The flags of `keys revoke`.
#[derive(Debug, Args)]
pub struct Revoke {
    /// The key
    pub id: String,
    /// Change nothing, and say what that would mean
    #[arg(long)]
    pub dry_run: bool,
    /// Wait until no connected data plane takes it any longer, and say which have not answered
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "60s", value_parser = moment::length)]
    pub wait: Option<Duration>,
}

/// The flags of `keys list`.
#[derive(Debug, Args)]
pub struct List {
    /// Only what matches, such as `labels.team = a AND disabled = false`
    #[arg(long, value_name = "FILTER", default_value = "")]
    pub filter: String,
}

impl Keys {
    /// Carries it out.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn run(&self) -> Result<Done, Error> {
        match self {
            Self::Create(on) => on.what.run(&on.session()?.quiet(on.what.quiet)).await,
            Self::Rotate(on) => on.what.run(&on.session()?.quiet(on.what.quiet)).await,
            Self::Revoke(on) => on.what.run(&on.session()?).await,
            Self::List(on) => {
                let get = Get {
                    kind: "keys".to_owned(),
                    name: None,
                    filter: on.what.filter.clone(),
                    revision: 0,
                    limit: None,
                };
                get.run(&on.session()?).await
            }
        }
    }
}

impl Create {
    async fn run(&self, session: &Session) -> Result<Done, Error> {
        let limits = Limits {
            requests_per_minute: self.rpm,
            tokens_per_minute: self.tpm.map(Into::into),
            max_in_flight: self.max_in_flight,
        };
        let key = ClientKey {
            allowed_models: self.models.clone(),
            expire_time: self.expire,
            display_name: self.display_name.clone(),
            limits: (limits != Limits::default()).then_some(limits),
            labels: self.label.iter().cloned().collect(),
            ..ClientKey::default()
        };
        let request = CreateClientKeyRequest {
            client_key_id: self.id.clone(),
            client_key: Some(key),
            validate_only: false,
            request_id: session.request_id(),
        };
        let answer = session.control.call("ClientKeyService/CreateClientKey", &request).await?;
        let made: ClientKey = answer.read()?;
        let done = Shown { key: &made, note: String::new() }.show(session, &view::json(answer.message()))?;
        Ok(fleet::after(session, done, made.revision, self.wait).await)
    }
}

impl Rotate {
    async fn run(&self, session: &Session) -> Result<Done, Error> {
        let request = RotateClientKeyRequest {
            name: name(&self.id)?,
            successor_id: self.successor.clone(),
            overlap: Some(moment::proto(self.overlap)),
            request_id: session.request_id(),
            ..RotateClientKeyRequest::default()
        };
        let answer = session.control.call("ClientKeyService/RotateClientKey", &request).await?;
        let RotateClientKeyResponse { successor, predecessor } = answer.read()?;
        let (made, old) = (successor.unwrap_or_default(), predecessor.unwrap_or_default());
        let until = old.expire_time.map(|time| time.to_string()).unwrap_or_default();
        let end = made.expire_time.map(|time| format!("{} ends as the old one would have, at {time}.\n", made.name));
        let note = format!("{} is taken until {until}.\n{}", old.name, end.unwrap_or_default());
        let done = Shown { key: &made, note }.show(session, &view::json(answer.message()))?;
        Ok(fleet::after(session, done, made.revision, self.wait).await)
    }
}

impl Revoke {
    async fn run(&self, session: &Session) -> Result<Done, Error> {
        let delete = Delete {
            kind: "keys".to_owned(),
            name: Some(self.id.clone()),
            force: false,
            dry_run: self.dry_run,
            allow_missing: false,
            wait: self.wait,
        };
        delete.run(session).await
    }
}

/// A key that has just been made.
struct Shown<'k> {
    key: &'k ClientKey,
    note: String,
}

impl Shown<'_> {
    fn show(&self, session: &Session, value: &serde_json::Value) -> Result<Done, Error> {
        let ClientKey { name, secret, revision, .. } = self.key;
        if secret.is_empty() {
            return Err(Error::SecretLost { name: name.clone() });
        }
        if session.quiet {
            return Ok(Done::with(format!("{secret}\n")));
        }
        let text = session.view.show(value, Some(name.clone()), || {
            let note = &self.note;
            format!("{name} is made, as revision {revision}. Its text is shown only now:\n\n{secret}\n\n{note}")
        })?;
        Ok(Done::with(text))
    }
}

fn name(id: &str) -> Result<String, Error> {
    let named = super::kind::Named::read("keys", Some(id))?;
    Ok(named.name.unwrap_or_default())
}
