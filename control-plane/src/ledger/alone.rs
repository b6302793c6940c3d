//! A configuration on its own, judged as any other and never written.

use std::{collections::BTreeMap, sync::Arc};

use signalbox_proto::admin::v1 as admin;
use signalbox_routing::{Digest, Position, ResourceName, Revision, Runtime};

use super::{
    Edit, Error, Refused, Written,
    draft::Draft,
    prospect::{self, Moment, Prospect},
    writer::now,
};
use crate::{
    history::History,
    message::Message,
    state::{Resources, State},
};

/// What an edit of nothing comes to. The settings are there, as everywhere.
pub(super) fn written(edit: impl FnOnce(&State) -> Result<Vec<Edit>, Refused>) -> Result<Written, Error> {
    let nothing = Arc::new(nothing());
    let mut settings = Message::from(admin::Settings::default());
    settings.set_name(&ResourceName::settings());
    let mut edits = vec![Edit::Put(settings)];
    edits.extend(edit(&nothing)?);
    let held = BTreeMap::new();
    let draft = Draft::new(&nothing, &held, edits)?;
    let moment = Moment { revision: Revision::FIRST, now: nothing.commit_time };
    let (state, changes) = match prospect::judge(&nothing, &held, draft, moment)? {
        Some(Prospect { state, steps }) => (Arc::new(state), steps.into_iter().map(|step| step.difference).collect()),
        None => (Arc::clone(&nothing), Vec::new()),
    };
    Ok(Written { before: nothing, state, revision: moment.revision, changes, committed: false })
}

fn nothing() -> State {
    State {
        position: Position { epoch: "".into(), revision: Revision::FIRST, digest: Digest::default() },
        commit_time: now(),
        runtime: Runtime::default(),
        history: History::default(),
        resources: Resources::default(),
    }
}
