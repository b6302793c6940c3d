//! The endpoints that carry a model, where they are, and what their requests are.

/// An endpoint whose request names a model.
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
    /// `POST /v1/images/edits`
    ImagesEdits,
    /// `POST /v1/images/variations`
    ImagesVariations,
    /// `POST /v1/audio/speech`
    AudioSpeech,
    /// `POST /v1/audio/transcriptions`
    AudioTranscriptions,
    /// `POST /v1/audio/translations`
    AudioTranslations,
    /// `POST /v1/messages`, Anthropic's
    Messages,
    /// `POST /v1/messages/count_tokens`, Anthropic's
    MessagesCountTokens,
    /// `GET /v1/realtime`, a WebSocket
    Realtime,
}

/// What a request to an endpoint is, and so where its model is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A JSON object with a `model`.
    Json,
    /// A multipart form with a part `model`.
    Multipart,
    /// A WebSocket handshake with a `model` in its query.
    WebSocket,
}

impl Endpoint {
    /// Every endpoint.
    pub const ALL: [Self; 15] = [
        Self::ChatCompletions,
        Self::Completions,
        Self::Embeddings,
        Self::Responses,
        Self::Moderations,
        Self::Rerank,
        Self::ImagesGenerations,
        Self::ImagesEdits,
        Self::ImagesVariations,
        Self::AudioSpeech,
        Self::AudioTranscriptions,
        Self::AudioTranslations,
        Self::Messages,
        Self::MessagesCountTokens,
        Self::Realtime,
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
            Self::ImagesEdits => "/images/edits",
            Self::ImagesVariations => "/images/variations",
            Self::AudioSpeech => "/audio/speech",
            Self::AudioTranscriptions => "/audio/transcriptions",
            Self::AudioTranslations => "/audio/translations",
            Self::Messages => "/messages",
            Self::MessagesCountTokens => "/messages/count_tokens",
            Self::Realtime => "/realtime",
        }
    }

    /// The endpoint at a path below the API root.
    #[must_use]
    pub fn from_path(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|endpoint| endpoint.path() == path)
    }

    /// What its requests are.
    #[must_use]
    pub const fn form(self) -> Form {
        match self {
            Self::ImagesEdits | Self::ImagesVariations | Self::AudioTranscriptions | Self::AudioTranslations => {
                Form::Multipart
            }
            Self::Realtime => Form::WebSocket,
            Self::ChatCompletions
            | Self::Completions
            | Self::Embeddings
            | Self::Responses
            | Self::Moderations
            | Self::Rerank
            | Self::ImagesGenerations
            | Self::AudioSpeech
            | Self::Messages
            | Self::MessagesCountTokens => Form::Json,
        }
    }

    /// Whether it is of Anthropic's API, whose clients expect errors in its form.
    #[must_use]
    pub const fn is_anthropic(self) -> bool {
        matches!(self, Self::Messages | Self::MessagesCountTokens)
    }
}
