//! What becomes of secrets.

use super::*;
use crate::seal;

fn with_header(content: Option<config::header_value::Content>) -> admin::Provider {
    let value = config::HeaderValue { content, overwrite: None };
    admin::Provider { headers: [("Authorization".to_owned(), value)].into(), ..provider("a") }
}

fn secret_header(secret: &str) -> admin::Provider {
    with_header(Some(config::header_value::Content::Secret(secret.to_owned())))
}

fn with_proxy(password: &str) -> admin::Route {
    let forward_proxy = Some(config::ForwardProxy {
        url: "http://proxy.example:3128".to_owned(),
        username: "user".to_owned(),
        password: password.to_owned(),
    });
    admin::Route { forward_proxy, ..route("manual", "") }
}

fn reference(variable: &str) -> Option<admin::credential::Source> {
    let at = Some(config::secret_ref::At::Env(variable.to_owned()));
    Some(admin::credential::Source::SecretRef(config::SecretRef { at }))
}

impl Bench {
    fn secret(&self, text: &str) -> Option<String> {
        match self.served::<config::Credential>(text).source {
            Some(config::credential::Source::Secret(secret)) => Some(secret),
            _ => None,
        }
    }

    fn header(&self) -> Option<config::header_value::Content> {
        let provider: config::Provider = self.served("providers/a");
        provider.headers.get("authorization").cloned().unwrap().content
    }

    fn secret_version(&self, text: &str) -> u64 {
        let Message::Credential(said) = self.message(text) else { panic!("{text} is no credential") };
        said.secret_version
    }
}

const MAIN: &str = "providers/a/credentials/main";

#[tokio::test]
async fn a_secret_goes_to_data_planes_and_to_nobody_else() {
    let place = Place::new();
    let bench = place.open().await;
    bench.put(secret_header("s3cret-header")).await.unwrap();
    bench.put(credential("a", "main", Some("s3cret-key"))).await.unwrap();
    bench.put(with_proxy("s3cret-proxy")).await.unwrap();
    assert_eq!(bench.secret(MAIN).as_deref(), Some("s3cret-key"));
    assert!(bench.header() == Some(config::header_value::Content::Secret("s3cret-header".to_owned())));
    assert_eq!(bench.served::<config::Route>("routes/manual").forward_proxy.unwrap().password, "s3cret-proxy");

    let state = bench.ledger.state();
    for stored in state.resources() {
        let shown = format!("{} {stored:?}", stored.message().dynamic());
        assert!(!shown.contains("s3cret"), "{shown}");
    }
    let before = content(&state);
    drop(state);
    bench.close().await;
    assert_eq!(content(&place.open().await.ledger.state()), before);
}

#[tokio::test]
async fn no_file_holds_a_secret_in_plain_text() {
    let place = Place::new();
    let bench = place.open().await;
    bench.put(secret_header("s3cret-header")).await.unwrap();
    bench.put(credential("a", "main", Some("s3cret-key"))).await.unwrap();
    bench.put(credential("a", "main", Some("s3cret-rotated"))).await.unwrap();
    bench.put(with_proxy("s3cret-proxy")).await.unwrap();
    let search = || {
        let files = std::fs::read_dir(place.folder.path()).unwrap().map(|file| file.unwrap().path());
        let mut bytes = 0;
        for file in files {
            let content = std::fs::read(&file).unwrap();
            bytes += content.len();
            assert!(!content.windows(6).any(|window| window == b"s3cret"), "{}", file.display());
            assert!(
                !content.windows(8).any(|window| window == &place.master_key.as_bytes()[..8]),
                "{}",
                file.display()
            );
        }
        bytes
    };
    assert!(search() > 4096, "the log has been written");
    bench.close().await;
    assert!(search() > 4096, "and so has the file");
}

#[tokio::test]
async fn an_absent_secret_is_kept_and_a_new_one_counts() {
    let place = Place::new();
    let bench = place.open().await;
    bench.put(provider("a")).await.unwrap();
    bench.put(credential("a", "main", Some("one"))).await.unwrap();
    assert_eq!(bench.secret_version(MAIN), 1);

    let renamed = admin::Credential { display_name: "Main".to_owned(), ..credential("a", "main", None) };
    let written = bench.put(renamed.clone()).await.unwrap();
    assert_eq!(written.changes[0].fields, ["display_name"]);
    assert_eq!((bench.secret(MAIN).as_deref(), bench.secret_version(MAIN)), (Some("one"), 1));

    let with =
        |secret: &str| admin::Credential { source: credential("a", "main", Some(secret)).source, ..renamed.clone() };
    assert!(!bench.put(with("one")).await.unwrap().committed, "the same secret is no difference");
    let written = bench.put(with("two")).await.unwrap();
    assert_eq!(written.changes[0].fields, ["secret"]);
    assert_eq!((bench.secret(MAIN).as_deref(), bench.secret_version(MAIN)), (Some("two"), 2));
    bench.close().await;
    assert_eq!(place.open().await.secret_version(MAIN), 2);
}

#[tokio::test]
async fn a_reference_takes_the_place_of_a_stored_secret() {
    let place = Place::new();
    let bench = place.open().await;
    bench.put(provider("a")).await.unwrap();
    bench.put(credential("a", "main", Some("one"))).await.unwrap();
    let referring = admin::Credential { source: reference("KEY"), ..credential("a", "main", None) };
    let written = bench.put(referring).await.unwrap();
    assert_eq!(written.changes[0].fields, ["secret", "secret_ref"]);
    assert_eq!((bench.secret(MAIN), bench.secret_version(MAIN)), (None, 0));

    // The reference is gone, and there is nothing to fall back on.
    let error = bench.put(credential("a", "main", None)).await.unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error:?}");
    bench.close().await;
    let left: i64 =
        sqlx::query_scalar("SELECT count(*) FROM secrets").fetch_one(&mut place.intrude().await).await.unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_secret_header_is_kept_in_whatever_letters_it_is_named() {
    let place = Place::new();
    let bench = place.open().await;
    bench.put(secret_header("one")).await.unwrap();
    let empty = with_header(None);
    assert!(!bench.put(empty.clone()).await.unwrap().committed);
    let value = empty.headers["Authorization"].clone();
    bench
        .put(admin::Provider { headers: [("authorization".to_owned(), value)].into(), ..provider("a") })
        .await
        .unwrap();
    assert!(bench.header() == Some(config::header_value::Content::Secret("one".to_owned())));

    let plain = config::header_value::Content::Value("plain".to_owned());
    bench.put(with_header(Some(plain.clone()))).await.unwrap();
    assert!(bench.header() == Some(plain));
    let error = bench.put(with_header(None)).await.unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "the plain value is gone, and the secret went before it: {error:?}");
}

#[tokio::test]
async fn a_password_goes_with_its_proxy() {
    let place = Place::new();
    let bench = place.open().await;
    bench.put(with_proxy("one")).await.unwrap();
    bench.put(with_proxy("")).await.unwrap();
    let password =
        |bench: &Bench| bench.served::<config::Route>("routes/manual").forward_proxy.map(|proxy| proxy.password);
    assert_eq!(password(&bench).as_deref(), Some("one"));
    bench.put(route("manual", "")).await.unwrap();
    assert_eq!(password(&bench), None);

    // It belongs to a user: without one, or without a proxy at all, it is not kept.
    let without_user = config::ForwardProxy { url: "http://proxy.test:3128".to_owned(), ..Default::default() };
    for proxy in [without_user, config::ForwardProxy::default()] {
        bench.put(with_proxy("two")).await.unwrap();
        bench.put(admin::Route { forward_proxy: Some(proxy), ..route("manual", "") }).await.unwrap();
        assert_eq!(password(&bench).as_deref(), Some(""));
    }
    bench.put(route("manual", "")).await.unwrap();
    bench.put(with_proxy("")).await.unwrap();
    assert_eq!(password(&bench).as_deref(), Some(""));
}

#[tokio::test]
async fn a_deleted_credential_takes_its_secret_along() {
    let place = Place::new();
    let bench = place.open().await;
    bench.put(provider("a")).await.unwrap();
    bench.put(credential("a", "main", Some("one"))).await.unwrap();
    bench.delete(MAIN).await.unwrap();
    let error = bench.put(credential("a", "main", None)).await.unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error:?}");

    // Also within one write.
    bench.put(credential("a", "main", Some("two"))).await.unwrap();
    let edits = vec![Edit::Delete(name(MAIN)), Edit::Put(credential("a", "main", None).into())];
    assert!(matches!(bench.edit(edits).await, Err(Error::Invalid(_))));
}

#[tokio::test]
async fn secrets_within_one_write_see_each_other() {
    let place = Place::new();
    let bench = place.open().await;
    bench.put(provider("a")).await.unwrap();
    let named = admin::Credential { display_name: "Main".to_owned(), ..credential("a", "main", None) };
    let edits = vec![Edit::Put(credential("a", "main", Some("one")).into()), Edit::Put(named.into())];
    bench.edit(edits).await.unwrap();
    assert_eq!(bench.secret(MAIN).as_deref(), Some("one"));
}

#[tokio::test]
async fn another_master_key_opens_nothing_and_says_what_to_check() {
    let mut place = Place::new();
    place.open().await.close().await;
    let right = std::mem::replace(&mut place.master_key, Place::new().master_key);
    let error = place.try_open().await.err().unwrap();
    assert!(matches!(error, OpenError::Seal(seal::Error::WrongMasterKey { .. })), "{error:?}");
    assert!(error.to_string().contains("SIGNALBOX_MASTER_KEY"), "{error}");
    place.master_key = right;
    place.open().await.close().await;
}

#[tokio::test]
async fn a_secret_moved_to_another_row_is_noticed() {
    let place = Place::new();
    let bench = place.open().await;
    bench.put(provider("a")).await.unwrap();
    bench.put(credential("a", "main", Some("one"))).await.unwrap();
    bench.put(credential("a", "spare", Some("two"))).await.unwrap();
    let mut intruder = place.intrude().await;
    sqlx::query(
        "UPDATE secrets SET sealed = (SELECT sealed FROM secrets WHERE resource LIKE '%/spare') WHERE resource LIKE '%/main'",
    )
    .execute(&mut intruder)
    .await
    .unwrap();
    let error = bench.put(credential("a", "main", None)).await.unwrap_err();
    assert!(matches!(&error, Error::Seal(seal::Error::Damaged { resource, .. }) if resource == MAIN), "{error:?}");
    bench.close().await;
    let error = place.try_open().await.err().unwrap();
    assert!(matches!(error, OpenError::Seal(seal::Error::Damaged { .. })), "{error:?}");
}

#[tokio::test]
async fn of_a_client_key_only_its_digest_is_kept() {
    let place = Place::new();
    let bench = place.open().await;
    bench.put(client_key("k", 7)).await.unwrap();
    assert_eq!(bench.served::<config::ClientKey>("clientKeys/k").sha256, vec![7; 32]);
    assert!(bench.ledger.state().runtime.client_key(&[7; 32]).is_some());
    let Message::ClientKey(key) = bench.message("clientKeys/k") else { panic!("no client key") };
    assert!(key.said().display_prefix == "sb_12345" && key.said().imported.is_none());

    let rotated = bench.put(client_key("k", 8)).await.unwrap();
    assert_eq!(rotated.changes[0].fields, ["import_sha256"]);
    assert!(bench.ledger.state().runtime.client_key(&[7; 32]).is_none());
    bench.close().await;
    assert!(place.open().await.ledger.state().runtime.client_key(&[8; 32]).is_some());
}
