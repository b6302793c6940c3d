//! Whatever the edits, the file tells the same story as the memory.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Provider(u8, bool),
    Credential(u8, u8, Option<u8>),
    ClientKey(u8, u8),
    Redirect(u8, u8),
    Route(u8, u8),
    Settings(Option<u8>),
    Delete(u8, u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..3_u8, any::<bool>()).prop_map(|(id, disabled)| Step::Provider(id, disabled)),
        (0..3_u8, 0..2_u8, proptest::option::of(0..3_u8)).prop_map(|(of, id, secret)| Step::Credential(of, id, secret)),
        (0..4_u8, 0..6_u8).prop_map(|(id, digest)| Step::ClientKey(id, digest)),
        (0..3_u8, 0..3_u8).prop_map(|(id, to)| Step::Redirect(id, to)),
        (0..3_u8, 0..4_u8).prop_map(|(id, segment)| Step::Route(id, segment)),
        proptest::option::of(0..3_u8).prop_map(Step::Settings),
        (0..5_u8, 0..3_u8).prop_map(|(kind, id)| Step::Delete(kind, id)),
    ]
}

fn edit(step: &Step) -> Edit {
    match *step {
        Step::Provider(id, disabled) => Edit::Put(admin::Provider { disabled, ..provider(&format!("p{id}")) }.into()),
        Step::Credential(of, id, secret) => {
            let secret = secret.map(|secret| format!("secret {secret}"));
            Edit::Put(credential(&format!("p{of}"), &format!("c{id}"), secret.as_deref()).into())
        }
        Step::ClientKey(id, digest) => Edit::Put(client_key(&format!("k{id}"), digest)),
        Step::Redirect(id, to) => {
            Edit::Put(redirect(&format!("r{id}"), &format!("model-{id}"), &format!("p{to}")).into())
        }
        Step::Route(id, segment) => Edit::Put(route(&format!("o{id}"), &format!("s{segment}")).into()),
        Step::Settings(to) => Edit::Put(settings(&to.map(|to| format!("p{to}")).unwrap_or_default()).into()),
        Step::Delete(kind, id) => Edit::Delete(name(&match kind {
            0 => format!("providers/p{id}"),
            1 => format!("providers/p{id}/credentials/c0"),
            2 => format!("clientKeys/k{id}"),
            3 => format!("redirects/r{id}"),
            _ => format!("routes/o{id}"),
        })),
    }
}

/// The tables as the history of changes says they must be.
async fn replayed(connection: &mut SqliteConnection) -> BTreeMap<String, String> {
    let changes: Vec<(String, Option<String>)> =
        sqlx::query_as("SELECT name, spec FROM changes ORDER BY revision").fetch_all(connection).await.unwrap();
    let mut specs = BTreeMap::new();
    for (name, spec) in changes {
        match spec {
            Some(spec) => specs.insert(name, spec),
            None => specs.remove(&name),
        };
    }
    specs
}

async fn tell(writes: Vec<Vec<Step>>) {
    let place = Place::new();
    let bench = place.open().await;
    for write in writes {
        let before = bench.ledger.state();
        let outcome = bench.edit(write.iter().map(edit).collect()).await;
        let after = bench.ledger.state();
        match outcome {
            Ok(written) if written.committed => {
                assert_eq!(after.position.revision, before.position.revision.next());
                assert_ne!(content(&after).1, content(&before).1);
            }
            Ok(_) | Err(Error::Invalid(_) | Error::Referenced(_)) => assert_eq!(content(&after), content(&before)),
            Err(error) => panic!("{error:?}"),
        }
        assert_eq!(after.position.digest, recomputed(&after));
    }
    let before = content(&bench.ledger.state());
    bench.close().await;

    let mut intruder = place.intrude().await;
    let rows = crate::store::resources::all(&mut intruder).await.unwrap();
    let stored: BTreeMap<String, String> = rows.into_iter().map(|row| (row.name, row.spec)).collect();
    assert_eq!(replayed(&mut intruder).await, stored);
    assert_eq!(content(&place.open().await.ledger.state()), before);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn memory_tables_and_history_agree(writes in vec(vec(step(), 1..5), 1..15)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(tell(writes));
    }
}
