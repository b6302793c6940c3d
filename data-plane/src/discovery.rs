//! Asks providers for their models, at once and then now and then, and lays what they list over the configuration in force. It takes
//! no part in a request, and nobody waits for it: until a provider has answered, its list is the last one, or empty.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use signalbox_routing::{Id, Provider};
use tokio::{
    task::{AbortHandle, JoinError, JoinSet, spawn_blocking},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::live::Live;

mod list;

use list::{List, Unlisted};

/// Most that the first wait after a failure is; it doubles with each, up to the provider's interval.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// Follows the configuration in force and asks whom it says, until told to stop.
pub(crate) async fn run(live: Arc<Live>, ended: CancellationToken) {
    let mut serving = live.subscribe();
    serving.mark_changed();
    let mut discovery = Discovery { live, asked: BTreeMap::new(), rounds: JoinSet::new() };
    loop {
        tokio::select! {
            () = ended.cancelled() => break,
            Ok(()) = serving.changed() => discovery.follow(),
            Some(round) = discovery.rounds.join_next() => discovery.settle(round).await,
        }
    }
    discovery.rounds.shutdown().await;
}

/// Who is asked. What was found is a part of the configuration in force, and of nothing else.
#[derive(Debug)]
struct Discovery {
    live: Arc<Live>,
    asked: BTreeMap<Id, Asked>,
    rounds: JoinSet<Round>,
}

/// A provider that is asked, and waited for in between.
#[derive(Debug)]
struct Asked {
    provider: Arc<Provider>,
    round: AbortHandle,
    /// The waits since it last answered; `None` = it did.
    failing: Option<ExponentialBackoff>,
}

/// What came of asking once.
#[derive(Debug)]
struct Round {
    provider: Arc<Provider>,
    outcome: Result<List, Unlisted>,
}

impl Discovery {
    /// Begins anew with whom the configuration in force has changed, and gives up whom it does not name any more.
    fn follow(&mut self) {
        let Some(snapshot) = self.live.load() else { return };
        let wanted = snapshot.runtime.providers().filter(|provider| provider.discovery.is_some());
        let wanted: BTreeMap<&Id, &Arc<Provider>> = wanted.map(|provider| (&provider.id, provider)).collect();
        self.asked.retain(|id, asked| {
            let same = wanted.get(id).is_some_and(|provider| Arc::ptr_eq(provider, &asked.provider));
            if !same {
                asked.round.abort();
            }
            same
        });
        for (id, provider) in wanted {
            if !self.asked.contains_key(id) {
                self.begin(Arc::clone(provider), Duration::ZERO, None);
            }
        }
    }

    fn begin(&mut self, provider: Arc<Provider>, wait: Duration, failing: Option<ExponentialBackoff>) {
        let (id, live, asked) = (provider.id.clone(), Arc::clone(&self.live), Arc::clone(&provider));
        let round = self.rounds.spawn(async move {
            sleep(wait).await;
            Round { outcome: list::fetch(&live, &asked).await, provider: asked }
        });
        self.asked.insert(id, Asked { provider, round, failing });
    }

    async fn settle(&mut self, round: Result<Round, JoinError>) {
        let Round { provider, outcome } = match round {
            Ok(round) => round,
            Err(error) => {
                if !error.is_cancelled() {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "a provider is not asked for its models any more"
                    );
                }
                return;
            }
        };
        // What was given up may have come to an end all the same.
        let current = |asked: &Asked| Arc::ptr_eq(&asked.provider, &provider);
        if !self.asked.get(&provider.id).is_some_and(current) {
            return;
        }
        let failing = self.asked.remove(&provider.id).and_then(|asked| asked.failing);
        let interval = provider.discovery.unwrap_or_default();
        match outcome {
            Ok(list) => {
                self.keep(&provider.id, list).await;
                self.begin(provider, jitter(interval), None);
            }
            Err(error) => {
                if failing.is_none() {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(provider = %provider.id, error, "cannot list the models: keeping what was found before");
                }
                let mut failing = failing.unwrap_or_else(|| waits(interval));
                let wait = failing.next().unwrap_or(interval);
                self.begin(provider, jitter(wait), Some(failing));
            }
        }
    }

    /// Lays a list over the configuration in force, unless it says nothing new.
    async fn keep(&self, provider: &Id, list: List) {
        let known = self.live.load().is_some_and(|snapshot| snapshot.runtime.found().get(provider) == Some(&list));
        if known {
            return;
        }
        tracing::info!(%provider, models = list.len(), "models discovered");
        let (live, provider) = (Arc::clone(&self.live), provider.clone());
        // Whoever makes the next snapshot may hold the turn for a while.
        if let Err(error) = spawn_blocking(move || live.lay_over(provider, list)).await {
            tracing::error!(error = &error as &dyn std::error::Error, "discovered models are not in force");
        }
    }
}

fn waits(interval: Duration) -> ExponentialBackoff {
    ExponentialBuilder::default().with_min_delay(FIRST_WAIT).with_max_delay(interval).without_max_times().build()
}

/// A tenth less to a tenth more, so that replicas do not ask all at once.
fn jitter(around: Duration) -> Duration {
    around.mul_f64(0.9 + 0.2 * fastrand::f64())
}
