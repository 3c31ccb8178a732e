//! What happens in one simulation, drawn from a seed: who writes what when, what goes wrong, and which calls meet which
//! fate. The names are few, so that everybody is in everybody's way.

use std::collections::BTreeMap;
use std::time::Duration;

use kleym_core::fact::Trouble;
use kleym_core::kind::{Kind, ObjectiveGroup, PoolGroup};
use serde_json::{Value, json};

use crate::deed::{Config, Deed, Meddling, Sort, milliseconds};
use crate::objects::{
    NAMESPACES, in_account, objective, objective_in, of_pool, per_objective, pool, pool_only, pool_x, with_id,
};
use crate::random::Random;
use crate::server::Place;
use crate::wire::Verb;
use crate::world::Fate;

/// A whole simulation.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Where it was drawn from.
    pub(crate) seed: u64,
    /// The operator's first configuration.
    pub(crate) config: Config,
    /// How many operators there are, of which one leads.
    pub(crate) replicas: u32,
    /// What happens when.
    pub(crate) deeds: Vec<(Duration, Deed)>,
    /// What becomes of calls, by their number.
    pub(crate) fates: BTreeMap<u64, Fate>,
    /// By how many seconds the operators' time of day is wrong, from when on.
    pub(crate) jumps: BTreeMap<Duration, i64>,
    /// When everybody rests and nothing goes wrong any more.
    pub(crate) calm: Duration,
}

const BINDINGS: [&str; 4] = ["a", "b", "c", "d"];
const OBJECTIVES: [&str; 3] = ["chat", "code", "embed"];
const POOLS: [&str; 2] = ["llama", "qwen"];
const CONTAINERS: [&str; 3] = ["vllm", "sidecar", "router"];
const OBJECTIVE_KINDS: [Kind; 2] =
    [Kind::Objective(ObjectiveGroup::LlmD), Kind::Objective(ObjectiveGroup::InferenceX)];
const POOL_KINDS: [Kind; 2] = [Kind::Pool(PoolGroup::Inference), Kind::Pool(PoolGroup::InferenceX)];
const CONFIGS: [Config; 4] = [
    Config::USUAL,
    Config { trust_domain: "other.example", ..Config::USUAL },
    Config { class: Some("spire"), ..Config::USUAL },
    Config { namespaces: &["llm"], ..Config::USUAL },
];

/// How many of each hundred plans are wild in a way; the rest keeps to what happens every day.
#[derive(Debug, Clone, Copy)]
struct Temper {
    definitions: bool,
    troubles: bool,
    outages: bool,
    meddling: bool,
    restarts: bool,
    fates: bool,
    standby: bool,
}

struct Draw {
    random: Random,
    temper: Temper,
    deeds: Vec<(Duration, Deed)>,
    now: Duration,
}

impl Plan {
    /// The plan of a seed.
    pub(crate) fn of(seed: u64) -> Self {
        let mut random = Random::new(seed).fork(2);
        let temper = Temper {
            definitions: random.once_in(4),
            troubles: random.once_in(4),
            outages: random.once_in(3),
            meddling: random.once_in(2),
            restarts: random.once_in(3),
            fates: !random.once_in(4),
            standby: Random::new(seed).fork(3).once_in(3),
        };
        let replicas = if temper.standby { 2 } else { 1 };
        let config = if random.once_in(4) { *random.pick(&CONFIGS) } else { Config::USUAL };
        let mut draw = Draw { random, temper, deeds: Vec::new(), now: Duration::ZERO };
        draw.furnish();
        for _ in 0..draw.random.within(3, 12) {
            draw.wait();
            if draw.random.once_in(4) {
                draw.scene();
            } else {
                let deed = draw.deed();
                draw.push(deed);
            }
        }
        let mut fates = BTreeMap::new();
        if temper.fates {
            for _ in 0..draw.random.within(1, 8) {
                let number = draw.random.below(32);
                let fate = draw.fate();
                fates.insert(number, fate);
            }
        }
        draw.now += milliseconds(draw.random.within(1, 3000));
        let calm = draw.now;
        draw.release();
        let mut clock = Random::new(seed).fork(4);
        let jumps = if clock.once_in(4) { jumps(&mut clock, calm) } else { BTreeMap::new() };
        Self { seed, config, replicas, deeds: draw.deeds, fates, jumps, calm }
    }
}

/// The time of day jumps, by up to a day either way, a few times until everything is calm and once later.
pub(crate) fn jumps(random: &mut Random, calm: Duration) -> BTreeMap<Duration, i64> {
    const DAY: i64 = 86_400;
    let until = u64::try_from(calm.as_millis()).unwrap();
    let mut times: Vec<u64> = (0..random.within(1, 4)).map(|_| random.within(0, until)).collect();
    times.push(until + 30_000);
    let by = |random: &mut Random| *random.pick(&[-DAY, DAY, -3600, 3600, -1, 1, 0]);
    times.into_iter().map(|at| (milliseconds(at), by(random))).collect()
}

impl Draw {
    fn push(&mut self, deed: Deed) {
        self.deeds.push((self.now, deed));
    }

    fn wait(&mut self) {
        let pause = match self.random.below(10) {
            0..=4 => self.random.within(0, 40),
            5..=7 => self.random.within(40, 1500),
            8 => self.random.within(1500, 8000),
            _ => self.random.within(8000, 20_000),
        };
        self.now += milliseconds(pause);
    }

    /// What is there in the beginning: pools, objectives and bindings, most of them sound.
    fn furnish(&mut self) {
        let other = if self.random.once_in(2) { "qwen" } else { "llama" };
        for namespace in NAMESPACES {
            self.push(Deed::Put(Place::new(POOL_KINDS[0], namespace, POOLS[0]), pool(&[("app", "llama")])));
            let target = Place::new(OBJECTIVE_KINDS[0], namespace, OBJECTIVES[0]);
            self.push(Deed::Put(target, objective(POOLS[0])));
        }
        let namespace = NAMESPACES[0];
        self.push(Deed::Put(Place::new(POOL_KINDS[0], namespace, POOLS[1]), pool(&[("app", other)])));
        for name in &OBJECTIVES[1..] {
            let spec = self.objective();
            self.push(Deed::Put(Place::new(OBJECTIVE_KINDS[0], namespace, name), spec));
        }
        for _ in 0..self.random.within(2, 5) {
            if self.random.once_in(3) {
                self.wait();
            }
            let deed = self.put_binding();
            self.push(deed);
        }
    }

    /// Several deeds that belong together, almost at once.
    fn scene(&mut self) {
        let (namespace, name) = self.any_binding();
        let place = Place::new(Kind::Binding, namespace, name);
        match self.random.below(8) {
            0 | 1 => self.shift(),
            2 => {
                self.push_soon(Deed::Strip(place.clone()));
                self.push_soon(Deed::Remove(place.clone()));
                if self.random.once_in(2) {
                    let spec = self.binding();
                    self.push_soon(Deed::Put(place, spec));
                }
            }
            3 => {
                self.push_soon(Deed::Remove(place.clone()));
                self.now += milliseconds(self.random.within(1, 60));
                let spec = self.binding();
                self.push_soon(Deed::Put(place, spec));
            }
            4 => {
                self.push_soon(Deed::Meddle(namespace, name, Meddling::Hold));
                let deed = if self.random.once_in(2) {
                    Deed::Remove(place)
                } else {
                    Deed::Put(place, in_account(pool_only("chat"), "not a name"))
                };
                self.push_soon(deed);
                if self.random.once_in(3) {
                    self.push_soon(Deed::Meddle(namespace, name, Meddling::Release));
                }
            }
            5 => {
                self.push_soon(Deed::Expire(Kind::Output));
                self.push_soon(Deed::Expire(Kind::Binding));
                self.shift();
            }
            6 => {
                let kind = if self.random.once_in(2) { Kind::Output } else { *self.random.pick(&Kind::ALL) };
                self.push_soon(Deed::Undefine(kind));
                self.push_soon(Deed::Define(kind));
            }
            _ => {
                let deed = self.remove_input();
                self.push_soon(deed);
                let deed = self.put_pool();
                self.push_soon(deed);
                let deed = self.put_objective();
                self.push_soon(deed);
            }
        }
    }

    fn push_soon(&mut self, deed: Deed) {
        self.push(deed);
        self.now += milliseconds(self.random.within(0, 25));
    }

    /// Some bindings take each other's container, almost at once.
    fn shift(&mut self) {
        let target = self.random.word(&OBJECTIVES);
        let first = self.random.below(3);
        for (place, name) in
            BINDINGS.iter().enumerate().take(usize::try_from(self.random.within(2, 4)).unwrap())
        {
            let container = CONTAINERS[usize::try_from((place as u64 + first) % 3).unwrap()];
            let spec = per_objective(target, container);
            self.push_soon(Deed::Put(Place::new(Kind::Binding, NAMESPACES[0], name), spec));
        }
    }

    fn namespace(&mut self) -> &'static str {
        if self.random.once_in(6) { NAMESPACES[1] } else { NAMESPACES[0] }
    }

    fn any_binding(&mut self) -> (&'static str, &'static str) {
        (self.namespace(), *self.random.pick(&BINDINGS))
    }

    fn binding_place(&mut self) -> Place {
        let (namespace, name) = self.any_binding();
        Place::new(Kind::Binding, namespace, name)
    }

    fn pool(&mut self, group: usize) -> Value {
        let app = *self.random.pick(&["llama", "llama", "qwen"]);
        let spec = |labels: &[(&str, &str)]| if group == 0 { pool(labels) } else { pool_x(labels) };
        match self.random.below(16) {
            0 => json!({"selector": {}}),
            1 => json!({"selector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}}),
            2 | 3 => spec(&[("app", app), ("tier", *self.random.pick(&["gold", "iron"]))]),
            _ => spec(&[("app", app)]),
        }
    }

    fn objective(&mut self) -> Value {
        let pool = self.random.word(&POOLS);
        match self.random.below(16) {
            0 => json!({"poolRef": {"name": ""}}),
            1 => objective_in(pool, PoolGroup::InferenceX.as_str()),
            2 => objective_in(pool, ""),
            _ => objective(pool),
        }
    }

    fn binding(&mut self) -> Value {
        let target = *self.random.weighted(&[(5, OBJECTIVES[0]), (4, OBJECTIVES[1]), (1, OBJECTIVES[2])]);
        let container = *self.random.weighted(&[(4, CONTAINERS[0]), (2, CONTAINERS[1]), (1, CONTAINERS[2])]);
        let spec = match self.random.below(10) {
            0..=5 => per_objective(target, container),
            6..=8 => pool_only(target),
            _ => of_pool(self.random.word(&POOLS)),
        };
        match self.random.below(28) {
            0 | 1 => in_account(spec, "other"),
            2 | 3 => with_id(spec, "spiffe://{{ .TrustDomain }}/ns/{{ .Namespace }}/shared"),
            4 => with_id(spec, "spiffe://{{ .TrustDomain }}/team-a/{{ .BindingName }}"),
            5 => with_id(spec, "spiffe://{{ .TrustDomain }}/ns/elsewhere/x"),
            6 => with_id(spec, "spiffe://{{ .Unknown }}/x"),
            7 => in_account(spec, "not a name"),
            8 => {
                let mut spec = spec;
                spec["mode"] = json!("Odd");
                spec
            }
            _ => spec,
        }
    }

    fn put_binding(&mut self) -> Deed {
        let place = self.binding_place();
        let spec = self.binding();
        Deed::Put(place, spec)
    }

    fn deed(&mut self) -> Deed {
        let Temper { definitions, troubles, outages, meddling, restarts, fates: _, standby } = self.temper;
        let weight = |on: bool, weight: u64| if on { weight } else { 0 };
        let sorts = [
            (20, 0),
            (10, 1),
            (6, 2),
            (5, 3),
            (4, 4),
            (weight(meddling, 14), 5),
            (weight(meddling, 6), 6),
            (weight(definitions, 8), 7),
            (weight(troubles, 10), 8),
            (4, 9),
            (weight(outages, 8), 10),
            (weight(restarts, 6), 11),
            (2, 12),
            (weight(standby, 12), 13),
        ];
        match self.random.weighted(&sorts) {
            0 => self.put_binding(),
            1 => Deed::Remove(self.binding_place()),
            2 => self.put_pool(),
            3 => self.put_objective(),
            4 => self.remove_input(),
            5 => {
                let (namespace, name) = self.any_binding();
                Deed::Meddle(namespace, name, self.meddling())
            }
            6 => self.forge(),
            7 => self.definition(),
            8 => self.trouble(),
            9 => self.watch(),
            10 => self.outage(),
            11 => {
                let config = if self.random.once_in(2) { *self.random.pick(&CONFIGS) } else { Config::USUAL };
                Deed::Restart(config, self.random.within(1, 4000))
            }
            13 => Deed::HandOver(if self.random.once_in(2) { 0 } else { self.random.within(1, 8000) }),
            _ => match self.random.below(4) {
                0 => Deed::Hold(self.binding_place()),
                1 => Deed::Release(self.binding_place()),
                2 => Deed::Touch(self.binding_place()),
                _ => self.clear(),
            },
        }
    }

    /// A namespace is emptied, or deleted; one that is deleted comes back sooner or later.
    fn clear(&mut self) -> Deed {
        let namespace = self.namespace();
        match self.random.below(4) {
            0 => Deed::Clear(namespace),
            1 => Deed::BeginNamespace(namespace),
            _ => Deed::EndNamespace(namespace),
        }
    }

    fn put_pool(&mut self) -> Deed {
        let group = usize::from(self.random.once_in(4));
        let place = Place::new(POOL_KINDS[group], self.namespace(), self.random.word(&POOLS));
        let spec = self.pool(group);
        Deed::Put(place, spec)
    }

    fn put_objective(&mut self) -> Deed {
        let kind = OBJECTIVE_KINDS[usize::from(self.random.once_in(4))];
        let place = Place::new(kind, self.namespace(), self.random.word(&OBJECTIVES));
        let spec = self.objective();
        Deed::Put(place, spec)
    }

    fn remove_input(&mut self) -> Deed {
        let namespace = self.namespace();
        Deed::Remove(if self.random.once_in(2) {
            Place::new(*self.random.pick(&POOL_KINDS), namespace, self.random.word(&POOLS))
        } else {
            Place::new(*self.random.pick(&OBJECTIVE_KINDS), namespace, self.random.word(&OBJECTIVES))
        })
    }

    fn meddling(&mut self) -> Meddling {
        *self.random.pick(&[
            Meddling::Admin,
            Meddling::Selectors,
            Meddling::SpiffeId,
            Meddling::NamespaceSelector,
            Meddling::ManagedBy,
            Meddling::Proof,
            Meddling::BindingUid,
            Meddling::Foreign,
            Meddling::Hold,
            Meddling::Hold,
            Meddling::Release,
            Meddling::Delete,
            Meddling::Delete,
            Meddling::Usurp,
            Meddling::Pretend,
            Meddling::Counts(3),
        ])
    }

    fn forge(&mut self) -> Deed {
        let place = self.binding_place();
        match self.random.below(4) {
            0 => Deed::Strip(place),
            1 => Deed::Forge(place, json!({})),
            2 => Deed::Forge(
                place,
                json!({
                    "observedGeneration": 1,
                    "conditions": [{"type": "Ready", "status": "True", "reason": "Forged", "message": "",
                        "lastTransitionTime": "2030-01-01T00:00:00Z"}],
                    "renderedClusterSPIFFEID": {"name": "other"},
                }),
            ),
            _ => Deed::Forge(place, json!({"conflictCount": 3, "trustDomain": "forged"})),
        }
    }

    fn definition(&mut self) -> Deed {
        let kind = *self.random.pick(&Kind::ALL);
        let kind = if self.random.once_in(2) { Kind::Output } else { kind };
        if self.random.once_in(2) { Deed::Undefine(kind) } else { Deed::Define(kind) }
    }

    fn trouble(&mut self) -> Deed {
        let kind = *self.random.pick(&Kind::ALL);
        let trouble = *self.random.pick(&[Trouble::NotServed, Trouble::Forbidden, Trouble::Failing]);
        if self.random.once_in(2) { Deed::Trouble(kind, trouble) } else { Deed::NoTrouble(kind) }
    }

    fn watch(&mut self) -> Deed {
        let kind = *self.random.pick(&[Kind::Binding, Kind::Output, POOL_KINDS[0], OBJECTIVE_KINDS[0]]);
        if self.random.once_in(2) {
            Deed::Expire(kind)
        } else {
            Deed::Freeze(kind, self.random.within(100, 12_000))
        }
    }

    fn outage(&mut self) -> Deed {
        let sort = *self.random.pick(&[
            Sort::Any,
            Sort::Writes,
            Sort::Of(Verb::Create, Kind::Output),
            Sort::Of(Verb::Replace, Kind::Output),
            Sort::Of(Verb::Delete, Kind::Output),
            Sort::Of(Verb::List, Kind::Output),
            Sort::Of(Verb::ReplaceStatus, Kind::Binding),
            Sort::Of(Verb::PatchFinalizers, Kind::Binding),
        ]);
        let span = if self.random.once_in(3) { 60_000 } else { self.random.within(50, 8000) };
        Deed::Outage(sort, self.code(), span)
    }

    fn code(&mut self) -> u16 {
        *self.random.pick(&[400, 401, 403, 404, 405, 409, 413, 422, 429, 500, 503, 503, 504, 504])
    }

    fn fate(&mut self) -> Fate {
        match self.random.below(18) {
            0..=2 => Fate::Refused(self.code()),
            3..=5 => Fate::AnswerLost,
            6 | 7 => Fate::Held(self.random.within(100, 9000)),
            8 => Fate::Held(self.random.within(10_000, 30_000)),
            9 => Fate::Dropped,
            10 => Fate::Twice,
            11 => Fate::KilledBefore,
            12 => Fate::KilledDuring(self.random.within(1, 1500)),
            13 => Fate::KilledDuring(self.random.within(1500, 9000)),
            14 => Fate::KilledAfterCommit,
            15 | 16 => Fate::Misanswered(self.code()),
            _ => Fate::KilledAfterReply,
        }
    }

    /// In the end everything can be read again, and mostly nothing is held.
    fn release(&mut self) {
        for kind in Kind::ALL {
            self.push(Deed::NoTrouble(kind));
        }
        if self.temper.definitions && self.random.once_in(2) {
            for kind in Kind::ALL {
                self.push(Deed::Define(kind));
            }
        }
        // What was rejected waits for such a change, so without one it would rightly stay as it is.
        self.push(Deed::Redefine(Kind::Output));
        // A definition that waits for outputs that are held is waited for without end.
        let all = self.deeds.iter().any(|(_, deed)| *deed == Deed::Undefine(Kind::Output));
        for namespace in NAMESPACES {
            self.push(Deed::BeginNamespace(namespace));
            for name in BINDINGS {
                if (self.temper.meddling && !self.random.once_in(6)) || all {
                    self.push(Deed::Meddle(namespace, name, Meddling::Release));
                }
            }
        }
    }
}
