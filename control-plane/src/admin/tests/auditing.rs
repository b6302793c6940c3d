//! Who did what, and who was refused.

use signalbox_proto::admin::v1::{
    AuditEntry, DeleteProviderRequest, ListAuditEntriesRequest, ListAuditEntriesResponse, ListProvidersRequest, Role,
    audit_service_client::AuditServiceClient,
};

use super::{tokens::of, *};

impl Running {
    async fn entries(&self, request: ListAuditEntriesRequest) -> Result<ListAuditEntriesResponse, Status> {
        let mut client = AuditServiceClient::with_interceptor(self.channel(), Self::bearer(TOKEN));
        Ok(client.list_audit_entries(request).await?.into_inner())
    }

    /// The entries that a filter lets through, newest first, once there are so many.
    pub(super) async fn audited(&self, filter: &str, count: usize) -> Vec<AuditEntry> {
        let look = async {
            loop {
                let request = ListAuditEntriesRequest { filter: filter.to_owned(), ..Default::default() };
                let entries = self.entries(request).await.unwrap().audit_entries;
                if entries.len() >= count {
                    return entries;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, look).await.unwrap_or_else(|_| panic!("{filter} never became {count} entries"))
    }
}

fn words(entry: &AuditEntry) -> [&str; 6] {
    let AuditEntry { actor, source_ip, method, resource, code, reason, .. } = entry;
    [actor, source_ip, method, resource, code, reason].map(String::as_str)
}

const ID: &str = "6b1f0a52-66a2-4e0c-9a34-0e3f4ad6b001";

#[tokio::test]
async fn a_change_is_in_the_audit_with_its_revision_as_soon_as_it_is_made() {
    let app = Running::start().await;
    let request = CreateProviderRequest {
        provider_id: "a".to_owned(),
        provider: Some(provider()),
        request_id: ID.to_owned(),
        ..CreateProviderRequest::default()
    };
    let made = app.providers().create_provider(request).await.unwrap().into_inner();
    let newest = app.entries(ListAuditEntriesRequest::default()).await.unwrap().audit_entries.remove(0);
    let method = "ProviderService/CreateProvider";
    assert_eq!(words(&newest), ["admin", "127.0.0.1", method, "providers/a", "OK", ""]);
    assert_eq!((newest.revision, newest.request_id.as_str(), newest.repeated_count), (made.revision, ID, 0));

    app.make_token("ci", of(Role::Viewer)).await.unwrap();
    let newest = app.entries(ListAuditEntriesRequest::default()).await.unwrap().audit_entries.remove(0);
    let method = "AdminTokenService/CreateAdminToken";
    assert_eq!(words(&newest), ["admin", "127.0.0.1", method, "adminTokens/ci", "OK", ""]);
    assert_eq!(newest.revision, 0, "tokens are in no revision");
    app.stop().await;
}

#[tokio::test]
async fn what_failed_and_who_was_refused_is_in_the_audit_soon_after() {
    let app = Running::start().await;
    let missing = DeleteProviderRequest {
        name: "providers/not-there".to_owned(),
        request_id: ID.to_owned(),
        ..DeleteProviderRequest::default()
    };
    app.providers().delete_provider(missing).await.unwrap_err();
    let failed = app.audited("code = NOT_FOUND", 1).await.remove(0);
    let method = "ProviderService/DeleteProvider";
    assert_eq!(words(&failed), ["admin", "127.0.0.1", method, "providers/not-there", "NOT_FOUND", "NOT_FOUND"]);
    assert_eq!((failed.revision, failed.request_id.as_str()), (0, ID));

    let issuer = app.make_token("ci", of(Role::KeyIssuer)).await.unwrap();
    let list = ListProvidersRequest::default();
    let mut denied = ProviderServiceClient::with_interceptor(app.channel(), Running::bearer(&issuer.secret));
    denied.list_providers(list.clone()).await.unwrap_err();
    let denied = app.audited("reason = ROLE_TOO_LOW", 1).await.remove(0);
    let method = "ProviderService/ListProviders";
    assert_eq!(words(&denied), ["ci", "127.0.0.1", method, "", "PERMISSION_DENIED", "ROLE_TOO_LOW"]);

    let mut unknown = ProviderServiceClient::with_interceptor(app.channel(), Running::bearer("sk-guess"));
    unknown.list_providers(list).await.unwrap_err();
    let unknown = app.audited("reason = ADMIN_TOKEN_WRONG", 1).await.remove(0);
    assert_eq!(words(&unknown), ["", "127.0.0.1", method, "", "UNAUTHENTICATED", "ADMIN_TOKEN_WRONG"]);
    app.stop().await;
}

#[tokio::test]
async fn what_only_looks_or_only_tries_is_not_in_the_audit() {
    let app = Running::start().await;
    let dry = |id: &str| CreateProviderRequest {
        provider_id: id.to_owned(),
        provider: Some(provider()),
        validate_only: true,
        ..CreateProviderRequest::default()
    };
    app.providers().create_provider(dry("a")).await.unwrap();
    app.providers().create_provider(dry("Not A Label")).await.unwrap_err();
    app.providers().list_providers(ListProvidersRequest::default()).await.unwrap();
    app.providers().list_providers(ListProvidersRequest { page_size: -1, ..Default::default() }).await.unwrap_err();
    app.make_token("last", of(Role::Viewer)).await.unwrap();
    let before = DeleteProviderRequest { name: "providers/none".to_owned(), ..Default::default() };
    app.providers().delete_provider(before).await.unwrap_err();
    app.audited("code = NOT_FOUND", 1).await;
    let all = app.entries(ListAuditEntriesRequest::default()).await.unwrap().audit_entries;
    assert_eq!(all.len(), 2, "{all:?}");
    app.stop().await;
}

#[tokio::test]
async fn entries_outlive_a_restart_and_are_read_in_pages_newest_first() {
    let app = Running::start().await;
    for id in ["a", "b", "c"] {
        app.make_provider(id).await;
    }
    let status = DeleteProviderRequest { name: "providers/none".to_owned(), ..Default::default() };
    app.providers().delete_provider(status).await.unwrap_err();
    let dir = app.stop().await.unwrap();
    let app = Running::with(options(dir.path())).await.unwrap();
    let mut page_token = String::new();
    let mut seen = Vec::new();
    loop {
        let request = ListAuditEntriesRequest { page_size: 1, page_token, filter: "resource : providers/".to_owned() };
        let page = app.entries(request).await.unwrap();
        seen.extend(page.audit_entries.into_iter().map(|entry| entry.resource));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, ["providers/none", "providers/c", "providers/b", "providers/a"]);
    let bad = ListAuditEntriesRequest { filter: "colour = red".to_owned(), ..Default::default() };
    let status = app.entries(bad).await.unwrap_err();
    assert_eq!(refusal(&status), (Code::InvalidArgument, "INVALID_FILTER".to_owned()));
    app.stop().await;
}

#[tokio::test]
async fn what_is_past_its_time_or_too_many_goes() {
    let dir = tempfile::tempdir().unwrap();
    let app = Running::with(options(dir.path())).await.unwrap();
    for id in ["a", "b", "c"] {
        app.make_provider(id).await;
    }
    app.stop().await;
    let keep = audit::Keep { entries: 2, ..audit::Keep::default() };
    let app = Running::with(Options { audit: keep, ..options(dir.path()) }).await.unwrap();
    let left = async |app: &Running, count: usize| {
        let look = async {
            loop {
                let entries = app.entries(ListAuditEntriesRequest::default()).await.unwrap().audit_entries;
                if entries.len() == count {
                    return entries.into_iter().map(|entry| entry.resource).collect::<Vec<_>>();
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, look).await.expect("they go in time")
    };
    assert_eq!(left(&app, 2).await, ["providers/c", "providers/b"]);
    app.stop().await;
    let keep = audit::Keep { age: Duration::from_nanos(1), ..audit::Keep::default() };
    let app = Running::with(Options { audit: keep, ..options(dir.path()) }).await.unwrap();
    assert_eq!(left(&app, 0).await, [""; 0]);
    app.make_provider("d").await;
    let next = app.entries(ListAuditEntriesRequest::default()).await.unwrap().audit_entries.remove(0);
    assert!(next.sequence > 3, "no number is used again: {}", next.sequence);
    app.stop().await;
}
