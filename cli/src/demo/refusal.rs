//! Why the demo upstream answers with an error, and the one table of what it then says.

use http::{HeaderValue, Method, StatusCode, header::WWW_AUTHENTICATE};
use serde_json::json;

use super::script::Script;

#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("You didn't provide an API key. Send it as `Authorization: Bearer KEY`.")]
    MissingKey,
    #[error("Incorrect API key provided.")]
    WrongKey,
    #[error("Unknown request URL: {method} {path}.")]
    UnknownUrl { method: Method, path: String },
    #[error("The model `{model}` does not exist or does not serve this endpoint.")]
    UnknownModel { model: String },
    #[error("The request body is too large.")]
    BodyTooLarge,
    #[error("We could not parse the JSON body of your request: {reason}.")]
    Unreadable { reason: serde_json::Error },
    #[error("Invalid value for `{param}`: {rule}.")]
    Invalid { param: &'static str, rule: &'static str },
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::MissingKey | Self::WrongKey => StatusCode::UNAUTHORIZED,
            Self::UnknownUrl { .. } | Self::UnknownModel { .. } => StatusCode::NOT_FOUND,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unreadable { .. } | Self::Invalid { .. } => StatusCode::BAD_REQUEST,
        }
    }

    fn code(&self) -> Option<&'static str> {
        match self {
            Self::MissingKey | Self::Unreadable { .. } | Self::BodyTooLarge => None,
            Self::WrongKey => Some("invalid_api_key"),
            Self::UnknownUrl { .. } => Some("unknown_url"),
            Self::UnknownModel { .. } => Some("model_not_found"),
            Self::Invalid { .. } => Some("invalid_value"),
        }
    }

    fn param(&self) -> Option<&'static str> {
        match self {
            Self::UnknownModel { .. } => Some("model"),
            Self::Invalid { param, .. } => Some(param),
            Self::MissingKey
            | Self::WrongKey
            | Self::UnknownUrl { .. }
            | Self::BodyTooLarge
            | Self::Unreadable { .. } => None,
        }
    }
}

impl From<&Refusal> for Script {
    fn from(refusal: &Refusal) -> Self {
        let body = json!({
            "error": {
                "message": refusal.to_string(),
                "type": "invalid_request_error",
                "param": refusal.param(),
                "code": refusal.code(),
            }
        });
        let script = Self::json(&body).with_status(refusal.status());
        match refusal {
            Refusal::MissingKey | Refusal::WrongKey => {
                script.with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
            }
            _ => script,
        }
    }
}
