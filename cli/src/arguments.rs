//! The command line: flags over environment variables over defaults.

use std::{
    env::{self, VarError},
    net::{AddrParseError, IpAddr, Ipv4Addr, SocketAddr},
    num::ParseIntError,
    path::{Path, PathBuf},
};

use clap::{Args, Parser, Subcommand, builder::FalseyValueParser};
use secrecy::SecretString;
use signalbox_control_plane::{audit, files, import::Format, ledger::RetentionFlags, source};
use signalbox_logs::Logs;

use crate::{
    connection::Connection,
    operate::{self, EXIT_CODES},
};

/// Signalbox: an OpenAI-compatible gateway in two planes.
#[derive(Debug, Parser)]
#[command(name = "signalbox", version, max_term_width = 120, after_help = EXIT_CODES)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How to log.
    #[command(flatten)]
    pub logs: Logs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the whole gateway in this process, and print how to use it
    Up(Up),
    /// Take over the configuration of another gateway, in one revision, and say what became of it
    Import(Import),
    /// Run only the demo upstream, a local provider that echoes, embeds and fails on request
    Demo(Demo),
    /// Print what clients get when an upstream goes wrong, by the demo upstream's models, as Markdown
    Faults,
    /// Ask a gateway or a demo upstream whether it is ready: exit with 0 if it is, 1 if not
    Healthcheck(Healthcheck),
    /// What operators ask of a control plane.
    #[command(flatten)]
    Operate(operate::Command),
}

/// The flags of `up`.
#[derive(Debug, Args)]
pub struct Up {
    /// Folder with everything that is kept; made if it is not there
    #[arg(long, env = "SIGNALBOX_DATA_DIR", value_name = "DIR", default_value = "./signalbox-data")]
    pub data_dir: PathBuf,
    /// Where clients connect [default: as --config-file says, else 8080]
    #[arg(long, env = "SIGNALBOX_LISTEN", value_name = "[ADDRESS:]PORT", value_parser = address)]
    pub listen: Option<SocketAddr>,
    /// Where operators connect
    #[arg(long, env = "SIGNALBOX_ADMIN_LISTEN", value_name = "[ADDRESS:]PORT", default_value = "9090", value_parser = address)]
    pub admin_listen: SocketAddr,
    /// Where data planes join, on loopback only
    #[arg(long, env = "SIGNALBOX_SYNC_LISTEN", value_name = "[ADDRESS:]PORT", default_value = "9091", value_parser = loopback)]
    pub sync_listen: SocketAddr,
    /// The file with the key that stored secrets are sealed under, or SIGNALBOX_MASTER_KEY [default: master.key in the data folder, made if missing]
    #[arg(long, env = "SIGNALBOX_MASTER_KEY_FILE", value_name = "FILE")]
    pub master_key_file: Option<PathBuf>,
    /// The file that the configuration comes from.
    #[command(flatten)]
    pub source: source::Flags,
    /// How much of the past is kept.
    #[command(flatten)]
    pub retention: RetentionFlags,
    /// How much of the audit is kept.
    #[command(flatten)]
    pub audit: audit::Flags,
    /// Leave out the built-in demo provider
    #[arg(long, env = "SIGNALBOX_NO_DEMO", value_parser = FalseyValueParser::new())]
    pub no_demo: bool,
}

/// The flags of `import`.
#[derive(Debug, Args)]
pub struct Import {
    /// Whose configuration it is: leaflet, aggregator, redirector, router or pool
    #[arg(value_parser = foreign)]
    pub format: Format,
    /// The file that it is in
    #[arg(required_unless_present = "from_env", conflicts_with = "from_env")]
    pub file: Option<PathBuf>,
    /// Take the variables of this process instead of a file: leaflet and pool only
    #[arg(long)]
    pub from_env: bool,
    /// Change nothing, and say what would be changed
    #[arg(long)]
    pub dry_run: bool,
    /// Who asks, and whom.
    #[command(flatten)]
    pub connection: Connection,
}

/// The variable that may hold the admin token itself.
pub const TOKEN_VARIABLE: &str = "SIGNALBOX_TOKEN";

/// Reads whose configuration is imported.
fn foreign(text: &str) -> Result<Format, String> {
    let known = Format::FOREIGN.into_iter().find(|format| format.as_str() == text);
    known.ok_or_else(|| format!("one of {} is known", Format::FOREIGN.map(Format::as_str).join(", ")))
}

/// The variable that may hold the master key itself.
pub const MASTER_KEY_VARIABLE: &str = "SIGNALBOX_MASTER_KEY";

/// Why a secret that was given cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidSecret {
    /// Both the variable and a file say it.
    #[error("{variable} and a file for it are both given: leave one of them out")]
    Twice {
        /// The variable.
        variable: &'static str,
    },
    /// The variable holds nothing, or something that is no text.
    #[error("{variable} is empty or no text: set it to the secret, or leave it out")]
    NotText {
        /// The variable.
        variable: &'static str,
    },
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] files::Error),
}

/// The secret that a variable holds or that is in a file; `None` = neither was given.
///
/// # Errors
/// [`InvalidSecret`]
pub fn secret(variable: &'static str, file: Option<&Path>) -> Result<Option<SecretString>, InvalidSecret> {
    match (env::var(variable), file) {
        (Err(VarError::NotPresent), None) => Ok(None),
        (Err(VarError::NotPresent), Some(file)) => Ok(Some(files::read_secret(file)?)),
        (Ok(_), Some(_)) => Err(InvalidSecret::Twice { variable }),
        (Ok(text), None) if !text.trim().is_empty() => Ok(Some(text.trim().into())),
        (Ok(_) | Err(VarError::NotUnicode(_)), _) => Err(InvalidSecret::NotText { variable }),
    }
}

/// The flags of `demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// Where the gateway connects
    #[arg(long, env = "SIGNALBOX_DEMO_LISTEN", value_name = "[ADDRESS:]PORT", default_value = "8090", value_parser = address)]
    pub listen: SocketAddr,
    /// File with the key that requests must present
    #[arg(long, env = "SIGNALBOX_DEMO_KEY_FILE", value_name = "FILE")]
    pub key_file: PathBuf,
}

/// The flags of `healthcheck`.
#[derive(Debug, Args)]
pub struct Healthcheck {
    /// Where it listens
    #[arg(long, env = "SIGNALBOX_HEALTHCHECK_URL", value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub url: String,
}

/// Why a text is no address.
#[derive(Debug, thiserror::Error)]
enum InvalidAddress {
    #[error("the port is not from 0 to 65535")]
    Port(#[from] ParseIntError),
    #[error("neither PORT nor ADDRESS:PORT, such as 8080, 0.0.0.0:8080 or [::1]:8080")]
    Shape(#[from] AddrParseError),
    #[error(
        "provider keys travel there, and `up` has no TLS: `signalbox-control-plane serve` takes data planes from elsewhere"
    )]
    OffLoopback,
}

/// Reads `PORT` or `ADDRESS:PORT`. A bare port is on loopback, so that nothing is open to a network unless somebody says so.
fn address(text: &str) -> Result<SocketAddr, InvalidAddress> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), text.parse()?))
    } else {
        Ok(text.parse()?)
    }
}

/// Reads an address that only this machine reaches.
fn loopback(text: &str) -> Result<SocketAddr, InvalidAddress> {
    let address = address(text)?;
    if address.ip().is_loopback() { Ok(address) } else { Err(InvalidAddress::OffLoopback) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn up(arguments: &[&str]) -> Up {
        let arguments = ["signalbox", "up"].iter().chain(arguments);
        match Arguments::try_parse_from(arguments).unwrap().command {
            Command::Up(up) => up,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_bare_port_means_loopback() {
        assert_eq!(up(&["--listen", "0"]).listen, Some("127.0.0.1:0".parse().unwrap()));
        assert_eq!(up(&["--listen", "0.0.0.0:80"]).listen, Some("0.0.0.0:80".parse().unwrap()));
        assert_eq!(up(&["--listen", "[::1]:80"]).listen, Some("[::1]:80".parse().unwrap()));
        for wrong in ["", "65536", "localhost", "1.2.3.4", "host:80", "-1"] {
            let argument = format!("--listen={wrong}");
            assert!(Arguments::try_parse_from(["signalbox", "up", &argument]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_sync_port_stays_on_loopback() {
        assert_eq!(up(&["--sync-listen", "[::1]:0"]).sync_listen, "[::1]:0".parse().unwrap());
        let error = Arguments::try_parse_from(["signalbox", "up", "--sync-listen", "0.0.0.0:9091"]).unwrap_err();
        assert!(error.to_string().contains("provider keys travel there"), "{error}");
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn log_flags_may_stand_after_the_command() {
        let arguments = Arguments::try_parse_from(["signalbox", "up", "--log-format", "json"]).unwrap();
        assert_eq!(arguments.logs.log_format, signalbox_logs::LogFormat::Json);
    }
}
