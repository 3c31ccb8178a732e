//! What is wanted when everything has settled, by brute force: no container gets two identities that compete, no ID is
//! wanted twice, no path belongs to two namespaces, and who comes later takes nothing away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kleym_core::fact::{Binding, Change, Fact};
use kleym_core::index::{Decision, Index, Verdict};
use kleym_core::name::BindingKey;
use kleym_core::output::WantedOutput;
use kleym_core::relation::{Precedence, Relation, compete, conflict, disjoint, relate};
use kleym_core::render::Identity;
use kleym_core::spiffe::{Truth, check};
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, proptest};
use proptest::sample::select;

use crate::naive::Plain;
use crate::obligations;
use crate::random::{furniture, member};
use crate::world::{POPULATION, cases, listed, name, ns, settings};

pub(crate) type Crowd = ((bool, bool), Vec<Binding>);

pub(crate) fn crowd() -> impl Strategy<Value = Crowd> {
    ((any::<bool>(), any::<bool>()), vec(member(), 0..14))
}

fn put(binding: Binding) -> Change {
    Change::Put(Fact::Binding(Box::new(binding)))
}

/// An index of a crowd, in both namespaces if so wished.
pub(crate) fn settled(((one_pool, same_labels), members): Crowd, both: bool) -> Index {
    let mut index = listed();
    for namespace in ["llm", "web"] {
        furniture(namespace, one_pool, same_labels).into_iter().for_each(|change| drop(index.apply(change)));
    }
    for (place, mut binding) in members.into_iter().enumerate() {
        if both && place % 2 == 1 {
            binding.key.namespace = ns("web");
        }
        index.apply(put(binding));
    }
    index
}

pub(crate) fn everything_wanted(index: &Index) -> Vec<(BindingKey, Arc<Identity>)> {
    let keys: Vec<BindingKey> = index.bindings().map(|binding| binding.key.clone()).collect();
    keys.into_iter()
        .filter_map(|key| match index.verdict(&key).verdict {
            Verdict::Wanted(identity) => Some((key, identity)),
            _ => None,
        })
        .collect()
}

fn decisions(index: &Index) -> Vec<(Binding, Decision)> {
    index.bindings().map(|binding| (binding.clone(), index.verdict(&binding.key))).collect()
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn no_container_is_given_two_identities_that_compete(crowd in crowd(), both in any::<bool>()) {
        let wanted = everything_wanted(&settled(crowd, both));
        for (key, a) in &wanted {
            obligations::identity(&Plain::from(&**a), key.namespace.as_str()).unwrap();
            let in_a = POPULATION.of(a);
            for (other, b) in wanted.iter().filter(|(other, _)| other > key) {
                let in_b = POPULATION.of(b);
                if key.namespace != other.namespace {
                    assert!(in_a.is_apart_from(&in_b), "{key} and {other} of two namespaces");
                } else if a.spiffe_id != b.spiffe_id && (a.mode == b.mode || a.pool != b.pool) {
                    assert!(in_a.is_apart_from(&in_b), "{key} {a:?} and {other} {b:?}");
                }
            }
        }
    }

    #[test]
    fn no_id_is_wanted_for_two_subjects(crowd in crowd(), both in any::<bool>()) {
        let wanted = everything_wanted(&settled(crowd, both));
        for (key, a) in &wanted {
            for (other, b) in &wanted {
                let one_id = a.spiffe_id.as_str().to_lowercase() == b.spiffe_id.as_str().to_lowercase();
                let one_subject =
                    key.namespace == other.namespace && a.subject == b.subject && a.pool == b.pool;
                assert!(!one_id || one_subject, "{key} {a:?} and {other} {b:?}");
            }
        }
    }

    /// spire-controller-manager executes the strings it gets as Go templates: one without a brace it copies.
    #[test]
    fn every_string_of_an_output_is_a_literal_to_a_go_template_engine(crowd in crowd()) {
        let index = settled(crowd, true);
        for (key, identity) in everything_wanted(&index) {
            let spec = WantedOutput::of(index.settings(), &key, None, &identity).spec;
            let mut strings: Vec<&str> = spec.selectors.iter().map(|text| &**text).collect();
            assert!(strings.iter().copied().eq(identity.selectors.texts()));
            strings.extend([&*spec.spiffe_id, spec.hint.as_deref().unwrap()]);
            for text in strings {
                assert!(!text.contains(['{', '}']) && text.bytes().all(|b| b.is_ascii_graphic()), "{text}");
            }
            let namespace = spec.namespace_selector.unwrap().match_labels;
            assert_eq!(namespace.get("kubernetes.io/metadata.name").map(|text| &**text), Some(key.namespace.as_str()));
            let pods = spec.pod_selector.unwrap().match_labels;
            assert!(pods.iter().map(|(k, v)| (&**k, &**v)).eq(BTreeMap::from_iter(identity.selectors.pod_labels())));
        }
    }

    /// Whoever comes later, created, edited or removed, changes nothing for those before it.
    #[test]
    fn who_comes_later_never_changes_an_older_verdict(crowd in crowd(), newcomer in member()) {
        let mut index = settled(crowd, false);
        let before = decisions(&index);
        let replaced = index.binding(&newcomer.key).cloned();
        let place = replaced.iter().chain([&newcomer]).map(Precedence::of).min().unwrap();
        let dirty = index.apply(put(newcomer));
        for (binding, decision) in before.into_iter().filter(|(binding, _)| Precedence::of(binding) < place) {
            assert_eq!(index.verdict(&binding.key), decision, "{}", binding.key);
            assert!(!dirty.contains(&binding.key), "{} is looked at for a later peer", binding.key);
        }
    }

    /// Whoever is left out of the neighbours is disjoint and has another SPIFFE ID, and the relation of every two says what
    /// its parts say; so a matrix of all pairs may skip who is no neighbour.
    #[test]
    fn who_is_no_neighbour_is_disjoint(crowd in crowd()) {
        let index = settled(crowd, false);
        let claims = |binding: &&Binding| !binding.deleting || binding.finalizer;
        let claiming: Vec<(&Binding, &Arc<Identity>)> = index
            .bindings()
            .filter(claims)
            .filter_map(|binding| Some((binding, index.identity(&binding.key)?)))
            .collect();
        for (binding, identity) in &claiming {
            let near = index.neighbours(&binding.key);
            assert!(!near.contains(&binding.key.name));
            for (other, theirs) in claiming.iter().filter(|(other, _)| other.key != binding.key) {
                let relation = relate(identity, theirs);
                if !near.contains(&other.key.name) {
                    assert!(matches!(relation, Relation::Disjoint(_)), "{}: {relation:?}", other.key);
                    assert!(!identity.spiffe_id.as_str().eq_ignore_ascii_case(theirs.spiffe_id.as_str()));
                }
                match relation {
                    Relation::Conflict(cause) => assert_eq!(conflict(identity, theirs), Some(cause)),
                    Relation::SameIdentity => {
                        assert!(identity.spiffe_id == theirs.spiffe_id && identity.same_subject(theirs));
                    }
                    Relation::Disjoint(apart) => assert_eq!(disjoint(identity, theirs), Some(apart)),
                    Relation::Layered => assert!(!compete(identity, theirs)),
                }
            }
        }
    }

    #[test]
    fn the_newest_of_all_is_the_only_one_its_arrival_concerns(crowd in crowd(), newcomer in member()) {
        let mut index = settled(crowd, false);
        let mut newcomer = newcomer;
        newcomer.key.name = name("zzz");
        newcomer.created = None;
        let before = decisions(&index);
        let key = newcomer.key.clone();
        assert_eq!(index.apply(put(newcomer)), BTreeSet::from([key]));
        for (binding, decision) in before {
            assert_eq!(index.verdict(&binding.key), decision);
        }
    }

    /// A refusal for a conflict names a peer that comes first; the oldest of all is never refused for one.
    #[test]
    fn only_a_peer_that_comes_first_outranks(crowd in crowd()) {
        let index = settled(crowd, false);
        for binding in index.bindings() {
            let verdict = index.verdict(&binding.key).verdict;
            let Verdict::Refused(kleym_core::refusal::Refusal::Conflict(conflict)) = verdict else { continue };
            for peer in &conflict.peers {
                let peer = index.binding(&BindingKey::new(ns("llm"), peer.name.clone())).unwrap();
                assert!(Precedence::of(peer) < Precedence::of(binding));
                assert!(index.identity(&peer.key).is_some(), "a peer that cannot be rendered competes with nobody");
            }
        }
    }

    #[test]
    fn every_path_belongs_to_at_most_one_namespace(
        segments in vec(select(&[
            "ns", "NS", "llm", "web", "LLM", "sa", "SA", "server", "pool", "Pool", "llama", "objective", "chat",
            "team-a", "Team-A", "TEAM-C", "team-b", "spire", "x", "X",
        ]), 0..6),
        per_objective in any::<bool>(),
    ) {
        let settings = settings();
        let id = format!("spiffe://example.org/{}", segments.join("/"));
        let (pool, objective) = (name("llama"), name("chat"));
        let subject = if per_objective { ("objective", "chat") } else { ("pool", "llama") };
        let mut owners = Vec::new();
        for namespace in ["llm", "web", "other"] {
            let of = ns(namespace);
            let truth = Truth {
                namespace: &of,
                service_account: "server",
                objective: per_objective.then_some(&objective),
                pool: &pool,
            };
            let checked = check(&id, &settings.trust_domain, &settings.path_grants, truth);
            let subject = (subject.0, subject.1.to_owned());
            let again = obligations::spiffe_id(&id, namespace, "server", &subject, "llama");
            assert_eq!(checked.is_ok(), again.is_ok(), "{id} in {namespace}: {checked:?}, {again:?}");
            if checked.is_ok() {
                owners.push(namespace);
            }
        }
        assert!(owners.len() <= 1, "{id} belongs to {owners:?}");
    }
}
