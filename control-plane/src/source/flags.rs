//! The flags that make a file the configuration's source, for every program that has them.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Options;
use crate::import::Format;

/// Which file, if any.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Flags {
    /// A file that the configuration comes from: read at the start, and again whenever it changes
    #[arg(long, value_name = "FILE", env = "SIGNALBOX_CONFIG_FILE")]
    config_file: Option<PathBuf>,
    /// What it is written in
    #[arg(long, value_name = "FORMAT", env = "SIGNALBOX_CONFIG_FORMAT", default_value = "auto")]
    config_format: Written,
}

/// What a file is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Written {
    /// Told by its keys
    Auto,
    /// Our own words, as YAML or JSON
    Signalbox,
    /// leaflet's `.env`
    Leaflet,
    /// aggregator's config.json
    Aggregator,
    /// redirector's config.json
    Redirector,
    /// router's config.json
    Router,
    /// pool's `.env`
    Pool,
}

impl Flags {
    /// The file; `None` = the configuration comes from operators only.
    #[must_use]
    pub fn options(self) -> Option<Options> {
        let format = match self.config_format {
            Written::Auto => None,
            Written::Signalbox => Some(Format::Signalbox),
            Written::Leaflet => Some(Format::Leaflet),
            Written::Aggregator => Some(Format::Aggregator),
            Written::Redirector => Some(Format::Redirector),
            Written::Router => Some(Format::Router),
            Written::Pool => Some(Format::Pool),
        };
        self.config_file.map(|path| Options { path, format })
    }
}
