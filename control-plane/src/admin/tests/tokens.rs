//! Admin tokens as resources, and what they open.

use prost_types::{FieldMask, Timestamp};
use signalbox_proto::admin::v1::{
    AdminToken, CreateAdminTokenRequest, DeleteAdminTokenRequest, GetAdminTokenRequest, ListAdminTokensRequest,
    ListProvidersRequest, Role, UpdateAdminTokenRequest, admin_token_service_client::AdminTokenServiceClient,
};
use sqlx::{ConnectOptions as _, sqlite::SqliteConnectOptions};

use super::*;

impl Running {
    pub(super) fn tokens(&self) -> AdminTokenServiceClient<Authorized> {
        AdminTokenServiceClient::with_interceptor(self.channel(), Self::bearer(TOKEN))
    }

    pub(super) async fn make_token(&self, id: &str, token: AdminToken) -> Result<AdminToken, Status> {
        let request = CreateAdminTokenRequest {
            admin_token_id: id.to_owned(),
            admin_token: Some(token),
            ..CreateAdminTokenRequest::default()
        };
        Ok(self.tokens().create_admin_token(request).await?.into_inner())
    }

    async fn update(&self, token: AdminToken, paths: &[&str]) -> Result<AdminToken, Status> {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        let update_mask = Some(FieldMask { paths });
        let request = UpdateAdminTokenRequest { admin_token: Some(token), update_mask, validate_only: false };
        Ok(self.tokens().update_admin_token(request).await?.into_inner())
    }
}

pub(super) fn of(role: Role) -> AdminToken {
    AdminToken { role: role.into(), ..AdminToken::default() }
}

fn delete(name: &str) -> DeleteAdminTokenRequest {
    DeleteAdminTokenRequest { name: name.to_owned(), ..DeleteAdminTokenRequest::default() }
}

fn seconds(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos: 0 })
}

/// Calls on one connection, which stays open.
struct Holder(ProviderServiceClient<Authorized>);

impl Holder {
    fn new(app: &Running, token: &AdminToken) -> Self {
        Self(ProviderServiceClient::with_interceptor(app.channel(), Running::bearer(&token.secret)))
    }

    /// Whether it is let in; else why not.
    async fn try_list(&mut self) -> Result<(), String> {
        let list = self.0.list_providers(ListProvidersRequest::default()).await;
        list.map(drop).map_err(|status| {
            assert_eq!(status.code(), Code::Unauthenticated);
            refusal(&status).1
        })
    }
}

#[tokio::test]
async fn a_token_is_shown_once_and_only_its_digest_is_kept() {
    let app = Running::start().await;
    let made = app.make_token("ci", AdminToken { display_name: "CI".to_owned(), ..of(Role::Viewer) }).await.unwrap();
    assert!(made.secret.starts_with("sb_admin_") && made.secret.len() == 58, "{}", made.secret.len());
    assert_eq!(made.display_prefix, made.secret[..13]);
    assert_eq!((made.name.as_str(), made.role()), ("adminTokens/ci", Role::Viewer));
    assert!(made.create_time.is_some() && made.update_time == made.create_time && made.last_use_time.is_none());

    assert_eq!(Holder::new(&app, &made).try_list().await, Ok(()));
    let request = GetAdminTokenRequest { name: made.name.clone() };
    let again = app.tokens().get_admin_token(request).await.unwrap().into_inner();
    let used = again.last_use_time.unwrap();
    assert_eq!((used.seconds % 60, used.nanos), (0, 0), "to the minute");
    assert_eq!(again, AdminToken { secret: String::new(), last_use_time: again.last_use_time, ..made.clone() });

    let dir = app.stop().await.unwrap();
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap_or_default();
        let secret = &made.secret.as_bytes()[13..];
        assert!(!bytes.windows(secret.len()).any(|window| window == secret), "the secret is on the disk");
    }
    let app = Running::with(options(dir.path())).await.unwrap();
    assert_eq!(Holder::new(&app, &made).try_list().await, Ok(()), "it is there after a restart");
    app.stop().await;
}

#[tokio::test]
async fn a_token_that_is_gone_disabled_or_expired_is_refused_from_then_on_also_on_open_connections() {
    let app = Running::start().await;
    let made = app.make_token("ci", of(Role::Viewer)).await.unwrap();
    let mut holder = Holder::new(&app, &made);
    assert_eq!(holder.try_list().await, Ok(()));

    let named = |token: AdminToken| AdminToken { name: made.name.clone(), ..token };
    app.update(named(AdminToken { disabled: true, ..AdminToken::default() }), &["disabled"]).await.unwrap();
    assert_eq!(holder.try_list().await, Err("ADMIN_TOKEN_DISABLED".to_owned()));
    let expired = AdminToken { expire_time: seconds(1_000), ..AdminToken::default() };
    app.update(named(expired), &["disabled", "expire_time"]).await.unwrap();
    assert_eq!(holder.try_list().await, Err("ADMIN_TOKEN_EXPIRED".to_owned()));
    let later = AdminToken { expire_time: seconds(253_402_300_799), ..AdminToken::default() };
    let updated = app.update(named(later), &["expire_time"]).await.unwrap();
    assert_eq!((updated.role(), updated.disabled), (Role::Viewer, false), "what was not named stays");
    assert_eq!(holder.try_list().await, Ok(()));

    app.tokens().delete_admin_token(delete(&made.name)).await.unwrap();
    assert_eq!(holder.try_list().await, Err("ADMIN_TOKEN_WRONG".to_owned()));
    let again = app.tokens().delete_admin_token(delete(&made.name)).await.unwrap_err();
    assert_eq!(resource(&again), ("signalbox.dev/AdminToken".to_owned(), made.name.clone()));
    let idempotent = DeleteAdminTokenRequest { allow_missing: true, ..delete(&made.name) };
    app.tokens().delete_admin_token(idempotent).await.unwrap();
    app.stop().await;
}

#[tokio::test]
async fn the_last_way_in_cannot_be_lost() {
    let app = Running::start().await;
    let list = app.tokens().list_admin_tokens(ListAdminTokensRequest::default()).await.unwrap().into_inner();
    assert_eq!(list.admin_tokens, [], "the token of the file is no resource, so that nobody can remove it");
    for taken in ["admin", "signalbox", "config-file"] {
        let status = app.make_token(taken, of(Role::Viewer)).await.unwrap_err();
        assert_eq!(refusal(&status), (Code::AlreadyExists, "ALREADY_EXISTS".to_owned()), "{taken}");
    }
    app.stop().await;
}

#[tokio::test]
async fn an_etag_says_which_version_is_meant_and_a_dry_run_changes_nothing() {
    let app = Running::start().await;
    let request = CreateAdminTokenRequest {
        admin_token_id: "ci".to_owned(),
        admin_token: Some(of(Role::Viewer)),
        validate_only: true,
    };
    let would_be = app.tokens().create_admin_token(request).await.unwrap().into_inner();
    assert_eq!((would_be.name.as_str(), would_be.secret.as_str()), ("adminTokens/ci", ""));
    let made = app.make_token("ci", of(Role::Viewer)).await.unwrap();
    assert_eq!(app.make_token("ci", of(Role::Viewer)).await.unwrap_err().code(), Code::AlreadyExists);

    let changed = app.update(AdminToken { name: made.name.clone(), ..of(Role::Operator) }, &["role"]).await.unwrap();
    assert_ne!(changed.etag, made.etag);
    let stale = app.update(AdminToken { secret: String::new(), ..made.clone() }, &["role"]).await.unwrap_err();
    assert_eq!(refusal(&stale), (Code::Aborted, "ETAG_MISMATCH".to_owned()));
    let stale = DeleteAdminTokenRequest { etag: made.etag, ..delete(&made.name) };
    assert_eq!(app.tokens().delete_admin_token(stale).await.unwrap_err().code(), Code::Aborted);
    let dry = DeleteAdminTokenRequest { etag: changed.etag.clone(), validate_only: true, ..delete(&made.name) };
    app.tokens().delete_admin_token(dry).await.unwrap();
    let request = GetAdminTokenRequest { name: made.name };
    assert_eq!(app.tokens().get_admin_token(request).await.unwrap().into_inner(), changed);
    app.stop().await;
}

#[tokio::test]
async fn what_a_token_may_not_say_is_named_by_its_field() {
    let app = Running::start().await;
    let fields = async |token: AdminToken| {
        let status = app.make_token("bad", token).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        violations(&status).into_iter().map(|(field, _)| field).collect::<Vec<_>>()
    };
    assert_eq!(fields(AdminToken::default()).await, ["admin_token.role"]);
    assert_eq!(fields(AdminToken { role: 9, ..AdminToken::default() }).await, ["admin_token.role"]);
    let long = AdminToken { display_name: "x".repeat(257), certificate_name: "a\nb".to_owned(), ..of(Role::Viewer) };
    assert_eq!(fields(long).await, ["admin_token.display_name", "admin_token.certificate_name"]);
    let never = Some(Timestamp { seconds: i64::MAX, nanos: -1 });
    assert_eq!(fields(AdminToken { expire_time: never, ..of(Role::Viewer) }).await, ["admin_token.expire_time"]);

    let made = app.make_token("ops", AdminToken { certificate_name: "Ops.test".to_owned(), ..of(Role::Viewer) }).await;
    let made = made.unwrap();
    assert_eq!((made.secret.as_str(), made.display_prefix.as_str()), ("", ""), "it is a certificate");
    let same = AdminToken { certificate_name: "ops.TEST".to_owned(), ..of(Role::Viewer) };
    let same = app.make_token("other", same).await.unwrap_err();
    assert_eq!(resource(&same).1, "adminTokens/ops", "who has the certificate is said");
    let renamed = AdminToken { certificate_name: "new.test".to_owned(), ..made };
    let status = app.update(renamed, &["certificate_name"]).await.unwrap_err();
    assert_eq!(refusal(&status), (Code::InvalidArgument, "IMMUTABLE_FIELD".to_owned()));
    app.stop().await;
}

#[tokio::test]
async fn tokens_are_listed_in_pages_by_name() {
    let app = Running::start().await;
    for id in ["b", "a", "c"] {
        app.make_token(id, of(Role::KeyIssuer)).await.unwrap();
    }
    let page = async |page_token: String| {
        let request = ListAdminTokensRequest { page_size: 2, page_token };
        app.tokens().list_admin_tokens(request).await.unwrap().into_inner()
    };
    let first = page(String::new()).await;
    let second = page(first.next_page_token.clone()).await;
    let names: Vec<_> = first.admin_tokens.iter().chain(&second.admin_tokens).map(|token| &token.name).collect();
    assert_eq!(names, ["adminTokens/a", "adminTokens/b", "adminTokens/c"]);
    assert_eq!(second.next_page_token, "");
    assert!(first.admin_tokens.iter().all(|token| token.secret.is_empty()));
    app.stop().await;
}

#[tokio::test]
async fn a_token_is_stored_with_its_role_in_words() {
    let app = Running::start().await;
    app.make_token("ci", of(Role::KeyIssuer)).await.unwrap();
    let dir = app.stop().await.unwrap();
    let mut file = SqliteConnectOptions::new().filename(dir.path().join("control.db")).connect().await.unwrap();
    let spec: String = sqlx::query_scalar("SELECT spec FROM admin_tokens").fetch_one(&mut file).await.unwrap();
    assert_eq!(spec, r#"{"role":"ROLE_KEY_ISSUER"}"#);
}
