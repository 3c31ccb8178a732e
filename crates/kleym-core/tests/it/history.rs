//! The index over random histories: after every step it answers what the naive model answers, it never forgets a
//! binding whose verdict moved, and where it came from leaves no trace.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use kleym_core::fact::{Change, Fact, FactKey, Known};
use kleym_core::index::{Decision, Index};
use kleym_core::kind::Kind;
use kleym_core::name::BindingKey;
use kleym_core::relist::{Difference, Relist, Seen};
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_oneof, proptest};
use proptest::sample::select;

use crate::naive::Naive;
use crate::random::{self, BINDINGS, CROWD, NAMESPACES, Step, beginning, furniture, member, step};
use crate::world::{
    binding, cases, key, listed, name, ns, objective, pool, put_objective, put_pool, serving, settings,
};

/// Every binding key that can occur, there or not.
fn keys() -> Vec<BindingKey> {
    let all = NAMESPACES.iter().flat_map(|ns| BINDINGS.map(|name| key(ns, name)));
    all.collect()
}

fn decisions(index: &Index) -> BTreeMap<BindingKey, Decision> {
    keys().into_iter().map(|key| (key.clone(), index.verdict(&key))).collect()
}

fn assert_agrees(index: &Index, model: &Naive) {
    for key in keys() {
        model.assert_agrees(&key, &index.verdict(&key));
    }
}

/// A small generator of orders, for what is only known while a test runs.
fn shuffled<T>(mut values: Vec<T>, mut seed: u64) -> Vec<T> {
    for place in (1..values.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let other = usize::try_from(seed >> 33).unwrap() % (place + 1);
        values.swap(place, other);
    }
    values
}

/// Says where kinds are known otherwise than as a whole.
fn set_apart(index: &mut Index, model: &Naive) {
    for (kind, namespace, availability) in model.apart() {
        if availability.known == Known::Listed {
            let of_it = |(key, fact): (&FactKey, &Fact)| {
                (key.kind == kind && key.namespace == *namespace).then(|| fact.clone())
            };
            let facts = model.facts.iter().filter_map(of_it).collect();
            index.apply(Change::ListedIn(kind, namespace.clone(), facts));
        }
        index.apply(Change::TroubleIn(kind, namespace.clone(), availability.trouble));
    }
}

/// An index of the final state alone: what is known of the kinds, then the facts, both in some order.
fn rebuilt(model: &Naive, seed: u64) -> Index {
    let mut index = Index::new(settings());
    for kind in shuffled(Kind::ALL.to_vec(), seed) {
        match model.available(kind).known {
            Known::Nothing => {}
            Known::Absent => drop(index.apply(Change::Absent(kind))),
            Known::Listed => drop(index.apply(Change::Listed(kind, Vec::new()))),
        }
        index.apply(Change::Trouble(kind, model.available(kind).trouble));
    }
    for fact in shuffled(model.facts.values().cloned().collect(), seed ^ 0x9e37_79b9) {
        index.apply(Change::Put(fact));
    }
    set_apart(&mut index, model);
    index
}

/// The same from complete lists, one for each kind.
fn relisted(model: &Naive, seed: u64) -> Index {
    let mut index = Index::new(settings());
    for kind in shuffled(Kind::ALL.to_vec(), seed) {
        let facts: Vec<Fact> =
            model.facts.iter().filter(|(key, _)| key.kind == kind).map(|(_, fact)| fact.clone()).collect();
        match model.available(kind).known {
            Known::Listed => drop(index.apply(Change::Listed(kind, shuffled(facts, seed)))),
            Known::Absent => {
                index.apply(Change::Absent(kind));
                facts.into_iter().for_each(|fact| drop(index.apply(Change::Put(fact))));
            }
            Known::Nothing => facts.into_iter().for_each(|fact| drop(index.apply(Change::Put(fact)))),
        }
        index.apply(Change::Trouble(kind, model.available(kind).trouble));
    }
    set_apart(&mut index, model);
    index
}

fn begun(changes: Vec<Change>) -> (Index, Naive) {
    begun_looking_at(20_000, changes)
}

/// At how many peers a change may look: at none, at fewer than there are, at all.
fn looks() -> impl Strategy<Value = usize> {
    select(&[0, 3, 20_000])
}

fn begun_looking_at(peers: usize, changes: Vec<Change>) -> (Index, Naive) {
    let (mut index, mut model) = (Index::new(settings()).looking_at(peers), Naive::default());
    for change in changes {
        model.apply(&change);
        index.apply(change);
    }
    (index, model)
}

/// Applies a step to both; answers the change, when it is one.
fn advance(index: &mut Index, model: &mut Naive, step: &Step) -> Option<(Change, BTreeSet<BindingKey>)> {
    let change = step.change(model)?;
    model.apply(&change);
    let dirty = index.apply(change.clone());
    Some((change, dirty))
}

proptest! {
    #![proptest_config(cases(700))]

    /// The index is the naive model, only faster; what moved is dirty; saying it again moves nothing.
    #[test]
    fn every_verdict_is_what_the_contract_says_and_every_change_of_one_is_noticed(
        first in beginning(),
        steps in vec(step(), 1..60),
        looks in looks(),
    ) {
        let (mut index, mut model) = begun_looking_at(looks, first);
        let mut before = decisions(&index);
        for step in &steps {
            let Some((change, dirty)) = advance(&mut index, &mut model, step) else { continue };
            assert_agrees(&index, &model);
            let after = decisions(&index);
            for (key, decision) in &after {
                assert!(
                    before[key] == *decision || dirty.contains(key),
                    "{key} moved from {:?} to {decision:?} unnoticed by {change:?}", before[key]
                );
            }
            assert_eq!(index.apply(change), BTreeSet::new(), "an equal fact changes nothing");
            assert_eq!(decisions(&index), after);
            before = after;
        }
    }

    /// The same in a crowd, where peers decide.
    #[test]
    fn a_crowd_gets_the_verdicts_of_the_contract(
        layout in (any::<bool>(), any::<bool>()),
        steps in vec(prop_oneof![4 => member().prop_map(Ok), 1 => select(&CROWD).prop_map(Err)], 1..40),
        looks in looks(),
    ) {
        let nothing = Kind::ALL.map(|kind| Change::Listed(kind, Vec::new())).into();
        let (mut index, mut model) = begun_looking_at(looks, nothing);
        let crowd = CROWD.map(|name| key("llm", name));
        let changes = steps.into_iter().map(|step| match step {
            Ok(binding) => Change::Put(Fact::Binding(Box::new(binding))),
            Err(text) => Change::Gone(FactKey { kind: Kind::Binding, namespace: ns("llm"), name: name(text) }),
        });
        let mut before = crowd.clone().map(|key| index.verdict(&key));
        for change in furniture("llm", layout.0, layout.1).into_iter().chain(changes) {
            model.apply(&change);
            let dirty = index.apply(change);
            for (key, before) in crowd.iter().zip(&mut before) {
                let after = index.verdict(key);
                model.assert_agrees(key, &after);
                assert!(*before == after || dirty.contains(key), "{key} moved unnoticed to {after:?}");
                *before = after;
            }
        }
    }

    /// `Index(after any history) == Index(from the final snapshot)`, whatever the order, down to the last field.
    #[test]
    fn an_index_does_not_remember_how_it_came_about(
        first in beginning(),
        steps in vec(step(), 1..100),
        seed in any::<u64>(),
    ) {
        let (mut index, mut model) = begun(first);
        for step in &steps {
            advance(&mut index, &mut model, step);
        }
        let (rebuilt, relisted) = (rebuilt(&model, seed), relisted(&model, seed));
        for key in keys() {
            let decision = index.verdict(&key);
            for other in [&rebuilt, &relisted] {
                assert_eq!(other.verdict(&key), decision);
                assert_eq!(format!("{:?}", other.verdict(&key)), format!("{decision:?}"));
            }
        }
        assert!(format!("{rebuilt:?}") == format!("{index:?}"), "the index holds something of its history");
        assert!(format!("{relisted:?}") == format!("{index:?}"), "the index holds something of its history");
    }

    /// Emptied, an index is as new.
    #[test]
    fn what_is_gone_leaves_nothing_behind(
        first in beginning(),
        steps in vec(step(), 1..60),
        seed in any::<u64>(),
    ) {
        let (mut index, mut model) = begun(first);
        for step in &steps {
            advance(&mut index, &mut model, step);
        }
        for key in shuffled(model.facts.keys().cloned().collect(), seed) {
            index.apply(Change::Gone(key));
        }
        for kind in Kind::ALL {
            index.apply(Change::Absent(kind));
            index.apply(Change::Listed(kind, Vec::new()));
        }
        assert_eq!(format!("{index:?}"), format!("{:?}", listed()));
    }
}

/// What happens between an API server and one watch.
#[derive(Debug, Clone)]
enum Wire {
    /// An object is written; the watch reports it if it is alive.
    Write(Fact),
    /// An object is removed.
    Remove(FactKey),
    /// The watch of a kind breaks: what happens next is not reported.
    Break(Kind),
    /// A list of a kind begins, whether or not one is under way.
    Begin(Kind),
    /// One object of the list arrives.
    Item(Kind),
    /// The rest of the list arrives, and it ends.
    End(Kind),
}

fn wire() -> impl Strategy<Value = Wire> {
    let kind = || select(&Kind::ALL);
    prop_oneof![
        12 => random::fact().prop_map(Wire::Write),
        6 => random::fact().prop_map(|fact| Wire::Remove(fact.key())),
        1 => kind().prop_map(Wire::Break),
        3 => kind().prop_map(Wire::Begin),
        5 => kind().prop_map(Wire::Item),
        3 => kind().prop_map(Wire::End),
    ]
}

type Report = Seen<Fact, FactKey>;

/// One kind's watch with the list it is reading.
struct Watch {
    kind: Kind,
    relist: Relist<Fact>,
    alive: bool,
    /// What is still to come of the list under way.
    list: Option<VecDeque<Fact>>,
    /// What happened since that list was taken.
    behind: Vec<Report>,
}

impl Watch {
    fn new(kind: Kind) -> Self {
        Self { kind, relist: Relist::new(), alive: false, list: None, behind: Vec::new() }
    }

    /// Something happened to an object of the kind.
    fn happens(&mut self, seen: Report, index: &mut Index) {
        if self.list.is_some() {
            self.behind.push(seen);
        } else if self.alive {
            index.apply(self.change(seen).expect("a living watch reports at once"));
        }
    }

    fn begins(&mut self, snapshot: Vec<Fact>) {
        self.alive = false;
        self.behind.clear();
        self.list = Some(snapshot.into());
        assert_eq!(self.change(Seen::ListBegins), None);
    }

    fn change(&mut self, seen: Report) -> Option<Change> {
        Some(match self.relist.apply(seen)? {
            Difference::Listed(facts) => Change::Listed(self.kind, facts),
            Difference::Put(fact) => Change::Put(fact),
            Difference::Gone(key) => Change::Gone(key),
        })
    }

    fn item(&mut self) {
        if let Some(fact) = self.list.as_mut().and_then(VecDeque::pop_front) {
            assert_eq!(self.change(Seen::ListItem(fact)), None);
        }
    }

    fn ends(&mut self, index: &mut Index) {
        if self.list.is_none() {
            return;
        }
        while self.list.as_ref().is_some_and(|list| !list.is_empty()) {
            self.item();
        }
        self.list = None;
        self.alive = true;
        index.apply(self.change(Seen::ListEnds).expect("a list that ends is a change"));
        for seen in std::mem::take(&mut self.behind) {
            self.happens(seen, index);
        }
    }
}

fn of_kind(truth: &BTreeMap<FactKey, Fact>, kind: Kind) -> Vec<Fact> {
    truth.iter().filter(|(key, _)| key.kind == kind).map(|(_, fact)| fact.clone()).collect()
}

fn known(index: &Index, key: &FactKey) -> Option<Fact> {
    let (namespace, name) = (&key.namespace, &key.name);
    match key.kind {
        Kind::Binding => {
            let binding = index.binding(&BindingKey::new(namespace.clone(), name.clone()))?;
            Some(Fact::Binding(Box::new(binding.clone())))
        }
        Kind::Objective(group) => index.objective(namespace, name, group).cloned().map(Fact::Objective),
        Kind::Pool(group) => index.pool(namespace, name, group).cloned().map(Fact::Pool),
        Kind::Output => None,
    }
}

proptest! {
    #![proptest_config(cases(300))]

    /// Lists that are interrupted, watches that break, objects that go while nobody looks: a finished list shows
    /// exactly what is there, and an unfinished one shows nothing.
    #[test]
    fn an_interrupted_list_leaves_no_ghost(events in vec(wire(), 1..100)) {
        let mut index = Index::new(settings());
        let mut truth: BTreeMap<FactKey, Fact> = BTreeMap::new();
        let mut ever: BTreeSet<FactKey> = BTreeSet::new();
        let mut watches: BTreeMap<Kind, Watch> = Kind::ALL.map(|kind| (kind, Watch::new(kind))).into();
        let mut watch = |kind: Kind, act: &mut dyn FnMut(&mut Watch)| act(watches.get_mut(&kind).unwrap());
        for event in events.into_iter().chain(Kind::ALL.map(Wire::Begin)).chain(Kind::ALL.map(Wire::End)) {
            match event {
                Wire::Write(fact) => {
                    let key = fact.key();
                    truth.insert(key.clone(), fact.clone());
                    ever.insert(key.clone());
                    watch(key.kind, &mut |watch| watch.happens(Seen::Put(fact.clone()), &mut index));
                }
                Wire::Remove(key) => {
                    if truth.remove(&key).is_some() {
                        watch(key.kind, &mut |watch| watch.happens(Seen::Gone(key.clone()), &mut index));
                    }
                }
                Wire::Break(kind) => watch(kind, &mut |watch| watch.alive = false),
                Wire::Begin(kind) => watch(kind, &mut |watch| watch.begins(of_kind(&truth, kind))),
                Wire::Item(kind) => watch(kind, &mut Watch::item),
                Wire::End(kind) => {
                    watch(kind, &mut |watch| watch.ends(&mut index));
                }
            }
        }
        for key in ever {
            assert_eq!(known(&index, &key), truth.get(&key).cloned(), "{key:?}");
        }
        let mut model = Naive::default();
        for kind in Kind::ALL {
            model.apply(&Change::Listed(kind, of_kind(&truth, kind)));
        }
        assert_agrees(&index, &model);
    }
}

#[test]
fn the_end_of_a_list_that_never_began_says_nothing() {
    type Watched = Seen<&'static str, ()>;
    let mut relist = Relist::new();
    assert_eq!(relist.apply(Watched::ListEnds), None, "nothing was listed, so nothing is proved gone");
    assert_eq!(relist.apply(Watched::ListBegins), None);
    assert_eq!(relist.apply(Watched::ListItem("a")), None);
    assert_eq!(relist.apply(Watched::ListEnds), Some(Difference::Listed(vec!["a"])));
    assert_eq!(relist.apply(Watched::ListEnds), None);
}

#[test]
fn an_object_of_a_kind_that_is_proved_absent_does_not_count() {
    let pool_kind = put_pool(&pool("llama", &[("app", "llama")]));
    let mut index = serving(&[binding("chat")]);
    let before = index.verdict(&key("llm", "chat"));
    for kind in Kind::ALL.into_iter().filter(|kind| matches!(kind, Kind::Pool(_))) {
        index.apply(Change::Absent(kind));
    }
    let absent = index.verdict(&key("llm", "chat"));
    assert_ne!(absent, before);
    // An event that was on its way when the CRD went.
    index.apply(pool_kind);
    assert_eq!(index.verdict(&key("llm", "chat")), absent);
}

#[test]
fn only_those_a_change_can_affect_are_looked_at_again() {
    let others =
        (0..200).map(|n| binding(&format!("other-{n}")).container(&format!("c{n}")).objective("code"));
    let mut index = serving(&others.collect::<Vec<_>>());
    index.apply(put_objective(&objective("code", "mistral")));
    index.apply(put_pool(&pool("mistral", &[("app", "mistral")])));
    let id = "spiffe://example.org/ns/llm/{{ .BindingName }}";
    let (old, new) = (binding("old").created(1).id(id), binding("new").created(2).id(id));
    assert_eq!(index.apply(old.put()), [key("llm", "old")].into());
    assert_eq!(index.apply(new.put()), [key("llm", "new")].into(), "nobody's verdict moves for a later peer");
    let gone = FactKey { kind: Kind::Binding, namespace: old.0.key.namespace, name: old.0.key.name };
    assert_eq!(index.apply(Change::Gone(gone)), [key("llm", "old"), key("llm", "new")].into());
    let touched = index.apply(put_pool(&pool("llama", &[("app", "llama"), ("tier", "a")])));
    assert_eq!(touched, [key("llm", "new")].into());
    assert!(index.apply(put_pool(&pool("unused", &[("app", "x")]))).is_empty());
}

#[test]
fn where_too_many_meet_everyone_is_looked_at_again_instead_of_every_pair() {
    let crowd: Vec<_> = (0..40).map(|n| binding(&format!("b{n}"))).collect();
    let mut index = serving(&crowd).looking_at(100);
    index.apply(put_objective(&objective("code", "mistral")));
    index.apply(put_pool(&pool("mistral", &[("app", "mistral")])));
    index.apply(binding("aside").objective("code").put());
    let dirty = index.apply(put_pool(&pool("llama", &[("app", "llama"), ("tier", "a")])));
    assert_eq!(dirty.len(), 41);
    let dirty = index.apply(put_pool(&pool("mistral", &[("app", "mistral"), ("tier", "a")])));
    assert_eq!(dirty, [key("llm", "aside")].into(), "one change spends nothing of the next one's");
}
