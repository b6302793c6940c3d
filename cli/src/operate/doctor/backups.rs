//! How much of the configuration is in a backup, where the database is on this machine. It reads names of files and opens none.

use std::path::Path;

use jiff::Timestamp;
use signalbox_control_plane::{
    backup::{self, Latest},
    files::DATABASE,
};

use super::{Line, days};

/// Revisions that are in no backup for longer than this, in seconds, are worth a look.
const LONG: i64 = 2 * 86_400;

const NEXT: &str = "`signalbox-control-plane backup --out FILE` makes one; `serve` makes one an hour";

/// Looks at the backups in this folder; `None` where no database is in it.
pub(super) fn look(folder: &Path, current: u64) -> Option<Line> {
    let database = folder.join(DATABASE);
    database.exists().then(|| judge(backup::latest(&database), current, Timestamp::now()))
}

fn judge(latest: Option<Latest>, current: u64, now: Timestamp) -> Line {
    let Some(Latest { made, revision }) = latest else {
        return Line::warn("backups", "there is none beside the database", NEXT);
    };
    let says = format!("the latest is of revision {revision}, and the current one is {current}");
    let age = now.as_second() - made.as_second();
    if revision < current && age > LONG {
        Line::warn("backups", format!("{says}; it is {} old", days(age)), NEXT)
    } else {
        Line::ok("backups", says)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::doctor::Level;

    #[test]
    fn what_is_in_no_backup_for_long_is_told() {
        let made = |revision| Some(Latest { made: Timestamp::UNIX_EPOCH, revision });
        for (latest, now, level) in [
            (None, 0, Level::Warn),
            (made(7), 365 * 86_400, Level::Ok),
            (made(6), LONG, Level::Ok),
            (made(6), LONG + 1, Level::Warn),
        ] {
            let line = judge(latest, 7, Timestamp::from_second(now).unwrap());
            assert_eq!(line.level, level, "{latest:?} {now}");
        }
    }

    #[test]
    fn only_where_there_is_a_database_a_backup_is_missed() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(look(folder.path(), 1), None);
        std::fs::write(folder.path().join(DATABASE), "").unwrap();
        assert_eq!(look(folder.path(), 1).unwrap().level, Level::Warn);
    }
}
