//! A replica against a control plane that does what it is told, right or wrong.

use std::time::Duration;

use http::Uri;
use signalbox_proto::sync::v1::{self as sync, ack::Outcome, watch_response::Message, welcome::Resume};
use tonic::transport::Identity;

use super::{
    ControlPlane, Timing,
    connect::Unconnected,
    session::{Ended, Session},
    tests::script::{Running, Script, parts, quick, soon},
};
use crate::{
    live::ConfigSource,
    received::history::{History, sha256},
};

mod alone;
mod script;

fn histories() -> [History; 3] {
    let first = History::new("e").key("a", "one").key("b", "two");
    let second = first.clone().key("c", "three");
    let third = second.clone().remove("clientKeys/a");
    [first, second, third]
}

/// A replica that holds the first history, on a stream that stands.
async fn holding(history: &History) -> (Script, Running, script::Visit) {
    let mut script = Script::start().await;
    let replica = Running::start(script.addr, None, quick());
    let mut visit = script.welcome().await;
    let ack = visit.ask("1", &history.full()).await;
    assert_eq!(ack.outcome(), Outcome::Applied);
    (script, replica, visit)
}

#[tokio::test]
async fn a_cold_replica_joins_with_its_token_and_takes_everything() {
    let mut script = Script::start().await;
    let replica = Running::start(script.addr, None, quick());
    assert!(replica.live.load().is_none(), "nothing is served before there is something whole");
    let mut visit = script.welcome().await;
    assert_eq!(visit.authorization, "Bearer joining");
    assert_eq!((visit.hello.replica_id.as_str(), visit.hello.have.as_ref()), ("one", None));
    assert_eq!((visit.hello.min_schema, visit.hello.max_schema), (1, 1));
    let [first, ..] = histories();
    let ack = visit.ask("1", &first.full()).await;
    assert_eq!(
        (ack.outcome(), ack.held, ack.serving_revision),
        (Outcome::Applied, Some(first.position().to_wire()), 3)
    );
    let snapshot = replica.live.load().unwrap();
    assert_eq!((snapshot.position.clone(), snapshot.source), (first.position(), ConfigSource::Stream));
    assert!(snapshot.runtime.client_key(&sha256("one")).is_some());
    replica.stop().await;
}

#[tokio::test]
async fn deltas_follow_one_another_on_one_stream() {
    let [first, second, third] = histories();
    let (_script, replica, mut visit) = holding(&first).await;
    assert_eq!(visit.ask("2", &second.since(&first)).await.outcome(), Outcome::Applied);
    assert_eq!(visit.ask("3", &third.since(&second)).await.outcome(), Outcome::Applied);
    replica.assert_serves(&third);
    assert!(replica.live.load().unwrap().runtime.client_key(&sha256("one")).is_none());
}

#[tokio::test]
async fn a_request_keeps_the_snapshot_it_started_with() {
    let [first, _, third] = histories();
    let (_script, replica, mut visit) = holding(&first).await;
    let pinned = replica.live.load().unwrap();
    visit.ask("2", &third.since(&first)).await;
    assert!(pinned.runtime.client_key(&sha256("one")).is_some());
    replica.assert_serves(&third);
}

#[tokio::test]
async fn a_delta_on_another_base_asks_for_everything() {
    let [first, second, third] = histories();
    let (_script, replica, mut visit) = holding(&first).await;
    let ack = visit.ask("2", &third.since(&second)).await;
    assert_eq!((ack.outcome(), ack.held), (Outcome::NeedFull, Some(first.position().to_wire())));
    replica.assert_serves(&first);
    assert_eq!(visit.ask("3", &third.full()).await.outcome(), Outcome::Applied);
    replica.assert_serves(&third);
}

#[tokio::test]
async fn what_cannot_be_right_is_refused_and_changes_nothing() {
    let [first, second, third] = histories();
    let (_script, replica, mut visit) = holding(&second).await;
    let mut digest = third.full();
    digest.upserts.pop();
    let mut unknown = third.full();
    unknown.upserts[0].kind = "gadget".to_owned();
    for (bundle, reason) in [(digest, "DIGEST_MISMATCH"), (unknown, "UNDECODABLE"), (first.full(), "OLDER")] {
        let ack = visit.ask(reason, &bundle).await;
        assert_eq!((ack.outcome(), ack.rejections[0].reason.as_str()), (Outcome::Rejected, reason));
        assert_eq!(ack.held, Some(second.position().to_wire()));
        replica.assert_serves(&second);
    }
    assert_eq!(visit.ask("good", &third.since(&second)).await.outcome(), Outcome::Applied);
}

#[tokio::test]
async fn an_update_that_is_not_as_announced_is_refused_and_changes_nothing() {
    let [first, second, _] = histories();
    let (_script, replica, mut visit) = holding(&first).await;
    type Damage = fn(&mut Vec<Message>);
    let damages: [(&str, Damage); 6] = [
        ("DAMAGED", |parts| drop(parts.remove(1))),
        ("DAMAGED", |parts| parts.swap(1, 2)),
        ("DAMAGED", |parts| parts.insert(1, parts[1].clone())),
        ("TOO_LARGE", |parts| begin(parts).decoded_bytes = u64::MAX),
        ("INVALID_UPDATE", |parts| begin(parts).target = None),
        ("UNDECODABLE", |parts| begin(parts).decoded_bytes += 1),
    ];
    for (reason, damage) in damages {
        let mut parts = parts("2", &second.full());
        assert!(parts.len() > 5);
        damage(&mut parts);
        for part in parts {
            visit.say(part).await;
        }
        let ack = visit.ack("2").await;
        assert_eq!((ack.outcome(), ack.rejections[0].reason.as_str()), (Outcome::Rejected, reason));
        replica.assert_serves(&first);
    }
    assert_eq!(visit.ask("2", &second.full()).await.outcome(), Outcome::Applied);
}

fn begin(parts: &mut [Message]) -> &mut sync::UpdateBegin {
    let Message::Begin(begin) = &mut parts[0] else { panic!("an update begins with its beginning") };
    begin
}

#[tokio::test]
async fn a_stream_cut_at_any_part_leaves_the_old_state_whole() {
    let [first, second, _] = histories();
    let (mut script, replica, mut visit) = holding(&first).await;
    let parts = parts("2", &second.full());
    for cut in 0..parts.len() {
        for part in &parts[..cut] {
            visit.say(part.clone()).await;
        }
        drop(visit);
        visit = script.welcome().await;
        assert_eq!(visit.hello.have, Some(first.position().to_wire()), "cut at part {cut}");
        replica.assert_serves(&first);
    }
    assert_eq!(visit.ask("2", &second.since(&first)).await.outcome(), Outcome::Applied);
    replica.assert_serves(&second);
}

#[tokio::test]
async fn an_update_whose_acknowledgement_is_lost_is_not_forgotten() {
    let [first, second, _] = histories();
    let (mut script, replica, visit) = holding(&first).await;
    visit.send("2", &second.since(&first)).await;
    replica.serves(&second).await;
    drop(visit);
    assert_eq!(script.visit().await.hello.have, Some(second.position().to_wire()));
}

#[tokio::test]
async fn a_resource_that_does_not_compile_does_not_hold_up_the_others() {
    let [first, ..] = histories();
    let (_script, replica, mut visit) = holding(&first).await;
    let next = first.clone().put("routes/broken", "\u{ff}").put("clientKeys/odd", "\u{ff}").remove("clientKeys/a");
    let ack = visit.ask("2", &next.since(&first)).await;
    assert_eq!((ack.outcome(), ack.rejection_count), (Outcome::AppliedPartially, 2));
    let mut rejected: Vec<_> =
        ack.rejections.iter().map(|rejection| (rejection.name.as_str(), rejection.effect())).collect();
    rejected.sort();
    use sync::rejection::Effect;
    assert_eq!(rejected, [("clientKeys/odd", Effect::Deny), ("routes/broken", Effect::Absent)]);
    assert!(replica.live.load().unwrap().runtime.client_key(&sha256("one")).is_none(), "the revocation is in force");
}

#[tokio::test]
async fn a_replica_that_is_ahead_goes_on_serving() {
    let [first, ..] = histories();
    let (mut script, replica, visit) = holding(&first).await;
    drop(visit);
    let mut visit = script.visit().await;
    let welcome = sync::Welcome { resume: Resume::Held.into(), ..sync::Welcome::default() };
    visit.say(Message::Welcome(welcome)).await;
    visit.status(|status| status.serving_revision == 3).await;
    replica.assert_serves(&first);
}

#[tokio::test]
async fn a_control_plane_that_breaks_the_protocol_is_left_and_found_again() {
    let [first, second, third] = histories();
    let (mut script, replica, mut visit) = holding(&first).await;
    let good = parts("2", &second.full());
    let large = sync::UpdateChunk { data: vec![0; 64 * 1024 + 1].into() };
    let other_end = sync::UpdateEnd { update_id: "3".to_owned(), ..sync::UpdateEnd::default() };
    let breaches = [
        vec![good[1].clone()],
        vec![good[good.len() - 1].clone()],
        vec![good[0].clone(), good[0].clone()],
        vec![good[0].clone(), Message::Chunk(large)],
        vec![good[0].clone(), Message::End(other_end)],
        vec![Message::Welcome(sync::Welcome::default())],
    ];
    for breach in breaches {
        for message in breach {
            visit.say(message).await;
        }
        visit.left().await;
        visit = script.welcome().await;
    }
    assert_eq!(visit.ask("4", &third.full()).await.outcome(), Outcome::Applied);
    replica.stop().await;
}

#[tokio::test]
async fn a_further_update_before_the_last_is_acknowledged_is_a_breach() {
    let [first, ..] = histories();
    let (mut script, replica, visit) = holding(&first).await;
    // Large enough that it is still being compiled when the next one begins.
    let large = (0..5000).fold(first, |history, n| history.key(&format!("k{n}"), &n.to_string()));
    visit.send("2", &large.full()).await;
    visit.say(parts("3", &large.full()).remove(0)).await;
    visit.left().await;
    assert_eq!(script.visit().await.hello.have, Some(large.position().to_wire()), "what had arrived whole is held");
    replica.assert_serves(&large);
}

#[tokio::test]
async fn words_this_build_does_not_know_are_passed_over() {
    let [first, second, _] = histories();
    let (_script, _replica, mut visit) = holding(&first).await;
    visit.say(Message::Heartbeat(sync::Heartbeat::default())).await;
    assert_eq!(visit.ask("2", &second.since(&first)).await.outcome(), Outcome::Applied);
}

#[tokio::test]
async fn silence_is_not_taken_for_a_stream() {
    let mut script = Script::start().await;
    let timing = Timing { silence: Duration::from_millis(50), ..quick() };
    let _replica = Running::start(script.addr, None, timing);
    let unwelcomed = script.visit().await;
    let welcomed = script.welcome().await;
    script.visit().await;
    drop((unwelcomed, welcomed));
}

#[tokio::test]
async fn a_control_plane_that_goes_away_says_when_to_return() {
    let [first, ..] = histories();
    let (mut script, replica, visit) = holding(&first).await;
    let reconnect_after = Some(Duration::from_millis(20).try_into().unwrap());
    visit.say(Message::Drain(sync::Drain { reconnect_after })).await;
    visit.left().await;
    let visit = script.welcome().await;
    assert_eq!(visit.hello.have, Some(first.position().to_wire()));
    replica.assert_serves(&first);
}

#[tokio::test]
async fn what_an_operator_would_want_to_know_is_said_at_once() {
    let mut script = Script::start().await;
    let replica = Running::start(script.addr, None, quick());
    let mut visit = script.welcome().await;
    let status = visit.status(|_| true).await;
    assert_eq!(
        (status.held.as_ref(), status.config_source(), status.draining),
        (None, sync::ConfigSource::Unspecified, false)
    );
    assert!(status.local_time.is_some());
    let [first, ..] = histories();
    visit.ask("1", &first.full()).await;
    visit.status(|status| status.config_source() == sync::ConfigSource::Stream).await;
    replica.vitals.in_flight.store(7, std::sync::atomic::Ordering::Relaxed);
    replica.vitals.draining.cancel();
    let status = visit.status(|status| status.draining).await;
    assert_eq!((status.in_flight, status.serving_revision), (7, 3));
}

#[tokio::test]
async fn a_control_plane_behind_tls_must_be_vouched_for() {
    let disk = tempfile::tempdir().unwrap();
    let (ours, theirs) = (Authority::new(), Authority::new());
    let mut script = Script::start_with(Some(ours.identity())).await;
    let url: Uri = format!("https://{}", script.addr).parse().unwrap();
    let vouched_by = |authority: &Authority, file: &str| {
        let path = disk.path().join(file);
        std::fs::write(&path, authority.certificate.pem()).unwrap();
        ControlPlane { url: url.clone(), ca: Some(path), join_token: "joining".into() }
    };
    let good = vouched_by(&ours, "ours.pem");
    let public = ControlPlane { ca: None, ..good.clone() };
    let missing = ControlPlane { ca: Some(disk.path().join("missing.pem")), ..good.clone() };
    for bad in [vouched_by(&theirs, "theirs.pem"), public, missing] {
        let ended = soon(Session::open(&bad, sync::Hello::default(), quick())).await.unwrap_err();
        assert!(matches!(ended, Ended::Unconnected(Unconnected::Transport(_) | Unconnected::Authorities { .. })));
    }
    let (session, visit) = tokio::join!(Session::open(&good, sync::Hello::default(), quick()), script.visit());
    assert_eq!(visit.authorization, "Bearer joining");
    session.unwrap();
}

/// Signs certificates for loopback.
struct Authority {
    certificate: rcgen::Certificate,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate, issuer: rcgen::Issuer::new(params, key) }
    }

    fn identity(&self) -> Identity {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        Identity::from_pem(params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}
