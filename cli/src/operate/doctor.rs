//! `doctor`: looks at a control plane from outside, and says what is well, what is worth a look and what is broken, each with what to do.
//! It changes nothing and calls no upstream.

use std::time::{Duration, SystemTime};

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};
use signalbox_data_plane::readiness;
use signalbox_proto::admin::v1::{
    AdminToken, ExportConfigRequest, ExportConfigResponse, ListAdminTokensRequest, ListAdminTokensResponse,
    ListReplicasRequest, ListReplicasResponse, Replica, replica::State,
};

use super::{
    Session,
    error::{Error, Exit},
    outcome::Paint,
    view::Done,
};

mod backups;
mod configuration;
mod routing;
mod tls;

/// Clocks further apart than this are worth a look: keys expire by them.
const SKEW: Duration = Duration::from_secs(30);

/// How long before its end something is worth a look.
const SOON: i64 = 14 * 86_400;

/// The flags of `doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// A data plane to look at too, such as http://127.0.0.1:8080; may be given several times
    #[arg(long, value_name = "URL")]
    pub data_plane: Vec<String>,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// Worth a look.
    Warn,
    /// Broken.
    Fail,
}

impl Level {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    level: Level,
    about: String,
    says: String,
    next: &'static str,
}

impl Line {
    fn ok(about: impl Into<String>, says: impl Into<String>) -> Self {
        Self { level: Level::Ok, about: about.into(), says: says.into(), next: "" }
    }

    fn warn(about: impl Into<String>, says: impl Into<String>, next: &'static str) -> Self {
        Self { level: Level::Warn, about: about.into(), says: says.into(), next }
    }

    fn fail(about: impl Into<String>, says: impl Into<String>, next: &'static str) -> Self {
        Self { level: Level::Fail, about: about.into(), says: says.into(), next }
    }

    /// What could not be looked at, for a reason of its own.
    fn unseen(about: &str, error: &Error) -> Self {
        Self::warn(about, format!("not looked at: {error}"), "ask with a token whose role may see it")
    }

    fn say(&self, paint: Paint) -> String {
        use anstyle::AnsiColor::{Green, Red, Yellow};
        let Self { level, about, says, next } = self;
        let color = match level {
            Level::Ok => Green,
            Level::Warn => Yellow,
            Level::Fail => Red,
        };
        let next = if next.is_empty() { String::new() } else { format!("\n      next: {next}") };
        format!("{}  {about}: {says}{next}\n", paint.with(color, &format!("{:4}", level.word())))
    }

    fn json(&self) -> Value {
        let Self { level, about, says, next } = self;
        json!({"level": level.word(), "about": about, "says": says, "next": next})
    }
}

impl Doctor {
    /// Looks at everything.
    ///
    /// # Errors
    /// [`Error::Yaml`]; what is broken is in the report.
    pub async fn run(&self, session: &Session) -> Result<Done, Error> {
        let lines = Box::pin(self.look(session)).await;
        let value = Value::Array(lines.iter().map(Line::json).collect());
        let bad = lines.iter().filter(|line| line.level != Level::Ok).map(|line| line.about.clone());
        let text = session.view.show(&value, bad.collect::<Vec<_>>(), || report(&lines, session.paint()))?;
        let failed = lines.iter().any(|line| line.level == Level::Fail);
        Ok(Done { text, exit: if failed { Exit::Failed } else { Exit::Done } })
    }

    async fn look(&self, session: &Session) -> Vec<Line> {
        let mut lines = vec![tls::look(session.control.address(), session.ca.as_deref()).await];
        match session.control.clock().await {
            Ok(theirs) => lines.extend(reached(session, theirs)),
            Err(error) => {
                let next = error.advice().unwrap_or("see what the control plane logs");
                lines.push(Line::fail("control plane", error.to_string(), next));
                lines.extend(self.data_planes().await);
                return lines;
            }
        }
        lines.extend(replicas(session).await);
        lines.extend(self.data_planes().await);
        lines.extend(tokens(session).await);
        let request = ExportConfigRequest::default();
        let export = match session.control.call("ConfigService/ExportConfig", &request).await {
            Ok(answer) => answer.read::<ExportConfigResponse>(),
            Err(error) => Err(error),
        };
        match export {
            Ok(export) => {
                lines.extend(session.folder.as_deref().and_then(|folder| backups::look(folder, export.revision)));
                let config = export.config.unwrap_or_default();
                lines.extend(configuration::look(&config, Timestamp::now().as_second()));
                lines.extend(routing::look(session, &config).await);
            }
            Err(error) => lines.push(Line::unseen("configuration", &error)),
        }
        lines
    }

    async fn data_planes(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        for url in &self.data_plane {
            lines.push(match readiness::check(url).await {
                Ok(()) => Line::ok(url, "ready"),
                Err(error) => Line::fail(url, error.to_string(), "see whether it runs, and what it logs"),
            });
        }
        lines
    }
}

fn report(lines: &[Line], paint: Paint) -> String {
    let count = |level| lines.iter().filter(|line| line.level == level).count();
    let all: String = lines.iter().map(|line| line.say(paint)).collect();
    format!("{all}\n{} ok, {} to look at, {} broken\n", count(Level::Ok), count(Level::Warn), count(Level::Fail))
}

/// That it answers, and how far its clock is from this one.
fn reached(session: &Session, theirs: Option<SystemTime>) -> Vec<Line> {
    let reached = Line::ok("control plane", format!("answers at {}", session.control.address()));
    let now = SystemTime::now();
    let apart = theirs.map(|theirs| now.duration_since(theirs).unwrap_or_else(|error| error.duration()));
    let clock = match apart {
        None => Line::warn("clock", "the control plane does not say what time it is", "compare the clocks by hand"),
        Some(apart) if apart > SKEW => Line::warn(
            "clock",
            format!("this machine and the control plane are {} s apart", apart.as_secs()),
            "set both by NTP: keys and tokens expire by the clock",
        ),
        Some(_) => Line::ok("clock", "as on this machine"),
    };
    vec![reached, clock]
}

async fn replicas(session: &Session) -> Vec<Line> {
    let request = ListReplicasRequest { page_size: 1000, ..ListReplicasRequest::default() };
    let listed = match session.control.call("ReplicaService/ListReplicas", &request).await {
        Ok(answer) => answer.read::<ListReplicasResponse>(),
        Err(error) => Err(error),
    };
    match listed {
        Ok(listed) if listed.replicas.is_empty() => {
            vec![Line::warn("data planes", "none has joined", "start one with --control-plane and --join-token-file")]
        }
        Ok(listed) => listed.replicas.iter().map(replica).collect(),
        Err(error) => vec![Line::unseen("data planes", &error)],
    }
}

fn replica(replica: &Replica) -> Line {
    let (name, serving) = (replica.name.as_str(), replica.serving_revision);
    let skew = replica.clock_skew.map_or(0, |skew| skew.seconds.unsigned_abs());
    match replica.state() {
        State::Rejecting => Line::fail(
            name,
            format!("refuses the current revision, and serves {serving}"),
            "`signalbox get replica NAME -o yaml` says why; `signalbox rollback` brings back what it took",
        ),
        State::Ahead => Line::fail(
            name,
            "holds a revision that this control plane does not know, and is sent nothing",
            "the database is older than what it served: see adopt-history in the README",
        ),
        State::Partial => Line::warn(
            name,
            format!("serves {serving} but for {} resources", replica.rejections.len()),
            "`signalbox get replica NAME -o yaml` says which and why",
        ),
        State::Lagging => {
            Line::warn(name, format!("serves {serving}, and is on its way"), "`signalbox wait` says when")
        }
        State::Disconnected => Line::warn(
            name,
            format!("is not connected, and serves {serving}"),
            "see whether it runs and reaches the sync port",
        ),
        State::Unspecified | State::Synced if replica.draining => {
            Line::warn(name, "is going away, and takes nothing new", "nothing, where that is meant")
        }
        State::Unspecified | State::Synced if skew > SKEW.as_secs() => {
            Line::warn(name, format!("its clock is {skew} s off"), "set it by NTP: keys expire by the clock")
        }
        State::Unspecified | State::Synced => Line::ok(name, format!("serves {serving}")),
    }
}

async fn tokens(session: &Session) -> Vec<Line> {
    let request = ListAdminTokensRequest { page_size: 1000, ..ListAdminTokensRequest::default() };
    let listed = match session.control.call("AdminTokenService/ListAdminTokens", &request).await {
        Ok(answer) => answer.read::<ListAdminTokensResponse>(),
        Err(error) => Err(error),
    };
    let now = Timestamp::now().as_second();
    let ending = |token: &AdminToken| {
        let end = token.expire_time.filter(|_| !token.disabled)?;
        expiry(&token.name, end, now, "`signalbox tokens create` makes another, `tokens delete` takes this one away")
    };
    match listed {
        Ok(listed) => listed.admin_tokens.iter().filter_map(ending).collect(),
        Err(error) => vec![Line::unseen("admin tokens", &error)],
    }
}

/// That something ends soon, or has ended.
pub(super) fn expiry(name: &str, end: prost_types::Timestamp, now: i64, next: &'static str) -> Option<Line> {
    match end.seconds.saturating_sub(now) {
        ..=0 => Some(Line::warn(name, format!("has expired, at {end}"), next)),
        left if left < SOON => Some(Line::warn(name, format!("expires in {}, at {end}", days(left)), next)),
        _ => None,
    }
}

/// A length of time in whole days.
fn days(seconds: i64) -> String {
    match seconds / 86_400 {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_of_a_data_plane_has_its_level() {
        for (state, draining, level) in [
            (State::Synced, false, Level::Ok),
            (State::Synced, true, Level::Warn),
            (State::Lagging, false, Level::Warn),
            (State::Partial, false, Level::Warn),
            (State::Disconnected, false, Level::Warn),
            (State::Rejecting, false, Level::Fail),
            (State::Ahead, false, Level::Fail),
        ] {
            let line = replica(&Replica { state: state.into(), draining, ..Replica::default() });
            assert_eq!(line.level, level, "{state:?}");
            assert_eq!(
                line.next.is_empty(),
                level == Level::Ok,
                "{state:?}: whoever is told of a fault is told what to do"
            );
        }
        let skewed = Replica {
            state: State::Synced.into(),
            clock_skew: Some(prost_types::Duration { seconds: -90, nanos: 0 }),
            ..Replica::default()
        };
        assert!(replica(&skewed).says.contains("90 s off"));
    }

    #[test]
    fn what_ends_within_a_fortnight_is_told() {
        let at = |seconds| expiry("clientKeys/ci", prost_types::Timestamp { seconds, nanos: 0 }, 1_000_000, "next");
        assert!(at(999_999).unwrap().says.starts_with("has expired"));
        assert!(at(1_000_000 + 3 * 86_400).unwrap().says.starts_with("expires in 3 days"));
        assert!(at(1_000_000 + 86_399).unwrap().says.starts_with("expires in less than a day, at "));
        assert_eq!(at(1_000_000 + SOON), None);
    }

    #[test]
    fn a_report_counts_and_says_what_to_do() {
        let lines = [Line::ok("clock", "as on this machine"), Line::fail("x", "broken", "mend it")];
        let text = report(&lines, Paint(false));
        assert_eq!(
            text,
            "ok    clock: as on this machine\nfail  x: broken\n      next: mend it\n\n1 ok, 0 to look at, 1 broken\n"
        );
    }
}
