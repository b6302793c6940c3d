//! A replica without its control plane: what it starts from, and when it tries again.

use std::time::Duration;

use signalbox_proto::sync::v1::{self as sync, ack::Outcome};
use tonic::Status;

use super::{
    super::{Timing, connect::Unconnected, retry::Retry, session::Ended},
    histories,
    script::{Running, Script, quick, soon},
};
use crate::{live::ConfigSource, received::history::sha256};

#[tokio::test]
async fn a_replica_starts_from_its_cache_while_no_control_plane_is_there() {
    let disk = tempfile::tempdir().unwrap();
    let [first, second, _] = histories();
    let mut script = Script::start().await;
    let replica = Running::start(script.addr, Some(disk.path()), quick());
    let mut visit = script.welcome().await;
    visit.ask("1", &first.full()).await;
    visit.ask("2", &second.since(&first)).await;
    // The second comes too soon after the first to be written by itself, but is not lost.
    replica.stop().await;
    drop((script, visit));

    let nowhere = "127.0.0.1:9".parse().unwrap();
    let replica = Running::start(nowhere, Some(disk.path()), quick());
    replica.serves(&second).await;
    let snapshot = replica.live.load().unwrap();
    assert_eq!(snapshot.source, ConfigSource::DiskCache);
    assert!(snapshot.runtime.client_key(&sha256("three")).is_some());
    replica.stop().await;
}

#[tokio::test]
async fn a_restarted_replica_resumes_from_its_cache() {
    let disk = tempfile::tempdir().unwrap();
    let [first, second, _] = histories();
    let mut script = Script::start().await;
    let replica = Running::start(script.addr, Some(disk.path()), quick());
    let mut visit = script.welcome().await;
    visit.ask("1", &first.full()).await;
    let boot_id = visit.hello.boot_id.clone();
    replica.stop().await;

    let replica = Running::start(script.addr, Some(disk.path()), quick());
    let mut visit = script.welcome().await;
    assert_eq!(visit.hello.have, Some(first.position().to_wire()));
    assert_ne!(visit.hello.boot_id, boot_id);
    visit.status(|status| status.config_source() == sync::ConfigSource::DiskCache).await;
    assert_eq!(visit.ask("2", &second.since(&first)).await.outcome(), Outcome::Applied);
    replica.assert_serves(&second);
}

#[tokio::test]
async fn a_replica_that_starts_from_its_cache_says_what_of_it_is_not_in_force() {
    let disk = tempfile::tempdir().unwrap();
    let [first, ..] = histories();
    let broken = first.clone().put("routes/broken", "\u{ff}");
    let mut script = Script::start().await;
    let replica = Running::start(script.addr, Some(disk.path()), quick());
    let mut visit = script.welcome().await;
    assert!(visit.hello.rejections.is_empty());
    assert_eq!(visit.ask("1", &broken.full()).await.outcome(), Outcome::AppliedPartially);
    replica.stop().await;

    let _replica = Running::start(script.addr, Some(disk.path()), quick());
    let hello = script.welcome().await.hello;
    assert_eq!(hello.have, Some(broken.position().to_wire()));
    assert_eq!((hello.rejection_count, hello.rejections[0].name.as_str()), (1, "routes/broken"));
}

#[tokio::test]
async fn a_corrupt_cache_is_set_aside_and_the_control_plane_waited_for() {
    let disk = tempfile::tempdir().unwrap();
    std::fs::create_dir(disk.path().join("cache")).unwrap();
    std::fs::write(disk.path().join("cache/config-3.bin"), "no cache file").unwrap();
    let [first, ..] = histories();
    let mut script = Script::start().await;
    let replica = Running::start(script.addr, Some(disk.path()), quick());
    let mut visit = script.welcome().await;
    assert_eq!(visit.hello.have, None);
    assert!(replica.live.load().is_none());
    visit.ask("1", &first.full()).await;
    replica.assert_serves(&first);
    assert!(disk.path().join("cache/config-3.bin.corrupt").exists());
}

#[tokio::test]
async fn a_control_plane_that_comes_later_is_found() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let replica = Running::start(addr, None, quick());
    // Accepts and hangs up: a control plane that is only just starting.
    for _ in 0..3 {
        drop(soon(listener.accept()).await.unwrap());
    }
    replica.stop().await;
}

#[test]
fn waits_grow_and_spread_and_begin_anew_after_a_welcome() {
    let timing = Timing::default();
    let mut retry = Retry::new(timing);
    let mut ceiling = timing.backoff_min;
    for _ in 0..20 {
        assert!(retry.after(&Ended::Closed) <= ceiling);
        ceiling = (ceiling * 2).min(timing.backoff_max);
    }
    let mut longest = |count| (0..count).map(|_| retry.after(&Ended::Closed)).max().unwrap();
    assert!(longest(200) > timing.backoff_max / 2);
    retry.reset();
    assert!(retry.after(&Ended::Closed) <= timing.backoff_min);
}

#[test]
fn what_only_an_operator_can_help_is_not_tried_again_soon() {
    let timing = Timing::default();
    let mut retry = Retry::new(timing);
    for refusal in [
        Status::unauthenticated(""),
        Status::permission_denied(""),
        Status::failed_precondition(""),
        Status::invalid_argument(""),
        Status::unimplemented(""),
        Status::already_exists(""),
    ] {
        for ended in [Ended::Status(refusal.clone()), Ended::Unconnected(Unconnected::Refused(refusal))] {
            let wait = retry.after(&ended);
            assert!((timing.terminal.mul_f64(0.8)..=timing.terminal.mul_f64(1.2)).contains(&wait));
        }
    }
    assert!(
        retry.after(&Ended::Status(Status::unavailable(""))) <= timing.backoff_min,
        "none of them is a failed attempt"
    );
    assert!(retry.after(&Ended::Drained(Duration::MAX)) <= timing.terminal);
}

#[tokio::test]
async fn what_could_not_be_cached_is_cached_as_soon_as_that_is_possible() {
    let disk = tempfile::tempdir().unwrap();
    let [first, ..] = histories();
    let mut script = Script::start().await;
    let timing = Timing { cache_pause: Duration::ZERO, cache_retry: Duration::from_millis(1), ..quick() };
    let replica = Running::start(script.addr, Some(disk.path()), timing);
    let mut visit = script.welcome().await;
    let folder = disk.path().join("cache");
    std::fs::remove_dir(&folder).unwrap();
    visit.ask("1", &first.full()).await;
    std::fs::create_dir(&folder).unwrap();
    replica.stop().await;
    assert!(folder.join("config-3.bin").exists());
}
