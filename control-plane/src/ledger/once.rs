//! Calls that are done once: how a repetition is told from another call that has the same id. What their answers say is not known here.

use std::time::{Duration, SystemTime};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::SqliteConnection;

use super::{Entry, Error, RequestId};
use crate::{
    seal::{DataKey, Place},
    store::requests::{self, Key, Row},
};

/// How long a call is remembered, as the schemas say.
pub(super) const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);

/// A call with an id of its caller's.
#[derive(Debug)]
pub(super) struct Call<'a> {
    actor: &'a str,
    id: String,
    request: &'a RequestId,
    method: &'static str,
    now: SystemTime,
}

impl<'a> Call<'a> {
    /// The call that a write is; `None` where it may be done again, as whatever commits nothing may.
    pub(super) fn of(entry: &'a Entry, now: SystemTime) -> Option<Self> {
        let request = entry.request.as_ref().filter(|_| !entry.validate_only)?;
        Some(Self { actor: &entry.actor, id: request.id.to_string(), request, method: entry.method, now })
    }

    /// How it was answered, if it was.
    pub(super) async fn answered(
        &self,
        connection: &mut SqliteConnection,
        key: &DataKey,
    ) -> Result<Option<Bytes>, Error> {
        let since = self.now.checked_sub(REMEMBERED).unwrap_or(SystemTime::UNIX_EPOCH);
        let Some(row) = requests::get(connection, self.key(), since).await? else { return Ok(None) };
        let digest = key.open(self.place(), &row.digest)?;
        if row.method == self.method && digest.expose_secret() == self.digest().expose_secret() {
            return Ok(Some(row.answer.into()));
        }
        Err(Error::RequestReused { id: self.request.id, method: row.method })
    }

    /// Keeps how it is answered.
    pub(super) async fn keep(
        &self,
        connection: &mut SqliteConnection,
        key: &DataKey,
        answer: &Bytes,
    ) -> Result<(), Error> {
        let digest = key.seal(self.place(), &self.digest());
        let row = Row { method: self.method.to_owned(), digest, answer: answer.to_vec() };
        Ok(requests::keep(connection, self.key(), &row, self.now).await?)
    }

    fn key(&self) -> Key<'_> {
        Key { actor: self.actor, id: &self.id }
    }

    /// No secret of a resource is at version 0.
    fn place(&self) -> Place<'_> {
        Place { resource: self.actor, field: &self.id, version: 0 }
    }

    fn digest(&self) -> SecretString {
        BASE64.encode(self.request.sha256).into()
    }
}
