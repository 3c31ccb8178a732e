//! The watches of one operator: each kind by itself, late, in order, now and then by a new list; with definitions that
//! go and come back, and troubles. What [`kleym_operator::feed`] would tell is told as [`Report`]s.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use kleym_core::fact::Trouble;
use kleym_core::kind::Kind;
use kleym_core::name::Namespace;
use serde_json::Value;

use crate::random::Random;
use crate::server::{Definition, Event, Server};

/// What a watch tells.
#[derive(Debug, Clone)]
pub(crate) enum Report {
    /// The objects of a kind, in one namespace or everywhere, are exactly these.
    Listed(Kind, Option<Namespace>, Vec<Rc<Value>>),
    /// An object of a kind is like this now.
    Put(Kind, Rc<Value>),
    /// An object of a kind is gone.
    Gone(Kind, Rc<Value>),
    /// A kind is proved not to exist.
    Absent(Kind),
    /// A kind's definition changed and is still there.
    Redefined(Kind),
    /// The list of outputs that was told last was begun after this was asked for.
    Anew(u64),
    /// Something is wrong with a kind, or no longer.
    Trouble(Kind, Option<Trouble>),
}

/// What happens to watches from outside, whoever watches.
#[derive(Debug, Default)]
pub(crate) struct Weather {
    /// Kinds that cannot be read.
    pub(crate) troubles: BTreeMap<Kind, Trouble>,
    /// Kinds that bring nothing until then, to one operator or to all.
    pub(crate) frozen: BTreeMap<Kind, (Duration, Option<u32>)>,
}

impl Weather {
    /// Until when a kind brings nothing to an operator.
    pub(crate) fn frozen_until(&self, operator: u32, kind: Kind, now: Duration) -> Option<Duration> {
        let (until, only) = self.frozen.get(&kind)?;
        (*until > now && only.is_none_or(|only| only == operator)).then_some(*until)
    }
}

#[derive(Debug)]
enum Stage {
    /// Nothing is under way: a list comes next.
    Open,
    /// The definition is absent, and that was told.
    Away,
    /// A list was made and is on its way.
    Listing { ready: Duration, items: Vec<Rc<Value>> },
    /// Events follow.
    Live,
}

#[derive(Debug)]
struct Watch {
    stage: Stage,
    /// The version up to which everything was told or is part of the list.
    cursor: u64,
    era: usize,
    /// How often the definition had changed when that was last told.
    changes: u64,
    told: Option<Trouble>,
    /// The list that was asked for last, and for which the last one was begun.
    anew: u64,
    begun_for: u64,
    /// The definition was absent and is back, and that it was absent is told only now.
    stale: bool,
}

/// The watches.
#[derive(Debug)]
pub(crate) struct Feed {
    watches: BTreeMap<Kind, Watch>,
    /// Empty means all.
    namespaces: BTreeSet<Namespace>,
}

impl Feed {
    /// Watches that were not opened yet.
    pub(crate) fn new(namespaces: &BTreeSet<Namespace>, server: &Server) -> Self {
        let watch = |kind| Watch {
            stage: Stage::Open,
            cursor: 0,
            era: server.shelf(kind).ends.len(),
            changes: server.shelf(kind).changes,
            told: None,
            anew: 0,
            begun_for: 0,
            stale: false,
        };
        let watches = Kind::ALL.into_iter().map(|kind| (kind, watch(kind))).collect();
        Self { watches, namespaces: namespaces.clone() }
    }

    /// Ends a watch: it begins again with a list.
    pub(crate) fn expire(&mut self, kind: Kind) {
        let watch = self.watches.get_mut(&kind).unwrap();
        if matches!(watch.stage, Stage::Live) {
            watch.stage = Stage::Open;
        }
    }

    /// Asks for outputs to be listed again.
    pub(crate) fn list_anew(&mut self, asked: u64) {
        self.watches.get_mut(&Kind::Output).unwrap().anew = asked;
        self.expire(Kind::Output);
    }

    /// Lets a watch tell what it has; answers when it should be asked again, if nothing else happens.
    pub(crate) fn pump(
        &mut self,
        kind: Kind,
        server: &Server,
        weather: &Weather,
        random: &mut Random,
    ) -> (Vec<Report>, Option<Duration>) {
        let mut reports = Vec::new();
        let mut next = self.step(kind, server, weather, random, &mut reports);
        if next.is_none() && self.watches[&kind].stale {
            next = Some(server.now + Duration::from_millis(random.within(1, 20)));
        }
        (reports, next)
    }

    fn step(
        &mut self,
        kind: Kind,
        server: &Server,
        weather: &Weather,
        random: &mut Random,
        reports: &mut Vec<Report>,
    ) -> Option<Duration> {
        let soon = |random: &mut Random| Some(server.now + Duration::from_millis(random.within(1, 20)));
        let shelf = server.shelf(kind);
        let absent = shelf.definition == Definition::Absent;
        let trouble = weather.troubles.get(&kind).copied();
        let namespaces = self.namespaces.clone();
        let watched = |object: &Value| is_watched(&namespaces, object);
        let watch = self.watches.get_mut(&kind).unwrap();

        if watch.stale && !matches!(watch.stage, Stage::Away) && random.once_in(2) {
            watch.stale = false;
            watch.told = None;
            watch.stage = Stage::Away;
            reports.push(Report::Absent(kind));
            return soon(random);
        }
        if matches!(watch.stage, Stage::Live)
            && !absent
            && watch.era < shelf.ends.len()
            && trouble.is_none()
            && random.once_in(2)
        {
            watch.era = shelf.ends.len();
            watch.stale = true;
        }
        if absent {
            watch.stale = false;
        }
        if !matches!(watch.stage, Stage::Away) && (absent || watch.era < shelf.ends.len()) {
            // The last events of the definition's objects may still come before the news that it is gone.
            if matches!(watch.stage, Stage::Live) && trouble.is_none() && random.once_in(2) {
                let end = shelf.ends[watch.era];
                let rest = server.since(kind, watch.cursor).unwrap_or_default().iter();
                let rest = rest.take_while(|event| event.version <= end);
                reports.extend(rest.filter(|event| watched(&event.value)).map(|event| told(kind, event)));
            }
            watch.era = shelf.ends.len();
            watch.stage = if absent { Stage::Away } else { Stage::Open };
            if absent {
                watch.told = None;
                reports.push(Report::Absent(kind));
                return None;
            }
        }
        let changed = std::mem::replace(&mut watch.changes, shelf.changes) != shelf.changes;
        if changed && matches!(watch.stage, Stage::Listing { .. } | Stage::Live) {
            reports.push(Report::Redefined(kind));
        }
        if let Some(trouble) = trouble {
            if !(matches!(watch.stage, Stage::Away) && absent) && watch.told != Some(trouble) {
                watch.told = Some(trouble);
                reports.push(Report::Trouble(kind, Some(trouble)));
            }
            // A definition that is back is asked for its objects, and told absent again when it goes again.
            if matches!(watch.stage, Stage::Away) && !absent {
                watch.stage = Stage::Open;
                watch.era = shelf.ends.len();
            }
            if matches!(watch.stage, Stage::Listing { .. }) {
                watch.stage = Stage::Open;
            }
            return None;
        }
        match &mut watch.stage {
            Stage::Away if absent => {
                if watch.anew > watch.begun_for {
                    watch.begun_for = watch.anew;
                    reports.push(Report::Anew(watch.anew));
                }
                None
            }
            Stage::Away | Stage::Open => {
                let items = server.of_kind(kind).map(|(_, stored)| Rc::clone(&stored.value));
                let items = items.filter(|value| watched(value)).collect();
                let ready = server.now + Duration::from_millis(random.within(1, 60));
                watch.cursor = server.version();
                watch.era = shelf.ends.len();
                watch.begun_for = watch.anew;
                watch.stage = Stage::Listing { ready, items };
                Some(ready)
            }
            Stage::Listing { ready, .. } if server.now < *ready => Some(*ready),
            Stage::Listing { items, .. } => {
                let items = std::mem::take(items);
                let whole = namespaces.is_empty() || !kind.namespaced();
                if watch.told.take().is_some() && random.once_in(2) {
                    reports.push(Report::Trouble(kind, None));
                }
                if whole {
                    reports.push(Report::Listed(kind, None, items));
                } else {
                    for namespace in &namespaces {
                        let of = items
                            .iter()
                            .filter(|object| object["metadata"]["namespace"] == namespace.as_str());
                        reports.push(Report::Listed(kind, Some(namespace.clone()), of.cloned().collect()));
                    }
                }
                watch.stage = Stage::Live;
                if watch.anew > 0 {
                    reports.push(Report::Anew(watch.begun_for));
                }
                if watch.anew > watch.begun_for {
                    watch.stage = Stage::Open;
                    return soon(random);
                }
                if server.since(kind, watch.cursor).is_ok_and(<[Event]>::is_empty) {
                    None
                } else {
                    soon(random)
                }
            }
            Stage::Live => {
                if watch.told.take().is_some() {
                    reports.push(Report::Trouble(kind, None));
                    if random.once_in(2) {
                        watch.stage = Stage::Open;
                    }
                    return soon(random);
                }
                let Ok(events) = server.since(kind, watch.cursor) else {
                    // What happened meanwhile is forgotten: 410.
                    watch.stage = Stage::Open;
                    return soon(random);
                };
                let some = usize::try_from(random.within(1, 4)).unwrap();
                let (now, later) = events.split_at(some.min(events.len()));
                for event in now {
                    watch.cursor = event.version;
                    if watched(&event.value) {
                        reports.push(told(kind, event));
                        if random.once_in(40) {
                            reports.push(told(kind, event));
                        }
                    }
                }
                if later.is_empty() { None } else { soon(random) }
            }
        }
    }
}

fn told(kind: Kind, event: &Event) -> Report {
    let value = Rc::clone(&event.value);
    if event.gone { Report::Gone(kind, value) } else { Report::Put(kind, value) }
}

fn is_watched(namespaces: &BTreeSet<Namespace>, object: &Value) -> bool {
    let namespace = object["metadata"]["namespace"].as_str();
    namespaces.is_empty()
        || namespace.is_none_or(|namespace| namespaces.iter().any(|n| n.as_str() == namespace))
}
