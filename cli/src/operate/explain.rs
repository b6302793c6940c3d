//! `explain`: where a request would go, step by step, and why not elsewhere.

use std::path::PathBuf;

use clap::Args;
use signalbox_proto::admin::v1::{
    ExplainRouteRequest, ExplainRouteResponse,
    explain_route_response::{Candidate, Refusal, Step},
};

use super::{
    Session, document,
    error::Error,
    kind::Named,
    view::{self, Done},
};
use crate::table::Table;

/// The flags of `explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// The client key that asks, by id [default: somebody without one]
    #[arg(long, value_name = "ID")]
    pub key: Option<String>,
    /// The model, as the client asks for it
    #[arg(long, value_name = "MODEL")]
    pub model: String,
    /// The endpoint's path below the base path
    #[arg(long, value_name = "PATH", default_value = "/v1/chat/completions")]
    pub endpoint: String,
    /// As it was at this revision
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, conflicts_with = "file")]
    pub revision: u64,
    /// As it would be with these documents applied; may be given several times
    #[arg(short, long, value_name = "FILE|DIR|-")]
    pub file: Vec<PathBuf>,
}

impl Explain {
    /// Asks where it would go.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn run(&self, session: &Session) -> Result<Done, Error> {
        let key = self.key.as_ref().map(|id| Named::read("keys", Some(id))).transpose()?;
        let documents = document::read(&self.file)?;
        let request = ExplainRouteRequest {
            client_key: key.and_then(|key| key.name).unwrap_or_default(),
            model: self.model.clone(),
            endpoint: self.endpoint.clone(),
            revision: self.revision,
            config: (!self.file.is_empty()).then(|| documents.config.clone()),
        };
        let answer = session.control.call("ConfigService/ExplainRoute", &request).await;
        let answer = answer.map_err(|error| if self.file.is_empty() { error } else { documents.explain(error) })?;
        let response: ExplainRouteResponse = answer.read()?;
        let names: Vec<String> = response.candidates.iter().map(|candidate| candidate.provider.clone()).collect();
        let text = session.view.show(&view::json(answer.message()), names, || describe(&response))?;
        Ok(Done::with(text))
    }
}

fn describe(response: &ExplainRouteResponse) -> String {
    let ExplainRouteResponse { steps, candidates, refusal, revision } = response;
    let mut text = format!("At revision {revision}:\n");
    for Step { resource, effect } in steps {
        let resource = if resource.is_empty() { String::new() } else { format!("{resource}: ") };
        text.push_str(&format!("  {resource}{effect}\n"));
    }
    if !candidates.is_empty() {
        let row = |candidate: &Candidate| {
            let Candidate { provider, model, priority, weight, url, credentials, excluded } = candidate;
            let verdict = if excluded.is_empty() { url.clone() } else { format!("not tried: {excluded}") };
            let credentials: Vec<&str> =
                credentials.iter().map(|name| name.rsplit('/').next().unwrap_or_default()).collect();
            vec![
                provider.trim_start_matches("providers/").to_owned(),
                model.clone(),
                priority.to_string(),
                weight.to_string(),
                credentials.join(", "),
                verdict,
            ]
        };
        let header = ["Provider", "Model", "Priority", "Weight", "Credentials", "Sent to"];
        text.push_str(&format!("\n{}", Table::wide(&header, candidates.iter().map(row))));
    }
    if let Some(Refusal { status, code, message }) = refusal {
        text.push_str(&format!("\nIt would be refused: {status} {code}: {message}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_candidates_and_a_refusal_are_said() {
        let step = Step { resource: "redirects/fast".into(), effect: "the model is `fast`".into() };
        let candidate = |provider: &str, url: &str, excluded: &str| Candidate {
            provider: format!("providers/{provider}"),
            model: "m".into(),
            url: url.into(),
            excluded: excluded.into(),
            credentials: vec![format!("providers/{provider}/credentials/main")],
            ..Candidate::default()
        };
        let refusal = Refusal { status: 404, code: "model_not_found".into(), message: "no".into() };
        let text = describe(&ExplainRouteResponse {
            steps: vec![step],
            candidates: vec![candidate("a", "http://a/v1/chat/completions", ""), candidate("b", "", "disabled")],
            refusal: Some(refusal),
            revision: 7,
        });
        assert!(text.starts_with("At revision 7:\n  redirects/fast: the model is `fast`\n"), "{text}");
        for words in ["http://a/v1/chat/completions", "not tried: disabled", "| main"] {
            assert!(text.contains(words), "{words} in {text}");
        }
        assert!(text.ends_with("It would be refused: 404 model_not_found: no\n"), "{text}");
    }
}
