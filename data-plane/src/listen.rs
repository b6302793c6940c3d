//! The bound listener: accepts connections up to a limit, and carries each with its clocks and limits until it ends or is told
//! to. It never looks into a request.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{Stream, StreamExt as _, stream};
use http::{Request, Version};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Either};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{
    framing::Ambiguous,
    http::Door,
    options::{Limits, Tls},
    tunnel::Handover,
    workers::Roster,
};

mod head;
mod paced;
mod refusal;
mod stall;
#[cfg(test)]
mod tests;
mod tls;

use paced::{Paced, Requests};
use stall::Watched;

/// The pause after a failure to accept: a full descriptor table stays full for a while, and asking again at once helps nobody.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound address.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    carrier: Carrier,
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
        Ok(Self { socket, address, carrier: Carrier { tls, limits }, free })
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
    carrier: Carrier,
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
        let (carrier, door, post) = (self.carrier.clone(), Arc::clone(&self.door), self.roster.post());
        let runtime = post.runtime().clone();
        self.door.connections.spawn_on(&runtime, |winding_down| async move {
            match TcpStream::from_std(stream) {
                Ok(stream) => carrier.open((stream, peer), door, winding_down).await,
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
#[derive(Clone)]
struct Carrier {
    tls: Option<TlsAcceptor>,
    limits: Limits,
}

impl std::fmt::Debug for Carrier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Carrier").field("tls", &self.tls.is_some()).field("limits", &self.limits).finish()
    }
}

impl Carrier {
    async fn open(self, (stream, peer): (TcpStream, IpAddr), door: Arc<Door>, winding_down: CancellationToken) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "connection lost before it began");
            return;
        }
        let Some(tls) = &self.tls else { return self.carry((stream, peer), door, winding_down).await };
        match timeout(self.limits.header_time, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.carry((stream, peer), door, winding_down).await,
            Ok(Err(error)) => tracing::debug!(%error, "tls handshake failed"),
            Err(_) => tracing::debug!("tls handshake took too long"),
        }
    }

    async fn carry<IO>(&self, (io, peer): (IO, IpAddr), door: Arc<Door>, winding_down: CancellationToken)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let requests = Arc::new(Requests::default());
        let io = TokioIo::new(Paced::new(io, Arc::clone(&requests), self.limits));
        let stall_time = self.limits.stall_time;
        let switched = Arc::new(Mutex::new(None));
        let found = Arc::clone(&switched);
        let service = service_fn(move |request: Request<Incoming>| {
            let under_way = requests.begin();
            let mut request = request.map(|body| body.map_err(Into::into).boxed());
            if requests.is_ambiguous() {
                request.extensions_mut().insert(Ambiguous);
            }
            let multiplexed = request.version() == Version::HTTP_2;
            let answering = Arc::clone(&door).answer_to(peer, request);
            let (requests, found) = (Arc::clone(&requests), Arc::clone(&found));
            async move {
                let mut answer = answering.await;
                if let Some(tunnel) = answer.extensions_mut().remove().as_ref().and_then(Handover::take) {
                    *found.lock().unwrap_or_else(PoisonError::into_inner) = Some((tunnel, requests.begin()));
                }
                let body_of = |body| match under_way.until_end_of(body) {
                    body if multiplexed && !body.is_end_stream() => Either::Left(Watched::new(body, stall_time)),
                    body => Either::Right(body),
                };
                Ok::<_, std::convert::Infallible>(answer.map(body_of))
            }
        });
        let builder = self.http();
        let mut connection = std::pin::pin!(builder.serve_connection_with_upgrades(io, service));
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = winding_down.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "connection ended");
        }
        // It belongs to the connection, so that a stop waits for it and cuts it like any other.
        let tunnel = switched.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((tunnel, _under_way)) = tunnel {
            tunnel.run().await;
        }
    }

    /// HTTP/1.1 and HTTP/2 within the limits. The clocks are those of [`Paced`].
    fn http(&self) -> auto::Builder<TokioExecutor> {
        let limits = &self.limits;
        let mut http = auto::Builder::new(TokioExecutor::new());
        http.http1()
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .max_headers(limits.max_headers)
            .max_buf_size(limits.max_header_bytes);
        http.http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(limits.idle_time)
            .max_header_list_size(u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX));
        http
    }
}
