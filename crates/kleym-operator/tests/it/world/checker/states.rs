//! What identities depended on, in every state that was recorded, and what the engine makes of it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use kleym_api::{decode, encode};
use kleym_core::fact::{Availability, Binding, Fact, Objective, Pool, Target};
use kleym_core::kind::{Kind, ObjectiveGroup, PoolGroup};
use kleym_core::name::{BindingKey, Namespace, ObjectName, Uid};
use kleym_core::output::WantedOutput;
use kleym_core::render::{Identity, render};
use kleym_core::resolve::{Facts, Troubles, resolve};
use kleym_core::settings::Settings;
use serde_json::Value;

use crate::world::recorder::Version;

/// One identity that a binding was to have in some state, and the output that it asks for.
pub(super) struct Rendered {
    /// The identity.
    pub(super) identity: Arc<Identity>,
    /// The whole output.
    pub(super) output: Value,
}

/// The renders of one incarnation of a binding.
pub(super) type Renders = Rc<Vec<Rendered>>;

/// The renders by binding and uid.
type ByIncarnation = BTreeMap<(BindingKey, String), Renders>;

/// Everything that was recorded, by where it stood.
pub(super) struct States<'a> {
    facts: BTreeMap<(Kind, String, String), Vec<&'a Version>>,
    /// What was asked for before: for each of the settings, by binding and uid.
    rendered: RefCell<Vec<(Settings, ByIncarnation)>>,
}

impl<'a> States<'a> {
    pub(super) fn of(versions: &'a [Version]) -> Self {
        let mut facts: BTreeMap<_, Vec<&Version>> = BTreeMap::new();
        for version in versions.iter().filter(|version| version.kind != Kind::Output) {
            let place = version.place();
            let key = (version.kind, place.namespace.to_owned(), place.name.to_owned());
            facts.entry(key).or_default().push(version);
        }
        Self { facts, rendered: RefCell::default() }
    }

    /// What a binding of this uid was to have, by these settings, in any state of itself, its objective and its pool. The
    /// operator hears of each kind by itself, so that every state of the one can meet every state of the others.
    pub(super) fn renders(&self, settings: &Settings, key: &BindingKey, uid: &str) -> Renders {
        let place = (key.clone(), uid.to_owned());
        let mut rendered = self.rendered.borrow_mut();
        let nth = rendered.iter().position(|(known, _)| known == settings).unwrap_or_else(|| {
            rendered.push((settings.clone(), ByIncarnation::new()));
            rendered.len() - 1
        });
        rendered[nth].1.entry(place).or_insert_with(|| self.all(settings, key, uid)).clone()
    }

    fn all(&self, settings: &Settings, key: &BindingKey, uid: &str) -> Renders {
        let mut all: Vec<Rendered> = Vec::new();
        for binding in self.bindings(key, uid) {
            for identity in self.identities(settings, &binding) {
                if all.iter().any(|known| *known.identity == identity) {
                    continue;
                }
                let wanted = WantedOutput::of(settings, key, binding.uid.as_ref(), &identity);
                let output = serde_json::to_value(encode::cluster_spiffe_id(&wanted)).unwrap();
                all.push(Rendered { identity: Arc::new(identity), output });
            }
        }
        Rc::new(all)
    }

    /// The different specs that a binding had before it was deleted.
    fn bindings(&self, key: &BindingKey, uid: &str) -> Vec<Binding> {
        let uid = Uid::parse(uid).ok();
        let mut all: Vec<Binding> = Vec::new();
        for fact in self.read(Kind::Binding, &key.namespace, &key.name) {
            let Fact::Binding(binding) = fact else { continue };
            let known = |other: &Binding| other.spec == binding.spec;
            if !binding.deleting && binding.uid == uid && !all.iter().any(known) {
                all.push(*binding);
            }
        }
        all
    }

    /// The different states of an object, whenever it lived.
    fn read(&self, kind: Kind, namespace: &Namespace, name: &ObjectName) -> Vec<Fact> {
        let place = (kind, namespace.to_string(), name.to_string());
        let versions = self.facts.get(&place).into_iter().flatten().filter(|version| !version.gone);
        let mut facts: Vec<Fact> = Vec::new();
        for fact in versions.filter_map(|version| decode::fact(kind, &version.object).ok()) {
            if !facts.contains(&fact) {
                facts.push(fact);
            }
        }
        facts
    }

    fn identities(&self, settings: &Settings, binding: &Binding) -> Vec<Identity> {
        let Ok(spec) = &binding.spec else { return Vec::new() };
        let namespace = &binding.key.namespace;
        let objectives = match &spec.target {
            Target::Objective { name, .. } => self.objectives(namespace, name),
            Target::Pool { .. } => vec![Vec::new()],
        };
        let mut found = Vec::new();
        for objectives in objectives {
            let mut names: BTreeSet<ObjectName> =
                objectives.iter().filter_map(|one| Some(one.pool_ref.as_ref().ok()?.name.clone())).collect();
            if let Target::Pool { name, .. } = &spec.target {
                names.insert(name.clone());
            }
            for pools in self.pools(namespace, &names) {
                let state = State { objectives: &objectives, pools };
                let resolved = resolve(&state, namespace, &spec.target, &mut Troubles::new());
                let rendered = resolved.ok().and_then(|to| render(settings, &binding.key, spec, &to).ok());
                found.extend(rendered);
            }
        }
        found
    }

    /// Every choice of at most one state of the objective in each group.
    fn objectives(&self, namespace: &Namespace, name: &ObjectName) -> Vec<Vec<Objective>> {
        let of = |group| {
            let read = self.read(Kind::Objective(group), namespace, name).into_iter();
            read.filter_map(|fact| if let Fact::Objective(one) = fact { Some(one) } else { None }).collect()
        };
        choices(ObjectiveGroup::ALL.map(of).into())
    }

    /// Every choice of at most one state of each pool of these names, in each group.
    fn pools(&self, namespace: &Namespace, names: &BTreeSet<ObjectName>) -> Vec<Vec<Pool>> {
        let of = |(group, name): (PoolGroup, &ObjectName)| {
            let read = self.read(Kind::Pool(group), namespace, name).into_iter();
            read.filter_map(|fact| if let Fact::Pool(one) = fact { Some(one) } else { None }).collect()
        };
        let places = PoolGroup::ALL.into_iter().flat_map(|group| names.iter().map(move |name| (group, name)));
        choices(places.map(of).collect())
    }
}

/// Every choice of at most one of each list.
fn choices<T: Clone>(lists: Vec<Vec<T>>) -> Vec<Vec<T>> {
    let mut all = vec![Vec::new()];
    for list in lists {
        let with = |one: &T| {
            all.iter().map(|chosen| [chosen.as_slice(), std::slice::from_ref(one)].concat()).collect()
        };
        let more: Vec<Vec<Vec<T>>> = list.iter().map(with).collect();
        all.extend(more.into_iter().flatten());
    }
    all
}

/// What an operator may have known at some moment.
struct State<'a> {
    objectives: &'a [Objective],
    pools: Vec<Pool>,
}

impl Facts for State<'_> {
    fn availability(&self, _: Kind) -> Availability {
        Availability::LISTED
    }

    fn objective(&self, _: &Namespace, name: &ObjectName, group: ObjectiveGroup) -> Option<&Objective> {
        self.objectives.iter().find(|one| one.group == group && one.name == *name)
    }

    fn pool(&self, _: &Namespace, name: &ObjectName, group: PoolGroup) -> Option<&Pool> {
        self.pools.iter().find(|one| one.group == group && one.name == *name)
    }
}
