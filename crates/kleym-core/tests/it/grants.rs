//! Live outputs against what is to be written, by brute force: nothing is written beside an output that could give one
//! workload two identities, and what an output is of, is only believed where it is known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kleym_core::fact::{Binding, Change, Fact};
use kleym_core::grant::Grant;
use kleym_core::index::{Index, Verdict};
use kleym_core::name::{BindingKey, ObjectName};
use kleym_core::relation::{Precedence, disjoint_items};
use kleym_core::render::Identity;
use kleym_core::selector::Item;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::sample::select;

use crate::random::{CROWD, furniture, member};
use crate::world::{POPULATION, binding, cases, key, listed, name, ns, serving};

/// What was done to an output by hand.
#[derive(Debug, Clone)]
enum Hand {
    Id(&'static str),
    Drop(usize),
    Add(&'static str),
}

fn hand() -> impl Strategy<Value = Hand> {
    prop_oneof![
        select(&[
            "spiffe://example.org/ns/llm/shared",
            "spiffe://example.org/ns/llm/SHARED",
            "",
            "{{ .PodMeta }}"
        ])
        .prop_map(Hand::Id),
        (0_usize..8).prop_map(Hand::Drop),
        select(&[
            "k8s:sa:other",
            "k8s:sa:server",
            "k8s:container-name:proxy",
            "k8s:node-name:n1",
            "unix:uid:0"
        ])
        .prop_map(Hand::Add),
    ]
}

fn edited(mut grant: Grant, hand: &Hand) -> Grant {
    let mut items = grant.items.to_vec();
    match hand {
        Hand::Id(id) => grant.spiffe_id = (*id).into(),
        Hand::Drop(place) => {
            items.remove(place % items.len());
        }
        Hand::Add(item) => items.push(Item::parse(item).unwrap()),
    }
    items.sort();
    items.dedup();
    grant.items = items.into();
    grant
}

fn grant_of(identity: &Identity) -> Grant {
    Grant { spiffe_id: identity.spiffe_id.as_str().into(), items: identity.selectors.items().into() }
}

/// A live output: whose it is, what it was written from, and what was done to it since.
type Live = (&'static str, Binding, Option<Hand>);

struct World {
    index: Index,
    /// By output name: the binding it was written for, and what it grants.
    live: BTreeMap<ObjectName, (ObjectName, Grant)>,
    /// What was written for a binding, where that is known.
    written: BTreeMap<ObjectName, Vec<Arc<Identity>>>,
}

fn world(members: &[Binding], outputs: &[Live], layout: (bool, bool), remember: bool) -> World {
    let mut world = World { index: listed(), live: BTreeMap::new(), written: BTreeMap::new() };
    for change in furniture("llm", layout.0, layout.1) {
        world.index.apply(change);
    }
    // Outputs are written from what their bindings said at some time; then the bindings say what they say now.
    for (place, (of, then, hand)) in outputs.iter().enumerate() {
        let mut then = then.clone();
        then.key.name = name(of);
        then.deleting = false;
        let key = then.key.clone();
        world.index.apply(Change::Put(Fact::Binding(Box::new(then))));
        let Some(identity) = world.index.identity(&key).cloned() else { continue };
        let mut grant = grant_of(&identity);
        if let Some(hand) = hand {
            grant = edited(grant, hand);
        }
        let output = name(&format!("output-{place}"));
        world.index.set_grant(&key, &output, Some(grant.clone()));
        world.live.insert(output, (key.name.clone(), grant));
        if remember {
            world.written.entry(key.name).or_default().push(identity);
        }
    }
    for text in CROWD {
        let key = kleym_core::fact::FactKey {
            kind: kleym_core::kind::Kind::Binding,
            namespace: ns("llm"),
            name: name(text),
        };
        world.index.apply(Change::Gone(key));
    }
    for member in members {
        world.index.apply(Change::Put(Fact::Binding(Box::new(member.clone()))));
    }
    world
}

impl World {
    /// An identity this output is known to be of: the binding's present one or one that was written, if it is just that.
    fn known(&self, of: &ObjectName, grant: &Grant) -> Option<&Identity> {
        let mut possible = self.present(of).into_iter().chain(self.written(of).iter().map(|one| &**one));
        possible.find(|identity| grant_of(identity) == *grant)
    }

    fn present(&self, of: &ObjectName) -> Option<&Identity> {
        self.index.identity(&BindingKey::new(ns("llm"), of.clone())).map(|identity| &**identity)
    }

    fn written(&self, of: &ObjectName) -> &[Arc<Identity>] {
        self.written.get(of).map_or(&[], |written| &**written)
    }

    /// Whether both at once could be wrong.
    fn against(&self, of: &ObjectName, grant: &Grant, wanted: &Identity) -> bool {
        let known = self.known(of, grant);
        let id = wanted.spiffe_id.as_str();
        let competes = known.is_none_or(|known| known.mode == wanted.mode || known.pool != wanted.pool);
        let collides =
            competes && *grant.spiffe_id != *id && !disjoint_items(&grant.items, wanted.selectors.items());
        let one_subject =
            known.is_some_and(|known| known.subject == wanted.subject && known.pool == wanted.pool);
        // Where it is not known: an output that no workload of the other can match, whose binding has this ID for this
        // subject now, is taken to be of it.
        let taken = known.is_none()
            && *grant.spiffe_id == *id
            && disjoint_items(&grant.items, wanted.selectors.items())
            && self.present(of).is_some_and(|present| {
                present.spiffe_id == wanted.spiffe_id && present.subject == wanted.subject
            });
        collides || (grant.spiffe_id.to_lowercase() == id.to_lowercase() && !one_subject && !taken)
    }

    fn blockers(&self, key: &BindingKey, wanted: &Identity) -> BTreeSet<ObjectName> {
        self.index.blockers(key, wanted, |of| self.written(of))
    }
}

fn outputs() -> impl Strategy<Value = Vec<Live>> {
    vec((select(&CROWD), member(), option::weighted(0.3, hand())), 0..8)
}

proptest! {
    #![proptest_config(cases(1500))]

    #[test]
    fn nothing_is_written_beside_an_output_that_stands_against_it(
        members in vec(member(), 1..8),
        outputs in outputs(),
        layout in (any::<bool>(), any::<bool>()),
        remember in any::<bool>(),
    ) {
        let world = world(&members, &outputs, layout, remember);
        for member in world.index.bindings() {
            let Some(wanted) = world.index.identity(&member.key) else { continue };
            let others = world.live.iter().filter(|(_, (of, _))| *of != member.key.name);
            let expected: BTreeSet<ObjectName> = others
                .clone()
                .filter(|(_, (of, grant))| world.against(of, grant, wanted))
                .map(|(output, _)| output.clone())
                .collect();
            let blockers = world.blockers(&member.key, wanted);
            assert_eq!(blockers, expected, "{}", member.key);
            // What does not block gives no container a second identity that competes.
            let matching = POPULATION.of(wanted);
            for (output, (of, grant)) in others.filter(|(output, _)| !blockers.contains(*output)) {
                let known = world.known(of, grant);
                let competes = known.is_none_or(|known| known.mode == wanted.mode || known.pool != wanted.pool);
                if competes && *grant.spiffe_id != *wanted.spiffe_id.as_str() {
                    let granted = POPULATION.matching(grant.items.iter().map(Item::as_str));
                    assert!(granted.is_apart_from(&matching), "{output} beside {}", member.key);
                }
            }
        }
    }

    #[test]
    fn an_output_in_the_way_of_an_older_peer_is_one_that_stands_against_what_it_is_to_have(
        members in vec(member(), 1..8),
        outputs in outputs(),
        remember in any::<bool>(),
    ) {
        let world = world(&members, &outputs, (true, true), remember);
        for (output, (of, grant)) in &world.live {
            let key = BindingKey::new(ns("llm"), of.clone());
            let Some(own) = world.index.binding(&key) else { continue };
            let claims = world.index.identity(&key).is_some() && (!own.deleting || own.finalizer);
            let older = world.index.bindings().filter(|peer| Precedence::of(peer) < Precedence::of(own));
            let expected = claims
                && older.into_iter().any(|peer| match world.index.verdict(&peer.key).verdict {
                    Verdict::Wanted(wanted) => world.against(of, grant, &wanted),
                    _ => false,
                });
            let found = world.index.stands_against_older(&key, output, world.written(of));
            assert_eq!(found, expected, "{output} of {key}");
        }
    }

    #[test]
    fn outputs_that_are_gone_leave_nothing_behind(
        members in vec(member(), 0..6),
        outputs in outputs(),
        order in any::<u64>(),
    ) {
        let mut world = world(&members, &outputs, (true, true), false);
        let mut live: Vec<_> = std::mem::take(&mut world.live).into_iter().collect();
        let turn = usize::try_from(order % 7).unwrap() % live.len().max(1);
        live.rotate_left(turn);
        for (output, (of, grant)) in live {
            let key = BindingKey::new(ns("llm"), of);
            assert!(!world.index.set_grant(&key, &output, Some(grant)), "an equal grant changes nothing");
            assert!(world.index.set_grant(&key, &output, None));
            assert!(!world.index.set_grant(&key, &output, None), "gone is gone");
        }
        let mut fresh = listed();
        for change in furniture("llm", true, true) {
            fresh.apply(change);
        }
        for member in &members {
            fresh.apply(Change::Put(Fact::Binding(Box::new(member.clone()))));
        }
        assert!(format!("{:?}", world.index) == format!("{fresh:?}"));
    }

    #[test]
    fn an_item_that_is_dropped_by_hand_only_widens_what_an_output_stands_against(
        members in vec(member(), 1..6),
        outputs in vec((select(&CROWD), member(), Just(None)), 1..6),
        place in 0_usize..8,
    ) {
        let world = world(&members, &outputs, (true, true), false);
        for (of, grant) in world.live.values() {
            let wider = edited(grant.clone(), &Hand::Drop(place));
            for member in &members {
                if let Some(wanted) = world.index.identity(&member.key) {
                    let before = grant.stands_against(world.known(of, grant), wanted);
                    assert!(!before || wider.stands_against(None, wanted));
                }
            }
        }
    }
}

#[test]
fn an_output_of_the_same_subject_with_an_id_in_another_case_stands_in_the_way() {
    let id = |id: &str| format!("spiffe://example.org/ns/llm/{id}");
    let live = binding("b").id(&id("x")).render().unwrap();
    let wanted = binding("a").id(&id("X")).render().unwrap();
    assert!(grant_of(&live).stands_against(Some(&live), &wanted), "a workload would hold two IDs");
    let same = binding("a").id(&id("x")).render().unwrap();
    assert!(!grant_of(&live).stands_against(Some(&live), &same));
    assert!(grant_of(&live).stands_against(None, &same), "of which subject it is, is not known");
}

#[test]
fn the_own_output_never_blocks_and_others_do_until_they_are_gone() {
    let mut index = serving(&[binding("a"), binding("b").id("spiffe://example.org/ns/llm/b").created(200)]);
    let wanted = index.identity(&key("llm", "a")).unwrap().clone();
    let own = Grant { spiffe_id: "spiffe://example.org/ns/llm/old".into(), ..grant_of(&wanted) };
    index.set_grant(&key("llm", "a"), &name("own"), Some(own));
    let of_b = grant_of(&index.identity(&key("llm", "b")).unwrap().clone());
    index.set_grant(&key("llm", "b"), &name("of-b"), Some(of_b));
    // An orphan: its binding is not there any more.
    let orphan = Grant { spiffe_id: "x".into(), items: [].into() };
    index.set_grant(&key("llm", "gone"), &name("orphan"), Some(orphan.clone()));
    // Another namespace's outputs never meet.
    index.set_grant(&key("web", "b"), &name("elsewhere"), Some(orphan));
    let blockers = |index: &Index| index.blockers(&key("llm", "a"), &wanted, |_| &[]);
    assert_eq!(blockers(&index), [name("of-b"), name("orphan")].into());
    index.set_grant(&key("llm", "b"), &name("of-b"), None);
    index.set_grant(&key("llm", "gone"), &name("orphan"), None);
    assert_eq!(blockers(&index), BTreeSet::new());
    assert!(!index.stands_against_older(&key("llm", "a"), &name("own"), &[]));
}
