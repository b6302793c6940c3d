//! The demo upstream's connections. Ordinary answers are framed by the server; where a script is to be all that the connection sees,
//! the connection is taken from the server. It knows nothing of what is answered.

use std::{convert::Infallible, io, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt as _, future::pending};
use http::{HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Limited, StreamBody, combinators::BoxBody};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::sleep,
};
use tokio_util::task::TaskTracker;

use super::{
    Upstream,
    refusal::Refusal,
    script::{CutOff, Head, Performance, Script},
};

/// Largest request body in bytes; the gateway's own default is what it is meant to stand behind.
const MAX_BODY: usize = 32 * 1024 * 1024;

/// The pause after a connection that could not be accepted: there may be no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until stopped, and then until every connection has ended.
pub(super) async fn accept(listener: TcpListener, upstream: Arc<Upstream>) {
    let connections = TaskTracker::new();
    while let Some(accepted) = upstream.stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((socket, _)) => drop(connections.spawn(serve(socket, Arc::clone(&upstream)))),
            Err(error) => {
                tracing::warn!(%error, "demo upstream cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn serve(socket: TcpStream, upstream: Arc<Upstream>) {
    if let Err(error) = Box::pin(converse(socket, &upstream)).await {
        tracing::debug!(%error, "a connection to the demo upstream broke off");
    }
}

/// One connection, from its first request to its end.
async fn converse(socket: TcpStream, upstream: &Arc<Upstream>) -> io::Result<()> {
    let noted = upstream.log.connected();
    // An event must not wait for the acknowledgement of the one before.
    socket.set_nodelay(true)?;
    let Some(modern) = upstream.stop.run_until_cancelled(speaks_http_2(&socket)).await else { return Ok(()) };
    if modern? {
        return converse_in_http_2(socket, Arc::clone(upstream), noted.number()).await;
    }
    let (take_over, mut taken_over) = mpsc::channel(1);
    let service = service_fn(|request| answer(request, upstream, noted.number(), &take_over));
    let mut server = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(socket), service);
    let mut stop = pin!(upstream.stop.cancelled());
    let mut stopping = false;
    let performance: Performance = loop {
        tokio::select! {
            biased;
            Some(performance) = taken_over.recv() => break performance,
            ended = &mut server => return ended.map_err(io::Error::other),
            () = &mut stop, if !stopping => {
                stopping = true;
                Pin::new(&mut server).graceful_shutdown();
            }
        }
    };
    let http1::Parts { io, .. } = server.into_parts();
    performance.play_on(io.into_inner()).await
}

/// Whether a connection begins as HTTP/2 does by prior knowledge (RFC 9113, section 3.4).
async fn speaks_http_2(socket: &TcpStream) -> io::Result<bool> {
    let mut beginning = [0; 3];
    let length = socket.peek(&mut beginning).await?;
    Ok(length == beginning.len() && beginning == *b"PRI")
}

/// One connection that is shared by any number of requests. It cannot be taken over: a script that asks for that ends it.
async fn converse_in_http_2(socket: TcpStream, upstream: Arc<Upstream>, connection: u64) -> io::Result<()> {
    let stop = upstream.stop.clone();
    let (take_over, mut taken_over) = mpsc::channel(1);
    let service = service_fn(move |request| {
        let (upstream, take_over) = (Arc::clone(&upstream), take_over.clone());
        async move { answer(request, &upstream, connection, &take_over).await }
    });
    let mut protocol = http2::Builder::new(TokioExecutor::new());
    let mut server = pin!(protocol.timer(TokioTimer::new()).serve_connection(TokioIo::new(socket), service));
    tokio::select! {
        biased;
        _ = taken_over.recv() => return Ok(()),
        ended = &mut server => return ended.map_err(io::Error::other),
        () = stop.cancelled() => server.as_mut().graceful_shutdown(),
    }
    server.await.map_err(io::Error::other)
}

async fn answer(
    request: Request<Incoming>,
    upstream: &Upstream,
    connection: u64,
    take_over: &mpsc::Sender<Performance>,
) -> Result<Response<BoxBody<Bytes, CutOff>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await.map(|body| body.to_bytes());
    let mark = upstream.log.record(connection, &parts, body.as_deref().unwrap_or_default());
    let script = body
        .map_err(|_| Refusal::BodyTooLarge)
        .and_then(|body| upstream.script(&parts, &body))
        .unwrap_or_else(|refusal| Script::from(&refusal));
    let id = HeaderValue::from_str(&format!("req-demo-{}", mark.number()));
    let Script { head, steps } = script;
    let performance = Performance::new(steps, mark, upstream.stop.clone());
    let Some(Head { status, headers }) = head else {
        // The receiver is there as long as this is polled.
        drop(take_over.send(performance).await);
        return pending().await;
    };
    let body = StreamBody::new(performance.into_stream().map(|sent| sent.map(Frame::data)));
    let mut response = Response::new(BodyExt::boxed(body));
    *response.status_mut() = status;
    response.headers_mut().extend(headers);
    if let Ok(id) = id {
        response.headers_mut().insert("x-request-id", id);
    }
    Ok(response)
}
