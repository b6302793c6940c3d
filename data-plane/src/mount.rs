//! Routes: HTTP mounts whose requests and answers pass as they are, whatever they mean. It knows nothing of models.

use std::{borrow::Cow, error::Error as StdError, sync::Arc, time::Duration};

use http::{Request, Response, StatusCode, request::Parts};
use signalbox_routing::{Route, RouteTarget, below};
use tokio::time::timeout;

use crate::{
    auth,
    errors::Error as Refused,
    exchange::Exchange,
    headers,
    http::Asked,
    inbound,
    record::Operation,
    reply::{Content, Reply},
    upstream::Transport,
};

mod answer;

pub(crate) use answer::{Answer, Broken};

/// Why a route's target did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The route's connections cannot be made as configured.
    #[error("the route's connections cannot be made as configured")]
    Unusable,
    /// What is asked for and the route's target make no URL.
    #[error("no URL can be made for the route's target")]
    Unsendable(#[source] http::Error),
    /// No answer header arrived.
    #[error("the route's target was not reached")]
    Unreachable(#[source] Transport),
    /// No answer header arrived in time.
    #[error("the route's target did not answer within {after:?}")]
    TimedOut {
        /// The route's time-out.
        after: Duration,
    },
    /// The target switched protocols without having been asked to.
    #[error("the route's target answered 101")]
    Upgrade,
}

/// Passes a request on to a route's target: `segment` is the route's, `rest` what follows it in the path.
///
/// # Errors
/// Where there is no such route, the key that it asks for is not accepted, or its target does not answer.
pub(crate) async fn pass(asked: Asked, at: (&str, &str), exchange: &mut Exchange) -> Result<Reply, Refused> {
    let (segment, rest) = at;
    let route = Arc::clone(asked.snapshot.runtime.route(segment).ok_or(Refused::Nowhere)?);
    exchange.record.operation = Operation::Route(Arc::clone(&route));
    if route.client_key_required {
        asked.caller(exchange)?.known()?;
    }
    let (head, body, snapshot) = asked.body()?;
    let request = request(head, rest, &route)?.map(|()| reqwest::Body::wrap(body));
    let client = snapshot.upstreams.client(&route.profile).ok_or(Error::Unusable)?;
    let sent =
        timeout(route.timeout, client.send(request)).await.map_err(|_| Error::TimedOut { after: route.timeout })?;
    Ok(answer(sent.map_err(blame)?)?)
}

/// What goes to the route's target. A key that the route asks for stays here, and nothing else that a caller identifies with.
fn request(head: Parts, rest: &str, route: &Route) -> Result<Request<()>, Error> {
    let RouteTarget::Fixed(target) = &route.to else { return Err(Error::Unusable) };
    let Parts { method, uri, mut headers, .. } = head;
    let mut query = uri.query().map(Cow::Borrowed);
    if route.client_key_required {
        headers::remove_keys(&mut headers);
        query = auth::strip_query(uri.query());
    }
    headers::clean_mount_request(&mut headers);
    headers::apply(&route.headers, &mut headers);
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = below(target, rest, query.as_deref()).map_err(Error::Unsendable)?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// A request that was not sent because its body broke a limit is the client's fault.
fn blame(transport: Transport) -> Refused {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(&transport);
    while let Some(error) = cause {
        match error.downcast_ref() {
            Some(inbound::Error::TooLarge { limit }) => return inbound::Error::TooLarge { limit: *limit }.into(),
            Some(inbound::Error::TooSlow) => return inbound::Error::TooSlow.into(),
            Some(inbound::Error::Departed) => return inbound::Error::Departed.into(),
            Some(inbound::Error::Malformed(_)) | None => cause = error.source(),
        }
    }
    Error::Unreachable(transport).into()
}

fn answer(answer: Response<reqwest::Body>) -> Result<Reply, Error> {
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Error::Upgrade);
    }
    let mut reply = answer.map(|body| Content::Mounted(body.into()));
    headers::clean_mount_answer(reply.headers_mut());
    Ok(reply)
}
