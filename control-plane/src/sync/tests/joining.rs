//! Who is let in, and how a stream ends.

use std::time::Duration;

use signalbox_proto::{
    admin::v1::replica::State::Disconnected,
    sync::v1::{self as sync, watch_request, watch_response::Message},
};
use tokio::time::Instant;
use tonic::Code;
use tonic_types::StatusExt as _;

use super::{
    super::Timing,
    world::{World, hello, soon},
};

#[tokio::test(start_paused = true)]
async fn only_the_join_token_lets_a_replica_in() {
    let world = World::new();
    for authorization in [None, Some("Bearer wrong"), Some("Basic joining"), Some("Bearer joining2")] {
        let first = watch_request::Message::Hello(hello("one", None));
        let status = world.open(authorization, Some(first)).await.err().unwrap();
        assert_eq!(status.code(), Code::Unauthenticated, "{authorization:?}");
        assert_eq!(status.get_error_details().error_info().unwrap().reason, "JOIN_TOKEN_INVALID");
    }
    assert!(world.replicas.list(&world.head(), None).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_stream_begins_with_one_usable_hello() {
    let world = World::new();
    let bad = |change: fn(&mut sync::Hello)| {
        let mut hello = hello("one", None);
        change(&mut hello);
        Some(watch_request::Message::Hello(hello))
    };
    for first in [
        None,
        Some(watch_request::Message::Ack(sync::Ack::default())),
        bad(|hello| hello.replica_id.clear()),
        bad(|hello| hello.replica_id = "a/b".to_owned()),
        bad(|hello| hello.replica_id = "a".repeat(129)),
        bad(|hello| hello.boot_id.clear()),
        bad(|hello| hello.version = "v".repeat(129)),
        bad(|hello| hello.min_schema = 0),
        bad(|hello| hello.max_schema = 0),
        bad(|hello| hello.have = Some(sync::Position::default())),
    ] {
        let label = format!("{first:?}");
        let status = soon(world.open(Some("Bearer joining"), first)).await.err().unwrap();
        assert_eq!(status.code(), Code::InvalidArgument, "{label}");
    }
    let (mut wire, _) = world.join(hello("one", None)).await;
    wire.say(watch_request::Message::Hello(hello("one", None))).await;
    assert_eq!(wire.end().await.unwrap().code(), Code::InvalidArgument);
}

#[tokio::test(start_paused = true)]
async fn a_replica_of_another_schema_is_told_so() {
    let world = World::new();
    let newer = sync::Hello { min_schema: 2, max_schema: 3, ..hello("one", None) };
    let status = world.open(Some("Bearer joining"), Some(watch_request::Message::Hello(newer))).await.err().unwrap();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(status.get_error_details().error_info().unwrap().reason, "SCHEMA_UNSUPPORTED");
    let overlapping = sync::Hello { max_schema: 3, ..hello("one", None) };
    assert_eq!(world.join(overlapping).await.1.schema, 1);
}

#[tokio::test(start_paused = true)]
async fn the_newer_stream_of_a_replica_wins() {
    let world = World::new();
    let mut old = world.join_and_sync("one").await;
    let (mut new, _) = world.join(hello("one", Some(&world.head()))).await;
    assert_eq!(old.end().await.unwrap().code(), Code::AlreadyExists);
    new.hears_only_heartbeats(2).await;
    assert_ne!(world.replica("one").state(), Disconnected);
}

#[tokio::test(start_paused = true)]
async fn a_control_plane_that_stops_says_when_to_return_and_waits_for_nobody() {
    let world = World::new();
    let mut idle = world.join_and_sync("idle").await;
    let (mut awaited, _) = world.join(hello("awaited", None)).await;
    awaited.update().await;
    let silent = world.open(Some("Bearer joining"), None);
    let stopping = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.stop.cancel();
        for wire in [&mut idle, &mut awaited] {
            let Message::Drain(drain) = wire.hear_news().await else { panic!("it goes away without a word") };
            let after = Duration::try_from(drain.reconnect_after.unwrap()).unwrap();
            assert!(after <= Timing::default().return_spread);
            assert!(wire.end().await.is_none());
        }
    };
    let before = Instant::now();
    let (silent, ()) = soon(async { tokio::join!(silent, stopping) }).await;
    assert!(silent.is_err());
    soon(world.sync.ended()).await;
    soon(world.server).await.unwrap();
    assert!(before.elapsed() < Duration::from_secs(2));
}
