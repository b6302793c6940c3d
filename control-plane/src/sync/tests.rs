//! What replicas are told, when, and what is made of what they answer. Time is paused: waiting costs nothing and decides nothing.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use signalbox_proto::{
    admin::v1::replica::State::{Ahead, Disconnected, Lagging, Partial, Rejecting, Synced},
    sync::v1::{self as sync, ack::Outcome, watch_request, watch_response::Message, welcome::Resume},
};
use signalbox_routing::Position;
use tokio::time::Instant;
use tonic::Code;

use super::{
    MAX_FULL_TRANSFERS, Timing,
    encode::Encoder,
    tests::world::{World, after, first, hello, soon},
};
use crate::history::Since;

mod joining;
mod world;

/// Bytes that no compression makes shorter.
fn noise(length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    std::iter::repeat_with(|| random.u8(..)).take(length).collect()
}

#[tokio::test(start_paused = true)]
async fn a_cold_replica_gets_everything_in_small_chunks() {
    let world = World::new();
    world.put(&[("large", &noise(300_000)), ("small", b"x")]);
    let (mut wire, welcome) = world.join(hello("one", None)).await;
    assert_eq!((welcome.resume(), welcome.schema, welcome.head), (Resume::Full, 1, Some(world.head().to_wire())));
    assert!(!welcome.control_plane_id.is_empty() && welcome.server_time.is_some());
    let update = wire.update().await;
    assert_eq!((update.base(), update.target()), (None, world.head()));
    assert!(update.chunks >= 5 && update.begin.commit_time.is_some());
    update.apply_to(&mut BTreeMap::new());
    wire.ack(&update, Outcome::Applied).await;
    world.until("one", |replica| replica.state() == Synced).await;
    wire.hears_only_heartbeats(3).await;
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_holds_the_head_gets_nothing_but_signs_of_life() {
    let world = World::new();
    let head = world.put(&[("a", b"1")]);
    let (mut wire, welcome) = world.join(hello("one", Some(&head))).await;
    assert_eq!(welcome.resume(), Resume::Current);
    let before = Instant::now();
    for _ in 0..5 {
        let Message::Heartbeat(heartbeat) = wire.hear().await else { panic!("nothing is due") };
        assert_eq!(heartbeat.head, Some(head.to_wire()));
        assert!(heartbeat.server_time.is_some());
    }
    let took = before.elapsed();
    assert!((Duration::from_secs(40)..=Duration::from_secs(60)).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_holds_an_earlier_revision_gets_what_differs() {
    let world = World::new();
    let have = world.put(&[("a", b"1"), ("b", b"1"), ("c", b"1")]);
    world.put(&[("a", b"2")]);
    world.remove("b");
    world.put(&[("a", b"3"), ("d", b"1")]);
    let (mut wire, welcome) = world.join(hello("one", Some(&have))).await;
    assert_eq!(welcome.resume(), Resume::Delta);
    let update = wire.update().await;
    assert_eq!((update.base(), update.target()), (Some(have), world.head()));
    let upserts: Vec<_> = update.bundle.upserts.iter().map(|resource| resource.name.as_str()).collect();
    let removes: Vec<_> = update.bundle.removes.iter().map(|gone| gone.name.as_str()).collect();
    assert_eq!((upserts, removes), (vec!["routes/a", "routes/d"], vec!["routes/b"]));
    let mut held = ["a", "b", "c"].map(|id| (format!("routes/{id}"), Bytes::from_static(b"1"))).into();
    update.apply_to(&mut held);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_told_apart_is_sent_whole_with_the_reason() {
    let world = World::new();
    let have = world.put(&[("a", b"1")]);
    let other_epoch = Position { epoch: "other".into(), ..have.clone() };
    let other_digest = Position { digest: [7; 32].into(), ..have.clone() };
    world.forget();
    let forgotten = have;
    for (id, have, reason) in
        [("one", other_epoch, "epoch changed"), ("two", forgotten, "compacted"), ("three", other_digest, "compacted")]
    {
        let (mut wire, welcome) = world.join(hello(id, Some(&have))).await;
        assert_eq!((welcome.resume(), welcome.resume_reason.as_str()), (Resume::Full, reason));
        assert_eq!(wire.update().await.base(), None);
    }
    let diverged = Position { digest: [7; 32].into(), ..world.head() };
    let (mut wire, welcome) = world.join(hello("four", Some(&diverged))).await;
    assert_eq!((welcome.resume(), welcome.resume_reason.as_str()), (Resume::Full, "digest differs"));
    assert_eq!(wire.update().await.base(), None);
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_is_ahead_is_sent_nothing() {
    let world = World::new();
    let ahead = Position { revision: signalbox_routing::Revision::new(9).unwrap(), ..world.head() };
    let (mut wire, welcome) = world.join(hello("one", Some(&ahead))).await;
    assert_eq!(welcome.resume(), Resume::Held);
    assert_eq!(world.replica("one").state(), Ahead);
    for _ in 0..20 {
        world.put(&[("a", b"1")]);
    }
    wire.hears_only_heartbeats(3).await;
}

#[tokio::test(start_paused = true)]
async fn every_revision_reaches_a_replica_that_keeps_up() {
    let world = World::new();
    let mut wire = world.join_and_sync("one").await;
    let mut held = BTreeMap::new();
    for body in 0..5_u8 {
        let base = world.head();
        let target = world.put(&[("a", &[body])]);
        let update = wire.update().await;
        assert_eq!((update.base(), update.target()), (Some(base), target));
        update.apply_to(&mut held);
        wire.ack(&update, Outcome::Applied).await;
        world.until("one", |replica| replica.state() == Synced).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_is_slow_gets_the_latest_only() {
    let world = World::new();
    let (mut wire, _) = world.join(hello("one", None)).await;
    let slow = wire.update().await;
    let ids: Vec<_> = (0..50).map(|n| format!("r{n}")).collect();
    for id in &ids {
        world.put(&[(id, b"x")]);
    }
    wire.hears_only_heartbeats(1).await;
    wire.ack(&slow, Outcome::Applied).await;
    let update = wire.update().await;
    assert_eq!((update.base(), update.target()), (Some(slow.target()), world.head()));
    assert_eq!(update.bundle.upserts.len(), ids.len());
    wire.ack(&update, Outcome::Applied).await;
    wire.hears_only_heartbeats(2).await;
}

#[tokio::test(start_paused = true)]
async fn the_first_change_travels_at_once_and_those_close_behind_it_together() {
    let world = World::new();
    let mut wire = world.join_and_sync("one").await;
    tokio::time::advance(Duration::from_secs(1)).await;
    let before = Instant::now();
    world.put(&[("a", b"1")]);
    let update = wire.update().await;
    assert!(before.elapsed() < Timing::default().coalesce, "the first change does not wait");
    wire.ack(&update, Outcome::Applied).await;
    world.put(&[("a", b"2")]);
    world.until("one", |replica| replica.held_revision == update.target().revision.get()).await;
    world.put(&[("a", b"3")]);
    let update = wire.update().await;
    assert!(before.elapsed() >= Timing::default().coalesce);
    assert_eq!(update.target(), world.head(), "the second change has travelled with the third");
}

#[tokio::test(start_paused = true)]
async fn a_refused_revision_is_not_sent_again_but_the_next_one_is() {
    let world = World::new();
    let mut wire = world.join_and_sync("one").await;
    let held = world.head();
    world.put(&[("a", b"1")]);
    let refused = wire.update().await;
    wire.ack(&refused, Outcome::Rejected).await;
    world.until("one", |replica| replica.state() == Rejecting).await;
    wire.hears_only_heartbeats(3).await;

    let (mut again, welcome) = world.join(hello("one", Some(&held))).await;
    assert!(welcome.resume_reason.contains("refused"), "{}", welcome.resume_reason);
    again.hears_only_heartbeats(3).await;
    assert_eq!(world.replica("one").state(), Rejecting);

    world.put(&[("a", b"2")]);
    let update = again.update().await;
    assert_eq!((update.base(), update.target()), (Some(held), world.head()));
    again.ack(&update, Outcome::Applied).await;
    world.until("one", |replica| replica.state() == Synced).await;
}

#[tokio::test(start_paused = true)]
async fn another_build_may_take_what_this_one_refused() {
    let world = World::new();
    let mut wire = world.join_and_sync("one").await;
    let held = world.head();
    world.put(&[("a", b"1")]);
    let refused = wire.update().await;
    wire.ack(&refused, Outcome::Rejected).await;
    world.until("one", |replica| replica.state() == Rejecting).await;
    let upgraded = sync::Hello { version: "2.0.0".to_owned(), ..hello("one", Some(&held)) };
    let (mut wire, _) = world.join(upgraded).await;
    assert_eq!(wire.update().await.target(), world.head());
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_needs_everything_gets_everything_once() {
    let world = World::new();
    let mut wire = world.join_and_sync("one").await;
    world.put(&[("a", b"1")]);
    let delta = wire.update().await;
    wire.ack(&delta, Outcome::NeedFull).await;
    let full = wire.update().await;
    assert_eq!((full.base(), full.target()), (None, world.head()));
    // A replica that says so of everything has a fault of its own, and is not answered for ever.
    wire.ack(&full, Outcome::NeedFull).await;
    wire.hears_only_heartbeats(3).await;
}

#[tokio::test(start_paused = true)]
async fn resources_that_are_not_in_force_are_known_by_replica() {
    let world = World::new();
    let (mut wire, _) = world.join(hello("one", None)).await;
    let update = wire.update().await;
    let rejection =
        sync::Rejection { name: "routes/a".to_owned(), message: "x".repeat(2000), ..sync::Rejection::default() };
    let ack = sync::Ack {
        update_id: update.id.clone(),
        outcome: Outcome::AppliedPartially.into(),
        held: update.begin.target.clone(),
        serving_revision: 1,
        rejections: vec![rejection; 300],
        rejection_count: 300,
        ..sync::Ack::default()
    };
    wire.say(watch_request::Message::Ack(ack)).await;
    let replica = world.until("one", |replica| replica.state() == Partial).await;
    assert_eq!((replica.rejections.len(), replica.rejections[0].message.len()), (100, 512));
}

#[tokio::test(start_paused = true)]
async fn what_a_replica_says_of_itself_is_known() {
    let world = World::new();
    let wire = world.join_and_sync("one").await;
    let local_time = Some((SystemTime::now() - Duration::from_secs(90)).into());
    wire.say(watch_request::Message::Status(sync::ReplicaStatus {
        held: Some(world.head().to_wire()),
        serving_revision: 1,
        draining: true,
        in_flight: 3,
        local_time,
        config_source: sync::ConfigSource::DiskCache.into(),
    }))
    .await;
    let replica = world.until("one", |replica| replica.draining).await;
    assert_eq!((replica.name.as_str(), replica.version.as_str(), replica.state()), ("replicas/one", "1.0.0", Synced));
    assert_eq!((replica.in_flight, replica.config_source()), (3, sync::ConfigSource::DiskCache));
    let skew = replica.clock_skew.unwrap().seconds;
    assert!((-92..=-89).contains(&skew), "{skew}");
    world.put(&[("a", b"1")]);
    assert_eq!(world.replica("one").state(), Lagging);
    drop(wire);
    let replica = world.until("one", |replica| replica.state() == Disconnected).await;
    assert_eq!((replica.held_revision, replica.in_flight), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_overdue_acknowledgement_ends_the_stream() {
    let world = World::new();
    let (mut wire, _) = world.join(hello("one", None)).await;
    wire.update().await;
    let before = Instant::now();
    assert_eq!(wire.end().await.unwrap().code(), Code::Unavailable);
    assert!(before.elapsed() >= Timing::default().patience);
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_was_slow_once_is_waited_for_longer() {
    let world = World::new();
    let (mut wire, _) = world.join(hello("one", None)).await;
    let update = wire.update().await;
    let ack = sync::Ack {
        update_id: update.id.clone(),
        outcome: Outcome::Applied.into(),
        held: update.begin.target.clone(),
        serving_revision: 1,
        apply_time: Some(Duration::from_secs(20).try_into().unwrap()),
        ..sync::Ack::default()
    };
    wire.say(watch_request::Message::Ack(ack)).await;
    world.until("one", |replica| replica.state() == Synced).await;
    world.put(&[("a", b"1")]);
    wire.update().await;
    let before = Instant::now();
    wire.end().await.unwrap();
    assert!(before.elapsed() >= Duration::from_secs(80));
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_takes_nothing_holds_up_nobody() {
    let world = World::new();
    world.put(&[("large", &noise(2_000_000))]);
    let (stuck, _) = world.join(hello("stuck", None)).await;
    let transfers = || world.sync.hub.full_transfers.available_permits();
    let started = async {
        while transfers() == MAX_FULL_TRANSFERS {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    soon(started).await;
    world.until("stuck", |replica| replica.state() == Disconnected).await;
    assert_eq!(transfers(), MAX_FULL_TRANSFERS);
    drop(stuck);
}

#[tokio::test(start_paused = true)]
async fn further_full_transfers_wait_their_turn_and_show_signs_of_life() {
    let world = World::new();
    let all = u32::try_from(MAX_FULL_TRANSFERS).unwrap();
    let others = world.sync.hub.full_transfers.acquire_many(all).await.unwrap();
    let (mut wire, welcome) = world.join(hello("one", None)).await;
    assert_eq!(welcome.resume(), Resume::Full);
    wire.hears_only_heartbeats(5).await;
    world.put(&[("a", b"1")]);
    drop(others);
    assert_eq!(wire.update().await.target(), world.head(), "the newest by then is what is sent");
}

#[tokio::test(start_paused = true)]
async fn an_update_is_encoded_once_for_everybody() {
    let state = Arc::new(after(&first("epoch"), vec![("a", Some(Bytes::from_static(b"1")))]));
    let encoder = Encoder::default();
    let (one, two) = (encoder.full(&state).await.unwrap(), encoder.full(&state).await.unwrap());
    assert!(Arc::ptr_eq(&one, &two));
    let next = Arc::new(after(&state, vec![("b", Some(Bytes::from_static(b"1")))]));
    assert!(!Arc::ptr_eq(&one, &encoder.full(&next).await.unwrap()));
    let Since::Names(names) = next.since(&state.position) else { panic!("one name differs") };
    let one = encoder.delta(&next, &state.position, names.clone()).await.unwrap().unwrap();
    let two = encoder.delta(&next, &state.position, names).await.unwrap().unwrap();
    assert!(Arc::ptr_eq(&one, &two));
}

#[tokio::test(start_paused = true)]
async fn a_delta_of_half_the_whole_is_not_worth_it() {
    let body = Bytes::from(noise(100_000));
    let routes = |ids: &[&'static str]| ids.iter().map(|id| (*id, Some(body.clone()))).collect::<Vec<_>>();
    let old = after(&first("epoch"), routes(&["a", "b", "c", "d"]));
    for (ids, worth_it) in [(&["a"][..], true), (&["a", "b", "c"], false)] {
        let new = Arc::new(after(&old, routes(ids)));
        let Since::Names(names) = new.since(&old.position) else { panic!("these names differ") };
        assert_eq!(Encoder::default().delta(&new, &old.position, names).await.unwrap().is_some(), worth_it);
    }
}
