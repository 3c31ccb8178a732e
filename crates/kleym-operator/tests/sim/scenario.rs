//! The scenarios that every change of the protocol must get through: what people do, in acts. Each is played without a
//! fault, which says how it must end, and then with a fault at every single call.

use std::time::Duration;

use kleym_core::fact::Trouble;
use kleym_core::kind::{Kind, ObjectiveGroup, PoolGroup};
use serde_json::{Value, json};

use crate::deed::{Config, Deed, Meddling, Sort, milliseconds};
use crate::objects::{in_account, objective, of_pool, output_of, per_objective, pool, pool_only, with_id};
use crate::plan::Plan;
use crate::server::Place;
use crate::wire::Verb;

const NAMESPACE: &str = "llm";
const OBJECTIVE: Kind = Kind::Objective(ObjectiveGroup::LlmD);
const POOL: Kind = Kind::Pool(PoolGroup::Inference);

/// A scenario.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    /// What it is about.
    pub(crate) name: String,
    acts: Vec<Vec<Deed>>,
    /// How many operators there are.
    replicas: u32,
}

/// How much time the operator has between two acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// The next act comes while calls are still under way.
    Brisk,
    /// A few seconds, in which calls may be held up.
    Steady,
    /// Everything settles between two acts.
    Calm,
}

impl Scenario {
    /// The same with an operator that stands by, and takes over when the leader dies.
    pub(crate) fn with_standby(self) -> Self {
        Self { name: format!("{}, with a standby", self.name), replicas: 2, ..self }
    }

    /// When its last act is over, at a pace.
    pub(crate) fn over(&self, pace: Pace) -> Duration {
        self.plan(pace).deeds.last().map(|(at, _)| *at).unwrap_or_default()
    }

    /// Whether its end does not depend on how far the operator has come between two acts.
    pub(crate) fn at_any_pace(&self) -> bool {
        let of_their_time = |deed: &Deed| {
            matches!(
                deed,
                Deed::EndNamespace(_)
                    | Deed::Meddle(..)
                    | Deed::Undefine(_)
                    | Deed::Define(_)
                    | Deed::Strip(_)
                    | Deed::Hold(_)
            )
        };
        let deeds = || self.acts.iter().flatten();
        let removed: Vec<&Place> = deeds()
            .filter_map(|deed| if let Deed::Remove(place) = deed { Some(place) } else { None })
            .collect();
        let again = deeds().skip_while(|deed| !matches!(deed, Deed::Remove(_))).any(|deed| {
            matches!(deed, Deed::Put(place, _) if place.kind == Kind::Binding && removed.contains(&place))
        });
        !again && !deeds().any(of_their_time)
    }

    /// As a plan without faults.
    pub(crate) fn plan(&self, pace: Pace) -> Plan {
        let pause = milliseconds(match pace {
            Pace::Brisk => 9,
            Pace::Steady => 5_000,
            Pace::Calm => 40_000,
        });
        let mut deeds = Vec::new();
        let mut now = milliseconds(50);
        for act in &self.acts {
            for deed in act {
                deeds.push((now, deed.clone()));
                now += milliseconds(1);
            }
            now += pause;
        }
        let calm = now + milliseconds(200_000);
        Plan {
            seed: 1,
            config: Config::USUAL,
            replicas: self.replicas,
            deeds,
            fates: std::collections::BTreeMap::new(),
            jumps: std::collections::BTreeMap::new(),
            calm,
        }
    }
}

fn at(kind: Kind, name: &str) -> Place {
    Place::new(kind, NAMESPACE, name)
}

fn bind(name: &str, spec: Value) -> Deed {
    Deed::Put(at(Kind::Binding, name), spec)
}

/// A binding of the objective `chat` and this container.
fn contain(name: &str, container: &str) -> Deed {
    bind(name, per_objective("chat", container))
}

fn unbind(name: &str) -> Deed {
    Deed::Remove(at(Kind::Binding, name))
}

fn meddle(name: &'static str, how: Meddling) -> Deed {
    Deed::Meddle(NAMESPACE, name, how)
}

/// Two pools over different pods, and two objectives on the first of them.
fn inputs() -> Vec<Deed> {
    vec![
        Deed::Put(at(POOL, "llama"), pool(&[("app", "llama")])),
        Deed::Put(at(POOL, "qwen"), pool(&[("app", "qwen")])),
        Deed::Put(at(OBJECTIVE, "chat"), objective("llama")),
        Deed::Put(at(OBJECTIVE, "code"), objective("llama")),
    ]
}

/// A scenario over those inputs. Bindings are a second apart, so that the first is the oldest.
fn scenario(name: &str, acts: Vec<Vec<Deed>>) -> Scenario {
    let mut all = vec![inputs()];
    all.extend(acts);
    Scenario { name: name.to_owned(), acts: all, replicas: 1 }
}

fn malformed(nth: usize) -> Value {
    let sound = per_objective("chat", "x");
    match nth % 10 {
        0 => json!({}),
        1 => in_account(sound, "not a name"),
        2 => with_id(sound, "spiffe://{{ .Unknown }}/x"),
        3 => with_id(sound, "spiffe://{{ .TrustDomain }}/ns/elsewhere/x"),
        4 => json!({"targetRef": {"name": ""}, "selectorSource": 7, "workloadSelectorTemplates": "no"}),
        5 => per_objective("nobody", "x"),
        6 => of_pool("nobody"),
        7 => per_objective("chat", ""),
        8 => per_objective("chat", "{{ .Namespace }}"),
        _ => {
            let mut odd = sound;
            odd["mode"] = json!("Odd");
            odd
        }
    }
}

/// Every scenario that is about objects.
fn of_objects() -> Vec<Scenario> {
    let two = || vec![contain("a", "vllm"), contain("b", "router")];
    let five = || {
        let names = ["a", "b", "c", "d", "e"];
        names.map(|name| contain(name, &format!("container-{name}"))).to_vec()
    };
    let clash = || vec![vec![contain("a", "vllm")], vec![bind("b", per_objective("code", "vllm"))]];
    let with = |mut acts: Vec<Vec<Deed>>, more: Vec<Vec<Deed>>| {
        acts.extend(more);
        acts
    };
    let invalid = || bind("a", in_account(per_objective("chat", "vllm"), "not a name"));
    vec![
        scenario("created, of an objective", vec![vec![contain("a", "vllm")]]),
        scenario("created, of a pool behind an objective", vec![vec![bind("a", pool_only("chat"))]]),
        scenario("created, of a pool", vec![vec![bind("a", of_pool("llama"))]]),
        scenario(
            "created before its inputs",
            vec![
                vec![bind("a", per_objective("late", "vllm"))],
                vec![Deed::Put(at(OBJECTIVE, "late"), objective("tardy"))],
                vec![Deed::Put(at(POOL, "tardy"), pool(&[("app", "tardy")]))],
            ],
        ),
        scenario("a conflict of two", clash()),
        scenario(
            "a conflict of three",
            with(
                clash(),
                vec![
                    vec![bind("c", pool_only("chat"))],
                    vec![bind(
                        "d",
                        with_id(
                            per_objective("code", "vllm"),
                            "spiffe://{{ .TrustDomain }}/ns/{{ .Namespace }}/x",
                        ),
                    )],
                ],
            ),
        ),
        scenario(
            "two subjects claim one SPIFFE ID",
            vec![vec![
                bind(
                    "a",
                    with_id(
                        per_objective("chat", "vllm"),
                        "spiffe://{{ .TrustDomain }}/ns/{{ .Namespace }}/x",
                    ),
                ),
                bind(
                    "b",
                    with_id(
                        per_objective("code", "router"),
                        "spiffe://{{ .TrustDomain }}/ns/{{ .Namespace }}/x",
                    ),
                ),
            ]],
        ),
        scenario("the older is edited out of the way", with(clash(), vec![vec![contain("a", "router")]])),
        scenario("the older is deleted", with(clash(), vec![vec![unbind("a")]])),
        scenario("the older is invalidated", with(clash(), vec![vec![invalid()]])),
        scenario(
            "the older is invalidated and mended",
            with(clash(), vec![vec![invalid()], vec![contain("a", "vllm")]]),
        ),
        scenario(
            "the older moves into the way of the younger",
            vec![
                vec![contain("a", "router")],
                vec![bind("b", per_objective("code", "vllm"))],
                vec![contain("a", "vllm")],
            ],
        ),
        scenario(
            "the older passes by two younger",
            vec![
                vec![contain("a", "router")],
                vec![bind("b", per_objective("code", "vllm")), bind("c", per_objective("code", "sidecar"))],
                vec![contain("a", "vllm")],
                vec![contain("a", "sidecar")],
            ],
        ),
        scenario(
            "two swap containers",
            vec![
                vec![contain("a", "vllm"), bind("b", per_objective("code", "router"))],
                vec![contain("a", "router"), bind("b", per_objective("code", "vllm"))],
            ],
        ),
        scenario(
            "three shift by one",
            vec![
                vec![
                    contain("a", "x"),
                    bind("b", per_objective("code", "y")),
                    bind(
                        "c",
                        with_id(
                            per_objective("chat", "z"),
                            "spiffe://{{ .TrustDomain }}/ns/{{ .Namespace }}/c",
                        ),
                    ),
                ],
                vec![
                    contain("a", "y"),
                    bind("b", per_objective("code", "z")),
                    bind(
                        "c",
                        with_id(
                            per_objective("chat", "x"),
                            "spiffe://{{ .TrustDomain }}/ns/{{ .Namespace }}/c",
                        ),
                    ),
                ],
            ],
        ),
        scenario(
            "the pool of five is relabelled",
            vec![five(), vec![Deed::Put(at(POOL, "llama"), pool(&[("app", "llama"), ("tier", "gold")]))]],
        ),
        scenario(
            "the objective is pointed elsewhere",
            vec![two(), vec![Deed::Put(at(OBJECTIVE, "chat"), objective("qwen"))]],
        ),
        scenario(
            "the pool is deleted and comes back",
            vec![
                two(),
                vec![Deed::Remove(at(POOL, "llama"))],
                vec![Deed::Put(at(POOL, "llama"), pool(&[("app", "llama")]))],
            ],
        ),
        scenario(
            "the pool becomes unsafe and is mended",
            vec![
                two(),
                vec![Deed::Put(at(POOL, "llama"), json!({"selector": {}}))],
                vec![Deed::Put(at(POOL, "llama"), pool(&[("app", "llama")]))],
            ],
        ),
        scenario(
            "the SPIFFE ID changes",
            vec![
                vec![contain("a", "vllm")],
                vec![bind(
                    "a",
                    with_id(
                        per_objective("chat", "vllm"),
                        "spiffe://{{ .TrustDomain }}/ns/{{ .Namespace }}/x",
                    ),
                )],
            ],
        ),
        scenario("the mode changes", vec![vec![contain("a", "vllm")], vec![bind("a", pool_only("chat"))]]),
        scenario("deleted", vec![two(), vec![unbind("a")]]),
        scenario("deleted at once", vec![vec![contain("a", "vllm"), unbind("a")]]),
        scenario(
            "deleted and created again",
            vec![two(), vec![unbind("a"), contain("a", "vllm")], vec![contain("a", "vllm")]],
        ),
        scenario(
            "deleted while another finalizer holds it",
            vec![
                two(),
                vec![Deed::Hold(at(Kind::Binding, "a")), unbind("a")],
                vec![Deed::Release(at(Kind::Binding, "a"))],
            ],
        ),
        scenario(
            "deleted, and another finalizer keeps it",
            vec![
                vec![
                    contain("a", "vllm"),
                    bind("b", in_account(per_objective("chat", "router"), "not a name")),
                ],
                vec![Deed::Hold(at(Kind::Binding, "a")), unbind("a")],
                vec![Deed::Hold(at(Kind::Binding, "b")), unbind("b")],
            ],
        ),
        scenario("everything in the namespace is deleted", vec![five(), vec![Deed::Clear(NAMESPACE)]]),
        scenario(
            "the namespace is deleted, and comes back",
            vec![
                five(),
                vec![Deed::EndNamespace(NAMESPACE)],
                vec![Deed::BeginNamespace(NAMESPACE)],
                inputs(),
                two(),
            ],
        ),
        scenario("its finalizer is taken off", vec![two(), vec![Deed::Strip(at(Kind::Binding, "a"))]]),
        scenario("an orphan", vec![two(), vec![Deed::Strip(at(Kind::Binding, "a")), unbind("a")]]),
        scenario(
            "an orphan in the way of the next incarnation",
            vec![two(), vec![Deed::Strip(at(Kind::Binding, "a")), unbind("a"), contain("a", "sidecar")]],
        ),
        scenario(
            "somebody else's object is there first, and goes",
            vec![
                vec![meddle("a", Meddling::Usurp)],
                vec![contain("a", "vllm")],
                vec![meddle("a", Meddling::Delete)],
            ],
        ),
        scenario(
            "somebody else's object takes the output's place",
            vec![two(), vec![meddle("a", Meddling::Usurp)]],
        ),
        scenario(
            "somebody else's object wears our label",
            vec![two(), vec![meddle("a", Meddling::Pretend)], vec![unbind("a")]],
        ),
        scenario("the output is deleted by hand", vec![two(), vec![meddle("a", Meddling::Delete)]]),
        scenario(
            "the output is edited by hand",
            vec![
                two(),
                vec![meddle("a", Meddling::Admin), meddle("b", Meddling::NamespaceSelector)],
                vec![meddle("a", Meddling::SpiffeId), meddle("b", Meddling::ManagedBy)],
                vec![meddle("a", Meddling::Foreign), meddle("b", Meddling::Selectors)],
            ],
        ),
        scenario(
            "the output loses every proof, and is refused",
            vec![two(), vec![meddle("a", Meddling::Proof)]],
        ),
        scenario(
            "another finalizer keeps the output, and lets it go",
            vec![
                two(),
                vec![meddle("a", Meddling::Hold), meddle("b", Meddling::Hold)],
                vec![unbind("a"), bind("b", in_account(per_objective("chat", "router"), "not a name"))],
                vec![meddle("a", Meddling::Release)],
            ],
        ),
        scenario(
            "twenty sound ones among twenty malformed ones",
            vec![
                (0..20)
                    .flat_map(|nth| {
                        [
                            contain(&format!("sound-{nth}"), &format!("c{nth}")),
                            bind(&format!("odd-{nth}"), malformed(nth)),
                        ]
                    })
                    .collect(),
            ],
        ),
    ]
}

/// Every scenario that is about definitions and configuration.
fn of_surroundings() -> Vec<Scenario> {
    let two = || vec![contain("a", "vllm"), bind("b", pool_only("chat"))];
    let restarted = |config| vec![Deed::Restart(config, 300)];
    let mut all = vec![
        scenario(
            "restarted with another trust domain",
            vec![two(), restarted(Config { trust_domain: "other.example", ..Config::USUAL })],
        ),
        scenario(
            "restarted with a class",
            vec![two(), restarted(Config { class: Some("spire"), ..Config::USUAL })],
        ),
        scenario(
            "restarted with another class, and back",
            vec![
                two(),
                restarted(Config { class: Some("spire"), ..Config::USUAL }),
                restarted(Config { class: Some("other"), ..Config::USUAL }),
            ],
        ),
        scenario(
            "restarted for one namespace",
            vec![two(), restarted(Config { namespaces: &["llm"], ..Config::USUAL }), vec![unbind("a")]],
        ),
    ];
    for kind in Kind::ALL {
        let mut back = inputs();
        back.extend(two());
        all.push(scenario(
            &format!("{} goes and comes back", kind.crd_name()),
            vec![two(), vec![Deed::Undefine(kind)], vec![Deed::Define(kind)], back],
        ));
    }
    all
}

/// Every scenario.
pub(crate) fn all() -> Vec<Scenario> {
    of_objects().into_iter().chain(of_surroundings()).collect()
}

/// The world moves on while a write is under way.
pub(crate) fn moving() -> Vec<Scenario> {
    let before = || vec![bind("d", per_objective("code", "router")), contain("a", "vllm")];
    vec![
        scenario("deleted meanwhile", vec![before(), vec![unbind("a")]]),
        scenario(
            "deleted and created again meanwhile",
            vec![
                before(),
                vec![unbind("a"), contain("a", "sidecar")],
                // An object that is being deleted can be edited all the same: what comes after it waits until it is gone.
                Vec::new(),
                Vec::new(),
                Vec::new(),
                Vec::new(),
                Vec::new(),
                Vec::new(),
                Vec::new(),
                vec![contain("a", "sidecar")],
            ],
        ),
        scenario(
            "stripped, deleted and created again meanwhile",
            vec![before(), vec![Deed::Strip(at(Kind::Binding, "a")), unbind("a"), contain("a", "sidecar")]],
        ),
        scenario("in conflict meanwhile", vec![before(), vec![bind("d", per_objective("code", "vllm"))]]),
        scenario(
            "deleted meanwhile, and nothing is seen of outputs",
            vec![vec![Deed::Freeze(Kind::Output, 60_000)], before(), vec![unbind("a")]],
        ),
        scenario(
            "the older moves into the way meanwhile, and nothing is seen of outputs",
            vec![
                vec![Deed::Freeze(Kind::Output, 60_000)],
                vec![bind("d", per_objective("code", "router"))],
                vec![contain("a", "vllm")],
                vec![bind("d", per_objective("code", "vllm"))],
            ],
        ),
        scenario("edited meanwhile", vec![before(), vec![contain("a", "sidecar")]]),
        scenario("invalid meanwhile", vec![before(), vec![Deed::Remove(at(OBJECTIVE, "chat"))]]),
        scenario("usurped meanwhile", vec![before(), vec![meddle("a", Meddling::Usurp)], vec![unbind("a")]]),
    ]
}

/// A replace cannot be made for a minute, and what stands grants too much; within seconds it must be gone.
pub(crate) fn impatient(code: u16) -> Scenario {
    let outage = Deed::Outage(Sort::Of(Verb::Replace, Kind::Output), code, 60_000);
    let gone = Deed::MustNotGrant(Place::output(&output_of(NAMESPACE, "a")), "k8s:container-name:vllm");
    scenario(
        "a replace fails for a minute",
        vec![
            vec![contain("a", "vllm")],
            vec![outage, contain("a", "router")],
            Vec::new(),
            Vec::new(),
            Vec::new(),
            vec![gone],
        ],
    )
}

/// A binding is deleted while outputs cannot be read, which proves nothing of them.
pub(crate) fn unreadable() -> Scenario {
    scenario(
        "deleted while outputs cannot be read",
        vec![
            vec![contain("a", "vllm")],
            vec![Deed::Trouble(Kind::Output, Trouble::Failing)],
            Vec::new(),
            vec![unbind("a")],
            Vec::new(),
            vec![Deed::NoTrouble(Kind::Output)],
        ],
    )
}

/// A binding is deleted while whoever asks for outputs is told that there is nothing of the kind, which proves nothing.
pub(crate) fn unserved() -> Scenario {
    let no = |verb| Deed::Outage(Sort::Of(verb, Kind::Output), 404, 2_000);
    scenario(
        "deleted while nothing serves outputs",
        vec![
            vec![contain("a", "vllm")],
            vec![no(Verb::Delete), no(Verb::List), unbind("a")],
            Vec::new(),
            Vec::new(),
            vec![Deed::Touch(at(POOL, "llama"))],
        ],
    )
}

/// An output cannot be stored as it is to be, until its definition is another one.
pub(crate) fn outdated() -> Scenario {
    let outage = Deed::Outage(Sort::Of(Verb::Create, Kind::Output), 400, 8_000);
    let granted = Deed::MustGrant(Place::output(&output_of(NAMESPACE, "a")), "k8s:container-name:vllm");
    scenario(
        "the definition cannot hold a field",
        vec![
            vec![outage, contain("a", "vllm")],
            Vec::new(),
            Vec::new(),
            vec![Deed::Redefine(Kind::Output)],
            Vec::new(),
            vec![granted],
        ],
    )
}
