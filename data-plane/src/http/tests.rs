//! The door with everything behind it, without a network in front: what clients are told, what upstreams see, what is counted.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{Method, StatusCode, header::AUTHORIZATION};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use prost::Message;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use signalbox_proto::config::v1 as config;
use signalbox_routing::{Change, Digest, Position, Resource, ResourceName, Revision, Runtime};

use super::*;
use crate::{
    attempt::tests::upstream::{Step, Upstream, json, stream, stream_of, then},
    live::ConfigSource,
    upstream::Upstreams,
};

mod mounts;
mod pages;
mod requests;

pub(crate) const KEY: &str = "sb_test";
impl Door {
    /// Answers somebody on this machine.
    pub(crate) async fn answer(self: Arc<Self>, request: Request<RequestBody>) -> Response<Carried> {
        self.answer_to(Ipv4Addr::LOCALHOST.into(), request).await
    }
}

const HELLO: &str = r#"{"model":"m","choices":[]}"#;

/// A configuration being written.
#[derive(Debug, Default)]
pub(crate) struct Draft(Vec<Change>);

impl Draft {
    fn with(mut self, name: &str, body: &impl Message) -> Self {
        let name = ResourceName::parse(name).unwrap();
        let body = body.encode_to_vec().into();
        self.0.push(Change::Upsert(Resource { name, revision: 1, required_features: Vec::new(), body }));
        self
    }

    /// The key that clients present.
    pub(crate) fn client_key(self) -> Self {
        let sha256 = Sha256::digest(KEY).to_vec().into();
        let key = config::ClientKey { id: "tests".to_owned(), sha256, ..config::ClientKey::default() };
        self.with("clientKeys/tests", &key)
    }

    /// The provider `main` with the model `m`, without credentials.
    pub(crate) fn provider(self, address: SocketAddr) -> Self {
        let provider = config::Provider {
            id: "main".to_owned(),
            dialect: config::Dialect::Openai.into(),
            base_url: format!("http://{address}/v1"),
            model_prefix: "main".to_owned(),
            models: vec!["m".to_owned()],
            retry: Some(config::Retry { attempts: Some(1), ..config::Retry::default() }),
            ..config::Provider::default()
        };
        self.with("providers/main", &provider)
    }

    /// The route `there`.
    pub(crate) fn route(self, address: SocketAddr, client_key_required: bool) -> Self {
        let route = config::Route {
            id: "there".to_owned(),
            segment: "there".to_owned(),
            destination: Some(config::route::Destination::TargetUrl(format!("http://{address}/base"))),
            client_key_required,
            ..config::Route::default()
        };
        self.with("routes/there", &route)
    }

    fn settings(self, settings: &config::Settings) -> Self {
        self.with("settings", settings)
    }

    /// A door behind which this is in force.
    pub(crate) fn door(self, limits: Limits) -> Arc<Door> {
        let door = unconfigured(limits);
        let compiled = Runtime::default().apply(&self.0);
        assert_eq!(compiled.findings, [], "the configuration is sound");
        let (upstreams, unusable) = Upstreams::advance(&compiled.runtime, None);
        assert!(unusable.is_empty(), "{unusable:?}");
        let revision = Revision::new(7).unwrap();
        let position = Position { epoch: "tests".into(), revision, digest: Digest::default() };
        door.live.turn().publish(Snapshot::new(position, compiled.runtime, upstreams, ConfigSource::Stream));
        door
    }
}

/// A door behind which nothing is in force yet.
pub(crate) fn unconfigured(limits: Limits) -> Arc<Door> {
    let vitals = Vitals::default();
    Arc::new(Door {
        live: Arc::default(),
        slots: Slots::new(limits.max_requests, Arc::clone(&vitals.in_flight)),
        metrics: Arc::new(Metrics::new().unwrap()),
        connections: Connections::default(),
        vitals,
        prober: Prober::default(),
        reloader: Reloader::default(),
        limits,
        meters: Arc::default(),
    })
}

fn full(body: impl Into<Bytes>) -> RequestBody {
    RequestBody::made(Full::new(body.into()))
}

/// A body that nobody may ask for.
fn untouchable() -> RequestBody {
    let never = futures_util::stream::once(async { panic!("the body was read") });
    RequestBody::made(StreamBody::new(never.map(|frame: Frame<Bytes>| Ok::<_, io::Error>(frame))))
}

fn request(method: Method, path: &str, body: RequestBody) -> Request<RequestBody> {
    let request = Request::builder().method(method).uri(path).header("host", "gateway");
    request.header(AUTHORIZATION, format!("Bearer {KEY}")).body(body).unwrap()
}

fn get(path: &str) -> Request<RequestBody> {
    request(Method::GET, path, full(""))
}

fn chat(body: impl Into<Bytes>) -> Request<RequestBody> {
    let mut request = request(Method::POST, "/v1/chat/completions", full(body));
    request.headers_mut().insert("content-type", "application/json".parse().unwrap());
    request
}

/// An answer, read to its end.
struct Told {
    status: StatusCode,
    headers: http::HeaderMap,
    body: Bytes,
}

impl Told {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Status and error code.
    fn error(&self) -> (u16, String) {
        (self.status.as_u16(), self.json()["error"]["code"].as_str().unwrap().to_owned())
    }
}

async fn told(door: &Arc<Door>, request: Request<RequestBody>) -> Told {
    let (head, body) = Arc::clone(door).answer(request).await.into_parts();
    assert!(head.headers.contains_key("x-request-id"), "every answer has a name");
    Told { status: head.status, headers: head.headers, body: body.collect().await.unwrap().to_bytes() }
}

/// The counter of requests that ended so.
pub(crate) fn recorded(door: &Door, outcome: &str) -> u64 {
    let now = crate::metrics::Gauges {
        in_flight: 0,
        connections: 0,
        ejected: 0,
        ejections: 0,
        revision: 0,
        ready: true,
        connected: true,
    };
    let page = door.metrics.render(now);
    let label = format!("outcome=\"{outcome}\"");
    let lines = page.lines().filter(|line| line.starts_with("signalbox_requests_total{") && line.contains(&label));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}
