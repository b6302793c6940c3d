//! Who may call: one key, in one of four places, and never any further than here.

use std::time::{Duration, SystemTime};

use http::Method;
use reqwest::RequestBuilder;
use signalbox_proto::admin::v1::{
    ClientKey, CreateClientKeyRequest, DeleteClientKeyRequest, RotateClientKeyRequest, client_key,
};
use signalbox_tests::{CLIENT_KEY, Client, Draft, Reply, System, Upstream, chat, draft, wait::eventually};

const CHAT: &str = "/v1/chat/completions";

async fn system() -> (System, Upstream) {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    system.apply(Draft::new().upstream("main", &upstream.url())).await;
    (system, upstream)
}

fn asked(client: &Client, query: &str, headers: &[(&str, &str)]) -> RequestBuilder {
    let request = client.without_key().request(Method::POST, &format!("{CHAT}{query}"));
    let request = request.header("content-type", "application/json").body(chat("main/m").to_string());
    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
}

#[tokio::test]
async fn a_key_is_taken_in_each_of_four_places_and_goes_no_further() {
    let (system, upstream) = system().await;
    let bearer = |scheme: &str| format!("{scheme} {CLIENT_KEY}");
    let places: [(&str, Vec<(&str, String)>); 8] = [
        ("", vec![("authorization", bearer("Bearer"))]),
        ("", vec![("authorization", bearer("bearer"))]),
        ("", vec![("authorization", bearer("BEARER"))]),
        ("", vec![("x-api-key", CLIENT_KEY.to_owned())]),
        ("", vec![("api-key", CLIENT_KEY.to_owned())]),
        (&format!("?api_key={CLIENT_KEY}"), vec![]),
        (&format!("?x=1&api%5Fkey={}&y", CLIENT_KEY.replace('-', "%2D")), vec![]),
        (
            &format!("?api_key={CLIENT_KEY}"),
            vec![
                ("authorization", bearer("Bearer")),
                ("x-api-key", CLIENT_KEY.to_owned()),
                ("api-key", CLIENT_KEY.to_owned()),
            ],
        ),
    ];
    for (number, (query, headers)) in places.iter().enumerate() {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let reply = Reply::to(asked(&system.client(), query, &headers)).await;
        assert_eq!(reply.status, 200, "{query} {headers:?}: {}", reply.text());
        let seen = upstream.request(number).await;
        assert_eq!(seen.header("authorization"), Some("Bearer sk-main"));
        let whole = format!("{seen:?}");
        assert!(!whole.contains(CLIENT_KEY) && !whole.contains("stories"), "the key went on: {whole}");
        assert_eq!((seen.header("x-api-key"), seen.header("api-key")), (None, None));
    }
}

#[tokio::test]
async fn two_keys_are_one_too_many() {
    let (system, upstream) = system().await;
    let bearer = format!("Bearer {CLIENT_KEY}");
    let twice: [(&str, &[(&str, &str)]); 5] = [
        ("", &[("authorization", &bearer), ("authorization", &bearer)]),
        ("", &[("authorization", &bearer), ("authorization", "Bearer sb_other")]),
        ("", &[("authorization", &bearer), ("x-api-key", "sb_other")]),
        ("?api_key=sb_other", &[("authorization", &bearer)]),
        ("", &[("x-api-key", CLIENT_KEY), ("api-key", "sb_other")]),
    ];
    for (query, headers) in twice {
        let reply = Reply::to(asked(&system.client(), query, headers)).await;
        assert_eq!(reply.status, 400, "{query} {headers:?}");
        assert_eq!(reply.json().pointer("/error/type"), Some(&"invalid_request_error".into()));
        reply.code();
    }
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn what_only_resembles_a_key_is_none() {
    let (system, upstream) = system().await;
    let shorter = CLIENT_KEY.get(..CLIENT_KEY.len() - 1).unwrap();
    let alike = [
        shorter.to_owned(),
        format!("{CLIENT_KEY}x"),
        CLIENT_KEY.to_uppercase(),
        CLIENT_KEY.replace("sb_", ""),
        format!("Bearer {CLIENT_KEY}"),
        format!("{CLIENT_KEY},"),
        format!("\"{CLIENT_KEY}\""),
        "*".to_owned(),
    ];
    for key in alike {
        let reply = system.client().with_key(&key).chat("main/m").await;
        assert_eq!((reply.status, reply.code().as_str()), (401, "invalid_api_key"), "{key}");
    }
    for value in [CLIENT_KEY.to_owned(), format!("Basic {CLIENT_KEY}"), format!("Bearer{CLIENT_KEY}")] {
        let reply = Reply::to(asked(&system.client(), "", &[("authorization", &value)])).await;
        assert_eq!((reply.status, reply.code().as_str()), (401, "invalid_api_key"), "{value}");
    }
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn a_key_may_be_disabled_and_may_expire() {
    let (system, upstream) = system().await;
    let expiring = |id: &str, at: SystemTime| ClientKey {
        expire_time: Some(at.into()),
        ..draft::client_key(id, &format!("sb_{id}"))
    };
    let (past, future) = (SystemTime::now() - Duration::from_secs(3600), SystemTime::now() + Duration::from_secs(3600));
    let draft = Draft::new()
        .client_key(ClientKey { disabled: true, ..draft::client_key("off", "sb_off") })
        .client_key(expiring("past", past))
        .client_key(expiring("future", future));
    system.apply(draft).await;
    for (key, status) in [("sb_off", 401), ("sb_past", 401), ("sb_future", 200)] {
        assert_eq!(system.client().with_key(key).chat("main/m").await.status, status, "{key}");
    }
    assert_eq!(upstream.seen().len(), 1);
    system.apply(Draft::new().client_key(draft::client_key("off", "sb_off"))).await;
    assert_eq!(system.client().with_key("sb_off").chat("main/m").await.status, 200);
}

#[tokio::test]
async fn a_made_up_key_is_shown_once_and_works() {
    let (system, _upstream) = system().await;
    let request = CreateClientKeyRequest {
        client_key_id: "new".to_owned(),
        client_key: Some(ClientKey::default()),
        ..CreateClientKeyRequest::default()
    };
    let made = system.admin().client_keys().create_client_key(request).await.unwrap().into_inner();
    assert!(made.secret.starts_with("sb_") && made.secret.starts_with(&made.display_prefix));
    system.in_force(made.revision).await;
    assert_eq!(system.client().with_key(&made.secret).chat("main/m").await.status, 200);
    let get = signalbox_proto::admin::v1::GetClientKeyRequest { name: made.name };
    let again = system.admin().client_keys().get_client_key(get).await.unwrap().into_inner();
    assert_eq!(again.secret, "");
}

#[tokio::test]
async fn a_key_may_be_known_by_its_digest_only() {
    let (system, _upstream) = system().await;
    // SHA-256 of "sb_known-by-its-digest".
    let digest = "6d1ff41b841b8bc3fd380bd31dfe83550350a1a73fcc5c8d9ac9e3d57bd2edf6";
    let bytes = (0..64).step_by(2).map(|at| u8::from_str_radix(&digest[at..at + 2], 16).unwrap());
    let imported = Some(client_key::Imported::ImportSha256(bytes.collect::<Vec<_>>().into()));
    let known = ClientKey { name: "clientKeys/known".to_owned(), imported, ..ClientKey::default() };
    system.apply(Draft::new().client_key(known)).await;
    assert_eq!(system.client().with_key("sb_known-by-its-digest").chat("main/m").await.status, 200);
    assert_eq!(system.client().with_key(digest).chat("main/m").await.code(), "invalid_api_key");
}

#[tokio::test]
async fn a_revoked_key_stops_everywhere_in_the_middle_of_traffic_and_nobody_else_notices() {
    let (system, upstream) = (System::with_data_planes(2).await, Upstream::start().await);
    system
        .apply(Draft::new().upstream("main", &upstream.url()).client_key(draft::client_key("leaked", "sb_leaked")))
        .await;
    let stop = tokio_util::sync::CancellationToken::new();
    let traffic: Vec<_> = (system.data_planes.iter())
        .map(|data_plane| {
            let (client, stop) = (data_plane.client(), stop.clone());
            tokio::spawn(async move {
                let mut served = 0;
                while !stop.is_cancelled() {
                    assert_eq!(client.chat("main/m").await.status, 200);
                    served += 1;
                }
                served
            })
        })
        .collect();
    let leaked: Vec<_> =
        system.data_planes.iter().map(|data_plane| data_plane.client().with_key("sb_leaked")).collect();
    for client in &leaked {
        assert_eq!(client.chat("main/m").await.status, 200);
    }
    let request = DeleteClientKeyRequest { name: "clientKeys/leaked".to_owned(), ..DeleteClientKeyRequest::default() };
    let revoked = system.admin().client_keys().delete_client_key(request).await.unwrap().into_inner();
    let since = tokio::time::Instant::now();
    for client in &leaked {
        eventually("a revoked key to be refused", async || (client.chat("main/m").await.status == 401).then_some(()))
            .await;
    }
    assert!(since.elapsed() < Duration::from_secs(1), "it took {:?}", since.elapsed());
    system.in_force(revoked.revision).await;
    for client in &leaked {
        assert_eq!(client.chat("main/m").await.code(), "invalid_api_key");
    }
    stop.cancel();
    for client in traffic {
        assert!(client.await.unwrap() > 0);
    }
}

#[tokio::test]
async fn a_delete_that_has_waited_leaves_no_data_plane_that_takes_the_key() {
    let (system, upstream) = (System::with_data_planes(2).await, Upstream::start().await);
    let keys = ["one", "two", "three", "four", "five"];
    let draft = Draft::new().upstream("main", &upstream.url());
    let key = |draft: Draft, id: &&str| draft.client_key(draft::client_key(id, &format!("sb_{id}")));
    system.apply(keys.iter().fold(draft, key)).await;
    for id in keys {
        let clients: Vec<_> =
            system.data_planes.iter().map(|data_plane| data_plane.client().with_key(&format!("sb_{id}"))).collect();
        for client in &clients {
            assert_eq!(client.chat("main/m").await.status, 200);
        }
        let request = DeleteClientKeyRequest {
            name: format!("clientKeys/{id}"),
            wait: Some(prost_types::Duration { seconds: 30, nanos: 0 }),
            ..DeleteClientKeyRequest::default()
        };
        let deleted = system.admin().client_keys().delete_client_key(request).await.unwrap().into_inner();
        let rollout = deleted.rollout.unwrap();
        assert!(rollout.satisfied && (rollout.applied, rollout.total) == (2, 2), "{rollout:?}");
        for client in &clients {
            assert_eq!(client.chat("main/m").await.code(), "invalid_api_key");
        }
    }
}

#[tokio::test]
async fn both_keys_are_taken_while_a_rotation_overlaps_and_the_new_one_after() {
    let (system, upstream) = (System::start().await, Upstream::start().await);
    let draft = Draft::new().upstream("main", &upstream.url());
    system.apply(draft.client_key(draft::client_key("ci", "sb_first"))).await;
    let rotate = async |name: &str, overlap: Option<i64>| {
        let overlap = overlap.map(|seconds| prost_types::Duration { seconds, nanos: 0 });
        let request = RotateClientKeyRequest { name: name.to_owned(), overlap, ..RotateClientKeyRequest::default() };
        let rotated = system.admin().client_keys().rotate_client_key(request).await.unwrap().into_inner();
        let successor = rotated.successor.unwrap();
        system.in_force(successor.revision).await;
        successor
    };
    let status = async |key: &str| system.client().with_key(key).chat("main/m").await.status;
    let second = rotate("clientKeys/ci", None).await;
    assert_eq!((status("sb_first").await, status(&second.secret).await), (200, 200));
    let third = rotate(&second.name, Some(0)).await;
    assert_eq!((status(&second.secret).await, status(&third.secret).await), (401, 200));
    assert_eq!(status("sb_first").await, 200, "its day is not over");
}
