//! Calls to a control plane by the schemas' descriptors: any method, with one rule for trying again and one for giving up. It knows no
//! resource in particular.

use std::time::{Duration, SystemTime};

use backon::{ExponentialBuilder, Retryable as _};
use bytes::{Buf as _, BufMut as _, Bytes};
use prost::Message;
use prost_reflect::{DynamicMessage, MethodDescriptor, ReflectMessage as _};
use signalbox_proto::DESCRIPTORS;
use tokio::time::{sleep, timeout};
use tonic::{
    Code, Request, Response, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    service::interceptor::InterceptedService,
    transport::Channel,
};
use tonic_types::StatusExt as _;

use super::error::Error;
use crate::{
    admin::Bearer,
    connection::{Address, Target},
};

/// The package that operators speak.
const PACKAGE: &str = "signalbox.admin.v1";

/// Longest wait for an answer, beyond what the call itself waits for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Largest answer, in bytes: an export of everything.
const MAX_ANSWER: usize = 256 * 1024 * 1024;

/// Calls of one question, where no answer comes.
const RETRIES: usize = 2;

/// A control plane. It connects with the first call.
#[derive(Clone)]
pub struct Control {
    service: InterceptedService<Channel, Bearer>,
    address: Address,
}

/// What a call answered.
#[derive(Debug, Clone)]
pub struct Answer(DynamicMessage);

impl Answer {
    /// By its descriptor.
    #[must_use]
    pub const fn message(&self) -> &DynamicMessage {
        &self.0
    }

    /// As the generated type.
    ///
    /// # Errors
    /// [`Error::Garbled`] where it is another message.
    pub fn read<T: Message + Default>(&self) -> Result<T, Error> {
        let method = self.0.descriptor().name().to_owned();
        self.0.transcode_to().map_err(|source| Error::Garbled { method, source })
    }
}

impl Control {
    /// The control plane that an operator means.
    ///
    /// # Errors
    /// [`Error::Admin`] for a token that no header can carry.
    pub fn at(target: Target) -> Result<Self, Error> {
        let Target { address, endpoint, token, ca: _ } = target;
        let bearer = Bearer::new(token.as_ref())?;
        Ok(Self { service: InterceptedService::new(endpoint.connect_lazy(), bearer), address })
    }

    /// Where it is.
    #[must_use]
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// Calls a method, such as `ConfigService/ApplyConfig`.
    ///
    /// # Errors
    /// [`Error::Refused`] and [`Error::Unreachable`] above all.
    pub async fn call(&self, method: &str, request: &impl Message) -> Result<Answer, Error> {
        self.call_for(method, request, Duration::ZERO).await
    }

    /// Calls a method that itself waits for so long.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn call_for(&self, method: &str, request: &impl Message, wait: Duration) -> Result<Answer, Error> {
        let schema = find(method)?;
        let (bytes, limit) = (Bytes::from(request.encode_to_vec()), wait.saturating_add(PATIENCE));
        let attempt = || self.attempt(&schema, bytes.clone());
        let delays = ExponentialBuilder::default().with_jitter().with_min_delay(Duration::from_millis(100));
        let delays = delays.with_max_times(if may_repeat(&schema) { RETRIES } else { 0 });
        let lost = |status: &Status| status.code() == Code::Unavailable || !is_told(status);
        let answered = timeout(limit, attempt.retry(delays).sleep(sleep).when(lost)).await;
        let timed_out =
            |_| Error::TimedOut { address: self.address.clone(), method: method.to_owned(), timeout: limit };
        let answer = answered.map_err(timed_out)?.map_err(|status| self.failed(method, status))?;
        let decoded = DynamicMessage::decode(schema.output(), answer.into_inner());
        Ok(Answer(decoded.map_err(|source| Error::Garbled { method: method.to_owned(), source })?))
    }

    /// What time it is there, by the header that each answer has; `None` = it does not say.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn clock(&self) -> Result<Option<SystemTime>, Error> {
        let method = "SettingsService/GetSettings";
        let timed_out =
            |_| Error::TimedOut { address: self.address.clone(), method: method.to_owned(), timeout: PATIENCE };
        let answered = timeout(PATIENCE, self.attempt(&find(method)?, Bytes::new())).await.map_err(timed_out)?;
        let answer = answered.map_err(|status| self.failed(method, status))?;
        let date = answer.metadata().get("date").and_then(|date| date.to_str().ok());
        Ok(date.and_then(|date| httpdate::parse_http_date(date).ok()))
    }

    async fn attempt(&self, schema: &MethodDescriptor, request: Bytes) -> Result<Response<Bytes>, Status> {
        let mut grpc = Grpc::new(self.service.clone()).max_decoding_message_size(MAX_ANSWER);
        grpc.ready().await.map_err(|error| Status::unavailable(chain(&error)))?;
        let path = format!("/{}/{}", schema.parent_service().full_name(), schema.name());
        let path = path.parse().map_err(|_| Status::internal("a method's name is no path"))?;
        grpc.unary(Request::new(request), path, Raw).await
    }

    /// Each error of the admin port has a reason. What has none comes from this side, or from somebody else who is there: a port of
    /// another kind, or one with TLS that is spoken to without.
    fn failed(&self, method: &str, status: Status) -> Error {
        let status = Box::new(status);
        if is_told(&status) {
            Error::Refused { method: method.to_owned(), status }
        } else {
            Error::Unreachable { address: self.address.clone(), status: named(status) }
        }
    }
}

fn is_told(status: &Status) -> bool {
    status.get_details_error_info().is_some()
}

/// Everything that an error says of itself and its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut words: Vec<String> = causes.map(ToString::to_string).collect();
    words.dedup();
    words.join(": ")
}

/// The same, in the words of what caused it, where that is known here.
fn named(status: Box<Status>) -> Box<Status> {
    match std::error::Error::source(status.as_ref()) {
        Some(source) => Box::new(Status::unavailable(chain(source))),
        None if status.message().is_empty() => Box::new(Status::unavailable(status.code().description())),
        None => status,
    }
}

/// A method's schema.
///
/// # Errors
/// [`Error::NoMethod`]
pub fn find(method: &str) -> Result<MethodDescriptor, Error> {
    let parts = method.split_once('/');
    let found = parts.and_then(|(service, name)| {
        let service = DESCRIPTORS.get_service_by_name(&format!("{PACKAGE}.{service}"))?;
        service.methods().find(|method| method.name() == name)
    });
    found.ok_or_else(|| Error::NoMethod(method.to_owned()))
}

/// Whether asking again does no more than asking once: what changes nothing, and what carries an id of its own.
fn may_repeat(schema: &MethodDescriptor) -> bool {
    let reads = ["Get", "List", "Wait", "Validate", "Export", "Explain"];
    schema.input().get_field_by_name("request_id").is_some() || reads.iter().any(|verb| schema.name().starts_with(verb))
}

/// Bytes as they are: what they mean is the descriptors' business.
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_safe_is_asked_twice() {
        for (method, twice) in [
            ("ConfigService/ApplyConfig", true),
            ("ClientKeyService/CreateClientKey", true),
            ("ProviderService/ListProviders", true),
            ("ReplicaService/WaitForRevision", true),
            ("AdminTokenService/CreateAdminToken", false),
            ("AdminTokenService/DeleteAdminToken", false),
        ] {
            assert_eq!(may_repeat(&find(method).unwrap()), twice, "{method}");
        }
    }

    #[test]
    fn a_method_that_there_is_not_is_said_to_be_none() {
        for wrong in ["", "ConfigService", "ConfigService/Nothing", "NoService/ApplyConfig"] {
            assert!(matches!(find(wrong), Err(Error::NoMethod(_))), "{wrong}");
        }
    }
}
