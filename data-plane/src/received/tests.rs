//! What is held follows what is sent, and nothing else.

use proptest::prelude::*;

use super::{
    history::{History, update},
    *,
};

fn take(received: &mut Received, bundle: &sync::Bundle) -> Result<Vec<Change>, Refused> {
    let step = received.check(update(bundle))?;
    let changes = step.changes().to_vec();
    received.commit(step);
    Ok(changes)
}

fn holding(history: &History) -> Received {
    let mut received = Received::default();
    take(&mut received, &history.full()).unwrap();
    received
}

/// Holds exactly this.
fn assert_holds(received: &Received, history: &History) {
    assert_eq!(received.position, Some(history.position()));
    assert_eq!(received.resources, history.resources);
}

#[test]
fn a_full_snapshot_replaces_everything_and_changes_only_what_differs() {
    let old = History::new("e").key("a", "1").key("b", "2").key("c", "3");
    let new = old.clone().key("b", "4").remove("clientKeys/c");
    let mut received = holding(&old);
    let changes = take(&mut received, &new.full()).unwrap();
    assert_eq!(changes.iter().map(|change| change.name().id()).collect::<Vec<_>>(), ["c", "b"]);
    assert_holds(&received, &new);
}

#[test]
fn a_delta_on_what_is_held_leads_to_its_target() {
    let old = History::new("e").key("a", "1").key("b", "2");
    let new = old.clone().key("a", "3").remove("clientKeys/b").key("c", "4");
    let mut received = holding(&old);
    take(&mut received, &new.since(&old)).unwrap();
    assert_holds(&received, &new);
}

#[test]
fn a_delta_on_anything_else_is_refused() {
    let old = History::new("e").key("a", "1");
    let newer = old.clone().key("b", "2");
    let delta = newer.clone().key("c", "3").since(&newer);
    let mut received = holding(&old);
    assert_eq!(take(&mut received, &delta), Err(Refused::Base { base: newer.position().revision }));
    assert_holds(&received, &old);
    assert!(matches!(take(&mut Received::default(), &delta), Err(Refused::Base { .. })));
}

#[test]
fn a_digest_that_does_not_agree_changes_nothing() {
    let old = History::new("e").key("a", "1").key("b", "2");
    let new = old.clone().key("a", "3");
    let mut received = holding(&old);
    for mut bundle in [new.full(), new.since(&old)] {
        bundle.upserts.retain(|resource| resource.name != "clientKeys/a");
        assert!(matches!(take(&mut received, &bundle), Err(Refused::Digest { .. })));
        assert_holds(&received, &old);
    }
}

#[test]
fn older_never_replaces_newer_within_a_history_but_another_history_does() {
    let old = History::new("e").key("a", "1");
    let new = old.clone().key("a", "2");
    let mut received = holding(&new);
    assert!(matches!(take(&mut received, &old.full()), Err(Refused::Older { .. })));
    assert!(matches!(take(&mut received, &old.since(&new)), Err(Refused::Older { .. })));
    assert_holds(&received, &new);
    let other = History::new("other");
    take(&mut received, &other.full()).unwrap();
    assert_holds(&received, &other);
}

#[test]
fn the_same_revision_in_full_heals_what_had_diverged() {
    let right = History::new("e").key("a", "1");
    let mut received = holding(&History::new("e").key("a", "2"));
    take(&mut received, &right.full()).unwrap();
    assert_holds(&received, &right);
}

#[test]
fn a_resource_named_twice_is_refused() {
    let old = History::new("e").key("a", "1");
    let new = old.clone().key("b", "2");
    let mut received = holding(&old);
    let mut twice = new.full();
    twice.upserts.push(twice.upserts[0].clone());
    assert!(matches!(take(&mut received, &twice), Err(Refused::Repeated(_))));
    let mut both = new.since(&old);
    let (kind, name) = (both.upserts[0].kind.clone(), both.upserts[0].name.clone());
    both.removes.push(sync::ResourceRef { kind, name });
    assert!(matches!(take(&mut received, &both), Err(Refused::Repeated(_))));
    assert_holds(&received, &old);
}

#[test]
fn what_is_held_can_be_sent_on() {
    let history = History::new("e").key("a", "1").put("routes/r", "no message");
    assert_eq!(holding(&history).snapshot(), Some(history.full()));
    assert_eq!(Received::default().snapshot(), None);
}

#[test]
fn a_bundle_is_read_under_its_announced_length() {
    let bundle = History::new("e").key("a", "1").full();
    let plain = prost::Message::encode_to_vec(&bundle);
    let length = plain.len() as u64;
    let packed = zstd::bulk::compress(&plain, 1).unwrap();
    assert_eq!(decode(&packed, Encoding::Zstd, length).unwrap(), update(&bundle));
    for wrong in [0, length - 1, length + 1] {
        for (bytes, encoding) in [(&plain, Encoding::Identity), (&packed, Encoding::Zstd)] {
            assert!(matches!(decode(bytes, encoding, wrong), Err(Undecodable::Length { .. })));
        }
    }
    assert!(matches!(decode(&plain, Encoding::Zstd, length), Err(Undecodable::Compression(_))));
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 1).unwrap();
    assert!(matches!(decode(&bomb, Encoding::Zstd, 1000), Err(Undecodable::Length { found: 1001, .. })));
}

#[test]
fn a_bundle_that_makes_no_sense_is_not_one() {
    let good = History::new("e").key("a", "1").full();
    let read = |bundle: &sync::Bundle| {
        let bytes = prost::Message::encode_to_vec(bundle);
        decode(&bytes, Encoding::Identity, bytes.len() as u64)
    };
    let no_target = sync::Bundle { target: None, ..good.clone() };
    assert!(matches!(read(&no_target), Err(Undecodable::Target)));
    let no_epoch = sync::Bundle { target: Some(sync::Position::default()), ..good.clone() };
    assert!(matches!(read(&no_epoch), Err(Undecodable::Position(_))));
    let mut unknown = good;
    unknown.upserts[0].kind = "gadget".into();
    assert!(matches!(read(&unknown), Err(Undecodable::Resource(_))));
    assert!(matches!(decode(b"\xff", Encoding::Identity, 1), Err(Undecodable::Message(_))));
}

/// One thing that happens to a history and to whoever follows it.
#[derive(Debug, Clone)]
enum Event {
    Put(u8, u8),
    Remove(u8),
    Full,
    Delta,
    StaleDelta,
    Damaged(usize),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (0..8_u8, any::<u8>()).prop_map(|(id, body)| Event::Put(id, body)),
        2 => (0..8_u8).prop_map(Event::Remove),
        1 => Just(Event::Full),
        3 => Just(Event::Delta),
        1 => Just(Event::StaleDelta),
        1 => any::<usize>().prop_map(Event::Damaged),
    ];
    prop::collection::vec(event, 1..60)
}

proptest! {
    #[test]
    fn what_is_held_is_always_exactly_one_revision(events in events()) {
        let mut head = History::new("e");
        // What a follower should hold; it begins with nothing.
        let mut held: Option<History> = None;
        let mut received = Received::default();
        for event in events {
            match event {
                Event::Put(id, body) => head = head.put(&format!("routes/r{id}"), vec![body]),
                Event::Remove(id) => head = head.remove(&format!("routes/r{id}")),
                Event::Full => {
                    take(&mut received, &head.full()).unwrap();
                    held = Some(head.clone());
                }
                Event::Delta => match &held {
                    Some(base) => {
                        take(&mut received, &head.since(base)).unwrap();
                        held = Some(head.clone());
                    }
                    None => prop_assert!(take(&mut received, &head.since(&head)).is_err()),
                },
                Event::StaleDelta => {
                    let ahead = head.clone().put("routes/ahead", "x");
                    let beyond = ahead.clone().put("routes/beyond", "x");
                    prop_assert!(take(&mut received, &beyond.since(&ahead)).is_err());
                }
                Event::Damaged(at) => {
                    let mut bundle = head.full();
                    if let Some(count) = std::num::NonZeroUsize::new(bundle.upserts.len()) {
                        bundle.upserts.remove(at % count);
                        prop_assert!(take(&mut received, &bundle).is_err());
                    }
                }
            }
            prop_assert_eq!(&received.position, &held.as_ref().map(History::position));
            if let Some(held) = &held {
                prop_assert_eq!(&received.resources, &held.resources);
            }
        }
    }
}
