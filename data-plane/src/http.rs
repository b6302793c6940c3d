//! The door: every request comes in here and every answer leaves here. It names and records them and turns errors into answers;
//! what they mean is decided behind it.

use std::{future::poll_fn, net::IpAddr, panic::AssertUnwindSafe, pin::pin, sync::Arc};

use futures_util::FutureExt as _;
use http::{Request, Response, Version, header::CONNECTION, request::Parts};

use crate::{
    admit::Slots,
    auth::Caller,
    cors,
    drain::Connections,
    errors::Error,
    exchange::{Carried, Exchange},
    framing,
    health::Prober,
    inbound::{self, Inbound, Pace, RequestBody},
    limits::Meters,
    live::{Live, Snapshot},
    metrics::Metrics,
    mount,
    openai::{self, kept, models},
    options::Limits,
    pages,
    path::{Path, Place},
    record::{Operation, RequestId},
    reload::{self, Reloader},
    reply::Reply,
    sync::Vitals,
};

/// A request that was let in, and the snapshot that it keeps to its end.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Method, URL and headers.
    pub(crate) head: Parts,
    /// The body, of which nothing has been read.
    pub(crate) body: RequestBody,
    /// What it is judged and answered by.
    pub(crate) snapshot: Arc<Snapshot>,
    /// How long its body may take.
    pub(crate) pace: Pace,
    /// What keys with limits have used.
    pub(crate) meters: Arc<Meters>,
    /// Where its connection comes from.
    pub(crate) peer: IpAddr,
}

impl Asked {
    /// Who asks, for the record too. From here on the request counts for its key.
    ///
    /// # Errors
    /// Where no key is presented that is accepted now, and nothing is here for strangers; and where the key is at its limits.
    pub(crate) fn caller(&self, exchange: &mut Exchange) -> Result<Caller, Error> {
        let Self { head, snapshot, meters, .. } = self;
        let now_ms = jiff::Timestamp::now().as_millisecond();
        let caller = Caller::identify(&snapshot.runtime, &head.headers, head.uri.query(), now_ms)?;
        exchange.record.client_key = caller.key().cloned();
        exchange.count(caller.key().and_then(|key| meters.share(key)))?;
        Ok(caller)
    }

    /// The body, of which nothing is read yet, with the limits that it has to keep.
    ///
    /// # Errors
    /// Where it says that it is too large.
    pub(crate) fn body(self) -> Result<(Parts, Inbound, Arc<Snapshot>), inbound::Error> {
        let Self { head, body, snapshot, pace, .. } = self;
        Ok((head, Inbound::new(body, snapshot.runtime.settings().max_request_bytes, pace)?, snapshot))
    }
}

/// Everything that requests share.
#[derive(Debug)]
pub(crate) struct Door {
    /// The configuration in force.
    pub(crate) live: Arc<Live>,
    /// The room there is.
    pub(crate) slots: Slots,
    /// What is counted.
    pub(crate) metrics: Arc<Metrics>,
    /// The connections open.
    pub(crate) connections: Connections,
    /// Whether the process is on its way out.
    pub(crate) vitals: Vitals,
    /// What is known of the upstreams' health.
    pub(crate) prober: Prober,
    /// When the configuration's file was last asked for.
    pub(crate) reloader: Reloader,
    /// What requests are held to.
    pub(crate) limits: Limits,
    /// What keys with limits have used.
    pub(crate) meters: Arc<Meters>,
}

impl Door {
    /// Whether traffic is welcome.
    pub(crate) fn is_ready(&self, snapshot: Option<&Arc<Snapshot>>) -> bool {
        snapshot.is_some() && !self.vitals.draining.is_cancelled()
    }

    /// Answers a request, whatever it is, that came over a connection from `peer`.
    pub(crate) async fn answer_to(&self, peer: IpAddr, request: Request<RequestBody>) -> Response<Carried> {
        let request_id = RequestId::new();
        let version = request.version();
        // For what the libraries say, in detail: our own lines name their request themselves.
        let span = tracing::debug_span!("request", request.id = %request_id);
        // It stays where it is, since it is large: whoever instruments it moves it.
        let mut recorded = pin!(self.record(request_id, peer, request));
        let mut response = poll_fn(|cx| span.in_scope(|| recorded.as_mut().poll(cx))).await;
        if version == Version::HTTP_2 {
            response.headers_mut().remove(CONNECTION);
        }
        response
    }

    async fn record(&self, request_id: RequestId, peer: IpAddr, request: Request<RequestBody>) -> Response<Carried> {
        let mut exchange = Exchange::open(request_id, request.method().clone(), Arc::clone(&self.metrics));
        let answered = AssertUnwindSafe(self.dispatch(peer, request, &mut exchange)).catch_unwind().await;
        match answered.unwrap_or(Err(Error::Panicked)) {
            Ok(reply) => exchange.carry(reply),
            Err(error) => exchange.refuse(&error),
        }
    }

    /// The router. It loads the snapshot, once: a request keeps the one that it started with.
    async fn dispatch(
        &self,
        peer: IpAddr,
        request: Request<RequestBody>,
        exchange: &mut Exchange,
    ) -> Result<Reply, Error> {
        framing::check(&request, &self.limits)?;
        let snapshot = self.live.load();
        let (head, body) = request.into_parts();
        if let Some(cors) = snapshot.as_ref().and_then(|snapshot| snapshot.cors.as_ref()) {
            exchange.cors = Some(cors.tell(&head).await);
            if cors::is_preflight(&head) {
                exchange.record.operation = Operation::Own;
                return Ok(cors::preflight());
            }
        }
        // The head moves on while its path is still read. The copy shares the URI's bytes.
        let uri = head.uri.clone();
        let path = Path::parse(uri.path())?;
        let base = snapshot.as_ref().map_or("", |snapshot| &snapshot.runtime.settings().base_path);
        let place = path.place(base);
        exchange.record.operation = Operation::at(place);
        if let Place::Page(page) = place {
            return pages::show(self, page, &head, snapshot.as_ref()).await;
        }
        let snapshot = snapshot.ok_or(Error::NotReady)?;
        exchange.record.revision = Some(snapshot.position.revision);
        exchange.record.logged = snapshot.runtime.settings().request_log;
        exchange.hold(self.slots.admit().ok_or(Error::Full)?);
        let meters = Arc::clone(&self.meters);
        let asked = Asked { head, body, snapshot, pace: self.limits.pace(), meters, peer };
        match place {
            Place::Models => models::list(&asked, exchange),
            Place::Model(id) => models::get(&asked, id, exchange),
            Place::Reload => reload::ask(self, &asked, exchange).await,
            Place::Endpoint(endpoint) => openai::complete(asked, endpoint, exchange).await,
            // In boxes of their own, so that most requests take no more memory than they need.
            Place::Kept(kept) => Box::pin(kept::pass(asked, kept, exchange)).await,
            Place::Mount(segment, rest) => Box::pin(mount::pass(asked, (segment, rest), exchange)).await,
            Place::Nowhere | Place::Page(_) => Err(Error::Nowhere),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
