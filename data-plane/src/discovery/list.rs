//! One provider's list of models, as its dialect gives it: page by page, and within bounds.

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use http::{
    HeaderMap, HeaderValue, Request, StatusCode, Uri,
    header::{ACCEPT, ACCEPT_ENCODING},
};
use http_body_util::BodyExt as _;
use serde::Deserialize;
use signalbox_routing::{Dialect, Provider};
use tokio::time::{Instant, error::Elapsed, timeout};
use url::form_urlencoded;

use crate::{
    credentials::{Lease, Pool},
    live::Live,
    upstream::{self, Client, Transport},
};

/// Most bytes of a list, all pages together: 10 MiB.
const MAX_BYTES: usize = 10 * 1024 * 1024;
/// Most models in a list.
const MAX_MODELS: usize = 10_000;
/// Longest wait for a list, all pages together.
const PATIENCE: Duration = Duration::from_secs(30);
/// The models that Anthropic is asked for at once: as many as it gives (<https://docs.anthropic.com/en/api/models-list>).
const PAGE: &str = "/models?limit=1000";

/// A provider's own names of its models.
pub(super) type List = Arc<[Arc<str>]>;

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unlisted {
    /// There is no way to ask on this machine.
    #[error("no connection can be made as configured")]
    Unconnected,
    /// It has keys, of which none can be used now.
    #[error("none of its keys can be used now")]
    Keyless,
    /// It cannot be reached, or broke off.
    #[error(transparent)]
    Transport(#[from] Transport),
    /// It did not answer in time.
    #[error("it did not answer within 30 s")]
    Late(#[from] Elapsed),
    /// It answered with a status other than success.
    #[error("it answered {0}")]
    Status(StatusCode),
    /// Its answer is too large.
    #[error("its list is larger than 10 MiB or longer than 10,000 models")]
    TooLarge,
    /// Its answer is no list.
    #[error("it answered with something else than a list of models")]
    Malformed(#[from] serde_json::Error),
}

/// Asks a provider with the connections and keys that are in force.
///
/// # Errors
/// [`Unlisted`] where there is no answer that can be used.
pub(super) async fn fetch(live: &Live, provider: &Provider) -> Result<List, Unlisted> {
    let way = live.load().and_then(|snapshot| {
        let client = snapshot.upstreams.client(&provider.profile)?.clone();
        Some(Way { client, pool: snapshot.upstreams.pool(&provider.id).cloned() })
    });
    let way = way.ok_or(Unlisted::Unconnected)?;
    timeout(PATIENCE, way.pages(provider)).await?
}

/// The way to a provider, which does not hold on to the snapshot that it was taken from.
struct Way {
    client: Client,
    pool: Option<Arc<Pool>>,
}

/// A list as it comes: OpenAI's and everybody's, or bare as some have it.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Answer {
    Page(Page),
    Bare(Vec<Entry>),
}

#[derive(Debug, Deserialize)]
struct Page {
    data: Vec<Entry>,
    /// Whether another page follows; only Anthropic's lists have more than one.
    #[serde(default)]
    has_more: bool,
}

#[derive(Debug, Deserialize)]
struct Entry {
    id: String,
}

impl Way {
    async fn pages(&self, provider: &Provider) -> Result<List, Unlisted> {
        let lease = self.pool.as_ref().map(|pool| pool.take(Instant::now(), &[]));
        let lease = lease.transpose().map_err(|_| Unlisted::Keyless)?;
        let (mut names, mut read): (Vec<Arc<str>>, usize) = (Vec::new(), 0);
        let mut next = first(provider);
        while let Some(url) = next {
            let body = self.get(provider, url, lease.as_ref(), MAX_BYTES - read).await?;
            read += body.len();
            let Page { data, has_more } = page(&body)?;
            names.extend(data.iter().map(|entry| name(provider.dialect, &entry.id)));
            if names.len() > MAX_MODELS {
                return Err(Unlisted::TooLarge);
            }
            next = data.last().filter(|_| has_more).and_then(|last| after(provider, &last.id));
        }
        Ok(names.into())
    }

    async fn get(
        &self,
        provider: &Provider,
        url: Uri,
        lease: Option<&Lease>,
        limit: usize,
    ) -> Result<BytesMut, Unlisted> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        upstream::address(&mut headers, provider, lease.map(Lease::key));
        let mut request = Request::new(upstream::Body::default());
        *request.uri_mut() = url;
        *request.headers_mut() = headers;
        let answer = self.client.send(request).await?;
        if !answer.status().is_success() {
            return Err(Unlisted::Status(answer.status()));
        }
        let (mut body, mut read) = (answer.into_body(), BytesMut::new());
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            if data.len() > limit - read.len() {
                return Err(Unlisted::TooLarge);
            }
            read.extend_from_slice(&data);
        }
        Ok(read)
    }
}

fn first(provider: &Provider) -> Option<Uri> {
    match provider.dialect {
        Dialect::Anthropic => provider.below(PAGE),
        Dialect::OpenAi | Dialect::AzureOpenAi | Dialect::Gemini | Dialect::Conversation => provider.models_url(),
    }
}

/// The page after the one that ends with this model.
fn after(provider: &Provider, last: &str) -> Option<Uri> {
    match provider.dialect {
        Dialect::Anthropic => {
            let last: String = form_urlencoded::byte_serialize(last.as_bytes()).collect();
            provider.below(&format!("{PAGE}&after_id={last}"))
        }
        Dialect::OpenAi | Dialect::AzureOpenAi | Dialect::Gemini | Dialect::Conversation => None,
    }
}

fn page(body: &[u8]) -> Result<Page, serde_json::Error> {
    Ok(match serde_json::from_slice(body)? {
        Answer::Page(page) => page,
        Answer::Bare(data) => Page { data, has_more: false },
    })
}

/// A model's name as requests spell it: Gemini lists its models as resources.
fn name(dialect: Dialect, id: &str) -> Arc<str> {
    match dialect {
        Dialect::Gemini => id.strip_prefix("models/").unwrap_or(id).into(),
        Dialect::OpenAi | Dialect::AzureOpenAi | Dialect::Anthropic | Dialect::Conversation => id.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_comes_in_an_object_or_bare() {
        let ids = |body: &str| {
            let page = page(body.as_bytes()).ok()?;
            Some((page.data.into_iter().map(|entry| entry.id).collect::<Vec<_>>(), page.has_more))
        };
        for (body, expected) in [
            (r#"{"object":"list","data":[{"id":"a","object":"model"},{"id":"b"}]}"#, Some((&["a", "b"][..], false))),
            (r#"{"data":[{"id":"a"}],"has_more":true,"last_id":"a"}"#, Some((&["a"], true))),
            (r#"[{"id":"a"}]"#, Some((&["a"], false))),
            (r#"{"data":[]}"#, Some((&[], false))),
            (r#"{"models":[{"name":"a"}]}"#, None),
            (r#"{"data":[{"id":1}]}"#, None),
            (r#"{"error":{"message":"no"}}"#, None),
            ("<html>", None),
            ("", None),
        ] {
            let expected = expected.map(|(ids, more)| (ids.iter().map(ToString::to_string).collect(), more));
            assert_eq!(ids(body), expected, "{body}");
        }
    }

    #[test]
    fn gemini_lists_resources_and_everybody_else_names() {
        assert_eq!(&*name(Dialect::Gemini, "models/gemini-2.5-pro"), "gemini-2.5-pro");
        assert_eq!(&*name(Dialect::Gemini, "gemini-2.5-pro"), "gemini-2.5-pro");
        assert_eq!(&*name(Dialect::OpenAi, "models/x"), "models/x");
    }
}
