//! Where exchanges are counted: counters found once by their labels and kept, since to find one costs far more than to count. It
//! knows nothing of who reads them.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use arc_swap::ArcSwap;
use http::StatusCode;
use metrics::{Counter, Histogram, Key, Label, Recorder as _, SharedString};
use metrics_exporter_prometheus::PrometheusRecorder;

use super::{ATTEMPTS, BYTES, DURATION, FIRST_EVENT, METADATA, REQUESTS, TOKENS};
use crate::{
    record::{Outcome, Record},
    usage::Usage,
};

/// Most tallies that are kept. Upstreams come and go with the configuration: when there are more, all are looked up anew.
const MOST: usize = 4096;

/// The tallies in use. Read by every exchange, and changed only by the first of its kind.
#[derive(Debug, Default)]
pub(super) struct Tallies(ArcSwap<Known>);

/// By the id of the upstream; empty = none was asked.
type Known = BTreeMap<Arc<str>, Vec<Arc<Tally>>>;

/// What exchanges with one upstream must have in common to be counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    endpoint: &'static str,
    status: Option<StatusCode>,
    outcome: Outcome,
}

/// The counters of one kind of exchange with one upstream. What not every exchange has appears with the first that has it.
#[derive(Debug)]
struct Tally {
    kind: Kind,
    place: [Label; 2],
    requests: Counter,
    bytes: Counter,
    duration: Histogram,
    attempts: OnceLock<Counter>,
    tokens: OnceLock<[Counter; 2]>,
    first_event: OnceLock<Histogram>,
}

impl Tallies {
    /// Counts an exchange that is over.
    pub(super) fn count(&self, recorder: &PrometheusRecorder, record: &Record, outcome: Outcome, took: Duration) {
        let kind = Kind { endpoint: record.operation.pattern(), status: record.status, outcome };
        let upstream = record.upstream().unwrap_or_default();
        let known = self.0.load();
        let kept = known.get(upstream).and_then(|tallies| tallies.iter().find(|tally| tally.kind == kind));
        if let Some(tally) = kept {
            return tally.count(recorder, record, took);
        }
        let tally = Arc::new(Tally::new(recorder, upstream.into(), kind));
        tally.count(recorder, record, took);
        self.keep(&upstream.into(), &tally);
    }

    /// Two threads may come with the same: they count with the same counters, and one tally more does no harm.
    fn keep(&self, upstream: &Arc<str>, tally: &Arc<Tally>) {
        self.0.rcu(|known| {
            let is_full = known.values().map(Vec::len).sum::<usize>() >= MOST;
            let mut known = if is_full { Known::default() } else { Known::clone(known) };
            known.entry(Arc::clone(upstream)).or_default().push(Arc::clone(tally));
            known
        });
    }
}

impl Tally {
    fn new(recorder: &PrometheusRecorder, upstream: Arc<str>, kind: Kind) -> Self {
        let place =
            [Label::from_static_parts("endpoint", kind.endpoint), Label::new("upstream", SharedString::from(upstream))];
        let code = kind.status.map(|status| status.as_str().to_owned()).unwrap_or_default();
        let ending = [Label::new("code", code), Label::from_static_parts("outcome", kind.outcome.as_str())];
        Self {
            requests: counter(recorder, REQUESTS, place.iter().chain(&ending)),
            bytes: counter(recorder, BYTES, &place),
            duration: histogram(recorder, DURATION, &place),
            attempts: OnceLock::new(),
            tokens: OnceLock::new(),
            first_event: OnceLock::new(),
            kind,
            place,
        }
    }

    fn count(&self, recorder: &PrometheusRecorder, record: &Record, took: Duration) {
        let place = &self.place;
        self.requests.increment(1);
        self.bytes.increment(record.bytes_out);
        self.duration.record(took.as_secs_f64());
        if record.trail.attempts > 0 {
            let attempts = self.attempts.get_or_init(|| counter(recorder, ATTEMPTS, place));
            attempts.increment(record.trail.attempts.into());
        }
        if let Some(Usage { prompt, completion }) = record.usage {
            let counted = |direction| {
                let direction = Label::from_static_parts("direction", direction);
                counter(recorder, TOKENS, place.iter().chain([&direction]))
            };
            let [prompts, completions] = self.tokens.get_or_init(|| ["prompt", "completion"].map(counted));
            prompts.increment(prompt);
            completions.increment(completion);
        }
        if let Some(first) = record.time_to_first_event() {
            let first_event = self.first_event.get_or_init(|| histogram(recorder, FIRST_EVENT, place));
            first_event.record(first.as_secs_f64());
        }
    }
}

fn counter<'l>(
    recorder: &PrometheusRecorder,
    name: &'static str,
    labels: impl IntoIterator<Item = &'l Label>,
) -> Counter {
    let labels: Vec<Label> = labels.into_iter().cloned().collect();
    recorder.register_counter(&Key::from_parts(name, labels), &METADATA)
}

fn histogram(recorder: &PrometheusRecorder, name: &'static str, labels: &[Label]) -> Histogram {
    recorder.register_histogram(&Key::from_parts(name, labels.to_vec()), &METADATA)
}

#[cfg(test)]
mod tests {
    use http::Method;
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;
    use crate::{attempt::tests::provider, record::RequestId};

    /// An exchange of 7 bytes that came to one attempt at the provider of this id.
    fn record(upstream: &str, status: StatusCode) -> Record {
        let mut record = Record::new(RequestId::new(), Method::POST);
        record.status = Some(status);
        record.bytes_out = 7;
        record.trail.attempts = 1;
        record.trail.provider = Some(Arc::new(provider(upstream, ([127, 0, 0, 1], 9).into(), &[])));
        record
    }

    fn count(tallies: &Tallies, recorder: &PrometheusRecorder, record: &Record) {
        tallies.count(recorder, record, Outcome::Completed, Duration::from_millis(1));
    }

    #[test]
    fn exchanges_of_one_kind_share_a_tally_and_others_have_their_own() {
        let (tallies, recorder) = (Tallies::default(), PrometheusBuilder::new().build_recorder());
        let mut spoke = record("a", StatusCode::OK);
        spoke.usage = Some(Usage { prompt: 3, completion: 4 });
        for record in
            [&record("a", StatusCode::OK), &spoke, &record("a", StatusCode::CREATED), &record("b", StatusCode::OK)]
        {
            count(&tallies, &recorder, record);
        }
        let known = tallies.0.load();
        assert_eq!((known["a"].len(), known["b"].len(), known.len()), (2, 1, 2));
        let page = recorder.handle().render();
        for line in [
            r#"signalbox_requests_total{endpoint="",upstream="a",code="200",outcome="completed"} 2"#,
            r#"signalbox_requests_total{endpoint="",upstream="a",code="201",outcome="completed"} 1"#,
            r#"signalbox_response_bytes_total{endpoint="",upstream="a"} 21"#,
            r#"signalbox_attempts_total{endpoint="",upstream="a"} 3"#,
            r#"signalbox_attempts_total{endpoint="",upstream="b"} 1"#,
            r#"signalbox_tokens_total{endpoint="",upstream="a",direction="completion"} 4"#,
        ] {
            assert!(page.contains(line), "{line} is not in\n{page}");
        }
        assert!(!page.contains(r#"signalbox_tokens_total{endpoint="",upstream="b""#), "{page}");
    }

    #[test]
    fn upstreams_that_come_and_go_do_not_add_up_and_nothing_counted_is_lost() {
        let (tallies, recorder) = (Tallies::default(), PrometheusBuilder::new().build_recorder());
        count(&tallies, &recorder, &record("stays", StatusCode::OK));
        let kind = Kind { endpoint: "", status: None, outcome: Outcome::Completed };
        let one = Arc::new(Tally::new(&recorder, "gone".into(), kind));
        for number in 0..MOST {
            tallies.keep(&number.to_string().into(), &one);
            assert!(tallies.0.load().len() <= MOST);
        }
        assert!(!tallies.0.load().contains_key("stays"));
        count(&tallies, &recorder, &record("stays", StatusCode::OK));
        let line = r#"signalbox_attempts_total{endpoint="",upstream="stays"} 2"#;
        assert!(recorder.handle().render().contains(line));
    }
}
