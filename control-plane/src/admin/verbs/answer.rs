//! How a change is answered: once it is made, or as it was the first time where its caller repeats it. No answer that is kept holds a
//! secret.

use prost::Message;
use tokio::task::spawn_blocking;

use super::Verbs;
use crate::{
    admin::error::{Error, Places},
    ledger::{Edit, Entry, Once, Refused, Written},
    state::State,
};

/// What a change is answered with.
#[derive(Debug)]
pub(crate) struct Answered<M> {
    /// The answer.
    pub(crate) message: M,
    /// Whether this call made a revision: not a dry run, nor one that changed nothing, nor a repetition.
    pub(crate) committed: bool,
}

impl Verbs {
    /// Makes a change, or finds that it was made before under the same request id.
    ///
    /// `places` says where in the request each resource was. `answer` may run before the commit, and must not put a secret into what
    /// it says.
    pub(crate) async fn answer<M, F, A>(
        &self,
        entry: Entry,
        places: Places,
        edit: F,
        answer: A,
    ) -> Result<Answered<M>, Error>
    where
        M: Message + Default + 'static,
        F: FnOnce(&State) -> Result<Vec<Edit>, Refused> + Send + 'static,
        A: FnOnce(&Written) -> M + Send + 'static,
    {
        let unwritten = |source| Error::Write { source, places };
        if entry.request.is_none() || entry.validate_only {
            let dry = entry.validate_only;
            let written = self.ledger.write(entry, edit).await.map_err(unwritten)?;
            let committed = written.committed;
            // A dry run looks at what a change means for every client key, which may take a while.
            let message = if dry { spawn_blocking(move || answer(&written)).await? } else { answer(&written) };
            return Ok(Answered { message, committed });
        }
        let packed = move |written: &Written| answer(written).encode_to_vec().into();
        match self.ledger.write_once(entry, edit, packed).await.map_err(unwritten)? {
            Once::Done(written, answer) => Ok(Answered { message: M::decode(answer)?, committed: written.committed }),
            Once::Repeated(answer) => Ok(Answered { message: M::decode(answer)?, committed: false }),
        }
    }
}
