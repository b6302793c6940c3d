//! The data planes: which of them serve a revision, and waiting until they do.

use std::{
    io::{self, IsTerminal as _},
    time::{Duration, Instant},
};

use clap::Args;
use signalbox_proto::admin::v1::{Replica, WaitForRevisionRequest, WaitForRevisionResponse, replica::State};

use super::{
    Session,
    error::{Error, Exit},
    moment,
    view::{self, Done, Form},
};
use crate::table::Table;

/// How long one question may wait, so that whoever watches sees how far it is.
const SLICE: Duration = Duration::from_secs(2);

/// The flags of `wait`.
#[derive(Debug, Args)]
pub struct Wait {
    /// The revision; a later one will do [default: the current one]
    #[arg(value_name = "REVISION", default_value_t = 0, hide_default_value = true)]
    pub revision: u64,
    /// How long at most
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = moment::length)]
    pub timeout: Duration,
    /// How many of the connected data planes have to serve it, in percent
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub percent: u32,
    /// How many data planes there have to be at least
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub replicas: u32,
    /// Give up as soon as a data plane rejects any of it
    #[arg(long)]
    pub fail_on_rejection: bool,
}

impl Wait {
    /// Waits until a revision is in force.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn run(&self, session: &Session) -> Result<Done, Error> {
        let (response, value) = self.watch(session).await?;
        let names = response.pending.iter().map(|replica| replica.name.clone()).collect::<Vec<_>>();
        let text = session.view.show(&value, names, || describe(&response))?;
        Ok(Done { text, exit: exit(&response) })
    }

    /// Asks again and again, and says on a terminal how far it is.
    async fn watch(&self, session: &Session) -> Result<(WaitForRevisionResponse, serde_json::Value), Error> {
        let (started, told) = (Instant::now(), io::stderr().is_terminal());
        let (mut revision, mut said) = (self.revision, String::new());
        loop {
            let left = self.timeout.saturating_sub(started.elapsed());
            let slice = left.min(SLICE);
            let request = WaitForRevisionRequest {
                revision,
                timeout: Some(moment::proto(slice)),
                min_percent: self.percent,
                fail_on_rejection: self.fail_on_rejection,
                min_replicas: self.replicas,
            };
            let answer = session.control.call_for("ReplicaService/WaitForRevision", &request, slice).await?;
            let response: WaitForRevisionResponse = answer.read()?;
            let refused = self.fail_on_rejection && response.pending.iter().any(rejects);
            if response.satisfied || refused || left <= slice {
                return Ok((response, view::json(answer.message())));
            }
            // What was current at the start is what is waited for, whatever is committed meanwhile.
            revision = response.revision;
            let line = progress(&response);
            if told && line != said {
                view::tell(&line);
                said = line;
            }
        }
    }
}

fn rejects(replica: &Replica) -> bool {
    !replica.rejections.is_empty() || replica.state() == State::Rejecting
}

fn exit(response: &WaitForRevisionResponse) -> Exit {
    if response.satisfied { Exit::Done } else { Exit::Unsatisfied }
}

/// How far it is, in one line.
fn progress(response: &WaitForRevisionResponse) -> String {
    let WaitForRevisionResponse { applied, total, pending, revision, .. } = response;
    let names: Vec<&str> = pending.iter().map(|replica| replica.name.trim_start_matches("replicas/")).collect();
    let waiting = if names.is_empty() { String::new() } else { format!("; waiting for {}", names.join(", ")) };
    format!("revision {revision}: {applied} of {total} data planes{waiting}")
}

/// How far a revision has come, and who does not serve it and why.
pub(super) fn describe(response: &WaitForRevisionResponse) -> String {
    let WaitForRevisionResponse { satisfied, applied, total, pending, revision, disconnected } = response;
    let verdict = match (satisfied, total) {
        (_, 0) => "NOT in force: no data plane is connected; those that join will serve it".to_owned(),
        (true, _) => format!("in force on {applied} of {total} data planes"),
        (false, _) if pending.is_empty() => {
            format!("in force on all {total} data planes, which are fewer than asked for")
        }
        (false, _) => format!("NOT in force everywhere: on {applied} of {total} data planes"),
    };
    let mut text = format!("Revision {revision} is {verdict}.\n");
    if *disconnected > 0 {
        text.push_str(&format!("Not connected, and serving what they hold: {disconnected}.\n"));
    }
    if !pending.is_empty() {
        let row = |replica: &Replica| {
            let state = replica.state().as_str_name().trim_start_matches("STATE_").to_ascii_lowercase();
            vec![
                replica.name.trim_start_matches("replicas/").to_owned(),
                state,
                replica.serving_revision.to_string(),
                why(replica),
            ]
        };
        let table = Table::wide(&["Data plane", "State", "Serves", "Why"], pending.iter().map(row));
        text.push_str(&format!("\n{table}"));
    }
    text
}

fn why(replica: &Replica) -> String {
    let reasons: Vec<String> = replica
        .rejections
        .iter()
        .map(|rejection| {
            let name = if rejection.name.is_empty() { "all of it" } else { &rejection.name };
            format!("rejects {name}: {} [{}]", rejection.message, rejection.reason)
        })
        .collect();
    match replica.state() {
        _ if !reasons.is_empty() => reasons.join("; "),
        State::Disconnected => "it is not connected, and serves what it has".to_owned(),
        State::Ahead => "it holds a revision that this control plane does not know: see adopt-history".to_owned(),
        _ if replica.draining => "it is going away, and takes nothing new".to_owned(),
        _ => "it is on its way".to_owned(),
    }
}

/// Waits for the revision that a command has made, where that was asked for, and says so after what the command says. What was done is
/// said whatever comes of the wait: it may be a key, which is shown only once.
pub(super) async fn after(session: &Session, done: Done, revision: u64, wait: Option<Duration>) -> Done {
    let Some(timeout) = wait else { return done };
    let wait = Wait { revision, timeout, percent: 100, replicas: 0, fail_on_rejection: false };
    match wait.watch(session).await {
        Ok((response, _)) => add(session, done, &response),
        Err(error) => {
            view::tell(&format!("revision {revision} is made, and it is not known who serves it"));
            super::refuse(&error);
            Done { exit: Exit::Unsatisfied, ..done }
        }
    }
}

/// Says how far it is, after what a command says: for people in the same place, for programs aside.
pub(super) fn add(session: &Session, done: Done, response: &WaitForRevisionResponse) -> Done {
    let Done { text, .. } = done;
    let words = describe(response);
    let exit = exit(response);
    if session.view.output == Form::Table && !session.quiet {
        Done { text: text + &words, exit }
    } else {
        view::tell(words.trim_end());
        Done { text, exit }
    }
}

#[cfg(test)]
mod tests {
    use signalbox_proto::sync::v1::Rejection;

    use super::*;

    fn response() -> WaitForRevisionResponse {
        let rejection = Rejection {
            name: "providers/a".into(),
            reason: "UNKNOWN_FEATURE".into(),
            message: "is too new".into(),
            ..Rejection::default()
        };
        let partial = Replica {
            name: "replicas/b".into(),
            state: State::Partial.into(),
            serving_revision: 7,
            rejections: vec![rejection],
            ..Replica::default()
        };
        let lagging = Replica {
            name: "replicas/c".into(),
            state: State::Lagging.into(),
            serving_revision: 6,
            ..Replica::default()
        };
        WaitForRevisionResponse {
            satisfied: false,
            applied: 1,
            total: 3,
            pending: vec![partial, lagging],
            revision: 7,
            disconnected: 0,
        }
    }

    #[test]
    fn who_does_not_serve_it_and_why_is_said() {
        let text = describe(&response());
        assert!(text.starts_with("Revision 7 is NOT in force everywhere: on 1 of 3 data planes.\n"), "{text}");
        for row in [
            ["b", "partial", "rejects providers/a: is too new [UNKNOWN_FEATURE]"],
            ["c", "lagging", "it is on its way"],
        ] {
            assert!(text.lines().any(|line| row.iter().all(|cell| line.contains(cell))), "{row:?} in {text}");
        }
        assert_eq!(progress(&response()), "revision 7: 1 of 3 data planes; waiting for b, c");
    }

    #[test]
    fn nobody_to_wait_for_is_said_to_be_so() {
        let nobody = WaitForRevisionResponse { revision: 7, disconnected: 2, ..WaitForRevisionResponse::default() };
        assert_eq!(
            describe(&nobody),
            "Revision 7 is NOT in force: no data plane is connected; those that join will serve it.\n\
             Not connected, and serving what they hold: 2.\n"
        );
        assert_eq!((exit(&nobody), exit(&response())), (Exit::Unsatisfied, Exit::Unsatisfied));
    }
}
