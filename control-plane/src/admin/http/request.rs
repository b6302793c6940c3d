//! An HTTP request as the gRPC message that it stands for: path, query and body, framed. It is made when the RPC reads it, which is
//! after the caller has been let in.

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, header};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt as _, StreamBody};
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor, ReflectMessage as _, Value};
use tokio::time::timeout;
use tonic::{Status, body::Body};

use super::{
    Refused,
    query::{self, MAX_QUERY},
    table::{self, Binding},
    template::RequestPath,
};
use crate::{
    admin::error::{Error, Violation},
    proto_json::{self, Fault},
};

/// Longest silence within a body.
const MAX_SILENCE: Duration = Duration::from_secs(30);

/// What stands before each gRPC message: whether it is compressed, and its length.
pub(super) const FRAME: usize = 5;

/// Headers that would mean something else to gRPC than they do here.
const OURS: [HeaderName; 8] = [
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::TRANSFER_ENCODING,
    header::EXPECT,
    HeaderName::from_static("grpc-encoding"),
    HeaderName::from_static("grpc-accept-encoding"),
    HeaderName::from_static("grpc-timeout"),
    header::TE,
];

/// What an HTTP request says, before it is read.
struct Said {
    path: RequestPath,
    query: Option<String>,
    headers: HeaderMap,
    body: Body,
}

/// The same request to the RPC, which keeps who sent it and from where.
pub(super) fn to_rpc(binding: &'static Binding, path: RequestPath, request: Request<Body>) -> Request<Body> {
    let (mut parts, body) = request.into_parts();
    let query = parts.uri.query().map(str::to_owned);
    let said = Said { path, query, headers: parts.headers.clone(), body };
    let message = async move { read(binding, said).await.map(Frame::data).map_err(Status::from) };
    for name in OURS {
        parts.headers.remove(name);
    }
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    (parts.method, parts.version) = (Method::POST, Version::HTTP_2);
    parts.uri = Uri::from(binding.path.clone());
    Request::from_parts(parts, Body::new(StreamBody::new(stream::once(message))))
}

async fn read(binding: &Binding, said: Said) -> Result<Bytes, Error> {
    let Said { path, query, headers, body } = said;
    let request = binding.rpc.input();
    let query = query.unwrap_or_default();
    if query.len() > MAX_QUERY {
        return Err(Refused::QueryTooLong { limit: MAX_QUERY }.into());
    }
    let from_query = query::read(binding, &query).map_err(Error::Request)?;
    let from_body = match &binding.body {
        table::Body::Nothing if !body.is_end_stream() => return Err(Refused::BodyNotAllowed.into()),
        table::Body::Nothing => DynamicMessage::new(request.clone()),
        table::Body::Whole => message(&request, "", &collect(binding, &headers, body).await?)?,
        table::Body::Field(field) => {
            let text = collect(binding, &headers, body).await?;
            let mut whole = DynamicMessage::new(request.clone());
            if let (false, Some(schema)) = (text.is_empty(), field.kind().as_message()) {
                whole.set_field(field, Value::Message(message(schema, field.name(), &text)?));
            }
            whole
        }
    };
    let mut said = from_body.encode_to_vec();
    said.extend_from_slice(&from_query);
    for (field, value) in binding.template.values(&path) {
        agree(&from_body, field, &value)?;
        said.extend(query::text(&request, field, value).unwrap_or_default());
    }
    framed(&said).ok_or_else(|| Refused::TooLarge { limit: binding.max_body }.into())
}

/// A message as gRPC carries it; `None` where it is longer than that can say.
pub(super) fn framed(message: &[u8]) -> Option<Bytes> {
    let length = u32::try_from(message.len()).ok()?;
    let mut frame = BytesMut::with_capacity(FRAME + message.len());
    frame.put_u8(0);
    frame.put_u32(length);
    frame.put_slice(message);
    Some(frame.freeze())
}

/// Reads the body as a message; an empty body is an empty one.
fn message(schema: &MessageDescriptor, place: &str, text: &[u8]) -> Result<DynamicMessage, Error> {
    if text.is_empty() {
        return Ok(DynamicMessage::new(schema.clone()));
    }
    proto_json::read(schema.clone(), text).map_err(|fault| match fault {
        Fault::Syntax { line, column, problem } => Refused::Json { line, column, problem }.into(),
        Fault::Field { path, problem } => {
            let reason = if problem.starts_with("is no field") { "UNKNOWN_FIELD" } else { "INVALID_VALUE" };
            let field = proto_json::joined(place, &path);
            let field = if field.is_empty() { "body".to_owned() } else { field };
            Violation::new(field, reason, problem).into()
        }
    })
}

/// What the body says of a field may not contradict the path.
fn agree(body: &DynamicMessage, path: &str, value: &str) -> Result<(), Violation> {
    let mut holder = body.clone();
    for field in query::field(&body.descriptor(), path).unwrap_or_default() {
        let held = holder.get_field(&field).into_owned();
        match held {
            Value::Message(message) => holder = message,
            Value::String(said) if !said.is_empty() && said != value => {
                return Err(Violation::new(path, "MISPLACED_FIELD", "is another in the body than in the path"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The whole body, if it is JSON and not too much of it.
async fn collect(binding: &Binding, headers: &HeaderMap, mut body: Body) -> Result<Bytes, Refused> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    require_json(headers)?;
    let limit = binding.max_body;
    let too_large = Refused::TooLarge { limit };
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit {
        return Err(too_large);
    }
    let mut text = BytesMut::with_capacity(announced);
    loop {
        let frame = timeout(MAX_SILENCE, body.frame()).await;
        let frame = frame.map_err(|_| Refused::TooSlow { limit_s: MAX_SILENCE.as_secs() })?;
        let Some(frame) = frame else { return Ok(text.freeze()) };
        // Trailers say nothing here.
        let Ok(data) = frame.map_err(|_| Refused::Incomplete)?.into_data() else { continue };
        if text.len() + data.len() > limit {
            return Err(too_large);
        }
        text.extend_from_slice(&data);
    }
}

/// A web page's script can send other types to anywhere without asking first.
fn require_json(headers: &HeaderMap) -> Result<(), Refused> {
    let encoded = headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity");
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    if encoded || !essence.eq_ignore_ascii_case("application/json") { Err(Refused::MediaType) } else { Ok(()) }
}
