//! What keeps a history from taking the place of a later one that data planes hold: it stands until an operator adopts the history. It
//! sends nothing.

use std::path::Path;

use signalbox_routing::{Digest, Position, Revision};
use sqlx::SqliteConnection;

use crate::{
    high_water,
    store::{
        self,
        fence::{self, Cut},
        revisions,
    },
};

/// Why this history must not take the place of what data planes hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fence {
    /// It goes on from a backup: what was revoked after that is not revoked in it.
    Restored {
        /// Where the backup was made.
        cut: Position,
    },
    /// The file is an older one than what has been published from it: the next revision would use a number again for something else.
    Forked {
        /// The last position that is known to have been published.
        published: Position,
    },
}

/// Why it cannot be told whether there is a fence.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database cannot be read.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// How far history was published cannot be read.
    #[error(transparent)]
    Mark(#[from] high_water::Error),
}

/// What a history is fenced for, by what is in the database and by what is beside it.
pub(crate) async fn standing(connection: &mut SqliteConnection, database: &Path) -> Result<Option<Fence>, Error> {
    if let Some(Cut { epoch, revision, digest }) = fence::get(connection).await? {
        let (revision, digest) = (numbered(revision)?, Digest::from(digest));
        return Ok(Some(Fence::Restored { cut: Position { epoch: epoch.as_str().into(), revision, digest } }));
    }
    let Some(published) = high_water::read(database)? else { return Ok(None) };
    let (epoch, revision) = (published.epoch.as_ref(), published.revision.get());
    let known = revisions::knows(connection, epoch, revision, published.digest.as_bytes()).await?;
    Ok((!known).then_some(Fence::Forked { published }))
}

/// A revision as it was stored.
pub(crate) fn numbered(revision: u64) -> Result<Revision, store::Error> {
    let number = || store::Error::Number { column: "revision", row: "head".to_owned(), value: revision.cast_signed() };
    Revision::new(revision).ok_or_else(number)
}

impl Fence {
    /// Whether nothing may be sent to a data plane that holds this, `None` = nothing, in the history of `epoch`. What holds nothing
    /// gets nothing either: it would bring back what was revoked.
    #[must_use]
    pub fn holds(&self, have: Option<&Position>, epoch: &str) -> bool {
        let Some(have) = have else { return true };
        have.epoch.as_ref() != epoch && !self.is_behind(have)
    }

    /// Whether a data plane that holds this has not heard of anything that the cut left out.
    fn is_behind(&self, have: &Position) -> bool {
        match self {
            Self::Restored { cut } => have == cut || (have.epoch == cut.epoch && have.revision < cut.revision),
            Self::Forked { .. } => false,
        }
    }

    /// What data planes are told.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Restored { .. } => "history restored from a backup and not adopted yet",
            Self::Forked { .. } => "history older than what was published, and not adopted",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: &str, revision: u64) -> Position {
        Position { epoch: epoch.into(), revision: Revision::new(revision).unwrap(), digest: Digest::default() }
    }

    #[test]
    fn a_restored_history_goes_only_to_whoever_has_heard_of_nothing_later() {
        let fence = Fence::Restored { cut: at("old", 5) };
        let held = |have: Option<Position>| fence.holds(have.as_ref(), "new");
        for (have, expected) in [
            (None, true),
            (Some(at("old", 4)), false),
            (Some(at("old", 5)), false),
            (Some(at("old", 6)), true),
            (Some(at("new", 7)), false),
            (Some(at("elsewhere", 1)), true),
        ] {
            assert_eq!(held(have.clone()), expected, "{have:?}");
        }
        let other = Position { digest: Digest::from([1; 32]), ..at("old", 5) };
        assert!(held(Some(other)), "the same number for something else");
    }

    #[test]
    fn a_forked_history_goes_only_to_its_own() {
        let fence = Fence::Forked { published: at("a", 9) };
        let held = |have: Option<Position>| fence.holds(have.as_ref(), "a");
        assert!(held(None) && held(Some(at("b", 3))));
        assert!(!held(Some(at("a", 3))));
    }
}
