//! `signalbox import`: takes over the configuration of another gateway in one revision, and says what it made of it. What the file means is
//! the control plane's business; here is what happens around it.

use std::{collections::BTreeMap, env, fs, io, path::PathBuf};

use signalbox_control_plane::import::{self, Format, Merged, merge};
use signalbox_proto::admin::v1::{
    ApplyConfigRequest, ApplyConfigResponse, Config, GetSettingsRequest, apply_config_request::Mode,
};
use tonic::{Code, Status};

use crate::{
    admin::{self, Admin},
    arguments::Import as Arguments,
    connection::{self, Address},
};

mod report;

pub use report::Report;

/// Whoever has made a resource and looks after it.
const OWNER: &str = "managed-by";

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no configuration of its format.
    #[error("{from} is no {format} configuration: {fault}")]
    Invalid {
        /// The file, or the environment.
        from: String,
        /// What it was read as.
        format: Format,
        /// What is wrong.
        fault: import::Error,
    },
    /// The format is that of a file only.
    #[error("--from-env is for leaflet and pool: {format} has a file")]
    NotVariables {
        /// The format.
        format: Format,
    },
    /// Nobody says how the control plane is reached.
    #[error(transparent)]
    Connection(#[from] connection::Error),
    /// There is no control plane to talk to.
    #[error("no control plane answers at {address} (--address): {}", status.message())]
    Unreachable {
        /// Where it was expected.
        address: Address,
        /// What came instead.
        status: Box<Status>,
    },
    /// The control plane did not take it.
    #[error(transparent)]
    Admin(#[from] admin::Error),
}

impl Error {
    /// Whether the file itself, or what comes with it, has to be changed.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Unreadable { .. } | Self::Invalid { .. } | Self::Connection(_) => true,
            Self::NotVariables { .. } | Self::Unreachable { .. } => false,
            Self::Admin(admin::Error::Refused(status)) => status.code() == Code::InvalidArgument,
            Self::Admin(_) => false,
        }
    }
}

/// Imports, or with `--dry-run` does everything but commit.
///
/// # Errors
/// [`Error`] names the file and the place in it, or the control plane's address.
pub async fn run(arguments: &Arguments) -> Result<Report, Error> {
    let Arguments { format, file, from_env: _, dry_run, connection } = arguments;
    let (imported, from) = read(*format, file.as_ref())?;
    let target = connection.target()?;
    let address = target.address.clone();
    let admin = Admin::at(target)?;
    let failed = |status: Status| unreachable(&address, status);

    // Whoever looks after a resource already is asked first, in the control plane's own words.
    let owner = BTreeMap::from([(OWNER.to_owned(), "import".to_owned())]);
    let probe = Config { settings: None, ..imported.config.clone() };
    let request = ApplyConfigRequest { owner_labels: owner, validate_only: true, ..wanted(probe, &from) };
    let current = admin.config().apply_config(request).await.map_err(failed)?.into_inner().revision;

    let settings = admin.settings().get_settings(GetSettingsRequest::default()).await.map_err(failed)?.into_inner();
    let said = imported.config.settings.clone().unwrap_or_default();
    let Merged { settings, conflicts } = merge(&settings, &said);
    let config = Config { settings, ..imported.config };
    let names = names(&config);
    let request = ApplyConfigRequest { expected_revision: current, validate_only: *dry_run, ..wanted(config, &from) };
    let ApplyConfigResponse { revision, unchanged, changes, findings: _ } =
        admin.config().apply_config(request).await.map_err(failed)?.into_inner();
    Ok(Report {
        from,
        format: *format,
        dry_run: *dry_run,
        revision,
        unchanged,
        names,
        changes,
        conflicts,
        notes: imported.notes,
    })
}

fn wanted(config: Config, from: &str) -> ApplyConfigRequest {
    ApplyConfigRequest {
        config: Some(config),
        mode: Mode::Merge.into(),
        comment: format!("signalbox import {from}"),
        ..ApplyConfigRequest::default()
    }
}

/// What there is to import, and where it comes from.
fn read(format: Format, file: Option<&PathBuf>) -> Result<(import::Import, String), Error> {
    let (read, from) = match file {
        Some(path) => {
            let unreadable = |source| Error::Unreadable { path: path.clone(), source };
            let text = fs::read_to_string(path).map_err(unreadable)?;
            (import::Import::read(&text, format), path.display().to_string())
        }
        None => {
            let variables =
                env::vars_os().filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()));
            let read = import::Import::from_environment(variables, format).ok_or(Error::NotVariables { format })?;
            (read, "the environment".to_owned())
        }
    };
    match read {
        Ok(imported) => Ok((imported, from)),
        Err(fault) => Err(Error::Invalid { from, format, fault }),
    }
}

fn unreachable(address: &Address, status: Status) -> Error {
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded => {
            Error::Unreachable { address: address.clone(), status: Box::new(status) }
        }
        _ => admin::Error::from(status).into(),
    }
}

/// Every resource of a configuration, by its full name.
fn names(config: &Config) -> Vec<String> {
    let Config { providers, credentials, client_keys, redirects, routes, settings } = config;
    let providers = providers.iter().map(|resource| &resource.name);
    let credentials = credentials.iter().map(|resource| &resource.name);
    let client_keys = client_keys.iter().map(|resource| &resource.name);
    let redirects = redirects.iter().map(|resource| &resource.name);
    let routes = routes.iter().map(|resource| &resource.name);
    let named = providers.chain(credentials).chain(client_keys).chain(redirects).chain(routes).cloned();
    named.chain(settings.iter().map(|_| "settings".to_owned())).collect()
}
