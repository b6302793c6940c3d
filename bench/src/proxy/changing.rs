//! An operator who never rests: revisions that come so many times a second while they are wanted, of everything that a data plane
//! compiles and of nothing that the load uses.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use signalbox_proto::admin::v1::{ApplyConfigRequest, ClientKey, Config, Provider};
use signalbox_tests::{Admin, Draft, draft};
use tokio::{
    task::JoinHandle,
    time::{interval, sleep, timeout},
};
use tonic::Status;

use super::report::Revisions;
use crate::configuration;

/// Until a data plane serves a revision.
const PATIENCE: Duration = Duration::from_secs(20);

/// Commits while it is told to.
#[derive(Debug)]
pub(super) struct Changing {
    told: Arc<Told>,
    task: JoinHandle<Status>,
    begun: Option<Instant>,
    took: Duration,
}

#[derive(Debug, Default)]
struct Told {
    on: AtomicBool,
    committed: AtomicU64,
    last: AtomicU64,
}

impl Changing {
    pub(super) fn start(admin: Admin, per_second: u32) -> Self {
        let told = Arc::<Told>::default();
        let task = tokio::spawn(commit(admin, per_second, Arc::clone(&told)));
        Self { told, task, begun: None, took: Duration::ZERO }
    }

    pub(super) fn switch(&mut self, on: bool) {
        self.told.on.store(on, Ordering::Relaxed);
        self.took += self.begun.take().map_or(Duration::ZERO, |begun| begun.elapsed());
        self.begun = on.then(Instant::now);
    }

    /// What was committed while it was wanted, and whether the data plane of this control plane comes to serve the last of it.
    pub(super) async fn end(mut self, admin: &Admin) -> Result<Revisions, Status> {
        self.switch(false);
        if self.task.is_finished() {
            let ended = (&mut self.task).await;
            return Err(ended.unwrap_or_else(|error| Status::internal(error.to_string())));
        }
        let (committed, last) = (&self.told.committed, &self.told.last);
        let per_second = count(committed.load(Ordering::Relaxed)) / self.took.as_secs_f64();
        let served = async {
            // Again for each look: one may be under way.
            while !serves(admin, last.load(Ordering::Relaxed)).await? {
                sleep(Duration::from_millis(10)).await;
            }
            Ok::<_, Status>(())
        };
        let served = timeout(PATIENCE, served).await.ok().transpose()?.is_some();
        Ok(Revisions { per_second, last: last.load(Ordering::Relaxed), served })
    }
}

impl Drop for Changing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Commits until that is refused.
async fn commit(admin: Admin, per_second: u32, told: Arc<Told>) -> Status {
    let (mut ticks, mut number) = (interval(Duration::from_secs(1) / per_second.max(1)), 0);
    loop {
        ticks.tick().await;
        if !told.on.load(Ordering::Relaxed) {
            continue;
        }
        let request = ApplyConfigRequest { config: Some(change(number)), ..ApplyConfigRequest::default() };
        match admin.configs().apply_config(request).await {
            Ok(applied) => {
                told.last.store(applied.into_inner().revision, Ordering::Relaxed);
                told.committed.fetch_add(1, Ordering::Relaxed);
            }
            Err(refused) => return refused,
        }
        number += 1;
    }
}

async fn serves(admin: &Admin, revision: u64) -> Result<bool, Status> {
    Ok(admin.list_replicas().await?.iter().any(|replica| replica.serving_revision >= revision))
}

/// The so many-th change: of a key's rights, of where a redirect leads, or of a provider's models, in turn.
fn change(number: u64) -> Config {
    let draft = Draft::new();
    let model = format!("spare-{number}");
    let draft = match number % 3 {
        0 => draft.client_key(ClientKey { allowed_models: vec![model], ..configuration::client_key(0) }),
        1 => draft.redirect("spare", "bench-spare", &[("bench", &model)]),
        _ => {
            let provider = draft::provider("spare", "https://models.example/v1");
            draft.provider(Provider { models: vec![model], ..provider })
        }
    };
    draft.0
}

#[expect(clippy::cast_precision_loss, reason = "nobody commits 2^53 revisions")]
const fn count(committed: u64) -> f64 {
    committed as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_change_repeats_another_and_keys_redirects_and_providers_take_turns() {
        let changes: Vec<_> = (0..9).map(change).collect();
        for (number, change) in changes.iter().enumerate() {
            assert_eq!(changes.iter().filter(|other| *other == change).count(), 1);
            let kinds = [change.client_keys.len(), change.redirects.len(), change.providers.len()];
            assert_eq!((kinds[number % 3], kinds.iter().sum::<usize>()), (1, 1));
        }
    }
}
