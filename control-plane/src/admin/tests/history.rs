//! The history as an operator meets it: what was done, the way back, and calls that are done once.

use signalbox_proto::admin::v1::{
    Change, DeleteClientKeyRequest, DeleteCredentialRequest, DeleteProviderRequest, FieldChange, GetClientKeyRequest,
    GetCredentialRequest, GetProviderRequest, GetRevisionRequest, ListProvidersRequest, ListRevisionsRequest, Revision,
    RollbackConfigRequest, RollbackConfigResponse, UpdateClientKeyRequest, UpdateCredentialRequest,
    UpdateProviderRequest, change::Kind,
};

use super::*;

const ONE: &str = "2f1c3a64-9d0e-4b7a-8c55-0e6d7f3b9a12";
const OTHER: &str = "0d5c6c1e-3b1f-4f0e-9a55-7c1d2e3f4a5b";

impl Running {
    async fn look(&self, name: &str) -> Result<Revision, Status> {
        let request = GetRevisionRequest { name: name.to_owned() };
        Ok(self.revisions().get_revision(request).await?.into_inner())
    }

    async fn past(&self, filter: &str) -> Vec<u64> {
        let request = ListRevisionsRequest { filter: filter.to_owned(), ..ListRevisionsRequest::default() };
        let listed = self.revisions().list_revisions(request).await.unwrap().into_inner();
        listed.revisions.into_iter().map(|revision| revision.revision).collect()
    }

    async fn roll_back(&self, request: RollbackConfigRequest) -> Result<RollbackConfigResponse, Status> {
        Ok(self.revisions().rollback_config(request).await?.into_inner())
    }

    async fn rename(&self, id: &str, display_name: &str) -> Provider {
        let provider =
            Provider { name: format!("providers/{id}"), display_name: display_name.to_owned(), ..Provider::default() };
        let request = UpdateProviderRequest { provider: Some(provider), ..UpdateProviderRequest::default() };
        self.providers().update_provider(request).await.unwrap().into_inner()
    }

    async fn set_secret(&self, name: &str, secret: &str) {
        let credential = Credential { name: name.to_owned(), ..credential(secret) };
        let request = UpdateCredentialRequest { credential: Some(credential), ..UpdateCredentialRequest::default() };
        self.credentials().update_credential(request).await.unwrap();
    }

    async fn provider(&self, name: &str) -> Result<Provider, Status> {
        let request = GetProviderRequest { name: name.to_owned() };
        Ok(self.providers().get_provider(request).await?.into_inner())
    }

    async fn key(&self, name: &str) -> Result<ClientKey, Status> {
        let request = GetClientKeyRequest { name: name.to_owned() };
        Ok(self.client_keys().get_client_key(request).await?.into_inner())
    }

    async fn credential(&self, name: &str) -> Result<Credential, Status> {
        let request = GetCredentialRequest { name: name.to_owned() };
        Ok(self.credentials().get_credential(request).await?.into_inner())
    }

    async fn delete_key(&self, name: &str) {
        let request = DeleteClientKeyRequest { name: name.to_owned(), ..DeleteClientKeyRequest::default() };
        self.client_keys().delete_client_key(request).await.unwrap();
    }
}

fn to(revision: u64) -> RollbackConfigRequest {
    RollbackConfigRequest { name: format!("revisions/{revision}"), ..RollbackConfigRequest::default() }
}

fn touched(changes: &[Change]) -> Vec<(&str, Kind)> {
    changes.iter().map(|change| (change.resource.as_str(), change.kind())).collect()
}

/// What was not brought back.
fn left(answer: &RollbackConfigResponse) -> Vec<(&str, &str, &str)> {
    let findings = answer.findings.iter().filter(|finding| finding.code.ends_with("_NOT_RESTORED"));
    findings.map(|finding| (finding.resource.as_str(), finding.field.as_str(), finding.code.as_str())).collect()
}

#[tokio::test]
async fn a_revision_says_who_changed_what_field_by_field() {
    let running = Running::start().await;
    running.make_provider("a").await;
    running.make_credential("a", "main").await;
    running.rename("a", "Ada").await;
    running.set_secret("providers/a/credentials/main", "sk-other").await;

    let made = running.look("revisions/2").await.unwrap();
    assert_eq!((made.revision, made.change_count), (2, 1));
    assert_eq!((made.actor.as_str(), made.method.as_str()), ("admin", "ProviderService/CreateProvider"));
    assert_eq!(made.source_ip, "127.0.0.1");
    assert_eq!(touched(&made.changes), [("providers/a", Kind::Create)]);

    let renamed = running.look("revisions/4").await.unwrap();
    let [change] = renamed.changes.as_slice() else { panic!("{renamed:?}") };
    assert_eq!(change.fields.as_ref().unwrap().paths, ["display_name"]);
    let [FieldChange { path, before: None, after: Some(after), sensitive: false }] = change.field_changes.as_slice()
    else {
        panic!("{change:?}")
    };
    assert_eq!(path, "display_name");
    assert!(format!("{after:?}").contains("Ada"));

    let latest = running.look("revisions/latest").await.unwrap();
    assert_eq!(latest, running.look("revisions/5").await.unwrap());
    let [change] = latest.changes.as_slice() else { panic!("{latest:?}") };
    let secret = FieldChange { path: "secret".to_owned(), sensitive: true, ..FieldChange::default() };
    assert_eq!(change.field_changes, [secret]);
    assert!(!format!("{latest:?}").contains("sk-"));
    assert_eq!(latest.rollout.unwrap().targets, 0);
}

#[tokio::test]
async fn a_revision_that_is_not_kept_is_not_found_and_a_name_that_is_none_is_wrong() {
    let running = Running::start().await;
    for name in ["revisions/2", "revisions/18446744073709551615"] {
        let status = running.look(name).await.unwrap_err();
        assert_eq!(refusal(&status), (Code::NotFound, "REVISION_NOT_KEPT".to_owned()));
        assert_eq!(resource(&status), ("signalbox.dev/Revision".to_owned(), name.to_owned()));
    }
    for name in ["revisions/0", "revisions/-1", "revisions/x", "providers/a", "7"] {
        let status = running.look(name).await.unwrap_err();
        assert_eq!(refusal(&status), (Code::InvalidArgument, "INVALID_NAME".to_owned()), "{name}");
    }
    let status = running.roll_back(RollbackConfigRequest::default()).await.unwrap_err();
    assert_eq!(refusal(&status), (Code::InvalidArgument, "FIELD_REQUIRED".to_owned()));
}

#[tokio::test]
async fn revisions_are_listed_newest_first_and_found_by_what_they_say() {
    let running = Running::start().await;
    running.make_provider("a").await;
    running.make_provider("b").await;
    running.rename("a", "Ada").await;
    assert_eq!(running.past("").await, [4, 3, 2, 1]);
    assert_eq!(running.past("changes.resource:\"providers/a\"").await, [4, 2]);
    assert_eq!(running.past("method = \"ProviderService/CreateProvider\" AND actor = admin").await, [3, 2]);
    assert_eq!(running.past("actor != admin").await, [1]);

    let mut pages = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListRevisionsRequest { page_size: 3, page_token, filter: String::new() };
        let page = running.revisions().list_revisions(request).await.unwrap().into_inner();
        assert!(page.revisions.iter().all(|revision| revision.changes.is_empty() && revision.rollout.is_none()));
        pages.push(page.revisions.iter().map(|revision| revision.revision).collect::<Vec<_>>());
        // What is committed meanwhile is newer than what is still to come.
        running.rename("b", &format!("Bea {}", pages.len())).await;
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(pages, [vec![4, 3, 2], vec![1]]);
}

#[tokio::test]
async fn the_past_can_be_listed() {
    let running = Running::start().await;
    running.make_provider("a").await;
    let before = running.provider("providers/a").await.unwrap();
    running.rename("a", "Ada").await;
    running.make_provider("b").await;
    let request = ListProvidersRequest { at_revision: 2, ..ListProvidersRequest::default() };
    let past = running.providers().list_providers(request).await.unwrap().into_inner();
    assert_eq!(past.providers, [before]);
    let request = ListProvidersRequest { at_revision: 5, ..ListProvidersRequest::default() };
    let status = running.providers().list_providers(request).await.unwrap_err();
    assert_eq!(refusal(&status), (Code::NotFound, "REVISION_NOT_KEPT".to_owned()));
}

#[tokio::test]
async fn a_rollback_is_a_new_revision_with_the_old_content() {
    let running = Running::start().await;
    running.make_provider("a").await;
    running.rename("a", "Ada").await;
    running.make_provider("b").await;

    let rehearsed = running.roll_back(RollbackConfigRequest { validate_only: true, ..to(2) }).await.unwrap();
    assert_eq!((rehearsed.revision, rehearsed.unchanged), (4, false));
    assert_eq!(touched(&rehearsed.changes), [("providers/a", Kind::Update), ("providers/b", Kind::Delete)]);
    assert_eq!(rehearsed.changes[0].field_changes.len(), 1);
    assert_eq!(running.revision().await, 4);

    let comment = "Ada was a mistake".to_owned();
    let done = running.roll_back(RollbackConfigRequest { comment: comment.clone(), ..to(2) }).await.unwrap();
    assert_eq!((done.revision, touched(&done.changes)), (5, touched(&rehearsed.changes)));
    assert_eq!(running.provider("providers/a").await.unwrap().display_name, "");
    assert_eq!(running.provider("providers/b").await.unwrap_err().code(), Code::NotFound);
    let revision = running.look("revisions/5").await.unwrap();
    assert_eq!((revision.rollback_of, revision.comment), (2, comment));

    let again = running.roll_back(to(2)).await.unwrap();
    assert_eq!((again.revision, again.unchanged, again.changes.len()), (5, true, 0));
    let onwards = running.roll_back(to(4)).await.unwrap();
    assert_eq!(touched(&onwards.changes), [("providers/a", Kind::Update), ("providers/b", Kind::Create)]);
}

#[tokio::test]
async fn a_rollback_is_refused_where_the_present_is_not_the_expected_one() {
    let running = Running::start().await;
    running.make_provider("a").await;
    let stale = RollbackConfigRequest { expected_revision: 1, ..to(1) };
    let status = running.roll_back(stale.clone()).await.unwrap_err();
    assert_eq!(refusal(&status), (Code::Aborted, "REVISION_MISMATCH".to_owned()));
    let done = running.roll_back(RollbackConfigRequest { expected_revision: 2, ..stale }).await.unwrap();
    assert_eq!(done.revision, 3);
}

#[tokio::test]
async fn some_kinds_can_go_back_alone_unless_others_need_them() {
    let running = Running::start().await;
    running.make_provider("a").await;
    running.make_key("k", ClientKey::default()).await.unwrap();
    let only = |kind: &str| RollbackConfigRequest { kinds: vec![kind.to_owned()], ..to(1) };
    let done = running.roll_back(only("clientKeys")).await.unwrap();
    assert_eq!(touched(&done.changes), [("clientKeys/k", Kind::Delete)]);

    running.make_credential("a", "main").await;
    let status = running.roll_back(only("providers")).await.unwrap_err();
    assert_eq!(refusal(&status), (Code::FailedPrecondition, "REFERENCED".to_owned()));
    let status = running.roll_back(only("keys")).await.unwrap_err();
    assert_eq!(refusal(&status), (Code::InvalidArgument, "INVALID_KIND".to_owned()));
    assert_eq!(violations(&status)[0].0, "kinds[0]");
}

#[tokio::test]
async fn what_was_revoked_stays_revoked_unless_asked_for() {
    let running = Running::start().await;
    let deleted = running.make_key("deleted", ClientKey::default()).await.unwrap();
    running.make_key("disabled", ClientKey::default()).await.unwrap();
    running.make_key("expiring", ClientKey::default()).await.unwrap();
    let then = running.revision().await;
    running.delete_key("clientKeys/deleted").await;
    let soon = Some(prost_types::Timestamp { seconds: 2_000_000_000, nanos: 0 });
    for changed in [
        ClientKey { name: "clientKeys/disabled".to_owned(), disabled: true, ..ClientKey::default() },
        ClientKey { name: "clientKeys/expiring".to_owned(), expire_time: soon, ..ClientKey::default() },
    ] {
        let request = UpdateClientKeyRequest { client_key: Some(changed), ..UpdateClientKeyRequest::default() };
        running.client_keys().update_client_key(request).await.unwrap();
    }

    let careful = running.roll_back(to(then)).await.unwrap();
    assert!(careful.unchanged, "{careful:?}");
    assert_eq!(
        left(&careful),
        [
            ("clientKeys/deleted", "", "CLIENT_KEY_NOT_RESTORED"),
            ("clientKeys/disabled", "disabled", "CLIENT_KEY_NOT_RESTORED"),
            ("clientKeys/expiring", "expire_time", "CLIENT_KEY_NOT_RESTORED"),
        ]
    );
    assert_eq!(running.key("clientKeys/deleted").await.unwrap_err().code(), Code::NotFound);

    let asked = running.roll_back(RollbackConfigRequest { restore_client_keys: true, ..to(then) }).await.unwrap();
    assert_eq!((asked.changes.len(), left(&asked).len()), (3, 0));
    let back = running.key("clientKeys/deleted").await.unwrap();
    assert_eq!(back.display_prefix, deleted.display_prefix);
    assert!(!running.key("clientKeys/disabled").await.unwrap().disabled);
    assert_eq!(running.key("clientKeys/expiring").await.unwrap().expire_time, None);
}

#[tokio::test]
async fn secrets_stay_what_they_are_unless_asked_for() {
    const MAIN: &str = "providers/a/credentials/main";
    let running = Running::start().await;
    running.make_provider("a").await;
    running.make_credential("a", "main").await;
    running.make_credential("a", "spare").await;
    running.set_secret(MAIN, "sk-new").await;
    let request = DeleteCredentialRequest {
        name: "providers/a/credentials/spare".to_owned(),
        ..DeleteCredentialRequest::default()
    };
    running.credentials().delete_credential(request).await.unwrap();

    let careful = running.roll_back(to(4)).await.unwrap();
    assert!(careful.unchanged, "{careful:?}");
    assert_eq!(
        left(&careful),
        [("providers/a/credentials/spare", "", "CREDENTIAL_NOT_RESTORED"), (MAIN, "secret", "SECRET_NOT_RESTORED"),]
    );
    assert_eq!(running.credential(MAIN).await.unwrap().secret_version, 2);

    let asked = running.roll_back(RollbackConfigRequest { restore_secrets: true, ..to(4) }).await.unwrap();
    assert_eq!((asked.changes.len(), left(&asked).len()), (2, 0));
    assert_eq!(asked.changes[0].fields.as_ref().unwrap().paths, ["secret"]);
    assert_eq!(running.credential(MAIN).await.unwrap().secret_version, 3);
    assert_eq!(running.credential("providers/a/credentials/spare").await.unwrap().secret_version, 1);
}

#[tokio::test]
async fn content_whose_secret_is_gone_comes_back_only_with_it() {
    use signalbox_proto::config::v1::{HeaderValue, header_value::Content};
    let running = Running::start().await;
    let value = HeaderValue { content: Some(Content::Secret("s3cret".to_owned())), overwrite: None };
    let provider = Provider { headers: [("x-key".to_owned(), value)].into(), ..provider() };
    let request = CreateProviderRequest {
        provider_id: "a".to_owned(),
        provider: Some(provider),
        ..CreateProviderRequest::default()
    };
    running.providers().create_provider(request).await.unwrap();
    let request = DeleteProviderRequest { name: "providers/a".to_owned(), ..DeleteProviderRequest::default() };
    running.providers().delete_provider(request).await.unwrap();

    let status = running.roll_back(to(2)).await.unwrap_err();
    assert_eq!(refusal(&status), (Code::FailedPrecondition, "NOT_RESTORABLE".to_owned()));
    assert!(status.message().contains("restore_secrets"), "{}", status.message());
    running.roll_back(RollbackConfigRequest { restore_secrets: true, ..to(2) }).await.unwrap();
    assert!(running.provider("providers/a").await.unwrap().headers.contains_key("x-key"));
}

fn create(id: &str, request_id: &str) -> CreateClientKeyRequest {
    CreateClientKeyRequest {
        client_key_id: id.to_owned(),
        client_key: Some(ClientKey::default()),
        validate_only: false,
        request_id: request_id.to_owned(),
    }
}

#[tokio::test]
async fn a_repeated_call_is_answered_as_the_first_was_and_changes_nothing() {
    let running = Running::start().await;
    let first = running.client_keys().create_client_key(create("k", ONE)).await.unwrap().into_inner();
    assert!(!first.secret.is_empty());
    let second = running.client_keys().create_client_key(create("k", ONE)).await.unwrap().into_inner();
    assert_eq!(second, ClientKey { secret: String::new(), ..first.clone() }, "a secret is shown once");
    assert_eq!(running.revision().await, 2);
    assert_eq!(running.look("revisions/2").await.unwrap().request_id, ONE);
    assert_eq!(running.past(&format!("request_id = \"{ONE}\"")).await, [2]);

    let status = running.client_keys().create_client_key(create("k", OTHER)).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists, "another id is another call");
    let dir = running.stop().await.unwrap();
    let running = Running::with(options(dir.path())).await.unwrap();
    let third = running.client_keys().create_client_key(create("k", ONE)).await.unwrap().into_inner();
    assert_eq!(third, second, "it is remembered over a restart");
}

#[tokio::test]
async fn an_id_is_for_one_call_only_and_is_a_uuid() {
    let running = Running::start().await;
    running.client_keys().create_client_key(create("k", ONE)).await.unwrap();
    let another = running.client_keys().create_client_key(create("l", ONE)).await.unwrap_err();
    assert_eq!(refusal(&another), (Code::InvalidArgument, "REQUEST_ID_REUSED".to_owned()));
    assert_eq!(violations(&another)[0].0, "request_id");
    let request = RollbackConfigRequest { request_id: ONE.to_owned(), ..to(1) };
    let another = running.roll_back(request).await.unwrap_err();
    assert_eq!(refusal(&another), (Code::InvalidArgument, "REQUEST_ID_REUSED".to_owned()));

    let bare = ONE.replace('-', "");
    for bad in ["1", "not-a-uuid", &bare, "00000000-0000-0000-0000-000000000000"] {
        let status = running.client_keys().create_client_key(create("l", bad)).await.unwrap_err();
        assert_eq!(refusal(&status), (Code::InvalidArgument, "INVALID_REQUEST_ID".to_owned()), "{bad}");
    }
    assert_eq!(running.revision().await, 2);
}

#[tokio::test]
async fn duplicates_that_come_at_once_are_one_revision() {
    let running = Running::start().await;
    let calls = (0..8).map(|_| {
        let mut client = running.client_keys();
        tokio::spawn(async move { client.create_client_key(create("k", ONE)).await.unwrap().into_inner() })
    });
    let mut secrets = 0;
    for call in calls.collect::<Vec<_>>() {
        secrets += usize::from(!call.await.unwrap().secret.is_empty());
    }
    assert_eq!((secrets, running.revision().await), (1, 2));
}

#[tokio::test]
async fn what_changed_nothing_is_remembered_and_what_failed_or_was_a_rehearsal_is_not() {
    let running = Running::start().await;
    let apply = |display_name: &str, validate_only| {
        let named = Provider { name: "providers/a".to_owned(), display_name: display_name.to_owned(), ..provider() };
        let config = Some(Config { providers: vec![named], ..Config::default() });
        ApplyConfigRequest { config, validate_only, request_id: ONE.to_owned(), ..ApplyConfigRequest::default() }
    };
    let broken = ApplyConfigRequest { expected_revision: 9, ..apply("", false) };
    assert_eq!(running.apply(broken).await.unwrap_err().code(), Code::Aborted);
    running.apply(apply("", true)).await.unwrap();
    running.make_provider("a").await;
    let unchanged = running.apply(apply("", false)).await.unwrap();
    assert!(unchanged.unchanged);

    running.rename("a", "Ada").await;
    assert_eq!(running.apply(apply("", false)).await.unwrap(), unchanged);
    assert_eq!(running.provider("providers/a").await.unwrap().display_name, "Ada");
}
