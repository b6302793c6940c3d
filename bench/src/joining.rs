//! A data plane that joins, takes everything, and looks whether it is all there. It serves nothing.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use prost::Message as _;
use sha2::{Digest as _, Sha256};
use signalbox_proto::sync::v1::{
    Bundle, Hello, Position, UpdateBegin, WatchRequest, WatchResponse,
    config_sync_service_client::ConfigSyncServiceClient, update_begin::Encoding, watch_request,
    watch_response::Message,
};
use tokio_stream::StreamExt as _;
use tonic::{Request, Status, Streaming, transport::Endpoint};

/// What somebody who joined was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    /// The revision that it is of.
    pub revision: u64,
    /// The resources in it.
    pub resources: usize,
    /// As it travelled.
    pub encoded_bytes: usize,
    /// Decompressed.
    pub decoded_bytes: usize,
    /// From saying hello until it was announced.
    pub until_begun: Duration,
    /// From saying hello until all of it was there.
    pub until_whole: Duration,
}

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address makes no endpoint, or nobody is there.
    #[error("no control plane can be joined there")]
    Transport(#[from] tonic::transport::Error),
    /// The token cannot be sent.
    #[error("the join token is not ASCII")]
    Token(#[from] tonic::metadata::errors::InvalidMetadataValue),
    /// The stream was refused, or broke off.
    #[error("the control plane does not tell its configuration")]
    Status(#[from] Status),
    /// The stream ended early.
    #[error("the stream ended before the snapshot did")]
    Ended,
    /// What came is not what was announced.
    #[error("the snapshot is not the one that was announced: its {0} is another")]
    Differs(&'static str),
    /// The bundle does not decompress.
    #[error("the snapshot does not decompress")]
    Compression(#[from] std::io::Error),
    /// The bundle is none.
    #[error("the snapshot does not decode")]
    Bundle(#[from] prost::DecodeError),
}

/// Joins as a replica that holds nothing.
///
/// # Errors
/// [`Error`]; whatever was announced and did not come is one.
pub async fn join(sync: SocketAddr, token: &str, replica: &str) -> Result<Snapshot, Error> {
    let endpoint = Endpoint::try_from(format!("http://{sync}"))?;
    let mut client = ConfigSyncServiceClient::new(endpoint.connect().await?);
    let hello = Hello {
        replica_id: replica.to_owned(),
        boot_id: replica.to_owned(),
        min_schema: 1,
        max_schema: 1,
        ..Hello::default()
    };
    let hello = WatchRequest { message: Some(watch_request::Message::Hello(hello)) };
    // The stream stays open: a replica that has said all that it will is gone.
    let mut request = Request::new(tokio_stream::once(hello).chain(tokio_stream::pending()));
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse()?);
    let start = Instant::now();
    take(client.watch(request).await?.into_inner(), start).await
}

async fn take(mut stream: Streaming<WatchResponse>, start: Instant) -> Result<Snapshot, Error> {
    let mut announced: Option<(UpdateBegin, Duration)> = None;
    let mut bytes = Vec::new();
    loop {
        match stream.message().await?.ok_or(Error::Ended)?.message {
            Some(Message::Begin(begin)) => announced = Some((begin, start.elapsed())),
            Some(Message::Chunk(chunk)) => bytes.extend_from_slice(&chunk.data),
            Some(Message::End(end)) => {
                if *Sha256::digest(&bytes) != *end.sha256 {
                    return Err(Error::Differs("digest"));
                }
                let (begin, until_begun) = announced.ok_or(Error::Differs("beginning"))?;
                return snapshot(&begin, &bytes, [until_begun, start.elapsed()]);
            }
            _ => {}
        }
    }
}

fn snapshot(begin: &UpdateBegin, bytes: &[u8], [until_begun, until_whole]: [Duration; 2]) -> Result<Snapshot, Error> {
    let decoded_bytes = usize::try_from(begin.decoded_bytes).map_err(|_| Error::Differs("size"))?;
    let plain = match begin.encoding() {
        Encoding::Zstd => zstd::bulk::decompress(bytes, decoded_bytes)?,
        Encoding::Identity | Encoding::Unspecified => bytes.to_vec(),
    };
    let bundle = Bundle::decode(&*plain)?;
    if plain.len() != decoded_bytes || bundle.target != begin.target {
        return Err(Error::Differs("size or target"));
    }
    let revision = begin.target.as_ref().map_or(0, |Position { revision, .. }| *revision);
    let (resources, encoded_bytes) = (bundle.upserts.len(), bytes.len());
    Ok(Snapshot { revision, resources, encoded_bytes, decoded_bytes, until_begun, until_whole })
}
