//! Whole configurations as one document: one revision or none, and nothing of anybody else's.

use signalbox_proto::{
    admin::v1::{ApplyConfigRequest, Change, Config, GetProviderRequest, Provider, apply_config_request::Mode, change},
    config::v1::Timeouts,
};
use signalbox_tests::{
    Draft, Setup, System,
    draft::{client_key, millis, provider},
};
use tonic::{Code, Response};

use crate::refusal::{names, refused};

const URL: &str = "http://127.0.0.1:9/v1";

/// A control plane with a provider `main`; no data plane is needed here.
async fn system() -> System {
    let system = Setup { data_planes: 0, ..Setup::default() }.start().await;
    system.apply(Draft::new().upstream("main", URL)).await;
    system
}

fn owned(config: Config) -> ApplyConfigRequest {
    ApplyConfigRequest {
        config: Some(config),
        mode: Mode::Prune.into(),
        owner_labels: [("owner".to_owned(), "suite".to_owned())].into(),
        max_deletes: 10,
        ..ApplyConfigRequest::default()
    }
}

#[tokio::test]
async fn a_document_is_one_revision_and_the_same_document_is_none() {
    let system = system().await;
    let admin = system.admin();
    let document =
        Draft::new().upstream("a", URL).redirect("r", "r", &[("a", "m")]).client_key(client_key("k", "sb_k")).0;
    let before = admin.revision().await;
    let apply =
        async |request: ApplyConfigRequest| admin.configs().apply_config(request).await.map(Response::into_inner);
    let dry = apply(ApplyConfigRequest { validate_only: true, ..owned(document.clone()) }).await.unwrap();
    assert_eq!((dry.revision, dry.unchanged, dry.changes.len()), (before, false, 4));
    assert!(dry.changes.iter().all(|change| !change.field_changes.is_empty()), "{dry:?}");
    let done = |change: Change| Change { field_changes: Vec::new(), ..change };
    let first = apply(owned(document.clone())).await.unwrap();
    assert_eq!((first.revision, first.changes), (before + 1, dry.changes.into_iter().map(done).collect()));
    let again = apply(owned(document.clone())).await.unwrap();
    assert_eq!((again.revision, again.unchanged, again.changes.len()), (first.revision, true, 0));
    let stale = ApplyConfigRequest { expected_revision: before, ..owned(document.clone()) };
    let status = refused(admin, admin.configs().apply_config(stale)).await;
    names(&status, Code::Aborted, "expected_revision", "");
    let careless = ApplyConfigRequest { max_deletes: 3, ..owned(Config::default()) };
    let status = refused(admin, admin.configs().apply_config(careless)).await;
    assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
    let ownerless = ApplyConfigRequest { owner_labels: Default::default(), ..owned(document.clone()) };
    let status = refused(admin, admin.configs().apply_config(ownerless)).await;
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    let half = Config { redirects: Vec::new(), ..document };
    let pruned = apply(owned(half)).await.unwrap();
    let [change] = pruned.changes.as_slice() else { panic!("{pruned:?}") };
    assert_eq!((change.resource.as_str(), change.kind()), ("redirects/r", change::Kind::Delete));
    let gone = apply(owned(Config::default())).await.unwrap();
    assert_eq!((gone.revision, gone.changes.len()), (first.revision + 2, 3));
    assert!(
        admin.providers().get_provider(GetProviderRequest { name: "providers/main".to_owned() }).await.is_ok(),
        "others' stay"
    );
}

#[tokio::test]
async fn one_bad_resource_in_a_document_refuses_all_of_it_and_is_named_where_it_stands() {
    let system = system().await;
    let admin = system.admin();
    let document = Draft::new().upstream("good", URL).provider(provider("bad", "ftp://x")).provider(Provider {
        timeouts: Some(Timeouts { total: millis(0), ..Timeouts::default() }),
        ..provider("worse", URL)
    });
    let request = ApplyConfigRequest { config: Some(document.0), ..ApplyConfigRequest::default() };
    let status = refused(admin, admin.configs().apply_config(request)).await;
    names(&status, Code::InvalidArgument, "config.providers[1].base_url", "");
    names(&status, Code::InvalidArgument, "config.providers[2].timeouts.total", "");
    let unnamed =
        Config { providers: vec![Provider { name: "main".to_owned(), ..provider("", URL) }], ..Config::default() };
    let request = ApplyConfigRequest { config: Some(unnamed), ..ApplyConfigRequest::default() };
    let status = refused(admin, admin.configs().apply_config(request)).await;
    names(&status, Code::InvalidArgument, "config.providers[0].name", "");
}
