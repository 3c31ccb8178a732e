//! The open watches: every event passes here on its way to the client, and can be lost, doubled, delayed or frozen.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::{Body, Bytes};
use futures::{StreamExt, stream};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::Asked;
use super::fault::{EventFault, Gate, Strikes};

type Watches = Box<dyn Fn(&Asked) -> bool + Send + Sync>;
type Events = Box<dyn Fn(&Value) -> bool + Send>;

/// What is said into an open watch.
#[derive(Debug, Clone)]
pub(super) enum Word {
    /// One more event.
    Line(Bytes),
    /// The last event; the stream then ends well.
    Last(Bytes),
    /// The first half of an event; the connection then breaks.
    Half(Bytes),
    /// The connection breaks.
    Break,
}

#[derive(Default)]
struct State {
    open: Vec<(Arc<Asked>, mpsc::UnboundedSender<Word>)>,
    frozen: Vec<(Watches, Gate)>,
    faults: Vec<Rule>,
    /// How many events came, by resource.
    events: BTreeMap<String, usize>,
}

/// Which events of which watches suffer what.
struct Rule {
    watches: Watches,
    events: Events,
    fault: EventFault,
    /// Whether only the next one does.
    once: bool,
    strikes: Strikes,
}

/// All open watches.
#[derive(Default)]
pub(super) struct Streams(Mutex<State>);

impl Streams {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn heal(&self) {
        let mut state = self.state();
        state.faults.clear();
        for (_, gate) in state.frozen.drain(..) {
            gate.open();
        }
    }

    pub(super) fn on_event(
        &self,
        watches: Watches,
        events: Events,
        fault: EventFault,
        once: bool,
    ) -> Strikes {
        let strikes = Strikes::default();
        self.state().faults.push(Rule { watches, events, fault, once, strikes: strikes.clone() });
        strikes
    }

    pub(super) fn events(&self) -> BTreeMap<String, usize> {
        self.state().events.clone()
    }

    fn count(&self, asked: &Asked) {
        *self.state().events.entry(asked.resource.clone()).or_insert(0) += 1;
    }

    pub(super) fn freeze(&self, watches: Watches, gate: Gate) {
        self.state().frozen.push((watches, gate));
    }

    pub(super) fn say(&self, watches: &impl Fn(&Asked) -> bool, word: &Word) -> usize {
        let mut state = self.state();
        state.open.retain(|(_, sender)| !sender.is_closed());
        let chosen = state.open.iter().filter(|(asked, _)| watches(asked));
        chosen.filter(|(_, sender)| sender.send(word.clone()).is_ok()).count()
    }

    /// The body of a watch's answer, event by event.
    pub(super) fn pass(self: Arc<Self>, asked: Arc<Asked>, upstream: Body) -> Body {
        let (words, spoken) = mpsc::unbounded_channel();
        self.state().open.push((Arc::clone(&asked), words));
        // As small as it can be: what is frozen here is frozen for the client.
        let (lines, received) = mpsc::channel(1);
        tokio::spawn(Passage { streams: self, asked, lines }.run(upstream, spoken));
        Body::from_stream(stream::unfold(received, |mut received| async {
            received.recv().await.map(|line| (line, received))
        }))
    }

    /// The gates before which the events of a watch wait.
    fn gates(&self, asked: &Asked) -> Vec<Gate> {
        let state = self.state();
        state.frozen.iter().filter(|(watches, _)| watches(asked)).map(|(_, gate)| gate.clone()).collect()
    }

    fn fault(&self, asked: &Asked, line: &[u8]) -> Option<EventFault> {
        let mut state = self.state();
        if state.faults.is_empty() {
            return None;
        }
        let event: Value = serde_json::from_slice(line).ok()?;
        let place = state.faults.iter().position(|rule| (rule.watches)(asked) && (rule.events)(&event))?;
        let rule = &state.faults[place];
        rule.strikes.strike();
        let fault = rule.fault.clone();
        if rule.once {
            state.faults.remove(place);
        }
        Some(fault)
    }
}

/// One watch.
struct Passage {
    streams: Arc<Streams>,
    asked: Arc<Asked>,
    lines: mpsc::Sender<io::Result<Bytes>>,
}

impl Passage {
    async fn run(self, upstream: Body, mut spoken: mpsc::UnboundedReceiver<Word>) {
        let mut upstream = upstream.into_data_stream();
        let mut rest = Vec::new();
        loop {
            tokio::select! {
                biased;
                Some(word) = spoken.recv() => {
                    let (line, ends) = match word {
                        Word::Line(line) => (Ok(line), false),
                        Word::Last(line) => (Ok(line), true),
                        Word::Half(half) => {
                            let _ = self.lines.send(Ok(half)).await;
                            (Err(io::ErrorKind::ConnectionReset.into()), true)
                        }
                        Word::Break => (Err(io::ErrorKind::ConnectionReset.into()), true),
                    };
                    if self.lines.send(line).await.is_err() || ends {
                        return;
                    }
                }
                chunk = upstream.next() => match chunk {
                    Some(Ok(chunk)) => {
                        rest.extend_from_slice(&chunk);
                        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                            let line: Bytes = rest.drain(..=end).collect::<Vec<u8>>().into();
                            if !self.event(line).await {
                                return;
                            }
                        }
                    }
                    Some(Err(_)) => {
                        let _ = self.lines.send(Err(io::ErrorKind::ConnectionReset.into())).await;
                        return;
                    }
                    None => return,
                },
                () = self.lines.closed() => return,
            }
        }
    }

    /// Lets one event through, or what a fault makes of it; whether anybody still listens.
    async fn event(&self, line: Bytes) -> bool {
        let says_nothing = line.starts_with(br#"{"type":"BOOKMARK""#);
        if !says_nothing {
            self.streams.count(&self.asked);
        }
        for gate in self.streams.gates(&self.asked) {
            if says_nothing { gate.opens().await } else { gate.pass().await }
        }
        let copies = match self.streams.fault(&self.asked, &line) {
            None => 1,
            Some(EventFault::Drop) => 0,
            Some(EventFault::Twice) => 2,
            Some(EventFault::Delay(time)) => {
                sleep(time).await;
                1
            }
        };
        for _ in 0..copies {
            if self.lines.send(Ok(line.clone())).await.is_err() {
                return false;
            }
        }
        true
    }
}
