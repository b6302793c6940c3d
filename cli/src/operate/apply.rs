//! Whole configurations: `apply`, `diff`, `validate` and `export`.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use clap::Args;
use serde_json::Value;
use signalbox_proto::admin::v1::{
    ApplyConfigRequest, ApplyConfigResponse, ExportConfigRequest, ExportConfigResponse, ValidateConfigRequest,
    apply_config_request::Mode, export_config_request::SecretMode,
};

use super::{
    Session, document,
    error::{Error, Exit},
    fleet, moment, outcome,
    view::{self, Done, Form},
};

/// Which documents, and whose they are.
#[derive(Debug, Args)]
pub struct Wanted {
    /// A document (YAML with one or several documents, or JSON), a folder of them, or - for standard input; may be given several times
    #[arg(short, long = "file", value_name = "FILE|DIR|-", required = true)]
    pub files: Vec<PathBuf>,
    /// A label that is put on every resource; with --prune, what carries all of them is the document's own; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    pub owner: Vec<(String, String)>,
    /// Remove what carries the owner's labels and is in no document
    #[arg(long, requires = "owner")]
    pub prune: bool,
}

/// The flags of `apply`.
#[derive(Debug, Args)]
pub struct Apply {
    /// The documents.
    #[command(flatten)]
    pub wanted: Wanted,
    /// The most resources that --prune may remove
    #[arg(long, value_name = "N", default_value_t = 0, requires = "prune")]
    pub max_deletes: u32,
    /// Change nothing, and say what would change and what that would mean
    #[arg(long)]
    pub dry_run: bool,
    /// Wait until every connected data plane serves it
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "60s", value_parser = moment::length)]
    pub wait: Option<Duration>,
    /// Kept with the revision
    #[arg(long, value_name = "WORDS", default_value = "")]
    pub comment: String,
    /// Only on top of this revision
    #[arg(long, value_name = "REVISION", default_value_t = 0)]
    pub expected_revision: u64,
    /// The sealed secrets of what has none in the documents, as `export --sealed` wrote them
    #[arg(long, value_name = "FILE")]
    pub sealed: Option<PathBuf>,
}

/// The flags of `diff`.
#[derive(Debug, Args)]
pub struct Diff {
    /// The documents.
    #[command(flatten)]
    pub wanted: Wanted,
}

/// The flags of `validate`.
#[derive(Debug, Args)]
pub struct Validate {
    /// The documents.
    #[command(flatten)]
    pub wanted: Wanted,
    /// On their own, as though nothing else were there
    #[arg(long)]
    pub standalone: bool,
}

/// The flags of `export`.
#[derive(Debug, Args)]
pub struct Export {
    /// As it was at this revision, instead of the current one
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub revision: u64,
    /// Write the secrets there too, sealed: only a control plane with the same master key reads them
    #[arg(long, value_name = "FILE")]
    pub sealed: Option<PathBuf>,
    /// Only what carries this label; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    pub label: Vec<(String, String)>,
}

/// Reads `KEY=VALUE`.
pub(super) fn label(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("a label is KEY=VALUE"),
    }
}

impl Wanted {
    fn mode(&self) -> Mode {
        if self.prune { Mode::Prune } else { Mode::Merge }
    }

    fn owner_labels(&self) -> BTreeMap<String, String> {
        self.owner.iter().cloned().collect()
    }

    async fn validated(&self, session: &Session, standalone: bool) -> Result<Value, Error> {
        let documents = document::read(&self.files)?;
        let request = ValidateConfigRequest {
            config: Some(documents.config.clone()),
            mode: self.mode().into(),
            owner_labels: self.owner_labels(),
            standalone,
        };
        let answer = session.control.call("ConfigService/ValidateConfig", &request).await;
        Ok(view::json(answer.map_err(|error| documents.explain(error))?.message()))
    }
}

impl Apply {
    /// Brings the documents about.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn run(&self, session: &Session) -> Result<Done, Error> {
        let documents = document::read(&self.wanted.files)?;
        let request = ApplyConfigRequest {
            config: Some(documents.config.clone()),
            mode: self.wanted.mode().into(),
            owner_labels: self.wanted.owner_labels(),
            expected_revision: self.expected_revision,
            validate_only: self.dry_run,
            comment: self.comment.clone(),
            max_deletes: self.max_deletes,
            request_id: session.request_id(),
            sealed: self.sealed.as_deref().map(read_sealed).transpose()?.unwrap_or_default(),
        };
        let answer = session.control.call("ConfigService/ApplyConfig", &request).await;
        let answer = answer.map_err(|error| documents.explain(error))?;
        let ApplyConfigResponse { revision, unchanged, .. } = answer.read()?;
        let value = view::json(answer.message());
        let text = session.view.show(&value, outcome::names(&value), || {
            let head = head(revision, unchanged, self.dry_run, "applied as");
            head + &outcome::describe(&value, session.paint())
        })?;
        let wait = self.wait.filter(|_| !self.dry_run);
        Ok(fleet::after(session, Done::with(text), revision, wait).await)
    }
}

/// What became of it, in one line.
pub(super) fn head(revision: u64, unchanged: bool, dry_run: bool, done: &str) -> String {
    match (unchanged, dry_run) {
        (true, _) => format!("Everything is so already, at revision {revision}.\n"),
        (false, true) => format!("Tried out on top of revision {revision}; nothing is changed.\n"),
        (false, false) => format!("{} revision {revision}.\n", capitalized(done)),
    }
}

fn capitalized(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

fn read_sealed(path: &Path) -> Result<Bytes, Error> {
    let read =
        fs::read(path).map_err(|source| document::Error::Unreadable { from: path.display().to_string(), source });
    Ok(read?.into())
}

impl Diff {
    /// Says what applying the documents would change.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn run(&self, session: &Session) -> Result<Done, Error> {
        let value = self.wanted.validated(session, false).await?;
        let text = session.view.show(&value, outcome::names(&value), || outcome::describe(&value, session.paint()))?;
        let exit = match (outcome::blocked(&value), outcome::changes(&value)) {
            (true, _) => Exit::BadConfiguration,
            (false, true) => Exit::Differs,
            (false, false) => Exit::Done,
        };
        Ok(Done { text, exit })
    }
}

impl Validate {
    /// Says what is wrong with the documents.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn run(&self, session: &Session) -> Result<Done, Error> {
        let mut value = self.wanted.validated(session, self.standalone).await?;
        let blocked = outcome::blocked(&value);
        let text = session.view.show(&value.clone(), outcome::names(&value), || {
            // What it would change is what `diff` is for.
            value.as_object_mut().map(|answer| answer.remove("changes"));
            let verdict = if blocked { "It cannot be applied.\n" } else { "It can be applied.\n" };
            verdict.to_owned() + &outcome::describe(&value, session.paint())
        })?;
        Ok(Done { text, exit: if blocked { Exit::BadConfiguration } else { Exit::Done } })
    }
}

impl Export {
    /// Writes the configuration as a document.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn run(&self, session: &Session) -> Result<Done, Error> {
        let secrets = if self.sealed.is_some() { SecretMode::Sealed } else { SecretMode::Omit };
        let labels = self.label.iter().cloned().collect();
        let request = ExportConfigRequest { revision: self.revision, secrets: secrets.into(), labels };
        let answer = session.control.call("ConfigService/ExportConfig", &request).await?;
        let ExportConfigResponse { epoch, revision, sealed, .. } = answer.read()?;
        if let Some(path) = &self.sealed {
            write_new(path, &sealed)?;
        }
        let value = view::json(answer.message());
        let config = value.get("config").cloned().unwrap_or_else(|| Value::Object(serde_json::Map::new()));
        let text = match session.view.output {
            Form::Json => view::json_text(&config)?,
            Form::Name => named(&config),
            Form::Table | Form::Yaml => {
                format!("# Revision {revision} of {epoch}.\n{}", view::yaml(&config)?)
            }
        };
        Ok(Done::with(text))
    }
}

/// The names of everything in a document, one a line.
fn named(config: &Value) -> String {
    let parts = config.as_object().into_iter().flat_map(|config| config.values());
    let resources = parts.flat_map(|part| part.as_array().cloned().unwrap_or_else(|| vec![part.clone()]));
    resources.filter_map(|resource| Some(format!("{}\n", resource.get("name")?.as_str()?))).collect()
}

/// Writes a file that only its owner reads, where there is none yet.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut options = fs::OpenOptions::new();
    let written = options.write(true).create_new(true).mode(0o600).open(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(|source| Error::Write { path: path.to_owned(), source })
}
