//! What is secret stays so.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use signalbox_proto::{
    admin::v1::{
        CreateProviderRequest, GetClientKeyRequest, GetCredentialRequest, GetProviderRequest, ListClientKeysRequest,
        ListCredentialsRequest, ListProvidersRequest, UpdateClientKeyRequest, UpdateCredentialRequest,
        client_key::Imported, credential::Source,
    },
    config::v1::{ForwardProxy, HeaderValue, SecretRef, header_value::Content, secret_ref::At},
};
use signalbox_routing::Runtime;

use super::*;

const SECRETS: [&str; 4] = ["sk-credential-secret", "header-secret", "proxy-password", "imported-client-key"];

/// Everything that was answered, as it travelled.
#[derive(Default)]
struct Answers(Vec<u8>);

impl Answers {
    fn keep<M: prost::Message>(&mut self, answer: tonic::Response<M>) -> M {
        let message = answer.into_inner();
        message.encode(&mut self.0).unwrap();
        message
    }
}

fn imported(secret: &str) -> ClientKey {
    ClientKey { imported: Some(Imported::ImportSecret(secret.to_owned())), ..ClientKey::default() }
}

fn with_secrets() -> Provider {
    let [_, header, password, _] = SECRETS.map(str::to_owned);
    let header = HeaderValue { content: Some(Content::Secret(header)), overwrite: None };
    let proxy = ForwardProxy { url: "http://proxy.test:3128".to_owned(), username: "u".to_owned(), password };
    let headers = BTreeMap::from([("x-secret".to_owned(), header)]);
    Provider { headers, forward_proxy: Some(proxy), ..provider() }
}

#[tokio::test]
async fn no_answer_holds_a_stored_secret() {
    let app = Running::start().await;
    let mut answers = Answers::default();
    let request = CreateProviderRequest {
        provider_id: "a".to_owned(),
        provider: Some(with_secrets()),
        validate_only: false,
        ..CreateProviderRequest::default()
    };
    let made = answers.keep(app.providers().create_provider(request).await.unwrap());
    assert!(made.headers.contains_key("x-secret"), "that it is there may be known");
    let request = CreateCredentialRequest {
        parent: made.name.clone(),
        credential_id: "main".to_owned(),
        credential: Some(credential(SECRETS[0])),
        validate_only: false,
        ..CreateCredentialRequest::default()
    };
    let credential = answers.keep(app.credentials().create_credential(request).await.unwrap());
    assert!(credential.source.is_none());
    assert_eq!(credential.secret_version, 1);
    let key = CreateClientKeyRequest {
        client_key_id: "k".to_owned(),
        client_key: Some(imported(SECRETS[3])),
        validate_only: false,
        ..CreateClientKeyRequest::default()
    };
    let key = answers.keep(app.client_keys().create_client_key(key).await.unwrap());

    let update = UpdateCredentialRequest {
        credential: Some(Credential { weight: Some(2), ..credential.clone() }),
        ..UpdateCredentialRequest::default()
    };
    answers.keep(app.credentials().update_credential(update).await.unwrap());
    answers.keep(app.providers().get_provider(GetProviderRequest { name: made.name.clone() }).await.unwrap());
    answers.keep(app.providers().list_providers(ListProvidersRequest::default()).await.unwrap());
    let name = credential.name;
    answers.keep(app.credentials().get_credential(GetCredentialRequest { name }).await.unwrap());
    let list = ListCredentialsRequest { parent: made.name, ..ListCredentialsRequest::default() };
    answers.keep(app.credentials().list_credentials(list).await.unwrap());
    answers.keep(app.client_keys().get_client_key(GetClientKeyRequest { name: key.name }).await.unwrap());
    answers.keep(app.client_keys().list_client_keys(ListClientKeysRequest::default()).await.unwrap());

    let text = String::from_utf8_lossy(&answers.0).into_owned();
    for secret in SECRETS {
        assert!(!text.contains(secret), "an answer holds {secret}");
    }
    app.stop().await;
}

#[tokio::test]
async fn no_error_holds_a_secret() {
    let app = Running::start().await;
    let mut bad = with_secrets();
    bad.forward_proxy.as_mut().unwrap().url = "http://u:url-password@proxy.test:1".to_owned();
    bad.base_url = "https://u:url-password@upstream.test".to_owned();
    let request = CreateProviderRequest {
        provider_id: "a".to_owned(),
        provider: Some(bad),
        validate_only: false,
        ..CreateProviderRequest::default()
    };
    let status = app.providers().create_provider(request).await.unwrap_err();
    let key = app.make_key("k", imported("with white space")).await.unwrap_err();
    for status in [status, key] {
        let said = format!("{} {}", status.message(), String::from_utf8_lossy(status.details()));
        for secret in SECRETS.into_iter().chain(["url-password", "white space in"]) {
            assert!(!said.contains(secret), "{said}");
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn a_made_up_key_is_shown_once_and_known_by_its_digest() {
    let app = Running::start().await;
    let made = app.make_key("a", ClientKey { secret: "chosen".to_owned(), ..ClientKey::default() }).await.unwrap();
    assert!(made.secret.starts_with("sb_") && made.secret.len() == 52);
    assert!(made.secret.starts_with(&made.display_prefix) && made.display_prefix.len() == 8);
    let request = GetClientKeyRequest { name: made.name.clone() };
    let again = app.client_keys().get_client_key(request).await.unwrap().into_inner();
    assert_eq!(again, ClientKey { secret: String::new(), ..made.clone() });

    let request = CreateClientKeyRequest {
        client_key_id: "b".to_owned(),
        client_key: Some(ClientKey::default()),
        validate_only: true,
        ..CreateClientKeyRequest::default()
    };
    let would_be = app.client_keys().create_client_key(request).await.unwrap().into_inner();
    assert_eq!(would_be.secret, "", "a key that does not exist is not handed out");

    assert_eq!(known_by(app, &made.secret).await.as_deref(), Some("a"));
}

#[tokio::test]
async fn keys_are_imported_as_text_or_digest_and_can_be_replaced() {
    let app = Running::start().await;
    let text = app.make_key("text", imported("sk-old-but-long-enough-key-to-show")).await.unwrap();
    assert_eq!((text.secret.as_str(), text.display_prefix.as_str()), ("", "sk-old-b"));
    let digest = |bytes: &[u8]| ClientKey {
        imported: Some(Imported::ImportSha256(bytes.to_vec().into())),
        ..ClientKey::default()
    };
    let hashed = app.make_key("hashed", digest(&Sha256::digest("hashed-key"))).await.unwrap();
    assert_eq!((hashed.secret.as_str(), hashed.display_prefix.as_str()), ("", ""));

    for (bad, field) in [
        (imported(""), "client_key.import_secret"),
        (imported("with space"), "client_key.import_secret"),
        (imported(&"x".repeat(513)), "client_key.import_secret"),
        (digest(&[0; 31]), "client_key.import_sha256"),
    ] {
        let status = app.make_key("bad", bad).await.unwrap_err();
        assert_eq!(refusal(&status), (Code::InvalidArgument, "OUT_OF_RANGE".to_owned()));
        assert_eq!(violations(&status)[0].0, field);
    }
    let replaced = UpdateClientKeyRequest {
        client_key: Some(ClientKey { name: hashed.name, ..imported("a-new-key-in-its-place") }),
        ..UpdateClientKeyRequest::default()
    };
    assert_eq!(app.client_keys().update_client_key(replaced).await.unwrap().into_inner().display_prefix, "a-new");
    let missing = UpdateClientKeyRequest {
        client_key: Some(ClientKey { name: "clientKeys/new".to_owned(), ..ClientKey::default() }),
        allow_missing: true,
        ..UpdateClientKeyRequest::default()
    };
    let status = app.client_keys().update_client_key(missing).await.unwrap_err();
    assert_eq!(violations(&status)[0].0, "client_key.import_secret");
    assert_eq!(known_by(app, "a-new-key-in-its-place").await.as_deref(), Some("hashed"));
}

#[tokio::test]
async fn a_credential_can_move_from_a_stored_secret_to_a_reference_and_back() {
    let app = Running::start().await;
    app.make_provider("a").await;
    let made = app.make_credential("a", "main").await;
    let sourced = async |source| {
        let credential = Credential { name: made.name.clone(), source, ..Credential::default() };
        let update = UpdateCredentialRequest { credential: Some(credential), ..UpdateCredentialRequest::default() };
        app.credentials().update_credential(update).await.unwrap().into_inner()
    };
    let reference = Source::SecretRef(SecretRef { at: Some(At::Env("UPSTREAM_KEY".to_owned())) });
    assert!(sourced(Some(reference.clone())).await.source == Some(reference));
    assert!(sourced(Some(Source::Secret("sk-2".to_owned()))).await.source.is_none());
    app.stop().await;
}

/// Stops the control plane, starts another on its database, and asks whose key this is.
async fn known_by(app: Running, key: &str) -> Option<String> {
    let dir = app.stop().await.unwrap();
    let again = App::build(options(dir.path())).await.unwrap();
    let runtime: Runtime = again.ledger().state().runtime.clone();
    runtime.client_key(&Sha256::digest(key).into()).map(|key| key.id.to_string())
}
