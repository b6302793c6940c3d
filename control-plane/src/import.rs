//! Configurations from elsewhere: a file of one of the five gateways that this one replaces, or one in this gateway's own words, becomes
//! resources, and a note for whatever cannot be carried over as it was. Pure: it reads no file, and it knows no ledger.

use std::{fmt, net::SocketAddr, time::Duration};

use signalbox_proto::admin::v1::Config;

mod aggregator;
mod draft;
mod error;
mod json;
mod leaflet;
mod native;
mod pool;
mod redirector;
mod router;
mod settings;
mod variables;

#[cfg(test)]
mod tests;

pub use error::Error;
pub use settings::{Conflict, Merged, merge, overlay};
use variables::Variables;

/// Between two looks at a file, unless the file says otherwise.
const EVERY_SECOND: Duration = Duration::from_secs(1);

/// What a configuration may be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// This gateway's own: `admin.v1.Config` as YAML or JSON.
    Signalbox,
    /// One upstream, bring your own key; variables.
    Leaflet,
    /// Many providers behind one name space; JSON.
    Aggregator,
    /// One upstream, client keys and redirects; JSON.
    Redirector,
    /// Mounts with headers and proxies; JSON.
    Router,
    /// A pool of upstream tokens and a conversation before each chat; variables.
    Pool,
}

/// What a configuration comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Import {
    /// What it was read as.
    pub format: Format,
    /// The resources. Of the settings only those fields are populated that the file says something about.
    pub config: Config,
    /// What could not be carried over as it was.
    pub notes: Vec<Note>,
    /// Where it wants clients to connect; `None` = it does not say.
    pub listen: Option<SocketAddr>,
    /// How often it wants to be looked at while it is the source; `None` = only when asked.
    pub watch: Option<Duration>,
}

/// Something that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Where in the file.
    pub key: String,
    /// What becomes of it, and why. Holds no secret.
    pub text: String,
}

impl Format {
    /// The formats that are imported: those of other gateways.
    pub const FOREIGN: [Self; 5] = [Self::Leaflet, Self::Aggregator, Self::Redirector, Self::Router, Self::Pool];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Signalbox => "signalbox",
            Self::Leaflet => "leaflet",
            Self::Aggregator => "aggregator",
            Self::Redirector => "redirector",
            Self::Router => "router",
            Self::Pool => "pool",
        }
    }

    /// The format that a text is written in, told by its keys.
    ///
    /// # Errors
    /// [`Error::Unrecognised`] names the keys; others where the text cannot be read at all.
    pub fn recognise(text: &str) -> Result<Self, Error> {
        let text = readable(text)?;
        if text.trim_start().starts_with('{') {
            return json::recognise(text);
        }
        if Variables::look_like(text) {
            let variables = Variables::parse(text)?;
            let telling = [("UPSTREAM_BASE_URL", Self::Leaflet), ("TARGET_API_URL", Self::Pool)];
            let format = telling.into_iter().find(|(key, _)| variables.has(key)).map(|(_, format)| format);
            return format.ok_or_else(|| Error::unrecognised(variables.keys()));
        }
        native::recognise(text)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reads a text in this gateway's own words: a document of JSON, or any number of YAML.
///
/// # Errors
/// [`Error`] names the line, what is wrong there, and what would be right.
pub fn documents(text: &str) -> Result<Vec<Config>, Error> {
    native::documents(readable(text)?)
}

impl Import {
    /// Reads a text.
    ///
    /// # Errors
    /// [`Error`] names the line or the key, what is wrong with it, and what would be right.
    pub fn read(text: &str, format: Format) -> Result<Self, Error> {
        let text = readable(text)?;
        match format {
            Format::Signalbox => native::read(text)?.finish(format),
            Format::Leaflet => leaflet::read(&mut Variables::parse(text)?)?.finish(format),
            Format::Aggregator => aggregator::read(text)?.finish(format),
            Format::Redirector => redirector::read(text)?.finish(format),
            Format::Router => router::read(text)?.finish(format),
            Format::Pool => pool::read(&mut Variables::parse(text)?)?.finish(format),
        }
    }

    /// Reads the environment of a process, for a format that consists of variables; `None` for the others.
    ///
    /// # Errors
    /// [`Error`] names the variable.
    pub fn from_environment(
        variables: impl IntoIterator<Item = (String, String)>,
        format: Format,
    ) -> Option<Result<Self, Error>> {
        let mut variables = Variables::of_environment(variables);
        let draft = match format {
            Format::Leaflet => leaflet::read(&mut variables),
            Format::Pool => pool::read(&mut variables),
            Format::Signalbox | Format::Aggregator | Format::Redirector | Format::Router => return None,
        };
        Some(draft.and_then(|draft| draft.finish(format)))
    }
}

/// A text with something in it, without the mark that some editors put in front.
fn readable(text: &str) -> Result<&str, Error> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() { Err(Error::Empty) } else { Ok(text) }
}
