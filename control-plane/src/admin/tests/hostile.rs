//! Requests that nobody sends by mistake: each is answered, and the control plane goes on.

use prost_types::{Duration, FieldMask, Timestamp};
use signalbox_proto::{
    admin::v1::{GetProviderRequest, ListClientKeysRequest, UpdateProviderRequest, client_key::Imported},
    config::v1::{ForwardProxy, HeaderValue, Timeouts, header_value::Content},
};

use super::*;

const MEGABYTE: usize = 1024 * 1024;

async fn update(app: &Running, provider: Provider, paths: Vec<String>) -> Status {
    let update_mask = Some(FieldMask { paths });
    let request = UpdateProviderRequest { provider: Some(provider), update_mask, ..UpdateProviderRequest::default() };
    app.providers().update_provider(request).await.unwrap_err()
}

#[tokio::test]
async fn what_is_much_too_long_is_cut_in_the_answer() {
    let app = Running::start().await;
    let made = app.make_provider("a").await;
    let long = "x".repeat(MEGABYTE);

    let stale = update(&app, Provider { etag: long.clone(), ..made.clone() }, vec!["priority".to_owned()]).await;
    assert_eq!(refusal(&stale), (Code::Aborted, "ETAG_MISMATCH".to_owned()));
    let unknown = update(&app, made.clone(), vec![long.clone(); 3]).await;
    assert_eq!(refusal(&unknown), (Code::InvalidArgument, "UNKNOWN_FIELD".to_owned()));
    let paths = update(&app, made.clone(), vec!["priority".to_owned(); 100_000]).await;
    assert_eq!(refusal(&paths), (Code::InvalidArgument, "INVALID_FIELD_MASK".to_owned()));
    let name = app.providers().get_provider(GetProviderRequest { name: long.clone() }).await.unwrap_err();
    assert_eq!(refusal(&name), (Code::InvalidArgument, "INVALID_NAME".to_owned()));
    let token = ListClientKeysRequest { page_size: 1, page_token: long.clone(), ..ListClientKeysRequest::default() };
    let token = app.client_keys().list_client_keys(token).await.unwrap_err();
    assert_eq!(refusal(&token), (Code::InvalidArgument, "INVALID_PAGE_TOKEN".to_owned()));
    for status in [stale, unknown, paths, name, token] {
        assert!(status.message().len() < 1024, "{}", status.message().len());
    }

    let too_large = update(&app, Provider { display_name: "x".repeat(5 * MEGABYTE), ..made.clone() }, vec![]).await;
    assert_eq!(too_large.code(), Code::OutOfRange);
    assert_eq!(app.revision().await, made.revision);
    app.stop().await;
}

#[tokio::test]
async fn values_beyond_what_their_types_mean_are_named_by_their_fields() {
    let app = Running::start().await;
    let before = app.revision().await;
    let labels = (0..10_000).map(|label| (format!("l{label}"), String::new())).collect();
    let provider = Provider {
        dialect: 99,
        credential_choice: -1,
        timeouts: Some(Timeouts {
            connect: Some(Duration { seconds: i64::MAX, nanos: i32::MIN }),
            ..Timeouts::default()
        }),
        display_name: "a\0b".to_owned(),
        ..provider()
    };
    let mut config =
        Config { providers: vec![Provider { name: "providers/a".to_owned(), ..provider }], ..Config::default() };
    let fields = async |config: &Config| {
        let request = ApplyConfigRequest { config: Some(config.clone()), ..ApplyConfigRequest::default() };
        violations(&app.apply(request).await.unwrap_err()).into_iter().map(|(field, _)| field).collect::<Vec<_>>()
    };
    assert_eq!(fields(&config).await, ["config.providers[0].display_name"]);
    config.providers[0].display_name.clear();
    let in_provider =
        ["dialect", "timeouts.connect", "credential_choice"].map(|field| format!("config.providers[0].{field}"));
    assert_eq!(fields(&config).await, in_provider);

    let key = ClientKey {
        name: "clientKeys/k".to_owned(),
        imported: Some(Imported::ImportSha256(vec![7; 32].into())),
        expire_time: Some(Timestamp { seconds: i64::MIN, nanos: -1 }),
        labels,
        ..ClientKey::default()
    };
    let config = Config { client_keys: vec![key], ..Config::default() };
    let in_key = ["expire_time", "labels"].map(|field| format!("config.client_keys[0].{field}"));
    assert_eq!(fields(&config).await, in_key);
    assert_eq!(app.revision().await, before);
    app.stop().await;
}

#[tokio::test]
async fn a_password_in_a_url_is_refused_and_not_repeated() {
    let app = Running::start().await;
    let url = |scheme: &str| format!("{scheme}://user:s3cret@upstream.test/v1?api-key=s3cret");
    let header = HeaderValue { content: Some(Content::Secret("s3cret\n".to_owned())), overwrite: None };
    let provider = Provider {
        name: "providers/a".to_owned(),
        base_url: url("https"),
        chat_url: url("ftp"),
        forward_proxy: Some(ForwardProxy { url: url("http"), ..ForwardProxy::default() }),
        headers: [("x-key".to_owned(), header)].into(),
        ..provider()
    };
    let config = Some(Config { providers: vec![provider], ..Config::default() });
    let status = app.apply(ApplyConfigRequest { config, ..ApplyConfigRequest::default() }).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(violations(&status).len() >= 4, "{status:?}");
    assert!(!format!("{status:?}").contains("s3cret"), "{status:?}");
    assert!(!String::from_utf8_lossy(status.details()).contains("s3cret"));
    app.stop().await;
}
