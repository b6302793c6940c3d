//! The operator's client: every call of the admin API as a command for people and for scripts. It is a client like any other, and knows no
//! more than the schemas say.

use std::{io, path::PathBuf, process::ExitCode};

use clap::{Args, CommandFactory, Subcommand};
use clap_complete::Shell;
use uuid::Uuid;

use crate::connection::Connection;

pub mod apply;
pub mod context;
pub mod control;
pub mod doctor;
pub mod document;
pub mod error;
pub mod explain;
pub mod fleet;
pub mod get;
pub mod history;
pub mod keys;
pub mod kind;
pub mod moment;
pub mod outcome;
pub mod tokens;
pub mod view;

use control::Control;
pub use error::{EXIT_CODES, Error, Exit};
use outcome::Paint;
use view::{Done, View};

/// What an operator can ask for.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Bring documents about, in one revision; this makes and changes resources of every kind
    Apply(On<apply::Apply>),
    /// Say what applying documents would change, and what that would mean; exit with 3 if anything
    Diff(On<apply::Diff>),
    /// Say what is wrong with documents
    Validate(On<apply::Validate>),
    /// Print the configuration as a document that `apply` takes
    Export(On<apply::Export>),
    /// Show resources: providers, credentials, keys, redirects, routes, settings, replicas, revisions, tokens, audit
    Get(On<get::Get>),
    /// Remove a resource
    Delete(On<get::Delete>),
    /// Make, rotate, revoke and list client keys
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Say where a request would go, step by step, and why not elsewhere
    Explain(On<explain::Explain>),
    /// Show the history, or what one revision changed
    Revisions(On<history::Revisions>),
    /// Make the content of an old revision current again
    Rollback(On<history::Rollback>),
    /// Show the data planes and what they serve
    Replicas(On<Replicas>),
    /// Wait until a revision is in force, or say where it is not and why
    Wait(On<fleet::Wait>),
    /// Make, list and remove admin tokens
    #[command(subcommand)]
    Tokens(tokens::Tokens),
    /// Show who did what, and who was refused
    Audit(On<tokens::Audit>),
    /// Look at everything from outside, and say what is well, what is worth a look and what is broken
    Doctor(On<doctor::Doctor>),
    /// Keep the addresses and tokens of control planes by name
    #[command(subcommand)]
    Context(context::Context),
    /// Print what a shell needs to complete these commands
    Completions {
        /// Which shell
        shell: Shell,
    },
}

/// The flags of `replicas`.
#[derive(Debug, Args)]
pub struct Replicas {
    /// One of them [default: all]
    pub id: Option<String>,
    /// Only what matches, such as `state = STATE_LAGGING`
    #[arg(long, value_name = "FILTER", default_value = "", hide_default_value = true)]
    pub filter: String,
}

/// A command and the control plane that it is for.
#[derive(Debug, Args)]
pub struct On<T: Args> {
    /// What is asked for.
    #[command(flatten)]
    pub what: T,
    /// Whom.
    #[command(flatten)]
    pub connection: Connection,
    /// And how the answer is shown.
    #[command(flatten)]
    pub view: View,
}

impl<T: Args> On<T> {
    /// A control plane to ask.
    ///
    /// # Errors
    /// [`Error::Connection`] above all.
    pub fn session(&self) -> Result<Session, Error> {
        let target = self.connection.target()?;
        let ca = target.ca.clone();
        let folder = target.address.is_near().then(|| self.connection.data_dir.clone());
        Ok(Session { control: Control::at(target)?, view: self.view.clone(), quiet: false, ca, folder })
    }
}

/// A control plane to ask, and how its answers are shown.
pub struct Session {
    control: Control,
    view: View,
    /// Whether a secret is all that is to be shown.
    quiet: bool,
    /// Who may have signed the control plane's certificate; `None` = whoever this machine trusts.
    ca: Option<PathBuf>,
    /// Where the control plane keeps its files; `None` = on another machine.
    folder: Option<PathBuf>,
}

impl Session {
    fn quiet(self, quiet: bool) -> Self {
        Self { quiet, ..self }
    }

    fn paint(&self) -> Paint {
        Paint(self.view.colored())
    }

    /// A new id for a change, so that asking again after a broken connection does it once.
    fn request_id(&self) -> String {
        Uuid::new_v4().to_string()
    }
}

/// Carries a command out, says what came of it, and how it ended. `C` is the whole command line, for completions.
pub async fn run<C: CommandFactory>(command: Command) -> ExitCode {
    let exit = match Box::pin(command.run::<C>()).await {
        Ok(Done { text, exit }) => match view::print(&text) {
            Ok(()) => exit,
            Err(error) => refuse(&error.into()),
        },
        Err(error) => refuse(&error),
    };
    ExitCode::from(exit as u8)
}

fn refuse(error: &Error) -> Exit {
    let mut words = format!("error: {error}");
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        words.push_str(&format!(": {source}"));
        cause = source.source();
    }
    view::tell(&words);
    if let Some(advice) = error.advice() {
        view::tell(&format!("next: {advice}"));
    }
    error.exit()
}

impl Command {
    async fn run<C: CommandFactory>(self) -> Result<Done, Error> {
        match self {
            Self::Apply(on) => on.what.run(&on.session()?).await,
            Self::Diff(on) => on.what.run(&on.session()?).await,
            Self::Validate(on) => on.what.run(&on.session()?).await,
            Self::Export(on) => on.what.run(&on.session()?).await,
            Self::Get(on) => on.what.run(&on.session()?).await,
            Self::Delete(on) => on.what.run(&on.session()?).await,
            Self::Keys(keys) => keys.run().await,
            Self::Explain(on) => on.what.run(&on.session()?).await,
            Self::Revisions(on) => on.what.run(&on.session()?).await,
            Self::Rollback(on) => on.what.run(&on.session()?).await,
            Self::Replicas(on) => on.what.run(&on.session()?).await,
            Self::Wait(on) => on.what.run(&on.session()?).await,
            Self::Tokens(tokens) => tokens.run().await,
            Self::Audit(on) => on.what.run(&on.session()?).await,
            Self::Doctor(on) => on.what.run(&on.session()?).await,
            Self::Context(context) => context.run(),
            Self::Completions { shell } => Ok(Done::with(completions::<C>(shell)?)),
        }
    }
}

impl Replicas {
    async fn run(&self, session: &Session) -> Result<Done, Error> {
        let get = get::Get {
            kind: "replicas".to_owned(),
            name: self.id.clone(),
            filter: self.filter.clone(),
            revision: 0,
            limit: None,
        };
        get.run(session).await
    }
}

fn completions<C: CommandFactory>(shell: Shell) -> Result<String, Error> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut C::command(), "signalbox", &mut script);
    String::from_utf8(script).map_err(|_| Error::Output(io::ErrorKind::InvalidData.into()))
}
