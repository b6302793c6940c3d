//! Who is remembered, and for how long.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use signalbox_proto::{
    admin::v1::replica::State,
    sync::v1::{self as sync, ack::Outcome},
};
use signalbox_routing::{Digest, Position, Revision};

use super::{Crowded, Joining, Membership, Replicas};

fn head() -> Position {
    Position { epoch: "e".into(), revision: Revision::new(1).unwrap(), digest: Digest::default() }
}

fn join(replicas: &Replicas, id: &str) -> Result<Membership, Crowded> {
    replicas.join(joining(id))
}

fn joining(id: &str) -> Joining {
    Joining {
        id: Arc::from(id),
        boot_id: "b".to_owned(),
        version: String::new(),
        schema: 1,
        features: Vec::new(),
        source_ip: None,
        have: None,
        rejections: Vec::new(),
        current: 0,
    }
}

fn ids(replicas: &Replicas) -> Vec<String> {
    replicas.list(&head(), None).into_iter().map(|replica| replica.name).collect()
}

#[test]
fn replicas_are_listed_by_id_and_in_pages() {
    let replicas = Replicas::default();
    let _members = ["c", "a", "b"].map(|id| join(&replicas, id).unwrap());
    assert_eq!(ids(&replicas), ["replicas/a", "replicas/b", "replicas/c"]);
    let rest = replicas.list(&head(), Some("a"));
    assert_eq!(rest.iter().map(|replica| replica.name.as_str()).collect::<Vec<_>>(), ["replicas/b", "replicas/c"]);
    assert!(replicas.get("d", &head()).is_none());
}

#[test]
fn a_replica_that_has_gone_is_remembered_until_its_place_is_needed() {
    let replicas = Replicas::with_limit(3);
    let (a, b, c) = (join(&replicas, "a").unwrap(), join(&replicas, "b").unwrap(), join(&replicas, "c").unwrap());
    drop(b);
    drop(a);
    assert_eq!(replicas.get("b", &head()).unwrap().state(), State::Disconnected);
    let _d = join(&replicas, "d").unwrap();
    assert_eq!(ids(&replicas), ["replicas/a", "replicas/c", "replicas/d"], "b has been gone longest");
    let _a = join(&replicas, "a").unwrap();
    assert_eq!(join(&replicas, "e").unwrap_err(), Crowded { limit: 3 });
    drop(c);
    assert!(join(&replicas, "e").is_ok());
}

#[test]
fn the_end_of_an_old_stream_is_not_the_end_of_its_successor() {
    let replicas = Replicas::default();
    let old = join(&replicas, "a").unwrap();
    let new = join(&replicas, "a").unwrap();
    assert!(old.replaced.is_cancelled() && !new.replaced.is_cancelled());
    drop(old);
    assert_ne!(replicas.get("a", &head()).unwrap().state(), State::Disconnected);
    drop(new);
    assert_eq!(replicas.get("a", &head()).unwrap().state(), State::Disconnected);
}

#[test]
fn a_revisions_rollout_is_counted_and_timed() {
    let replicas = Replicas::default();
    let head = position(3);
    let joined = |id: &str| replicas.join(Joining { current: 1, ..joining(id) }).unwrap();
    let (early, late, broken, behind) = (joined("early"), joined("late"), joined("broken"), joined("behind"));
    drop(joined("gone"));
    early.acknowledged(ack(2, Outcome::Applied), &position(2));
    let commit_time = SystemTime::now() - Duration::from_secs(60);
    late.acknowledged(ack(3, Outcome::AppliedPartially), &position(3));
    broken.acknowledged(ack(1, Outcome::Rejected), &position(2));
    behind.acknowledged(ack(1, Outcome::Applied), &position(1));

    let rollout = replicas.rollout(2, commit_time, &head);
    assert_eq!((rollout.targets, rollout.disconnected), (4, 1));
    assert_eq!((rollout.applied, rollout.partial, rollout.rejected, rollout.pending), (1, 1, 1, 1));
    assert!((60..=120).contains(&rollout.slowest.unwrap().seconds));
    assert_eq!(replicas.rollout(1, commit_time, &head).slowest, None, "they came while it was current");
    assert_eq!(replicas.rollout(4, commit_time, &head).slowest, None, "nobody serves it");
}

fn position(revision: u64) -> Position {
    Position { revision: Revision::new(revision).unwrap(), ..head() }
}

fn ack(held: u64, outcome: Outcome) -> sync::Ack {
    let rejections = match outcome {
        Outcome::AppliedPartially => vec![sync::Rejection::default()],
        _ => Vec::new(),
    };
    let held = Some(position(held).to_wire());
    let serving_revision = held.as_ref().map_or(0, |held| held.revision);
    sync::Ack { outcome: outcome.into(), held, serving_revision, rejections, ..sync::Ack::default() }
}
