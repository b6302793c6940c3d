//! Who may call the admin API, and who did: `tokens` and `audit`.

use clap::{Args, Subcommand, ValueEnum};
use signalbox_proto::admin::v1::{self as admin, AdminToken, CreateAdminTokenRequest};

use super::{
    On, Session,
    error::Error,
    get::{Delete, Get},
    moment,
    view::{self, Done},
};

/// What to do with admin tokens.
#[derive(Debug, Subcommand)]
pub enum Tokens {
    /// Make a token, and show it: it is shown only this once
    Create(On<Create>),
    /// List the tokens
    List(On<List>),
    /// Remove a token, so that it is refused from now on
    Delete(On<Remove>),
}

/// The flags of `tokens create`.
#[derive(Debug, Args)]
pub struct Create {
    /// The last part of its name, and the actor in history and audit
    pub id: String,
    /// What it may do
    #[arg(long, value_name = "ROLE")]
    pub role: Role,
    /// When it ends: so long from now, such as 30d, or a moment, such as 2027-01-01T00:00:00Z [default: never]
    #[arg(long, value_name = "TIME", value_parser = moment::point)]
    pub expire: Option<prost_types::Timestamp>,
    /// No secret: whoever presents a client certificate of this name
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub certificate_name: String,
    /// What people call it
    #[arg(long, value_name = "WORDS", default_value = "", hide_default_value = true)]
    pub display_name: String,
    /// Print the token and nothing else
    #[arg(short, long)]
    pub quiet: bool,
}

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Reads everything but tokens and audit
    Viewer,
    /// And changes the configuration
    Operator,
    /// Client keys, and nothing else
    KeyIssuer,
    /// Everything
    Admin,
}

impl Role {
    const fn proto(self) -> admin::Role {
        match self {
            Self::Viewer => admin::Role::Viewer,
            Self::Operator => admin::Role::Operator,
            Self::KeyIssuer => admin::Role::KeyIssuer,
            Self::Admin => admin::Role::Admin,
        }
    }
}

/// The flags of `tokens list`: none of its own.
#[derive(Debug, Args)]
pub struct List {}

/// The flags of `tokens delete`.
#[derive(Debug, Args)]
pub struct Remove {
    /// Its id
    pub id: String,
}

/// The flags of `audit`.
#[derive(Debug, Args)]
pub struct Audit {
    /// Only what matches, such as `actor = ci AND code != OK`
    #[arg(long, value_name = "FILTER", default_value = "", hide_default_value = true)]
    pub filter: String,
    /// At most this many, the newest first
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: usize,
}

impl Tokens {
    /// Carries it out.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn run(&self) -> Result<Done, Error> {
        match self {
            Self::Create(on) => on.what.run(&on.session()?.quiet(on.what.quiet)).await,
            Self::List(on) => {
                let all =
                    Get { kind: "tokens".to_owned(), name: None, filter: String::new(), revision: 0, limit: None };
                all.run(&on.session()?).await
            }
            Self::Delete(on) => {
                let delete = Delete {
                    kind: "tokens".to_owned(),
                    name: Some(on.what.id.clone()),
                    force: false,
                    dry_run: false,
                    allow_missing: false,
                    wait: None,
                };
                delete.run(&on.session()?).await
            }
        }
    }
}

impl Create {
    async fn run(&self, session: &Session) -> Result<Done, Error> {
        let token = AdminToken {
            role: self.role.proto().into(),
            expire_time: self.expire,
            display_name: self.display_name.clone(),
            certificate_name: self.certificate_name.clone(),
            ..AdminToken::default()
        };
        let request =
            CreateAdminTokenRequest { admin_token_id: self.id.clone(), admin_token: Some(token), validate_only: false };
        let answer = session.control.call("AdminTokenService/CreateAdminToken", &request).await?;
        let AdminToken { name, secret, certificate_name, .. } = answer.read()?;
        if session.quiet && !secret.is_empty() {
            return Ok(Done::with(format!("{secret}\n")));
        }
        let text = session.view.show(&view::json(answer.message()), Some(name.clone()), || {
            if secret.is_empty() {
                format!("{name} is made, for whoever presents a certificate of {certificate_name}.\n")
            } else {
                format!("{name} is made. Its text is shown only now:\n\n{secret}\n")
            }
        })?;
        Ok(Done::with(text))
    }
}

impl Audit {
    /// Shows who did what, and who was refused.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn run(&self, session: &Session) -> Result<Done, Error> {
        let get = Get {
            kind: "audit".to_owned(),
            name: None,
            filter: self.filter.clone(),
            revision: 0,
            limit: Some(self.limit),
        };
        get.run(session).await
    }
}
