//! Attempts against scripted upstreams: what came of them, what each upstream saw, and what the client gets to read.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header::CONTENT_TYPE};
use http_body_util::BodyExt as _;
use secrecy::SecretString;
use signalbox_routing::{
    AnswerModel, Callers, Credential, CredentialChoice, CredentialSource, Dialect, Ejection, Endpoint, HeaderPolicy,
    HttpVersion, Id, ModelFilter, Place, Plan, Profile, Provider, Retry, RetryOn, SecretSource, Target, Timeouts,
};
use tokio::time::Instant;

use super::{Answer, Broken, Call, Failed, Trail, Won, run};
use crate::{
    openai::envelope::{Envelope, UsageWish},
    upstream::{OwnKeys, Payload, Upstreams},
};

mod cancel;
mod credentials;
mod failover;
mod plain;
mod streams;
pub(crate) mod upstream;

const HELLO: &str = r#"{"id":"c","model":"served","choices":[{"message":{"content":"hello"}}]}"#;
const SECOND: Duration = Duration::from_secs(1);

/// A provider at an address, with these keys, and small back-offs.
pub(crate) fn provider(id: &str, address: SocketAddr, keys: &[&str]) -> Provider {
    let root = format!("http://{address}/v1");
    let place = |endpoint: Endpoint| (endpoint, Place::Fixed(format!("{root}{}", endpoint.path()).parse().unwrap()));
    Provider {
        id: Id::parse(id).unwrap(),
        dialect: Dialect::OpenAi,
        places: Endpoint::ALL.into_iter().map(place).collect::<BTreeMap<_, _>>(),
        root: Some(root.parse().unwrap()),
        prefix: id.into(),
        profile: Arc::new(Profile {
            proxy: None,
            connect_timeout: 5 * SECOND,
            max_idle: 10,
            idle_timeout: 90 * SECOND,
            http_version: HttpVersion::Negotiated,
        }),
        headers: HeaderPolicy::default(),
        timeouts: Timeouts {
            response_header: 20 * SECOND,
            first_event: 20 * SECOND,
            stream_idle: 20 * SECOND,
            total: 60 * SECOND,
        },
        retry: Retry {
            attempts: 3,
            backoff_base: Duration::from_millis(1),
            backoff_cap: Duration::from_millis(2),
            statuses: vec![500, 502, 503, 504],
            attempts_per_credential: None,
            on: RetryOn::default(),
        },
        models: Vec::new(),
        priority: 0,
        credential_choice: CredentialChoice::LeastRecentlyUsed,
        credentials: keys.iter().map(|key| Arc::new(credential(id, key))).collect(),
        callers: Callers::ClientKeys,
        credential_source: CredentialSource::Pool,
        credential_prefixes: Vec::new(),
        discovery: None,
        model_filter: ModelFilter::default(),
        max_response_bytes: None,
        max_connections: None,
        ejection: Ejection::default(),
        request_usage: true,
        pass_openai_headers: false,
        conversation: None,
        probe_url: format!("{root}/models").parse().unwrap(),
    }
}

/// A credential that is called like its key.
fn credential(provider: &str, key: &str) -> Credential {
    let mut version = [0; 32];
    version[..key.len()].copy_from_slice(key.as_bytes());
    Credential {
        id: Id::parse(key).unwrap(),
        name: format!("providers/{provider}/credentials/{key}").into(),
        source: SecretSource::Inline(SecretString::from(key)),
        weight: 1,
        max_in_flight: None,
        version,
    }
}

/// A plan over providers, and the upstreams for it.
struct Scene {
    upstreams: Upstreams,
    plan: Plan,
}

impl Scene {
    fn new(providers: impl IntoIterator<Item = Provider>) -> Self {
        let providers: Vec<Arc<Provider>> = providers.into_iter().map(Arc::new).collect();
        let (upstreams, unusable) = Upstreams::gather(providers.iter(), [].iter(), None);
        assert!(unusable.is_empty(), "{unusable:?}");
        let mut targets = providers.into_iter().map(|provider| Target {
            url: provider.url(Endpoint::ChatCompletions, "m").unwrap(),
            model: format!("{}-model", provider.id).into(),
            provider,
        });
        let first = targets.next().expect("at least one provider");
        let plan = Plan { first, rest: targets.collect(), answer_model: AnswerModel::Served, attempts: 3 };
        Self { upstreams, plan }
    }

    fn naming_the_model_as_requested(mut self) -> Self {
        self.plan.answer_model = AnswerModel::Requested;
        self
    }

    fn with_attempts(mut self, attempts: u32) -> Self {
        self.plan.attempts = attempts;
        self
    }

    fn at(mut self, endpoint: Endpoint) -> Self {
        for target in [&mut self.plan.first].into_iter().chain(&mut self.plan.rest) {
            target.url = target.provider.url(endpoint, &target.model).unwrap();
        }
        self
    }

    async fn run(&self, call: Call) -> (Result<Won, Failed>, Trail) {
        let mut trail = Trail::default();
        let outcome = run(&self.upstreams, self.plan.clone(), call, &mut trail).await;
        (outcome, trail)
    }

    async fn win(&self, call: Call) -> Won {
        self.run(call).await.0.expect("an answer is won")
    }
}

/// A plain chat request.
pub(crate) fn chat() -> Call {
    let text = Bytes::from_static(br#"{"messages":[],"model":"asked","x":[1, 2.50]}"#);
    Call {
        endpoint: Endpoint::ChatCompletions,
        tag: None,
        method: Method::POST,
        query: None,
        headers: HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]),
        body: Payload::Json { model_span: Envelope::parse(&text).unwrap().model_span, text },
        own_keys: OwnKeys::default(),
        stream: false,
        usage: UsageWish::Asked,
        keepalive: None,
        requested_model: "asked".into(),
        request_id: crate::record::RequestId::new(),
        deadline: None,
    }
}

fn streamed() -> Call {
    Call { stream: true, ..chat() }
}

/// All of a body, and how it ended.
async fn read(mut body: Answer) -> (String, Option<Broken>) {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes.extend(frame.into_data().expect("no trailers")),
            Err(broken) => return (String::from_utf8_lossy(&bytes).into_owned(), Some(broken)),
        }
    }
    (String::from_utf8_lossy(&bytes).into_owned(), None)
}

async fn text(body: Answer) -> String {
    let (text, broken) = read(body).await;
    assert!(broken.is_none(), "{broken:?} after {text}");
    text
}
