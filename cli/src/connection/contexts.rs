//! The contexts of an operator: named control planes in a file that only its owner reads. Tokens lie in files beside it; the file itself
//! holds no secret.

use std::{
    collections::BTreeMap,
    env, fs, io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use super::{Address, InvalidAddress};

/// The file's name, in the folder that is this program's.
const FILE: &str = "contexts.yaml";

/// A control plane, as one operator reaches it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// Where it is; `None` = port 9090 of this machine.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "address")]
    pub address: Option<Address>,
    /// The file with the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// Who may have signed its certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// The certificate that is presented.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_cert: Option<PathBuf>,
    /// The key of that certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_key: Option<PathBuf>,
}

impl Context {
    /// The certificate that is presented and its key.
    pub(super) fn identity(&self) -> Option<(&PathBuf, &PathBuf)> {
        self.client_cert.as_ref().zip(self.client_key.as_ref())
    }
}

mod address {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use super::Address;

    pub(super) fn serialize<S: Serializer>(address: &Option<Address>, serializer: S) -> Result<S::Ok, S::Error> {
        match address {
            Some(address) => serializer.collect_str(address),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Address>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}

/// Why the contexts cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody says where they would be.
    #[error(
        "neither XDG_CONFIG_HOME nor HOME is set, so that there is no place for contexts: use --address and --token-file"
    )]
    NoHome,
    /// A file of them cannot be read or written.
    #[error("{} cannot be {what}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// It does not say contexts.
    #[error("{}: {problem}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        problem: String,
    },
    /// It cannot be said in a file.
    #[error("the contexts cannot be written as YAML")]
    Unwritable(#[from] serde_saphyr::ser::Error),
    /// There is none of this name.
    #[error("there is no context {name}: {known}")]
    Unknown {
        /// The name.
        name: String,
        /// Which there are, in words.
        known: String,
    },
    /// The name could not be a file's.
    #[error("{0:?} is no name for a context: letters, digits, `-`, `_` and `.`")]
    Name(String),
    /// The address is none.
    #[error(transparent)]
    Address(#[from] InvalidAddress),
}

/// Every context, and which is current.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contexts {
    /// The one that is used where nobody names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// By name.
    #[serde(default)]
    pub contexts: BTreeMap<String, Context>,
}

impl Contexts {
    /// Those of this operator; none where there is no file.
    ///
    /// # Errors
    /// [`Error`] names the file.
    pub fn load() -> Result<Self, Error> {
        match folder() {
            Ok(folder) => Self::read(&folder.join(FILE)),
            // Whoever has no home has no contexts.
            Err(Error::NoHome) => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    fn read(path: &Path) -> Result<Self, Error> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(Error::File { path: path.to_owned(), what: "read", source }),
        };
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        serde_saphyr::from_str(&text).map_err(|error| {
            let problem = error.without_snippet().to_string();
            Error::Unreadable { path: path.to_owned(), problem }
        })
    }

    /// Keeps them.
    ///
    /// # Errors
    /// [`Error`] names the file.
    pub fn save(&self) -> Result<(), Error> {
        self.write(&folder()?)
    }

    fn write(&self, folder: &Path) -> Result<(), Error> {
        write_private(folder, FILE, serde_saphyr::to_string(self)?.as_bytes())
    }

    /// The one of this name, else the current one, if there is one.
    ///
    /// # Errors
    /// [`Error::Unknown`] where there is none of that name.
    pub fn chosen(mut self, name: Option<&str>) -> Result<Option<Context>, Error> {
        let Some(name) = name.map(str::to_owned).or_else(|| self.current.take()) else { return Ok(None) };
        self.contexts.remove(&name).map(Some).ok_or_else(|| self.unknown(&name))
    }

    /// That there is none of this name.
    #[must_use]
    pub fn unknown(&self, name: &str) -> Error {
        let names: Vec<&str> = self.contexts.keys().map(String::as_str).collect();
        let known = if names.is_empty() {
            "`signalbox context set NAME --address …` makes one".to_owned()
        } else {
            format!("there are {}", names.join(", "))
        };
        Error::Unknown { name: name.to_owned(), known }
    }
}

/// Keeps a token for a context in a file of its own, and says where.
///
/// # Errors
/// [`Error`] names the file.
pub fn keep_token(name: &str, token: &SecretString) -> Result<PathBuf, Error> {
    let (folder, file) = (folder()?, format!("{name}.token"));
    write_private(&folder, &file, token.expose_secret().as_bytes())?;
    Ok(folder.join(file))
}

/// Takes away the token that was kept for a context, if there is one.
///
/// # Errors
/// [`Error`] names the file.
pub fn drop_token(name: &str) -> Result<(), Error> {
    let path = folder()?.join(format!("{name}.token"));
    match fs::remove_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(|source| Error::File { path, what: "removed", source }),
    }
}

/// A name that a context can have.
///
/// # Errors
/// [`Error::Name`].
pub fn name(text: &str) -> Result<String, Error> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let good = !text.is_empty() && text.len() <= 63 && text.bytes().all(fits) && !text.starts_with('.');
    if good { Ok(text.to_owned()) } else { Err(Error::Name(text.to_owned())) }
}

/// Where this program keeps what belongs to its user (the XDG base directory specification).
fn folder() -> Result<PathBuf, Error> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let config = set("XDG_CONFIG_HOME").filter(|path| path.is_absolute());
    let config = config.or_else(|| set("HOME").map(|home| home.join(".config"))).ok_or(Error::NoHome)?;
    Ok(config.join("signalbox"))
}

/// Writes a file that only its owner reads; it is replaced whole or not at all.
fn write_private(folder: &Path, file: &str, text: &[u8]) -> Result<(), Error> {
    let path = folder.join(file);
    let new = folder.join(format!(".{file}.{}", std::process::id()));
    let write = || {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut options = fs::OpenOptions::new();
        let mut opened = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        io::Write::write_all(&mut opened, text)?;
        opened.sync_all()?;
        fs::rename(&new, &path)
    };
    write().map_err(|source| {
        // What is left of it is of no use, and the error that counts is the first one.
        drop(fs::remove_file(&new));
        Error::File { path: path.clone(), what: "written", source }
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn contexts() -> Contexts {
        let prod = Context { address: Some("https://control.example".parse().unwrap()), ..Context::default() };
        Contexts { current: Some("prod".into()), contexts: [("prod".to_owned(), prod)].into() }
    }

    #[test]
    fn what_is_kept_is_read_again_and_is_its_owners_only() {
        let dir = tempfile::TempDir::new().unwrap();
        let folder = dir.path().join("signalbox");
        contexts().write(&folder).unwrap();
        let read = Contexts::read(&folder.join(FILE)).unwrap();
        assert_eq!((read.current.as_deref(), &read.contexts), (Some("prod"), &contexts().contexts));
        for (path, mode) in [(folder.join(FILE), 0o600), (folder.clone(), 0o700)] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, mode);
        }
        assert!(Contexts::read(&folder.join("none")).unwrap().contexts.is_empty());
    }

    #[test]
    fn what_is_no_contexts_file_says_where() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join(FILE);
        for (text, place) in
            [("contexts:\n  a:\n    adress: x\n", "line 3"), ("contexts:\n  a:\n    address: x y\n", "line 3")]
        {
            fs::write(&path, text).unwrap();
            let error = Contexts::read(&path).unwrap_err().to_string();
            assert!(error.contains(FILE) && error.contains(place), "{error}");
        }
    }

    #[test]
    fn the_one_that_is_named_comes_before_the_current_one() {
        assert_eq!(contexts().chosen(None).unwrap(), contexts().contexts.get("prod").cloned());
        assert_eq!(Contexts::default().chosen(None).unwrap(), None);
        let error = contexts().chosen(Some("test")).unwrap_err().to_string();
        assert_eq!(error, "there is no context test: there are prod");
    }

    #[test]
    fn a_name_is_a_files_name() {
        assert!(name("prod-eu.1").is_ok());
        for wrong in ["", "../x", ".x", "a b", "a/b"] {
            assert!(matches!(name(wrong), Err(Error::Name(_))), "{wrong}");
        }
    }
}
