//! Secrets are in no file, no answer and no log, after everything that could have put them there.

use std::{fs, path::Path};

use signalbox_control_plane::{app::Options, seal::MasterKey};
use signalbox_proto::{
    admin::v1::{
        CreateProviderRequest, Credential, GetSettingsRequest, ListClientKeysRequest, ListCredentialsRequest,
        ListProvidersRequest, ListRoutesRequest, Provider, Route, Settings,
    },
    config::v1::{ForwardProxy, HeaderValue, header_value},
};
use signalbox_tests::{
    Answer, ControlPlane, Draft, System, Upstream,
    draft::{client_key, credential, provider, route},
    logs,
    upstream::{self, DONE, finish, text},
};

const PROVIDER_KEY: &str = "sk-planted-provider-key-83b1";
const CLIENT_KEY: &str = "sb_planted-client-key-5d0e";
const HEADER: &str = "planted-header-secret-c2a7";
const PROXY: &str = "planted-proxy-password-19fe";
const PLANTED: [&str; 4] = [PROVIDER_KEY, CLIENT_KEY, HEADER, PROXY];

fn planted_in(bytes: &[u8]) -> Option<&'static str> {
    PLANTED.into_iter().find(|secret| bytes.windows(secret.len()).any(|window| window == secret.as_bytes()))
}

fn search(dir: &Path, found: &mut usize) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            search(&path, found);
        } else {
            *found += 1;
            assert_eq!(planted_in(&fs::read(&path).unwrap()), None, "in {}", path.display());
        }
    }
}

fn secret_header() -> HeaderValue {
    HeaderValue { content: Some(header_value::Content::Secret(HEADER.to_owned())), overwrite: Some(true) }
}

#[tokio::test]
async fn after_a_busy_run_no_secret_is_anywhere_but_where_it_belongs() {
    let (mut system, upstream) = (System::start().await, Upstream::start().await);
    let headers =
        Provider { headers: [("x-secret".to_owned(), secret_header())].into(), ..provider("main", &upstream.url()) };
    let mount = Route { headers: [("x-secret".to_owned(), secret_header())].into(), ..route("mount", &upstream.url()) };
    let proxy =
        ForwardProxy { url: "http://127.0.0.1:9".to_owned(), username: "user".to_owned(), password: PROXY.to_owned() };
    let draft = Draft::new()
        .provider(headers)
        .credential("main", "k", PROVIDER_KEY)
        .provider(Provider { forward_proxy: Some(proxy), ..provider("proxied", &upstream.url()) })
        .credential("proxied", "k", PROVIDER_KEY)
        .client_key(client_key("planted", CLIENT_KEY))
        .route(mount);
    system.apply(draft).await;
    let client = system.client().with_key(CLIENT_KEY);

    assert_eq!(client.chat("main/m").await.status, 200);
    assert_eq!(upstream.request(0).await.header("x-secret"), Some(HEADER), "it does get where it belongs");
    assert_eq!(client.get("/mount/x").await.status, 200);
    assert_eq!(client.chat("proxied/m").await.status, 502);
    let mut answers = Vec::new();
    for status in [400, 401, 403, 422, 500] {
        let echo = upstream::error(&format!("Incorrect API key provided: {PROVIDER_KEY}"));
        upstream.answer(Answer::status(status).header("x-echo", PROVIDER_KEY).body(echo.to_string()));
        let reply = client.chat("main/m").await;
        answers.push(format!("{status} {:?} {}", reply.headers, reply.text()));
        // A refused credential is out for a while; a new version of it is not.
        system.apply(Draft::new().credential("main", "k", "sk-other")).await;
        system.apply(Draft::new().credential("main", "k", PROVIDER_KEY)).await;
    }
    upstream.answer(Answer::stream([&*text("m", "a"), &finish("m"), DONE]));
    assert_eq!(client.chat_stream("main/m").await.rest().await.len(), 3);
    assert_eq!(client.with_key(&format!("{CLIENT_KEY}x")).chat("main/m").await.status, 401);
    assert_eq!(client.get(&format!("/v1/models?api_key={CLIENT_KEY}")).await.status, 200);
    assert_eq!(
        client.post("/v1/chat/completions", format!(r#"{{"model":"main/m","user":"{CLIENT_KEY}"}}"#)).await.status,
        200
    );
    assert_eq!(
        client.post("/v1/chat/completions", format!(r#"{{"model":"nobody/m","user":"{CLIENT_KEY}"}}"#)).await.status,
        404
    );

    let admin = system.admin();
    let all = credentials_of("providers/-");
    answers.push(format!("{:?}", admin.providers().list_providers(ListProvidersRequest::default()).await.unwrap()));
    answers.push(format!("{:?}", admin.credentials().list_credentials(all).await.unwrap()));
    answers
        .push(format!("{:?}", admin.client_keys().list_client_keys(ListClientKeysRequest::default()).await.unwrap()));
    answers.push(format!("{:?}", admin.routes().list_routes(ListRoutesRequest::default()).await.unwrap()));
    answers.push(format!("{:?}", admin.settings().get_settings(GetSettingsRequest::default()).await.unwrap()));
    let bad = Provider { headers: [("x y".to_owned(), secret_header())].into(), ..provider("", "nonsense") };
    let request =
        CreateProviderRequest { provider_id: "x".to_owned(), provider: Some(bad), ..CreateProviderRequest::default() };
    answers.push(format!("{:?}", admin.providers().create_provider(request).await.unwrap_err()));
    for path in ["/", "/health", "/metrics"] {
        answers.push(client.get(path).await.text().to_owned());
    }
    for answer in &answers {
        assert_eq!(planted_in(answer.as_bytes()), None, "in {answer}");
    }

    let data_plane = system.data_planes.first_mut().unwrap();
    data_plane.ask_to_stop();
    data_plane.ended().await;
    system.control_plane.stop().await;
    let mut files = 0;
    search(system.dir(), &mut files);
    assert!(files >= 4, "{files} files were searched");
    let lines = logs::all();
    let line = lines.lines().find(|line| planted_in(line.as_bytes()).is_some());
    assert_eq!(line, None);
    assert!(lines.contains("providers/main/credentials/k"), "names are logged");
}

fn credentials_of(parent: &str) -> ListCredentialsRequest {
    ListCredentialsRequest { parent: parent.to_owned(), ..ListCredentialsRequest::default() }
}

#[tokio::test]
async fn a_secret_header_is_kept_when_the_rest_of_its_resource_changes() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    let main =
        Provider { headers: [("x-secret".to_owned(), secret_header())].into(), ..provider("main", &upstream.url()) };
    system.apply(Draft::new().provider(main)).await;
    let read = system.admin().providers().list_providers(ListProvidersRequest::default()).await.unwrap().into_inner();
    let mut main = read.providers.into_iter().next().unwrap();
    main.display_name = "renamed".to_owned();
    system.apply(Draft::new().provider(main).settings(Settings { keyless_models: true, ..Settings::default() })).await;
    assert_eq!(system.client().chat("main/m").await.status, 200);
    assert_eq!(upstream.only().header("x-secret"), Some(HEADER));
}

#[tokio::test]
async fn a_stored_credential_is_kept_when_its_document_says_nothing_of_it() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    system.apply(Draft::new().upstream("main", &upstream.url())).await;
    let mut draft = Draft::new();
    draft.0.credentials.push(Credential { source: None, weight: Some(7), ..credential("main", "main", "") });
    system.apply(draft).await;
    assert_eq!(system.client().chat("main/m").await.status, 200);
    assert_eq!(upstream.only().header("authorization"), Some("Bearer sk-main"));
}

#[tokio::test]
async fn sealed_secrets_open_under_their_own_master_key_only() {
    let (mut system, upstream) = (System::start().await, Upstream::start().await);
    system.apply(Draft::new().upstream("main", &upstream.url())).await;
    system.control_plane.stop().await;
    let options = Options { master_key: MasterKey::generate(), ..system.control_plane.options() };
    let refused = ControlPlane::refusal(options).await.to_string();
    assert!(refused.contains("master key"), "{refused}");
    system.control_plane.start().await;
    assert!(system.admin().revision().await > 0);
}
