//! Who may call the admin API. It looks at the path, the `authorization` header and the connection, and lets nothing of a request be
//! looked at before it is known whose it is. Who is refused, and what fails, goes to the audit.

use std::{
    borrow::Cow,
    net::IpAddr,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::{Duration, Instant, SystemTime},
};

use futures_util::{FutureExt as _, future::BoxFuture};
use http::{Request, Response, request::Parts};
use secrecy::SecretString;
use signalbox_proto::admin::v1::Role;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use tower::{Layer, Service};

use super::{
    error::{Error, code_name},
    rights::{Does, Method, Who},
};
use crate::{
    audit::{Audit, What},
    bearer::{self, Token},
    tokens::{Held, Tokens, Unusable},
};

mod peer;
mod throttle;

pub(crate) use peer::address;
use throttle::Throttle;

/// What answers without a token: probes have none, and the schemas are public.
const OPEN: [&str; 3] =
    ["/grpc.health.v1.Health/", "/grpc.reflection.v1.ServerReflection/", "/grpc.reflection.v1alpha.ServerReflection/"];

/// Whoever has the token of `--admin-token-file`.
pub(crate) const ROOT: &str = "admin";

/// Whoever makes a call. It travels in the request's extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Actor {
    /// As revisions and audit entries name it.
    pub(crate) name: Arc<str>,
    /// What it may do.
    pub(crate) role: Role,
}

impl Actor {
    /// Goes on only for roles that may, where that depends on what is asked for in a call.
    ///
    /// # Errors
    /// [`Error::RoleTooLow`] for all others.
    pub(crate) fn require(&self, who: Who) -> Result<(), Error> {
        if who.includes(self.role) { Ok(()) } else { Err(Error::RoleTooLow { role: self.role, needed: who }) }
    }
}

/// What a handler has read of a call, for the audit. It travels in the request's extensions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Note(Arc<OnceLock<Said>>);

/// What a call says of itself.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// What it is about; empty = several, or nothing that is a name.
    pub(crate) resource: String,
    /// The caller's id of it; empty = none.
    pub(crate) request_id: String,
    /// Whether nothing would have been committed.
    pub(crate) dry_run: bool,
}

impl Note {
    /// Takes it down; the first word stands.
    pub(crate) fn take(&self, said: Said) {
        let _ = self.0.set(said);
    }
}

/// Why a caller is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    /// It presents neither a token nor a certificate.
    #[error("neither a token nor a certificate is presented")]
    Missing,
    /// It presents a token that is none.
    #[error("the token is wrong")]
    Wrong,
    /// Its token is known, and not in use.
    #[error("the token `{id}` is not in use: {why}")]
    Unusable {
        /// The token's id.
        id: Arc<str>,
        /// Why.
        why: Unusable,
    },
    /// No token is for its certificate.
    #[error("no admin token is for certificates of the name `{name}`")]
    Stranger {
        /// The certificate's name.
        name: String,
    },
    /// Its certificate names nobody.
    #[error(transparent)]
    Certificate(#[from] peer::Fault),
    /// Too many wrong tokens have come from its address.
    #[error("too many wrong tokens from this address")]
    TooMany {
        /// How long nothing from there is looked at.
        retry: Duration,
    },
}

/// Lets only those through who may.
#[derive(Debug, Clone)]
pub(crate) struct Auth {
    root: Arc<Token>,
    tokens: Tokens,
    throttle: Arc<Throttle>,
    audit: Audit,
}

impl Auth {
    /// A guard for whoever has this token, which has every right, and for these others.
    pub(crate) fn new(root: &SecretString, tokens: Tokens, audit: Audit) -> Self {
        Self { root: Arc::new(Token::new(root)), tokens, throttle: Arc::default(), audit }
    }

    /// Whose call it is. A bearer token counts for more than a certificate.
    fn identify(&self, parts: &Parts) -> Result<Actor, Denied> {
        let now = SystemTime::now();
        if let Some(sha256) = bearer::presented(&parts.headers) {
            let presented = self.by_token(&sha256, now);
            if let Some(from) = peer::address(&parts.extensions) {
                let who = match &presented {
                    Ok(actor) => Some(&actor.name),
                    Err(Denied::Unusable { id, .. }) => Some(id),
                    Err(_) => None,
                };
                self.throttle.judge(from, who, Instant::now()).map_err(|retry| Denied::TooMany { retry })?;
            }
            return presented;
        }
        let name = peer::certificate_name(&parts.extensions, now).ok_or(Denied::Missing)??;
        match self.tokens.now().by_certificate(&name) {
            Some(held) => admit(held, now),
            None => Err(Denied::Stranger { name }),
        }
    }

    /// Tokens are found by their digests, so that the time it takes says nothing about any of them.
    fn by_token(&self, sha256: &[u8; 32], now: SystemTime) -> Result<Actor, Denied> {
        if self.root.has(sha256) {
            return Ok(Actor { name: ROOT.into(), role: Role::Admin });
        }
        self.tokens.now().by_sha256(sha256).map_or(Err(Denied::Wrong), |held| admit(held, now))
    }

    /// Whose call it is, if they may make it.
    fn authorize(&self, parts: &Parts, method: Option<&Method>) -> Result<Actor, Refusal> {
        let actor = self.identify(parts).map_err(|denied| {
            let name = match &denied {
                Denied::Unusable { id, .. } => Arc::clone(id),
                _ => "".into(),
            };
            Refusal { name, status: Error::from(denied).into() }
        })?;
        match method.map(|method| actor.require(method.who)) {
            Some(Err(error)) => Err(Refusal { name: actor.name, status: error.into() }),
            Some(Ok(())) | None => Ok(actor),
        }
    }
}

fn admit(held: &Held, now: SystemTime) -> Result<Actor, Denied> {
    held.check(now).map_err(|why| Denied::Unusable { id: Arc::clone(&held.id), why })?;
    held.used(now);
    Ok(Actor { name: Arc::clone(&held.id), role: held.role() })
}

/// A call that is refused, and whose it is as far as that is known.
struct Refusal {
    name: Arc<str>,
    status: Status,
}

/// What is known of a call before it is made.
#[derive(Debug, Clone)]
struct Call {
    actor: Arc<str>,
    source_ip: Option<IpAddr>,
    method: Option<&'static Method>,
    note: Note,
}

impl Call {
    /// Whether there is something to say about a call that ended so. What was done, the ledger has said.
    fn is_of_interest(&self, code: Code) -> bool {
        match code {
            Code::Ok => false,
            Code::PermissionDenied | Code::Unauthenticated => true,
            _ => {
                self.method.is_some_and(|method| method.does == Does::Change)
                    && !self.note.0.get().is_some_and(|said| said.dry_run)
            }
        }
    }

    /// The entry that says how it ended.
    fn ended(self, status: &Status) -> What {
        let said = self.note.0.get();
        let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
        What {
            actor: self.actor,
            source_ip: self.source_ip,
            method: Cow::Borrowed(self.method.map_or("", |method| method.name)),
            resource: said.map(|said| said.resource.clone()).unwrap_or_default(),
            code: Cow::Borrowed(code_name(status.code())),
            reason: Cow::Owned(reason),
            request_id: said.map(|said| said.request_id.clone()).unwrap_or_default(),
        }
    }
}

impl<S> Layer<S> for Auth {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { auth: self.clone(), inner }
    }
}

/// A service behind [`Auth`].
#[derive(Debug, Clone)]
pub(crate) struct Guarded<S> {
    auth: Auth,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for Guarded<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    R: Default + Send + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<R>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let path = request.uri().path();
        if OPEN.iter().any(|open| path.starts_with(open)) {
            return self.inner.call(request).boxed();
        }
        let method = Method::at(path);
        let (mut parts, body) = request.into_parts();
        let authorized = self.auth.authorize(&parts, method);
        let actor = authorized.as_ref().map_or_else(|refusal| &refusal.name, |actor| &actor.name);
        let source_ip = peer::address(&parts.extensions);
        let call = Call { actor: Arc::clone(actor), source_ip, method, note: Note::default() };
        let audit = self.auth.audit.clone();
        match authorized {
            Ok(actor) => {
                parts.extensions.insert(actor);
                parts.extensions.insert(call.note.clone());
                let answer = self.inner.call(Request::from_parts(parts, body));
                async move {
                    let answer = answer.await?;
                    if let Some(status) =
                        Status::from_header_map(answer.headers()).filter(|s| call.is_of_interest(s.code()))
                    {
                        audit.refused(call.ended(&status));
                    }
                    Ok(answer)
                }
                .boxed()
            }
            Err(Refusal { name: _, status }) => {
                audit.refused(call.ended(&status));
                async move { Ok(status.into_http()) }.boxed()
            }
        }
    }
}
