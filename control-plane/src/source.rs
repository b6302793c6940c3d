//! A file that is the configuration's source: read at the start, then watched, and read again when somebody asks. What it says is brought
//! about as one revision, with what it no longer says taken away; a file that cannot be used changes nothing.

use std::{future, io, path::PathBuf, time::Duration};

use signalbox_proto::admin::v1::{Config, Settings};
use signalbox_routing::{Finding, ResourceName};
use tokio::{
    fs,
    sync::{mpsc, oneshot},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::{
    admin::Whole,
    import::{self, Format, Import, overlay},
    ledger::{self, Edit, Entry, Ledger, Refused},
    message::Message,
    state::State,
};

mod flags;

pub use flags::Flags;

pub use crate::admin::InvalidDocument;

/// The label of everything that comes from a file.
const OWNER: (&str, &str) = ("managed-by", "config-file");

/// Who writes, as history has it.
pub(crate) const ACTOR: &str = "config-file";

/// Largest file that is read, in bytes.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Between two reads that must agree, so that no file is taken while it is being written.
const SETTLING: Duration = Duration::from_millis(100);

/// Reads of one change before it is left to the next look.
const MAX_READS: u32 = 20;

/// Faults that are named, of all that a file may have.
const MAX_FAULTS: usize = 10;

/// Questions that may wait for the file to be read.
const QUEUE: usize = 16;

/// Which file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Where it is.
    pub path: PathBuf,
    /// What it is written in; `None` = told by its keys.
    pub format: Option<Format>,
}

/// Why a file cannot be the source.
#[derive(Debug, thiserror::Error)]
#[error("{}: {fault}", path.display())]
pub struct Error {
    /// Where it is.
    pub path: PathBuf,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(io::Error),
    /// It is larger than any configuration.
    #[error("it has more than {MAX_BYTES} bytes")]
    TooLarge,
    /// It is still being written.
    #[error("it keeps changing")]
    Unsettled,
    /// It is no configuration.
    #[error(transparent)]
    Import(#[from] import::Error),
    /// A resource in it has no name that it could have.
    #[error(transparent)]
    Document(#[from] InvalidDocument),
    /// What it says breaks rules.
    #[error("{}", faults.join("; "))]
    Invalid {
        /// Each of them, in words.
        faults: Vec<String>,
    },
    /// No revision was made, for a reason that is not in the file.
    #[error("no revision was made: {0}")]
    Ledger(ledger::Error),
}

/// What came of a look at the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// There is none.
    NoFile,
    /// It says what is in force.
    Unchanged,
    /// It led to a revision.
    Applied,
    /// It cannot be used, for this reason.
    Refused(String),
}

/// Where the file is asked for. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reloads(Option<mpsc::Sender<oneshot::Sender<Outcome>>>);

/// A file that is the source.
#[derive(Debug)]
pub struct Source {
    options: Options,
    import: Import,
    /// The text that was tried last, whatever came of it.
    tried: String,
    /// What the settings were made to say.
    said: Settings,
    reloads: Reloads,
    asked: mpsc::Receiver<oneshot::Sender<Outcome>>,
}

impl Reloads {
    /// Asks. The answer never comes where the source is gone or has too much to do.
    pub(crate) fn ask(&self) -> oneshot::Receiver<Outcome> {
        let (asking, answer) = oneshot::channel();
        // Whoever is not heard drops the question, and with it the hope of an answer.
        match &self.0 {
            None => drop(asking.send(Outcome::NoFile)),
            Some(source) => drop(source.try_send(asking)),
        }
        answer
    }
}

impl Source {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// [`Error`] where it is no configuration.
    pub async fn open(options: Options) -> Result<Self, Error> {
        let failed = |fault| Error { path: options.path.clone(), fault };
        let tried = read(&options).await.map_err(failed)?;
        let import = parse(&tried, &options).map_err(|fault| failed(fault.into()))?;
        tracing::info!(file = %options.path.display(), format = %import.format, "the configuration comes from a file");
        for note in &import.notes {
            tracing::info!(file = %options.path.display(), "`{}` {}", note.key, note.text);
        }
        let (sender, asked) = mpsc::channel(QUEUE);
        Ok(Self { options, import, tried, said: Settings::default(), reloads: Reloads(Some(sender)), asked })
    }

    /// What the file says.
    #[must_use]
    pub const fn import(&self) -> &Import {
        &self.import
    }

    /// Where it is asked for.
    pub(crate) fn reloads(&self) -> Reloads {
        self.reloads.clone()
    }

    /// Brings about what the file said when it was opened.
    ///
    /// # Errors
    /// [`Error`] where it cannot be in force.
    pub async fn begin(&mut self, ledger: &Ledger) -> Result<(), Error> {
        let import = self.import.clone();
        let applied = self.apply(import, ledger).await;
        applied.map(drop).map_err(|fault| Error { path: self.options.path.clone(), fault })
    }

    /// Follows the file until told to stop.
    pub(crate) async fn run(mut self, ledger: Ledger, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(asking) = self.asked.recv() => {
                    let outcome = self.look(&ledger, true).await;
                    // Whoever asked may have gone.
                    let _ = asking.send(outcome);
                }
                () = after(self.import.watch) => drop(self.look(&ledger, false).await),
            }
        }
    }

    /// Looks at the file, and brings about what it says where it says something new, or in any case where somebody asks.
    async fn look(&mut self, ledger: &Ledger, in_any_case: bool) -> Outcome {
        let text = match read(&self.options).await {
            Ok(text) if text == self.tried && !in_any_case => return Outcome::Unchanged,
            Ok(text) => text,
            Err(fault) => {
                // Once is enough to say so, until it can be read again.
                if in_any_case || !self.tried.is_empty() {
                    self.refused(&fault);
                }
                self.tried.clear();
                return Outcome::Refused(fault.to_string());
            }
        };
        let import = parse(&text, &self.options);
        self.tried = text;
        let applied = match import {
            Ok(import) => self.apply(import, ledger).await,
            Err(fault) => Err(fault.into()),
        };
        applied.unwrap_or_else(|fault| {
            self.refused(&fault);
            Outcome::Refused(fault.to_string())
        })
    }

    fn refused(&self, fault: &Fault) {
        let file = self.options.path.display();
        tracing::error!(%file, %fault, "the configuration's file is refused, and what is in force stays");
    }

    /// Makes one revision of it, and none where all is as it says.
    async fn apply(&mut self, import: Import, ledger: &Ledger) -> Result<Outcome, Fault> {
        let mut config = import.config.clone();
        let settings = config.settings.take();
        let said =
            if import.format == Format::Signalbox { Settings::default() } else { settings.clone().unwrap_or_default() };
        let entry = Entry {
            actor: ACTOR.to_owned(),
            source_ip: None,
            method: "ConfigFile",
            comment: self.options.path.display().to_string(),
            validate_only: false,
            request: None,
            rollback_of: None,
        };
        let edits = Edits { whole: whole(config)?, settings, format: import.format, before: self.said.clone() };
        let written = ledger.write(entry, move |state| edits.on(state)).await.map_err(Fault::from)?;
        (self.import, self.said) = (import, said);
        if written.changes.is_empty() {
            return Ok(Outcome::Unchanged);
        }
        let (file, revision) = (self.options.path.display(), written.revision.get());
        tracing::info!(%file, revision, changes = written.changes.len(), "configuration applied from its file");
        Ok(Outcome::Applied)
    }
}

/// What a file comes to, on top of whatever state there is by then.
struct Edits {
    whole: Whole,
    settings: Option<Settings>,
    format: Format,
    before: Settings,
}

impl Edits {
    fn on(self, state: &State) -> Result<Vec<Edit>, Refused> {
        let Self { whole, settings, format, before } = self;
        let mut edits = whole.edits(state)?;
        let current = match state.get(&ResourceName::settings()).map(|stored| stored.message()) {
            Some(Message::Settings(current)) => current,
            _ => Settings::default(),
        };
        let wanted = match (format, settings) {
            // In our own words the settings are said as a whole, or not at all.
            (Format::Signalbox, settings) => settings,
            (_, settings) => Some(overlay(&current, &settings.unwrap_or_default(), &before)),
        };
        edits.extend(wanted.map(|settings| {
            let name = ResourceName::settings().as_str().to_owned();
            Edit::Put(Message::Settings(Settings { name, ..settings }))
        }));
        Ok(edits)
    }
}

fn whole(config: Config) -> Result<Whole, InvalidDocument> {
    Whole::read(config, [(OWNER.0.to_owned(), OWNER.1.to_owned())].into())
}

fn parse(text: &str, options: &Options) -> Result<Import, import::Error> {
    let format = options.format.map_or_else(|| Format::recognise(text), Ok)?;
    Import::read(text, format)
}

/// The file's text, once two reads in a row agree.
async fn read(options: &Options) -> Result<String, Fault> {
    let mut text = read_once(options).await?;
    for _ in 0..MAX_READS {
        sleep(SETTLING).await;
        let again = read_once(options).await?;
        if again == text {
            return Ok(text);
        }
        text = again;
    }
    Err(Fault::Unsettled)
}

async fn read_once(options: &Options) -> Result<String, Fault> {
    if fs::metadata(&options.path).await.map_err(Fault::Unreadable)?.len() > MAX_BYTES {
        return Err(Fault::TooLarge);
    }
    fs::read_to_string(&options.path).await.map_err(Fault::Unreadable)
}

/// Ends when it is time to look again; never where nobody is to.
async fn after(watch: Option<Duration>) {
    match watch {
        Some(watch) => sleep(watch).await,
        None => future::pending().await,
    }
}

impl From<ledger::Error> for Fault {
    fn from(error: ledger::Error) -> Self {
        let words = |findings: &[Finding]| findings.iter().take(MAX_FAULTS).map(ToString::to_string).collect();
        let faults: Vec<String> = match &error {
            ledger::Error::Invalid(findings) | ledger::Error::Refused(Refused::Invalid(findings)) => words(findings),
            ledger::Error::Refused(Refused::Owned(owned)) => {
                owned.iter().take(MAX_FAULTS).map(ToString::to_string).collect()
            }
            ledger::Error::Referenced(used) => used.iter().take(MAX_FAULTS).map(ToString::to_string).collect(),
            _ => return Self::Ledger(error),
        };
        Self::Invalid { faults }
    }
}

impl Error {
    /// Whether the file itself has to be changed before another start is of use.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        !matches!(self.fault, Fault::Ledger(_))
    }
}
