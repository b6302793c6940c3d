//! The bound listener: accepts connections up to a limit, and carries each with its clocks and limits until it ends or is told
//! to. It never looks into a request.

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{Stream, StreamExt as _, stream};
use http::{Request, Response, Version};
use http_body::Body as _;
use http_body_util::Either;
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{
    drain::Bell,
    exchange::Carried,
    framing::Ambiguous,
    http::Door,
    inbound::RequestBody,
    options::{Limits, Tls},
    tunnel::{Handover, Tunnel},
    workers::Roster,
};

mod clock;
mod head;
mod paced;
mod protocol;
mod refusal;
mod requests;
mod stall;
#[cfg(test)]
mod tests;
mod tls;

use paced::Paced;
use protocol::Protocol;
use requests::{Requests, Tied, UnderWay};
use stall::Watched;

/// The pause after a failure to accept: a full descriptor table stays full for a while, and asking again at once helps nobody.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound address.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    carrier: Arc<Carrier>,
    free: Arc<Semaphore>,
}

/// Why nothing can be listened on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken, or not this machine's.
    #[error("cannot listen on {address}: choose another address with --listen")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The certificate or its key cannot be read.
    #[error("{} holds no PEM that can be used", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// The certificate and its key cannot be used together.
    #[error("the TLS certificate and key cannot be used")]
    Tls(#[source] rustls::Error),
}

impl Error {
    pub(crate) fn is_configuration(&self) -> bool {
        match self {
            Self::Bind { source, .. } => source.kind() != io::ErrorKind::AddrInUse,
            Self::Pem { .. } | Self::Tls(_) => true,
        }
    }
}

impl Listener {
    /// Binds the address; port 0 takes any free one.
    ///
    /// # Errors
    /// [`Error`] where the address or the certificate cannot be used.
    pub(crate) async fn bind(address: SocketAddr, tls: Option<&Tls>, limits: Limits) -> Result<Self, Error> {
        let tls = tls.map(tls::acceptor).transpose()?;
        let bind = |source| Error::Bind { address, source };
        let socket = TcpListener::bind(address).await.map_err(bind)?;
        let address = socket.local_addr().map_err(bind)?;
        let free = Arc::new(Semaphore::new(limits.max_connections.min(Semaphore::MAX_PERMITS)));
        Ok(Self { socket, address, carrier: Arc::new(Carrier::new(tls, limits)), free })
    }

    /// The address that was bound.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Accepts until told to close; the socket is closed on return. Connections that were accepted go on.
    pub(crate) async fn accept(self, door: Arc<Door>, roster: Roster, closing: CancellationToken) {
        let Self { socket, carrier, free, .. } = self;
        let arriving = stream::poll_fn(|cx| socket.poll_accept(cx).map(Some));
        Reception { carrier, door, roster, free }.accept(arriving, closing).await;
    }
}

/// Where connections arrive and who carries them.
struct Reception {
    carrier: Arc<Carrier>,
    door: Arc<Door>,
    roster: Roster,
    free: Arc<Semaphore>,
}

impl Reception {
    /// Gives each connection that arrives to a worker, until told to close.
    async fn accept(
        &self,
        mut arriving: impl Stream<Item = io::Result<(TcpStream, SocketAddr)>> + Unpin,
        closing: CancellationToken,
    ) {
        // At the limit nothing is accepted: the system's queue holds those who wait.
        while let Some(Ok(permit)) = closing.run_until_cancelled(Arc::clone(&self.free).acquire_owned()).await {
            let arrived = closing.run_until_cancelled(arriving.next()).await.flatten();
            // The socket is waited for where it is carried, and no longer here.
            match arrived.map(|arrived| arrived.and_then(|(stream, peer)| Ok((stream.into_std()?, peer)))) {
                Some(Ok((stream, peer))) => self.hand_over(stream, peer.ip(), permit),
                Some(Err(error)) if concerns_one_connection(&error) => {}
                Some(Err(error)) => {
                    tracing::warn!(%error, pause_ms = ACCEPT_PAUSE.as_millis(), "cannot accept connections");
                    closing.run_until_cancelled(sleep(ACCEPT_PAUSE)).await;
                }
                None => break,
            }
        }
    }

    fn hand_over(&self, stream: std::net::TcpStream, peer: IpAddr, permit: OwnedSemaphorePermit) {
        let visit = Arc::new(Visit::new(Arc::clone(&self.door), peer));
        let (carrier, post) = (Arc::clone(&self.carrier), self.roster.post());
        let runtime = post.runtime().clone();
        self.door.connections.spawn_on(&runtime, |winding_down| async move {
            match TcpStream::from_std(stream) {
                Ok(stream) => carrier.open(stream, visit, winding_down).await,
                Err(error) => tracing::debug!(%error, "connection lost before it began"),
            }
            drop((post, permit));
        });
    }
}

fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

/// How connections are carried.
struct Carrier {
    tls: Option<TlsAcceptor>,
    limits: Limits,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

impl std::fmt::Debug for Carrier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Carrier")
            .field("tls", &self.tls.is_some())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Carrier {
    fn new(tls: Option<TlsAcceptor>, limits: Limits) -> Self {
        Self { tls, limits, http1: http1(&limits), http2: http2(&limits) }
    }

    async fn open(&self, stream: TcpStream, visit: Arc<Visit>, winding_down: Bell) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "connection lost before it began");
            return;
        }
        match &self.tls {
            None => self.carry(stream, visit, winding_down).await,
            // In a box of its own, so that no connection without TLS takes the memory of one with it.
            Some(tls) => Box::pin(self.secure(tls, stream, visit, winding_down)).await,
        }
    }

    async fn secure(&self, tls: &TlsAcceptor, stream: TcpStream, visit: Arc<Visit>, winding_down: Bell) {
        match timeout(self.limits.header_time, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.carry(stream, visit, winding_down).await,
            Ok(Err(error)) => tracing::debug!(%error, "tls handshake failed"),
            Err(_) => tracing::debug!("tls handshake took too long"),
        }
    }

    async fn carry<IO>(&self, io: IO, visit: Arc<Visit>, mut winding_down: Bell)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let io = Paced::new(io, Arc::clone(&visit.requests), self.limits);
        let Some((io, protocol)) = greeted(io, &mut winding_down).await else { return };
        let (io, service) = (TokioIo::new(io), service_fn(|request| Visit::answer(&visit, request)));
        let ended = match protocol {
            Ok(Protocol::Http2) => {
                // In a box of its own, so that no connection with HTTP/1.1 takes the memory of one with HTTP/2.
                let mut connection = Box::pin(self.http2.serve_connection(io, service));
                until_end(connection.as_mut(), http2::Connection::graceful_shutdown, &mut winding_down).await
            }
            Ok(Protocol::Http1 | Protocol::Unknown(_)) => {
                let connection = pin!(self.http1.serve_connection(io, service).with_upgrades());
                until_end(connection, http1::UpgradeableConnection::graceful_shutdown, &mut winding_down).await
            }
            Err(error) => return tracing::debug!(%error, "connection ended before it began"),
        };
        if let Err(error) = ended {
            tracing::debug!(error = &error as &dyn std::error::Error, "connection ended");
        }
        // It belongs to the connection, so that a stop waits for it and cuts it like any other.
        let tunnel = visit.switched.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((tunnel, _under_way)) = tunnel {
            Box::pin(tunnel.run()).await;
        }
    }
}

/// Waits until it is known which HTTP is spoken; `None` = the bell has rung before.
async fn greeted<IO>(mut io: Paced<IO>, bell: &mut Bell) -> Option<(Paced<IO>, io::Result<Protocol>)>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let protocol = tokio::select! {
        biased;
        protocol = poll_fn(|cx| io.poll_protocol(cx)) => protocol,
        () = bell.rung() => return None,
    };
    Some((io, protocol))
}

/// Carries a connection to its end; once the bell has rung, it only finishes what it has begun.
async fn until_end<C>(mut connection: Pin<&mut C>, wind_down: fn(Pin<&mut C>), bell: &mut Bell) -> hyper::Result<()>
where
    C: Future<Output = hyper::Result<()>>,
{
    tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = bell.rung() => {
            wind_down(connection.as_mut());
            connection.await
        }
    }
}

/// HTTP/1.1 within the limits. The clocks are those of [`Paced`], which also notices that a client leaves.
fn http1(limits: &Limits) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .half_close(true)
        .header_read_timeout(None)
        .max_headers(limits.max_headers)
        .max_buf_size(limits.max_header_bytes);
    http
}

/// HTTP/2 within the limits.
fn http2(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .keep_alive_interval(limits.idle_time)
        .max_header_list_size(u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX));
    http
}

/// A connection as its requests see it.
struct Visit {
    door: Arc<Door>,
    peer: IpAddr,
    requests: Arc<Requests>,
    /// What it goes on with once it has switched to another protocol.
    switched: Mutex<Option<(Box<Tunnel>, UnderWay)>>,
}

/// An answer's body: over HTTP/2, one that nobody may leave lying.
type Answer = Either<Watched<Tied<Carried>>, Tied<Carried>>;

impl Visit {
    fn new(door: Arc<Door>, peer: IpAddr) -> Self {
        Self { door, peer, requests: Arc::default(), switched: Mutex::default() }
    }

    /// The request is under way before it is first asked how far it is. It is in a box, since hyper keeps the room for a request
    /// for as long as the connection lasts.
    fn answer(
        visit: &Arc<Self>,
        request: Request<Incoming>,
    ) -> Pin<Box<impl Future<Output = Result<Response<Answer>, Infallible>> + Send + use<>>> {
        let under_way = visit.requests.begin();
        let mut request = request.map(RequestBody::Received);
        if visit.requests.is_ambiguous() {
            request.extensions_mut().insert(Ambiguous);
        }
        let visit = Arc::clone(visit);
        // It is large, and so it is made in its box, and not moved into it.
        let answering = Box::write(Box::new_uninit(), async move {
            let multiplexed = request.version() == Version::HTTP_2;
            let mut answer = visit.door.answer_to(visit.peer, request).await;
            if let Some(tunnel) = answer.extensions_mut().remove().as_ref().and_then(Handover::take) {
                visit.requests.switch();
                let switched = (tunnel, visit.requests.begin());
                *visit.switched.lock().unwrap_or_else(PoisonError::into_inner) = Some(switched);
            }
            let body_of = |body| match under_way.until_end_of(body) {
                body if multiplexed && !body.is_end_stream() => {
                    Either::Left(Watched::new(body, visit.door.limits.stall_time))
                }
                body => Either::Right(body),
            };
            Ok(answer.map(body_of))
        });
        Box::into_pin(answering)
    }
}
