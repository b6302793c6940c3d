//! Routes: HTTP mounts whose requests and answers pass as they are, whatever they mean. It knows nothing of models.

use std::{borrow::Cow, error::Error as StdError, sync::Arc, time::Duration};

use http::{Request, Response, StatusCode, Uri, header::UPGRADE, request::Parts};
use hyper::upgrade::OnUpgrade;
use signalbox_routing::{Route, RouteTarget, below};

use crate::{
    auth, destination,
    errors::Error as Refused,
    exchange::Exchange,
    headers,
    http::Asked,
    inbound, path,
    record::Operation,
    reply::{Content, Reply},
    tunnel,
    upstream::{Body, Transport, Upstreams},
};

mod answer;
mod upload;

use answer::PATIENCE;
pub(crate) use answer::{Answer, Broken};
use upload::Upload;

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
    let (mut head, body, snapshot) = asked.body()?;
    let handshake = tunnel::asked_for(&mut head);
    let (upload, clock) = Upload::new(body);
    let mut request = request(head, rest, &route)?.map(|()| Body::boxed(upload));
    if handshake.is_some() {
        tunnel::switch(request.headers_mut());
    }
    let sent = tokio::select! {
        sent = send(&snapshot.upstreams, &route, request) => sent?,
        () = clock.run_out(route.timeout) => return Err(Error::TimedOut { after: route.timeout }.into()),
    };
    Ok(answer(sent, handshake)?)
}

/// Sends a request on the route's way.
async fn send(upstreams: &Upstreams, route: &Route, request: Request<Body>) -> Result<Response<Body>, Refused> {
    let sent = match &route.to {
        RouteTarget::Fixed(_) => {
            let client = upstreams.client(&route.profile).ok_or(Error::Unusable)?;
            if request.headers().contains_key(UPGRADE) {
                client.send_handshake(request).await
            } else {
                client.send(request).await
            }
        }
        RouteTarget::Universal { .. } => {
            let client = upstreams.guarded(&route.id).ok_or(Error::Unusable)?;
            client.send(request).await
        }
    };
    sent.map_err(blame)
}

/// The URL of what is asked for. Two slashes in a row are for universal routes only.
fn url(to: &RouteTarget, rest: &str, query: Option<&str>) -> Result<Uri, Refused> {
    match to {
        RouteTarget::Fixed(_) if rest.contains("//") => Err(path::Error::Empty.into()),
        RouteTarget::Fixed(target) => Ok(below(target, rest, query).map_err(Error::Unsendable)?),
        RouteTarget::Universal { .. } => Ok(destination::parse(rest, query)?),
    }
}

/// What goes to the route's target. A key that the route asks for stays here, and nothing else that a caller identifies with.
fn request(head: Parts, rest: &str, route: &Route) -> Result<Request<()>, Refused> {
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
    *request.uri_mut() = url(&route.to, rest, query.as_deref())?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// A request that was not sent because its body broke a limit is the client's fault.
fn blame(transport: Transport) -> Refused {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(&transport);
    while let Some(error) = cause {
        if let Some(refused) = error.downcast_ref::<destination::Error>() {
            return refused.clone().into();
        }
        match error.downcast_ref() {
            Some(inbound::Error::TooLarge { limit }) => return inbound::Error::TooLarge { limit: *limit }.into(),
            Some(inbound::Error::TooSlow) => return inbound::Error::TooSlow.into(),
            Some(inbound::Error::Departed) => return inbound::Error::Departed.into(),
            Some(inbound::Error::Malformed(_)) | None => cause = error.source(),
        }
    }
    Error::Unreachable(transport).into()
}

fn answer(mut answer: Response<Body>, handshake: Option<OnUpgrade>) -> Result<Reply, Error> {
    let ends = if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        Some(handshake.zip(answer.extensions_mut().remove()).ok_or(Error::Upgrade)?)
    } else {
        None
    };
    let mut reply = answer.map(|body| Content::Mounted(body.into()));
    headers::clean_mount_answer(reply.headers_mut());
    if let Some((client, target)) = ends {
        tunnel::join(&mut reply, client, target, PATIENCE);
    }
    Ok(reply)
}
