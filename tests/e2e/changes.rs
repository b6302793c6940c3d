//! A change is in force at every data plane as soon as the operator is told so, and disturbs nothing under way.

use std::collections::{BTreeMap, BTreeSet};

use signalbox_proto::{
    admin::v1::{
        ClientKey, CreateClientKeyRequest, CreateCredentialRequest, CreateProviderRequest, CreateRedirectRequest,
        Provider, UpdateProviderRequest, replica,
    },
    sync::v1::ConfigSource,
};
use signalbox_tests::{
    Draft, System, Upstream,
    draft::{client_key, credential, provider, redirect},
    upstream::{DONE, finish, text},
    wait::eventually,
};
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn an_operator_builds_a_gateway_call_by_call_and_two_data_planes_serve_it() {
    let (system, upstream) = (System::with_data_planes(2).await, Upstream::start().await);
    let admin = system.admin();
    let request = CreateProviderRequest {
        provider_id: "main".to_owned(),
        provider: Some(provider("", &upstream.url())),
        ..CreateProviderRequest::default()
    };
    let first = admin.providers().create_provider(request).await.unwrap().into_inner().revision;
    let request = CreateCredentialRequest {
        parent: "providers/main".to_owned(),
        credential_id: "k".to_owned(),
        credential: Some(credential("", "", "sk-by-hand")),
        ..CreateCredentialRequest::default()
    };
    let second = admin.credentials().create_credential(request).await.unwrap().into_inner().revision;
    let request = CreateRedirectRequest {
        redirect_id: "fast".to_owned(),
        redirect: Some(redirect("", "fast", &[("main", "m")])),
        ..CreateRedirectRequest::default()
    };
    let third = admin.redirects().create_redirect(request).await.unwrap().into_inner().revision;
    let request = CreateClientKeyRequest {
        client_key_id: "new".to_owned(),
        client_key: Some(ClientKey { name: String::new(), ..client_key("", "sb_brought-along") }),
        ..CreateClientKeyRequest::default()
    };
    let fourth = admin.client_keys().create_client_key(request).await.unwrap().into_inner().revision;
    assert_eq!([second, third, fourth], [first + 1, first + 2, first + 3], "each change is one revision");
    system.in_force(fourth).await;
    for data_plane in &system.data_planes {
        let reply = data_plane.client().with_key("sb_brought-along").chat("fast").await;
        assert_eq!((reply.status, reply.header("x-signalbox-revision")), (200, fourth.to_string().as_str()));
    }
    assert!(upstream.seen().iter().all(|seen| seen.header("authorization") == Some("Bearer sk-by-hand")));
    assert_eq!(upstream.seen().len(), 2);
}

#[tokio::test]
async fn a_request_under_way_ends_as_it_began_while_the_next_one_is_served_anew() {
    let (system, old, new) = (System::with_data_planes(2).await, Upstream::start().await, Upstream::start().await);
    let draft = Draft::new().upstream("old", &old.url()).upstream("new", &new.url());
    let before = system.apply(draft.redirect("m", "m", &[("old", "x")])).await;
    let mut under_way = Vec::new();
    for data_plane in &system.data_planes {
        let live = old.stream_live();
        live.write(text("x", "one"));
        let mut events = data_plane.client().chat_stream("m").await;
        assert_eq!(events.next().await, Some(text("m", "one")));
        assert_eq!(events.header("x-signalbox-revision"), before.to_string());
        under_way.push((live, events));
    }
    let after = system.apply(Draft::new().redirect("m", "m", &[("new", "y")])).await;
    for data_plane in &system.data_planes {
        let reply = data_plane.client().chat("m").await;
        assert_eq!(
            (reply.header("x-signalbox-provider"), reply.header("x-signalbox-revision")),
            ("new", after.to_string().as_str())
        );
    }
    for (live, mut events) in under_way {
        for frame in [text("x", "two"), finish("x"), DONE.to_owned()] {
            live.write(&frame);
            assert_eq!(events.next().await, Some(frame.replace(r#""x""#, r#""m""#)));
        }
        live.end();
        assert_eq!(events.next().await, None);
    }
    assert_eq!((old.seen().len(), new.seen().len()), (2, 2));
}

#[tokio::test]
async fn a_provider_that_is_removed_finishes_what_it_has_begun() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    system.apply(Draft::new().upstream("main", &upstream.url())).await;
    let live = upstream.stream_live();
    live.write(text("m", "one"));
    let mut events = system.client().chat_stream("main/m").await;
    assert!(events.next().await.is_some());
    let request = signalbox_proto::admin::v1::DeleteProviderRequest {
        name: "providers/main".to_owned(),
        force: true,
        ..Default::default()
    };
    let gone = system.admin().providers().delete_provider(request).await.unwrap().into_inner();
    system.in_force(gone.revision).await;
    assert_eq!(system.client().chat("main/m").await.code(), "model_not_found");
    live.write(finish("m"));
    live.write(DONE);
    live.end();
    assert_eq!(events.rest().await, [finish("m"), DONE.to_owned()]);
}

#[tokio::test]
async fn a_replaced_credential_is_used_from_the_next_request_on() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    system.apply(Draft::new().upstream("main", &upstream.url())).await;
    assert_eq!(system.client().chat("main/m").await.status, 200);
    system.apply(Draft::new().credential("main", "main", "sk-rotated")).await;
    assert_eq!(system.client().chat("main/m").await.status, 200);
    let used: Vec<_> = upstream.seen().iter().map(|seen| seen.header("authorization").unwrap().to_owned()).collect();
    assert_eq!(used, ["Bearer sk-main", "Bearer sk-rotated"]);
    assert_eq!(upstream.connections(), 1, "the connections are the provider's and stay");
}

#[tokio::test]
async fn a_change_of_one_field_leaves_the_others_alone() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    system
        .apply(Draft::new().provider(Provider { models: vec!["a".to_owned()], ..provider("main", &upstream.url()) }))
        .await;
    let request = UpdateProviderRequest {
        provider: Some(Provider {
            name: "providers/main".to_owned(),
            models: vec!["b".to_owned()],
            ..Provider::default()
        }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["models".to_owned()] }),
        ..UpdateProviderRequest::default()
    };
    let changed = system.admin().providers().update_provider(request).await.unwrap().into_inner();
    assert_eq!(changed.base_url, upstream.url());
    system.in_force(changed.revision).await;
    assert_eq!((system.client().chat("main/a").await.status, system.client().chat("main/b").await.status), (404, 200));
}

#[tokio::test]
async fn many_changes_in_a_row_all_arrive_and_the_last_one_stands() {
    let (system, upstream) = (System::with_data_planes(2).await, Upstream::start().await);
    system.apply(Draft::new().upstream("main", &upstream.url())).await;
    let mut last = 0;
    for number in 0..30 {
        last = system.admin().apply(Draft::new().redirect("m", "m", &[("main", &format!("m{number}"))]).0).await;
    }
    system.in_force(last).await;
    for data_plane in &system.data_planes {
        let reply = data_plane.client().chat("m").await;
        assert_eq!(
            (reply.header("x-signalbox-model"), reply.header("x-signalbox-revision")),
            ("m29", last.to_string().as_str())
        );
    }
}

#[tokio::test]
async fn the_control_plane_knows_what_each_data_plane_serves() {
    let system = System::with_data_planes(2).await;
    let revision = system.apply(Draft::new().client_key(client_key("another", "sb_another"))).await;
    let replicas = eventually("both replicas in step", async || {
        let replicas = system.admin().list_replicas().await.ok()?;
        replicas.iter().all(|replica| replica.state() == replica::State::Synced).then_some(replicas)
    })
    .await;
    assert_eq!(replicas.len(), 2);
    for (replica, data_plane) in replicas.iter().zip(&system.data_planes) {
        assert_eq!(replica.name, format!("replicas/{}", data_plane.id()));
        assert_eq!((replica.held_revision, replica.serving_revision), (revision, revision));
        assert_eq!(replica.config_source(), ConfigSource::Stream);
        assert!(replica.rejections.is_empty() && !replica.version.is_empty() && replica.connect_time.is_some());
    }
}

#[tokio::test]
async fn what_cannot_be_used_on_one_machine_is_reported_and_holds_nothing_else_up() {
    use signalbox_proto::{admin::v1, config::v1::SecretRef, config::v1::secret_ref::At};
    let (system, upstream) = (System::start().await, Upstream::start().await);
    let missing = SecretRef { at: Some(At::File("/nonexistent/key".to_owned())) };
    let unreadable =
        v1::Credential { source: Some(v1::credential::Source::SecretRef(missing)), ..credential("broken", "k", "") };
    let mut draft = Draft::new().upstream("main", &upstream.url()).provider(provider("broken", &upstream.url()));
    draft.0.credentials.push(unreadable);
    let revision = system.apply(draft).await;
    assert_eq!(system.client().chat("main/m").await.status, 200);
    assert_eq!(system.client().chat("broken/m").await.code(), "upstream_credentials_exhausted");
    let replicas = system.admin().list_replicas().await.unwrap();
    let [replica] = replicas.as_slice() else { panic!("{replicas:?}") };
    assert_eq!((replica.state(), replica.serving_revision), (replica::State::Partial, revision));
    let [rejection] = replica.rejections.as_slice() else { panic!("{replica:?}") };
    assert_eq!(rejection.name, "providers/broken/credentials/k");
    assert_eq!(upstream.seen().len(), 1);
}

#[tokio::test]
async fn a_secret_may_be_in_a_file_or_the_environment_of_the_replica() {
    use signalbox_proto::{admin::v1, config::v1::SecretRef, config::v1::secret_ref::At};
    let path = std::env::var("PATH").unwrap();
    for (in_file, expected) in [(true, "sk-from-a-file"), (false, path.as_str())] {
        let (system, upstream) = (System::start().await, Upstream::start().await);
        let file = system.dir().join("provider-key");
        std::fs::write(&file, "  sk-from-a-file\n").unwrap();
        let at = if in_file { At::File(file.display().to_string()) } else { At::Env("PATH".to_owned()) };
        let source = Some(v1::credential::Source::SecretRef(SecretRef { at: Some(at) }));
        let mut draft = Draft::new().provider(provider("main", &upstream.url()));
        draft.0.credentials.push(v1::Credential { source, ..credential("main", "k", "") });
        system.apply(draft).await;
        assert_eq!(system.client().chat("main/m").await.status, 200);
        assert_eq!(upstream.only().header("authorization"), Some(format!("Bearer {expected}").as_str()));
    }
}

#[tokio::test]
async fn every_answer_is_of_exactly_one_revision_however_fast_they_follow() {
    let (system, upstream) = (System::with_data_planes(2).await, Upstream::start().await);
    let first =
        system.apply(Draft::new().upstream("main", &upstream.url()).redirect("m", "m", &[("main", "m0")])).await;
    let stop = CancellationToken::new();
    let clients = system.data_planes.iter().flat_map(|data_plane| [data_plane.client(), data_plane.client()]);
    let clients: Vec<_> = clients
        .map(|client| {
            let stop = stop.clone();
            tokio::spawn(async move {
                let mut seen = BTreeSet::new();
                while !stop.is_cancelled() {
                    let reply = client.chat("m").await;
                    assert_eq!(reply.status, 200, "{}", reply.text());
                    let revision: u64 = reply.header("x-signalbox-revision").parse().unwrap();
                    seen.insert((revision, reply.header("x-signalbox-model").to_owned()));
                }
                seen
            })
        })
        .collect();
    let mut committed = BTreeMap::from([(first, "m0".to_owned())]);
    for number in 1..40 {
        let model = format!("m{number}");
        let revision = system.admin().apply(Draft::new().redirect("m", "m", &[("main", &model)]).0).await;
        committed.insert(revision, model);
    }
    let last = *committed.keys().next_back().unwrap();
    system.in_force(last).await;
    stop.cancel();
    for client in clients {
        let seen = client.await.unwrap();
        for (revision, model) in &seen {
            assert_eq!(committed.get(revision), Some(model), "revision {revision}");
        }
        assert!(seen.len() > 1, "{seen:?}");
    }
}
