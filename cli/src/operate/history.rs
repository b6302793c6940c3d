//! The history: `revisions` and `rollback`.

use std::time::Duration;

use clap::Args;
use serde_json::Value;
use signalbox_proto::admin::v1::{RollbackConfigRequest, RollbackConfigResponse};

use super::{
    Session, apply,
    error::Error,
    fleet,
    get::{self, Query},
    kind::KindRef,
    moment, outcome,
    view::{self, Done, Form},
};

/// The flags of `revisions`.
#[derive(Debug, Args)]
pub struct Revisions {
    /// One of them, with what it changed: its number, or `latest` [default: a list]
    #[arg(value_name = "N")]
    pub revision: Option<String>,
    /// Only what matches, such as `actor = ci` or `changes.resource:providers/openai`
    #[arg(long, value_name = "FILTER", default_value = "")]
    pub filter: String,
    /// At most this many, the newest first
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: usize,
}

/// The flags of `rollback`.
#[derive(Debug, Args)]
pub struct Rollback {
    /// The revision whose content is to be current again
    #[arg(value_name = "N")]
    pub revision: u64,
    /// Only these kinds: settings, providers, credentials, keys, redirects, routes [default: all of them]
    #[arg(long, value_name = "KIND,…", value_delimiter = ',')]
    pub kinds: Vec<KindRef>,
    /// Take keys again that have been revoked since
    #[arg(long)]
    pub restore_client_keys: bool,
    /// Bring back the secrets as they were
    #[arg(long)]
    pub restore_secrets: bool,
    /// Change nothing, and say what would change and what that would mean
    #[arg(long)]
    pub dry_run: bool,
    /// Kept with the revision
    #[arg(long, value_name = "WORDS", default_value = "")]
    pub comment: String,
    /// Only on top of this revision
    #[arg(long, value_name = "REVISION", default_value_t = 0, hide_default_value = true)]
    pub expected_revision: u64,
    /// Wait until every connected data plane serves it
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "60s", value_parser = moment::length)]
    pub wait: Option<Duration>,
}

impl Revisions {
    /// Shows the history, or one revision.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn run(&self, session: &Session) -> Result<Done, Error> {
        let kind = "revisions".parse::<KindRef>()?.0;
        let Some(revision) = &self.revision else {
            let query = Query { filter: &self.filter, revision: 0, limit: Some(self.limit) };
            return get::many(session, kind, get::list(session, kind, &query).await?);
        };
        let value = get::get(session, kind, &kind.full_name(revision)?).await?;
        let done = get::one(session, kind, &value)?;
        if session.view.output != Form::Table {
            return Ok(done);
        }
        let changes = outcome::describe(&value, session.paint());
        Ok(Done::with(format!("{}\n{changes}{}", done.text, rollout(&value))))
    }
}

/// How far a revision has come, in one line.
fn rollout(revision: &Value) -> String {
    let Some(rollout) = revision.get("rollout") else { return String::new() };
    let count = |key: &str| rollout.get(key).and_then(Value::as_u64).unwrap_or_default();
    let others: Vec<String> = ["partial", "rejected", "pending", "disconnected"]
        .into_iter()
        .filter(|key| count(key) > 0)
        .map(|key| format!(", {} {key}", count(key)))
        .collect();
    let slowest = rollout.get("slowest").and_then(Value::as_str);
    let slowest = slowest.map(|time| format!(", the slowest after {time}")).unwrap_or_default();
    format!("\nIn force on {} of {} data planes{}{slowest}.\n", count("applied"), count("targets"), others.concat())
}

impl Rollback {
    /// Makes the content of an old revision current again.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn run(&self, session: &Session) -> Result<Done, Error> {
        let request = RollbackConfigRequest {
            name: format!("revisions/{}", self.revision),
            kinds: self.kinds.iter().map(|kind| kind.0.collection.to_owned()).collect(),
            restore_client_keys: self.restore_client_keys,
            restore_secrets: self.restore_secrets,
            validate_only: self.dry_run,
            comment: self.comment.clone(),
            expected_revision: self.expected_revision,
            request_id: session.request_id(),
        };
        let answer = session.control.call("RevisionService/RollbackConfig", &request).await?;
        let RollbackConfigResponse { revision, unchanged, .. } = answer.read()?;
        let value = view::json(answer.message());
        let text = session.view.show(&value, outcome::names(&value), || {
            let head = apply::head(revision, unchanged, self.dry_run, &format!("as at {}, now", self.revision));
            head + &outcome::describe(&value, session.paint())
        })?;
        let wait = self.wait.filter(|_| !self.dry_run);
        Ok(fleet::after(session, Done::with(text), revision, wait).await)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rollout_is_one_line() {
        let revision = json!({"rollout": {"targets": 3, "applied": 2, "pending": 1, "slowest": "0.004s"}});
        assert_eq!(rollout(&revision), "\nIn force on 2 of 3 data planes, 1 pending, the slowest after 0.004s.\n");
        assert_eq!(rollout(&json!({})), "");
    }
}
