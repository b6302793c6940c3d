//! A local, deterministic upstream that speaks OpenAI's API: it echoes, embeds, and fails on request. It knows nothing of the gateway
//! in front of it.
//!
//! Models: `echo` answers with the last user message, `embed` turns text into vectors, and `fault-NAME` misbehaves as [`Fault`] says.
//! The same request always gets the same answer, ids and times included.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderMap, Method, header::AUTHORIZATION, request::Parts};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

mod answer;
mod chat;
mod completions;
mod embeddings;
mod fault;
mod model;
mod refusal;
mod responses;
mod script;
mod seen;
mod serve;
mod text;

pub use fault::{Fault, Wait};
pub use seen::{Outcome, Seen};

use self::{model::Model, refusal::Refusal, script::Script, seen::Log};

/// What health checks ask; needs no key.
const READY: &str = "/readyz";

/// How long [`Demo::stop`] waits for answers under way.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// A running demo upstream. Dropped, it stops by itself.
#[derive(Debug)]
pub struct Demo {
    addr: SocketAddr,
    log: Arc<Log>,
    stop: DropGuard,
    server: JoinHandle<()>,
}

impl Demo {
    /// Serves on `listener` until stopped. Every request but `/readyz` must present `key` as a bearer token.
    ///
    /// # Errors
    /// Where the listener has no local address.
    pub fn start(listener: TcpListener, key: &SecretString) -> io::Result<Self> {
        let addr = listener.local_addr()?;
        let stop = CancellationToken::new();
        let log = Arc::new(Log::default());
        let upstream = Upstream { key: digest(key.expose_secret()), log: Arc::clone(&log), stop: stop.clone() };
        let server = tokio::spawn(serve::accept(listener, Arc::new(upstream)));
        Ok(Self { addr, log, stop: stop.drop_guard(), server })
    }

    /// The models that it answers to.
    pub fn models() -> impl Iterator<Item = &'static str> {
        Model::all().map(Model::id)
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The API root to configure as a provider's base URL.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }

    /// The latest requests, oldest first, refused ones included.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.log.seen()
    }

    /// Takes no more connections and waits, at most 5 s, until answers under way have ended. Pauses are cut short and silences broken.
    pub async fn stop(self) {
        let Self { stop, server, .. } = self;
        drop(stop);
        if timeout(STOP_TIMEOUT, server).await.is_err() {
            tracing::warn!("demo upstream stopped with answers under way");
        }
    }
}

/// What every request needs.
struct Upstream {
    key: [u8; 32],
    log: Arc<Log>,
    stop: CancellationToken,
}

impl Upstream {
    fn script(&self, parts: &Parts, body: &[u8]) -> Result<Script, Refusal> {
        let (method, path) = (&parts.method, parts.uri.path());
        if path == READY {
            return Ok(Script::json(&json!({ "status": "ready" })));
        }
        self.check_key(&parts.headers)?;
        match (method, path) {
            (&Method::GET, "/v1/models") => Ok(Script::json(&model::list())),
            (&Method::GET, path) if path.starts_with("/v1/models/") => {
                model::get(path).map(|model| Script::json(&model))
            }
            (&Method::POST, "/v1/chat/completions") => Model::requested(body)?.perform(body, chat::answer),
            (&Method::POST, "/v1/completions") => Model::requested(body)?.perform(body, completions::answer),
            (&Method::POST, "/v1/embeddings") => Model::requested(body)?.perform(body, embeddings::answer),
            (&Method::POST, "/v1/responses") => Model::requested(body)?.perform(body, responses::answer),
            (method, path) => Err(Refusal::UnknownUrl { method: method.clone(), path: path.to_owned() }),
        }
    }

    fn check_key(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let presented = headers.get(AUTHORIZATION).ok_or(Refusal::MissingKey)?;
        let key = presented.to_str().ok().and_then(|value| value.strip_prefix("Bearer ")).ok_or(Refusal::MissingKey)?;
        // Digests are compared, so that the time it takes says nothing about the key.
        if digest(key) == self.key { Ok(()) } else { Err(Refusal::WrongKey) }
    }
}

fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key).into()
}

#[cfg(test)]
mod tests;
