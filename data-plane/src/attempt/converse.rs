//! One attempt with an upstream that holds conversations: a conversation is made, the chat goes into it, and the answer is retold.
//! Both calls are one attempt, and either may fail it.

use std::sync::Arc;

use http::{Request, Response};
use signalbox_routing::{Conversation, Create};

use super::{
    commit::{begin, in_time},
    failed::{Cause, Clock, Deadline, Loss, Next, Unsendable},
    once::Once,
};
use crate::upstream::{
    Body, Key,
    conversation::{self, Cut, MAX_HELD_BYTES, Turn, Untold},
};

/// Most bytes that are read of the answer that a conversation's id is in.
const MAX_OPENING_BYTES: usize = 256 * 1024;

impl Once<'_> {
    /// Makes both calls. The answer to the first one is the attempt's where it is no success.
    pub(super) async fn converse(
        &self,
        conversation: &Conversation,
        key: Option<&Key>,
    ) -> Result<Response<Body>, Loss> {
        let turn = Turn::new(self.call, self.target, key, conversation).map_err(unsendable)?;
        let id = match (&conversation.create, turn.opening()) {
            (Some(create), Some(opening)) => match self.open(create, opening).await? {
                Ok(id) => id,
                Err(refusal) => return Ok(refusal),
            },
            (None, _) | (_, None) => String::new(),
        };
        self.exchange(turn.request(&id).map_err(unsendable)?).await
    }

    /// Makes a conversation: its id, or the answer that is no success.
    async fn open(&self, create: &Create, opening: Request<Body>) -> Result<Result<String, Response<Body>>, Loss> {
        let answer = self.exchange(opening).await?;
        if !answer.status().is_success() {
            return Ok(Err(answer));
        }
        let (answer, _) = begin(answer.into_body(), MAX_OPENING_BYTES).await?;
        conversation::id(create, &answer).map(Ok).ok_or(Cause::Unreadable.then(Next::OtherTargetOrAgain))
    }

    /// A success in OpenAI's words: a stream to be read on, or a completion that is there as a whole.
    pub(super) async fn retold(
        &self,
        conversation: &Arc<Conversation>,
        answer: Response<Body>,
    ) -> Result<Response<Body>, Loss> {
        let model = &self.target.model;
        if self.call.stream {
            let stream = conversation::stream(conversation, model, answer);
            return stream.ok_or(Cause::Unreadable.then(Next::OtherTargetOrAgain));
        }
        let deadline = Deadline { at: self.deadline(), clock: Clock::Total }.within(self.bound);
        in_time(deadline, async { Ok(conversation::whole(conversation, model, answer).await?) }).await
    }
}

fn unsendable(cause: impl Into<Unsendable>) -> Loss {
    Cause::Unsendable(cause.into()).then(Next::OtherTarget)
}

impl From<Untold> for Loss {
    fn from(untold: Untold) -> Self {
        match untold {
            Untold::Error => Cause::ErrorInside.then(Next::OtherTargetOrAgain),
            Untold::Nothing => Cause::Unreadable.then(Next::OtherTargetOrAgain),
            Untold::Cut(Cut::Transport(error)) => Cause::BrokenOff(Some(error)).then(Next::OtherTargetOrAgain),
            Untold::Cut(Cut::TooLarge) => Cause::OverLimit { limit: MAX_HELD_BYTES as u64 }.then(Next::Nothing),
        }
    }
}
