//! Runs the reconciler: hands it news and answers with the time, and makes the calls it gives, a bounded number at once.

use std::time::Duration;

use kleym_core::announce::{Announcement, Object, Weight};
use kleym_core::brake::Difference;
use kube::Client;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::client::CALL_DEADLINE;
use crate::events::Recorder;
use crate::feed::{Burst, News};
use crate::horizon::Horizons;
use crate::lease::Leadership;
use crate::metrics::Metrics;
use crate::perform::{Answer, Call, Term, perform};
use crate::reconciler::{Moment, Reconciler, Unready};
use crate::settings::Configuration;

/// How many calls may be under way at once, for all bindings together.
pub const CALLS_AT_ONCE: usize = 16;

/// For how long news is taken at once, before turns get on again. What a burst brings is seen as a whole before anything is
/// started, as long as it is not so much that everybody would wait for it.
const TAKING: Duration = Duration::from_millis(50);
/// How many answers are taken before news has its turn.
const ANSWERS_IN_A_ROW: u32 = 64;

/// The driver.
pub struct Driver {
    client: Client,
    reconciler: Reconciler,
    calls: JoinSet<(Call, Answer)>,
    origin: Instant,
    readiness: watch::Sender<Unready>,
    leadership: watch::Receiver<Leadership>,
    recorder: Recorder,
    horizons: Horizons,
    /// Asks for outputs to be listed again.
    anew: watch::Sender<u64>,
    leads: bool,
}

/// What the driver works with, beside the API client.
pub struct Surroundings {
    /// Whom to tell what it cannot vouch for.
    pub readiness: watch::Sender<Unready>,
    /// Whether it may write.
    pub leadership: watch::Receiver<Leadership>,
    /// Who tells the cluster what happens.
    pub recorder: Recorder,
    /// How far each kind was seen to be.
    pub horizons: Horizons,
    /// Asks the watches for outputs to be listed again.
    pub anew: watch::Sender<u64>,
    /// Where it counts.
    pub metrics: Metrics,
    /// Where its clock begins.
    pub origin: Instant,
}

impl Driver {
    /// A driver that knows nothing yet.
    pub fn new(client: Client, configuration: Configuration, surroundings: Surroundings) -> Self {
        let Configuration { settings, namespaces, allow_configuration_change, .. } = configuration;
        let Surroundings { readiness, leadership, recorder, horizons, anew, metrics, origin } = surroundings;
        let start = Moment { running: Duration::ZERO, wall: jiff::Timestamp::now() };
        let reconciler = Reconciler::new(settings, namespaces, start)
            .allow_configuration_change(allow_configuration_change)
            .with_metrics(metrics);
        Self {
            client,
            reconciler,
            calls: JoinSet::new(),
            origin,
            readiness,
            leadership,
            recorder,
            horizons,
            anew,
            leads: false,
        }
    }

    /// Drives until it is told to stop; calls under way are then waited for, up to their deadline. When the feed ends, it
    /// ends at once.
    ///
    /// # Errors
    /// When a call panics, or the configuration fits no issued output and may not change.
    pub async fn run(
        mut self,
        mut news: mpsc::Receiver<News>,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let (mut elected, mut burst, mut answers) = (true, Burst::default(), 0);
        let braked = loop {
            let leads = self.leads_now();
            while leads && self.calls.len() < CALLS_AT_ONCE {
                let Some(call) = self.reconciler.next_call(self.moment()) else { break };
                self.start(call);
            }
            if !self.reconciler.braked().is_empty() {
                break Some(Braked::by(self.reconciler.braked()));
            }
            self.tell_readiness();
            for announcement in self.reconciler.announcements() {
                log(&announcement);
                self.recorder.tell(announcement);
            }
            let due = match self.reconciler.is_ready() {
                true => Some(Instant::now()),
                false => self.reconciler.next_due().map(|due| self.origin + due),
            };
            let room = leads && self.calls.len() < CALLS_AT_ONCE;
            let wake = async {
                match due {
                    Some(at) if room => sleep_until(at).await,
                    _ => std::future::pending().await,
                }
            };
            // Answers come first, so that calls are always under way, but news waits for no more than some of them.
            if answers >= ANSWERS_IN_A_ROW {
                answers = 0;
                self.take_ready(&mut burst, &mut news);
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => break None,
                Some(finished) = self.calls.join_next() => {
                    answers += 1;
                    let (call, answer) = finished?;
                    if let Some(next) = self.reconciler.answered(self.moment(), call, &answer) {
                        self.start(next);
                    }
                }
                first = burst.next(&mut news) => {
                    // Why they ended is for the watches to say.
                    let Some(first) = first else { return Ok(()) };
                    answers = 0;
                    self.reconciler.take(self.moment(), first);
                    self.take_ready(&mut burst, &mut news);
                }
                // When the election has ended, the process ends with it; until then nothing is written.
                changed = self.leadership.changed(), if elected => elected = changed.is_ok(),
                () = wake => {}
            }
        };
        tracing::info!(calls = self.calls.len(), "stopping: waiting for calls under way");
        let finish = async { while self.calls.join_next().await.is_some() {} };
        let _ = timeout(CALL_DEADLINE, finish).await;
        braked.map_or(Ok(()), |braked| Err(braked.into()))
    }

    /// Takes the news that is there, for a moment at the most.
    fn take_ready(&mut self, burst: &mut Burst, news: &mut mpsc::Receiver<News>) {
        let began = Instant::now();
        while began.elapsed() < TAKING
            && let Some(next) = burst.ready(news)
        {
            self.reconciler.take(self.moment(), next);
        }
    }

    /// Whether this replica may write. One that takes over asks for what the former one wrote last.
    fn leads_now(&mut self) -> bool {
        let (leads, elected) = {
            let leadership = self.leadership.borrow_and_update();
            (leadership.deadline(Instant::now()).is_some(), *leadership != Leadership::Unelected)
        };
        if leads && !std::mem::replace(&mut self.leads, leads) && elected {
            self.anew.send_modify(|asked| *asked += 1);
            let asked = *self.anew.borrow();
            self.reconciler.takes_over(self.moment(), asked);
        }
        leads
    }

    fn moment(&self) -> Moment {
        Moment { running: self.origin.elapsed(), wall: jiff::Timestamp::now() }
    }

    /// Makes a call that must not begin or go on after this replica's leadership.
    fn start(&mut self, call: Call) {
        let client = self.client.clone();
        let horizons = self.horizons.clone();
        let term = self.leadership.borrow().deadline(Instant::now()).map(Term::of_now);
        self.calls.spawn(async move {
            let answer = match term {
                Some(term) => perform(&client, &horizons, &call, term).await,
                None => Answer::not_made(),
            };
            (call, answer)
        });
    }

    fn tell_readiness(&self) {
        let mut unready = self.reconciler.unready();
        if let Leadership::Standby { trouble: Some(trouble) } = &*self.leadership.borrow() {
            unready.push(format!("the lease of the leader election cannot be read or written: {trouble}"));
        }
        self.readiness.send_if_modified(|known| {
            let changed = *known != unready;
            *known = unready;
            changed
        });
    }
}

/// One line a transition, for whoever reads the log after the events have expired.
fn log(announcement: &Announcement) {
    let (about, note) = (announcement.regarding.name(), &announcement.note);
    let namespace = match &announcement.regarding {
        Object::Binding(key, _) => key.namespace.as_str(),
        Object::Output(..) => "",
    };
    match announcement.weight {
        Weight::Normal => {
            tracing::info!(occasion = announcement.occasion.as_str(), namespace, name = %about, "{note}");
        }
        Weight::Warning => {
            tracing::warn!(occasion = announcement.occasion.as_str(), namespace, name = %about, "{note}");
        }
    }
}

/// The configuration fits no issued output and may not change. No call is under way, so the lease can be given back.
#[derive(Debug, thiserror::Error)]
#[error(
    "the configuration does not fit what SPIRE has made entries for, and starting would withdraw or move those identities: {0}; correct it, or start once with --allow-configuration-change"
)]
pub struct Braked(String);

impl Braked {
    fn by(differences: &[Difference]) -> Self {
        let differences: Vec<String> = differences.iter().map(ToString::to_string).collect();
        Self(differences.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::settings::Flags;

    #[tokio::test]
    async fn why_the_watches_ended_is_left_for_them_to_say() {
        let client = Client::try_from(kube::Config::new("http://127.0.0.1:9".parse().unwrap())).unwrap();
        let configuration =
            Flags::try_parse_from(["kleym-operator"]).unwrap().resolve(&|_: &str| None).unwrap();
        let (readiness, _seen) = watch::channel(Unready::default());
        let (_elected, leadership) = watch::channel(Leadership::Unelected);
        let (anew, _asked) = watch::channel(0);
        let (metrics, stop, mut tasks) = (Metrics::default(), CancellationToken::new(), JoinSet::new());
        let recorder = Recorder::start(
            client.clone(),
            "pod-1",
            leadership.clone(),
            metrics.clone(),
            &mut tasks,
            stop.clone(),
        );
        let (horizons, origin) = (Horizons::default(), Instant::now());
        let surroundings = Surroundings { readiness, leadership, recorder, horizons, anew, metrics, origin };
        let driver = Driver::new(client, configuration, surroundings);
        let (watches, news) = mpsc::channel(1);
        drop(watches);
        driver.run(news, stop).await.unwrap();
    }
}
