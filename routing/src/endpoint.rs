//! The OpenAI endpoints that carry a model, and where they are.

/// An endpoint whose request is a JSON object with a `model`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// `POST /v1/chat/completions`
    ChatCompletions,
    /// `POST /v1/completions`
    Completions,
    /// `POST /v1/embeddings`
    Embeddings,
    /// `POST /v1/responses`
    Responses,
    /// `POST /v1/moderations`
    Moderations,
    /// `POST /v1/rerank`
    Rerank,
    /// `POST /v1/images/generations`
    ImagesGenerations,
    /// `POST /v1/audio/speech`
    AudioSpeech,
}

impl Endpoint {
    /// Every endpoint.
    pub const ALL: [Self; 8] = [
        Self::ChatCompletions,
        Self::Completions,
        Self::Embeddings,
        Self::Responses,
        Self::Moderations,
        Self::Rerank,
        Self::ImagesGenerations,
        Self::AudioSpeech,
    ];

    /// Its path below the API root, with a leading slash.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/chat/completions",
            Self::Completions => "/completions",
            Self::Embeddings => "/embeddings",
            Self::Responses => "/responses",
            Self::Moderations => "/moderations",
            Self::Rerank => "/rerank",
            Self::ImagesGenerations => "/images/generations",
            Self::AudioSpeech => "/audio/speech",
        }
    }

    /// The endpoint at a path below the API root.
    #[must_use]
    pub fn from_path(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|endpoint| endpoint.path() == path)
    }
}
