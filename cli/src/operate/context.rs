//! `context`: named control planes, so that neither address nor token has to be said each time.

use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use secrecy::SecretString;
use serde_json::{Map, Value, json};

use super::{
    error::Error,
    view::{Done, View},
};
use crate::{
    connection::{
        Address,
        contexts::{self, Context as Kept, Contexts},
    },
    table::Table,
};

/// Longest token that is read.
const MAX_TOKEN: u64 = 4096;

/// What to do with contexts.
#[derive(Debug, Subcommand)]
pub enum Context {
    /// Make a context, or replace it; the first one becomes the current one
    Set(Set),
    /// Make it the current one
    Use(Name),
    /// List the contexts
    List(View),
    /// Forget it, with the token that was kept for it
    Delete(Name),
}

/// The flags of `context set`.
#[derive(Debug, Args)]
pub struct Set {
    /// What it is to be called
    #[arg(value_parser = contexts::name)]
    pub name: String,
    /// Where its control plane is: PORT, HOST:PORT, http://… or https://…
    #[arg(long, value_name = "ADDRESS")]
    pub address: Option<Address>,
    /// The file with the admin token, which stays where it is
    #[arg(long, value_name = "FILE", conflicts_with = "token_stdin")]
    pub token_file: Option<PathBuf>,
    /// Read the admin token from standard input, and keep it in a file of its own that only you can read
    #[arg(long)]
    pub token_stdin: bool,
    /// Who may have signed the control plane's certificate
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The certificate to present
    #[arg(long, value_name = "FILE", requires = "client_key")]
    pub client_cert: Option<PathBuf>,
    /// The key of that certificate
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    pub client_key: Option<PathBuf>,
}

/// Which context.
#[derive(Debug, Args)]
pub struct Name {
    /// The context
    pub name: String,
}

impl Context {
    /// Carries it out.
    ///
    /// # Errors
    /// [`Error`]
    pub fn run(&self) -> Result<Done, Error> {
        let mut all = Contexts::load()?;
        let words = match self {
            Self::List(view) => return list(&all, view),
            Self::Set(set) => set.run(&mut all)?,
            Self::Use(Name { name }) => {
                if !all.contexts.contains_key(name) {
                    return Err(all.unknown(name).into());
                }
                all.current = Some(name.clone());
                format!("{name} is the current context.\n")
            }
            Self::Delete(Name { name }) => {
                if all.contexts.remove(name).is_none() {
                    return Err(all.unknown(name).into());
                }
                all.current = all.current.filter(|current| current != name);
                contexts::drop_token(name)?;
                format!("{name} is forgotten.\n")
            }
        };
        all.save()?;
        Ok(Done::with(words))
    }
}

impl Set {
    fn run(&self, all: &mut Contexts) -> Result<String, Error> {
        let Self { name, address, token_file, token_stdin, ca, client_cert, client_key } = self;
        let token_file = if *token_stdin {
            Some(contexts::keep_token(name, &token()?)?)
        } else {
            token_file.as_deref().map(absolute).transpose()?
        };
        let kept = Kept {
            address: address.clone(),
            token_file,
            ca: ca.as_deref().map(absolute).transpose()?,
            client_cert: client_cert.as_deref().map(absolute).transpose()?,
            client_key: client_key.as_deref().map(absolute).transpose()?,
        };
        all.contexts.insert(name.clone(), kept);
        let current = all.current.get_or_insert_with(|| name.clone());
        let is = if current == name { "the current context" } else { "kept; `signalbox context use` makes it current" };
        Ok(format!("{name} is {is}.\n"))
    }
}

/// So that it is the same file from wherever it is used.
fn absolute(path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path)
        .map_err(|source| contexts::Error::File { path: path.to_owned(), what: "found", source }.into())
}

fn token() -> Result<SecretString, Error> {
    let mut text = String::new();
    let read = io::stdin().lock().take(MAX_TOKEN).read_to_string(&mut text);
    let failed = |source| contexts::Error::File { path: "standard input".into(), what: "read", source };
    read.map_err(failed)?;
    if text.trim().is_empty() {
        return Err(failed(io::ErrorKind::UnexpectedEof.into()).into());
    }
    Ok(text.trim().into())
}

fn list(all: &Contexts, view: &View) -> Result<Done, Error> {
    let current = |name: &String| all.current.as_ref() == Some(name);
    let address = |kept: &Kept| kept.address.clone().unwrap_or_default().to_string();
    let token = |kept: &Kept| kept.token_file.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    let row = |(name, kept): (&String, &Kept)| {
        let mark = if current(name) { "*" } else { "" };
        vec![mark.to_owned(), name.clone(), address(kept), token(kept)]
    };
    let entry = |(name, kept): (&String, &Kept)| {
        let value = json!({"address": address(kept), "tokenFile": token(kept), "current": current(name)});
        (name.clone(), value)
    };
    let value: Map<String, Value> = all.contexts.iter().map(entry).collect();
    let text = view.show(&Value::Object(value), all.contexts.keys().cloned(), || {
        Table::wide(&["", "NAME", "ADDRESS", "TOKEN FILE"], all.contexts.iter().map(row)).to_string()
    })?;
    Ok(Done::with(text))
}
