//! The flags that keep the database: how it is copied and bounded while it is served, and what is done with it while it is not.

use std::{num::NonZeroUsize, path::PathBuf, str::FromStr, time::Duration};

use clap::Args;
use jiff::SignedDuration;
use signalbox_control_plane::backup::Schedule;

use super::Place;

/// Shortest time between two copies: more often they would cost more than they are good for.
const LEAST: Duration = Duration::from_secs(60);

/// How the database is kept while it is served.
#[derive(Debug, Args)]
pub(crate) struct Upkeep {
    /// How often the database is copied into `backups` beside it, where something has changed: such as 30m, 1h or 24h; off = never
    #[arg(long, value_name = "TIME", env = "SIGNALBOX_BACKUP_EVERY", default_value = "1h")]
    backup_every: Every,
    /// How many of those copies are kept
    #[arg(long, value_name = "COUNT", env = "SIGNALBOX_BACKUP_KEEP", default_value = "24")]
    backup_keep: NonZeroUsize,
    /// Most that the database may grow to; writes are refused before it does. The write-ahead log comes on top [default: no limit]
    #[arg(long, value_name = "BYTES", env = "SIGNALBOX_MAX_DATABASE_BYTES")]
    pub(crate) max_database_bytes: Option<u64>,
}

impl Upkeep {
    /// The copies that are made; `None` = none.
    pub(crate) fn schedule(&self) -> Option<Schedule> {
        match self.backup_every {
            Every::Off => None,
            Every::Time(every) => Some(Schedule { every, keep: self.backup_keep.get() }),
        }
    }
}

/// How often something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Every {
    Off,
    Time(Duration),
}

impl FromStr for Every {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const ADVICE: &str = "neither off nor a time of a minute at least, such as 30m, 1h or 24h";
        if text == "off" {
            return Ok(Self::Off);
        }
        let every =
            text.parse::<SignedDuration>().ok().and_then(|every| Duration::try_from(every).ok()).ok_or(ADVICE)?;
        if every < LEAST { Err(ADVICE) } else { Ok(Self::Time(every)) }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Backup {
    #[command(flatten)]
    pub(crate) place: Place,
    /// The file that is made; it must not be there yet
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    #[command(flatten)]
    pub(crate) place: Place,
    /// The backup
    #[arg(long, value_name = "FILE")]
    pub(crate) from: PathBuf,
    /// Have every data plane take it at once, whatever it holds: for when nothing that matters came after the backup
    #[arg(long)]
    pub(crate) adopt: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AdoptHistory {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Change nothing: say what differs, and exit with 1 if there is something to adopt
    #[arg(long)]
    pub(crate) check: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RotateMasterKey {
    #[command(flatten)]
    pub(crate) place: Place,
    /// The file with the key that the database opens under so far, or SIGNALBOX_MASTER_KEY [default: master.key in the data folder]
    #[arg(long, value_name = "FILE", env = "SIGNALBOX_MASTER_KEY_FILE")]
    pub(crate) master_key_file: Option<PathBuf>,
    /// The file with the key that it is to open under; made if missing
    #[arg(long, value_name = "FILE")]
    pub(crate) new_master_key_file: PathBuf,
    /// Seal every secret anew as well, under a new data key
    #[arg(long)]
    pub(crate) data_key: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_often_is_a_time_or_off() {
        assert_eq!("off".parse(), Ok(Every::Off));
        assert_eq!("1h".parse(), Ok(Every::Time(Duration::from_secs(3600))));
        assert_eq!("90m".parse(), Ok(Every::Time(Duration::from_secs(5400))));
        for bad in ["", "0", "1", "1s", "59s", "-1h", "hourly"] {
            assert!(bad.parse::<Every>().is_err(), "{bad:?} was taken");
        }
    }
}
