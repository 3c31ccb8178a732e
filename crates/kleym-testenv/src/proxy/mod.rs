//! A proxy between one client and the API server, in which everything can go wrong that can go wrong on the way.
//!
//! It terminates HTTP on loopback, knows verb, resource and name of every call, numbers them, and passes them on as one
//! user, whose certificate it holds: who has the proxy's address has that user's rights and no others. A call, once it
//! is let through, is carried out even when its client is gone by then, as on a real network.
//!
//! Faults are declared for calls ([`Proxy::once`], [`Proxy::always`]) and for events of watches ([`Proxy::on_event`],
//! [`Proxy::freeze`]); open watches can be spoken into ([`Proxy::inject`]) and broken. [`Proxy::trap`] stops the world
//! at exactly one call, so that a test can kill the client there.
//!
//! It decides nothing by itself, and changes nothing that no fault asks for.

mod asked;
mod fault;
mod serve;
mod streams;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use asked::Asked;
pub use fault::{EventFault, Fault, Gate, Reply, Strikes};
use streams::{Streams, Word};

type Calls = Box<dyn Fn(&Asked) -> bool + Send>;

/// A rule: which calls, what happens to them, and how often yet.
struct Rule {
    calls: Calls,
    fault: Fault,
    left: Option<usize>,
    strikes: Strikes,
}

/// Where the world stops in the life of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The API server has not heard of it.
    Before,
    /// It was carried out, and the client has not heard of that.
    AfterCommit,
    /// The client has its answer.
    AfterReply,
}

struct Trap {
    calls: Calls,
    skip: usize,
    point: Point,
    sprung: watch::Sender<bool>,
    /// Nothing passes any more.
    closed: bool,
}

#[derive(Default)]
struct State {
    asked: Vec<Arc<Asked>>,
    rules: Vec<Rule>,
    trap: Option<Trap>,
    /// Whatever is stopped by a trap waits here, and is then thrown away.
    limbo: Gate,
}

/// What is to happen to a call.
enum Fate {
    Passes,
    Suffers(Fault),
    /// The world stops at it; `Some` when it is the one.
    Stops(Gate, Option<Point>),
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    streams: Arc<Streams>,
}

/// A running proxy; dropping it closes its port. It belongs to the runtime it was started in.
pub struct Proxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Proxy {
    /// A proxy that passes calls on by this configuration.
    ///
    /// # Errors
    /// When no port can be opened or the configuration cannot be used.
    pub async fn start(mut config: Config) -> Result<Self> {
        config.default_retry = false;
        let client = Client::try_from(config).context("cannot set up the proxy's client")?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no port for the proxy")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let task = tokio::spawn(serve::accept(listener, client, Arc::clone(&shared)));
        Ok(Self { shared, address, task })
    }

    /// Where it listens, such as `http://127.0.0.1:23456`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Writes a kubeconfig that leads here into a folder.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn kubeconfig(&self, folder: &Path) -> Result<PathBuf> {
        let name = "kleym-testenv-proxy";
        let content = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": name,
            "clusters": [{"name": name, "cluster": {"server": self.url()}}],
            "users": [{"name": name, "user": {}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "default"}}],
        });
        let path = folder.join(format!("proxy-{}.kubeconfig", self.address.port()));
        std::fs::write(&path, format!("{content:#}\n"))
            .with_context(|| format!("cannot write `{}`", path.display()))?;
        Ok(path)
    }

    /// Every call that arrived so far, in order; those that suffered a fault too.
    pub fn asked(&self) -> Vec<Arc<Asked>> {
        self.state().asked.clone()
    }

    /// Does something to the next call of this kind; answers who knows whether it came.
    pub fn once(&self, calls: impl Fn(&Asked) -> bool + Send + 'static, fault: Fault) -> Strikes {
        self.rule(Box::new(calls), fault, Some(1))
    }

    /// Does something to every call of this kind, until [`Proxy::heal`]; answers who knows how many came.
    pub fn always(&self, calls: impl Fn(&Asked) -> bool + Send + 'static, fault: Fault) -> Strikes {
        self.rule(Box::new(calls), fault, None)
    }

    fn rule(&self, calls: Calls, fault: Fault, left: Option<usize>) -> Strikes {
        let strikes = Strikes::default();
        self.state().rules.push(Rule { calls, fault, left, strikes: strikes.clone() });
        strikes
    }

    /// Forgets every fault, rule and trap; what a trap has stopped is thrown away, and what stands frozen flows again.
    pub fn heal(&self) {
        let mut state = self.state();
        state.rules.clear();
        state.trap = None;
        std::mem::take(&mut state.limbo).open();
        self.shared.streams.heal();
    }

    /// Stops the world at the call of this kind that comes after `skip` others: from then on nothing passes, until
    /// [`Proxy::heal`]. What the receiver shows turns true when it has happened.
    pub fn trap(
        &self,
        calls: impl Fn(&Asked) -> bool + Send + 'static,
        skip: usize,
        point: Point,
    ) -> watch::Receiver<bool> {
        let (sprung, receiver) = watch::channel(false);
        self.state().trap = Some(Trap { calls: Box::new(calls), skip, point, sprung, closed: false });
        receiver
    }

    /// Does something to the next event of this kind in watches of this kind; answers who knows whether it came.
    pub fn on_event(
        &self,
        watches: impl Fn(&Asked) -> bool + Send + Sync + 'static,
        events: impl Fn(&Value) -> bool + Send + 'static,
        fault: EventFault,
    ) -> Strikes {
        self.shared.streams.on_event(Box::new(watches), Box::new(events), fault, true)
    }

    /// Does something to every event of this kind in watches of this kind, until [`Proxy::heal`]; answers who knows how many
    /// came.
    pub fn on_events(
        &self,
        watches: impl Fn(&Asked) -> bool + Send + Sync + 'static,
        events: impl Fn(&Value) -> bool + Send + 'static,
        fault: EventFault,
    ) -> Strikes {
        self.shared.streams.on_event(Box::new(watches), Box::new(events), fault, false)
    }

    /// How many events of each resource came from the API server so far, bookmarks apart.
    pub fn events(&self) -> BTreeMap<String, usize> {
        self.shared.streams.events()
    }

    /// Stops the events of watches of this kind, those that are opened later too; they wait until the gate opens. The gate is
    /// reached when an event that is no bookmark waits.
    pub fn freeze(&self, watches: impl Fn(&Asked) -> bool + Send + Sync + 'static) -> Gate {
        let gate = Gate::new();
        self.shared.streams.freeze(Box::new(watches), gate.clone());
        gate
    }

    /// Speaks into every open watch of this kind; answers into how many.
    pub fn inject(&self, watches: impl Fn(&Asked) -> bool, event: &Value) -> usize {
        self.shared.streams.say(&watches, &Word::Line(format!("{event}\n").into()))
    }

    /// Says in every open watch of this kind that its resourceVersion is too old, and ends it; answers in how many.
    pub fn expire(&self, watches: impl Fn(&Asked) -> bool) -> usize {
        let event = json!({"type": "ERROR", "object": {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "too old resource version: 1 (2)", "reason": "Expired", "code": 410,
        }});
        self.shared.streams.say(&watches, &Word::Last(format!("{event}\n").into()))
    }

    /// Breaks the connection of every open watch of this kind in the middle of an event; answers of how many.
    pub fn tear_watches(&self, watches: impl Fn(&Asked) -> bool) -> usize {
        let half = r#"{"type":"MODIFIED","object":{"apiVersion":"v1","metada"#;
        self.shared.streams.say(&watches, &Word::Half(half.into()))
    }

    /// Breaks the connection of every open watch of this kind; answers of how many.
    pub fn break_watches(&self, watches: impl Fn(&Asked) -> bool) -> usize {
        self.shared.streams.say(&watches, &Word::Break)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.heal();
        self.break_watches(|_| true);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Numbers and keeps a call, and decides what happens to it.
    fn arrives(&self, read: impl FnOnce(usize) -> Asked) -> (Arc<Asked>, Fate) {
        let mut state = self.state();
        let asked = Arc::new(read(state.asked.len()));
        state.asked.push(Arc::clone(&asked));
        let limbo = state.limbo.clone();
        if let Some(trap) = &mut state.trap {
            if trap.closed {
                return (asked, Fate::Stops(limbo, None));
            }
            if (trap.calls)(&asked) {
                if trap.skip == 0 {
                    trap.closed = true;
                    let point = trap.point;
                    return (asked, Fate::Stops(limbo, Some(point)));
                }
                trap.skip -= 1;
            }
        }
        let Some(place) = state.rules.iter().position(|rule| (rule.calls)(&asked)) else {
            return (asked, Fate::Passes);
        };
        let rule = &mut state.rules[place];
        let fault = rule.fault.clone();
        rule.strikes.strike();
        if let Some(left) = &mut rule.left {
            *left -= 1;
            if *left == 0 {
                state.rules.remove(place);
            }
        }
        (asked, Fate::Suffers(fault))
    }

    fn springs(&self) {
        if let Some(trap) = &self.state().trap {
            trap.sprung.send_replace(true);
        }
    }
}
