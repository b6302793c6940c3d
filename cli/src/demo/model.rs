//! The models that the demo upstream knows, and what asking for one of them sets off.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    answer::{Answer, read},
    fault::Fault,
    refusal::Refusal,
    script::Script,
    text::CREATED,
};

/// A known model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Model {
    /// Answers with what it was told.
    Echo,
    /// Turns text into vectors.
    Embed,
    /// Goes wrong.
    Fault(Fault),
}

impl Model {
    pub(super) fn all() -> impl Iterator<Item = Self> {
        [Self::Echo, Self::Embed].into_iter().chain(Fault::ALL.into_iter().map(Self::Fault))
    }

    fn parse(id: &str) -> Option<Self> {
        Self::all().find(|model| model.id() == id)
    }

    pub(super) const fn id(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Embed => "embed",
            Self::Fault(fault) => fault.model(),
        }
    }

    /// The model that a request names.
    pub(super) fn requested(body: &[u8]) -> Result<Self, Refusal> {
        #[derive(Deserialize)]
        struct Named {
            model: String,
        }
        let Named { model } = read(body)?;
        Self::parse(&model).ok_or(Refusal::UnknownModel { model })
    }

    /// Answers as the endpoint does, and lets the fault have its way with it.
    pub(super) fn perform(
        self,
        body: &[u8],
        answer: fn(Self, &[u8]) -> Result<Answer, Refusal>,
    ) -> Result<Script, Refusal> {
        let answer = answer(self, body)?;
        Ok(match self {
            Self::Echo | Self::Embed => answer.into(),
            Self::Fault(fault) => fault.spoil(answer),
        })
    }

    /// Refuses an endpoint that the model is not for.
    pub(super) fn must_not_be(self, other: Self) -> Result<(), Refusal> {
        if self == other { Err(Refusal::UnknownModel { model: self.id().to_owned() }) } else { Ok(()) }
    }

    fn describe(self) -> Value {
        json!({ "id": self.id(), "object": "model", "created": CREATED, "owned_by": "signalbox-demo" })
    }
}

/// `GET /v1/models`
pub(super) fn list() -> Value {
    json!({ "object": "list", "data": Model::all().map(Model::describe).collect::<Vec<_>>() })
}

/// `GET /v1/models/{id}`
pub(super) fn get(path: &str) -> Result<Value, Refusal> {
    let id = path.trim_start_matches("/v1/models/");
    Model::parse(id).map(Model::describe).ok_or_else(|| Refusal::UnknownModel { model: id.to_owned() })
}
