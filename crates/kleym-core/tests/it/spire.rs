//! What SCM and SPIRE do with ClusterSPIFFEIDs: a naive brute force over small worlds, and the promise that no container is
//! given two identities of one mode.

use std::collections::{BTreeMap, BTreeSet};

use kleym_core::name::Uid;
use kleym_core::output::{Pairs, WantedOutput};
use kleym_core::spire::{
    Access, Answer, Class, Container, ContainerKind, Ignored, Image, LabelRule, Manager, Node, Operator,
    Owner, Phase, Pod, Registration, Selector, Space, World, predict,
};
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::sample::select;

use crate::settled::{crowd, everything_wanted, settled};
use crate::world::{cases, name, ns};

const SPACES: [&str; 3] = ["llm", "web", "my-kube-system-2"];

fn labels(pairs: &[(&str, &str)]) -> Pairs {
    pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
}

fn uid(text: &str) -> Option<Uid> {
    Uid::parse(text).ok()
}

fn container() -> impl Strategy<Value = Container> {
    let kind = select(&[ContainerKind::Regular, ContainerKind::Init, ContainerKind::Sidecar]);
    (select(&["vllm", "proxy"]), kind, select(&["v1", "v2"])).prop_map(|(container, kind, tag)| Container {
        name: container.into(),
        kind,
        image: format!("r:5000/vllm:{tag}").into(),
        running: Some(Image {
            image: format!("r:5000/vllm:{tag}").into(),
            id: "r:5000/vllm@sha256:aa".into(),
        }),
        access: Access::Untold,
    })
}

fn pod() -> impl Strategy<Value = Pod> {
    let app = select(&["llama", "mistral", ""]);
    let tier = select(&["a", "b", ""]);
    let node = option::weighted(0.9, select(&["n1", "n2", "gone"]));
    let containers = proptest::collection::vec(container(), 1..3);
    (select(&SPACES), app, tier, select(&["server", "other"]), node, containers, any::<bool>()).prop_map(
        |(space, app, tier, account, node, mut containers, owned)| {
            containers.sort_by_key(|container| container.kind.is_init());
            containers.dedup_by(|a, b| a.name == b.name);
            let labels = [("app", app), ("tier", tier)].into_iter().filter(|(_, value)| !value.is_empty());
            Pod {
                namespace: ns(space),
                name: name("p1"),
                uid: None,
                labels: labels.map(|(key, value)| (key.into(), value.into())).collect(),
                service_account: account.into(),
                node_name: node.map(Into::into),
                phase: Phase::Running,
                deleting: false,
                owners: if owned {
                    [Owner { kind: "Job".into(), name: "j".into(), uid: "u".into() }].into()
                } else {
                    Box::default()
                },
                containers: containers.into(),
                istio: false,
                tolerations: Box::default(),
                node_selector: Pairs::new(),
                ready: None,
            }
        },
    )
}

/// Pods with names and uids of their own.
fn pods() -> impl Strategy<Value = Vec<Pod>> {
    proptest::collection::vec(pod(), 0..6).prop_map(|mut pods| {
        for (index, pod) in pods.iter_mut().enumerate() {
            pod.name = name(&format!("p{index}"));
            pod.uid = uid(&format!("uid-{index}"));
        }
        pods
    })
}

/// One rule in plain data: key, operator, values.
type Rule = (&'static str, Operator, Vec<&'static str>);

fn rule() -> impl Strategy<Value = Rule> {
    let values = prop_oneof![Just(vec!["llama"]), Just(vec!["a"]), Just(vec!["llama", "a", "llm"])];
    (
        select(&["app", "tier", "kubernetes.io/metadata.name", "team"]),
        select(&[Operator::In, Operator::NotIn, Operator::Exists, Operator::DoesNotExist]),
        values,
    )
        .prop_map(|(key, operator, values)| match operator {
            Operator::In | Operator::NotIn => (key, operator, values),
            Operator::Exists | Operator::DoesNotExist => (key, operator, Vec::new()),
        })
}

/// A ClusterSPIFFEID in plain data.
#[derive(Debug, Clone)]
struct Object {
    created: i64,
    deletion: Option<i64>,
    class: &'static str,
    label: bool,
    fallback: bool,
    namespaces: Vec<Rule>,
    pods: Vec<Rule>,
    id: &'static str,
    selectors: Vec<&'static str>,
}

fn object() -> impl Strategy<Value = Object> {
    let id = select(&[
        "spiffe://example.org/ns/llm/pool/llama",
        "spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/sa/{{ .PodSpec.ServiceAccountName }}",
        "spiffe://example.org/tier/{{ index .PodMeta.Labels \"tier\" }}",
        "spiffe://example.org/app/{{ .PodMeta.Labels.app }}",
        "spiffe://example.net/x",
        "spiffe://example.org",
        "spiffe://example.org/spire/agent/x",
        "",
        "{{",
    ]);
    let item = select(&[
        "k8s:ns:llm",
        "k8s:sa:server",
        "k8s:container-name:vllm",
        "k8s:container-image:r:5000/vllm:v1",
        "k8s:container-image:r:5000/vllm@sha256:aa",
        "k8s:pod-image-count:1",
        "k8s:pod-init-image-count:1",
        "k8s:pod-image:r:5000/vllm:v2",
        "k8s:pod-init-image:r:5000/vllm:v2",
        "k8s:node-name:n1",
        "k8s:pod-name:p1",
        "k8s:pod-uid:uid-1",
        "k8s:pod-owner:Job:j",
        "k8s:pod-owner-uid:Job:u",
        "k8s:pod-label:app:{{ index .PodMeta.Labels \"app\" }}",
        "k8s:",
        "nothing",
    ]);
    let rules = || proptest::collection::vec(rule(), 0..2);
    let meta = (1_i64..4, option::weighted(0.2, 1_i64..3), select(&["", "spire", "other"]), any::<bool>());
    (meta, any::<bool>(), rules(), rules(), id, proptest::collection::vec(item, 0..3)).prop_map(
        |((created, deletion, class, label), fallback, namespaces, pods, id, selectors)| Object {
            created,
            deletion,
            class,
            label,
            fallback,
            namespaces,
            pods,
            id,
            selectors,
        },
    )
}

fn selector(rules: &[Rule]) -> Option<Selector> {
    let rules = rules
        .iter()
        .map(|(key, operator, values)| LabelRule::new(key, *operator, values.iter().copied()).unwrap());
    (rules.len() != 0).then(|| Selector::new(rules))
}

fn registration(index: usize, object: &Object) -> Registration {
    Registration {
        name: format!("o{index}").into(),
        uid: uid(&format!("o{index}")),
        created: Some(object.created),
        deletion: object.deletion,
        class_name: object.class.into(),
        class_label: object.label.then(|| object.class.into()),
        fallback: object.fallback,
        namespaces: selector(&object.namespaces),
        pods: selector(&object.pods),
        ..Registration::of_templates(object.id, object.selectors.iter().copied())
    }
}

/// SCM written down once more, pod by pod, with strings alone.
struct Naive<'a> {
    class: &'a Class,
    objects: &'a [Object],
    pods: &'a [Pod],
    nodes: &'a [&'a str],
}

impl Naive<'_> {
    fn holds(rules: &[Rule], labels: &Pairs) -> bool {
        rules.iter().all(|(key, operator, values)| {
            let value = labels.get(*key);
            let among = value.is_some_and(|value| values.contains(&&**value));
            match operator {
                Operator::In => among,
                Operator::NotIn => !among,
                Operator::Exists => value.is_some(),
                Operator::DoesNotExist => value.is_none(),
            }
        })
    }

    fn rendered(template: &str, pod: &Pod) -> String {
        let label = |key: &str, none: &str| pod.labels.get(key).map_or(none.to_owned(), ToString::to_string);
        template
            .replace("{{ .TrustDomain }}", "example.org")
            .replace("{{ .PodMeta.Namespace }}", pod.namespace.as_str())
            .replace("{{ .PodSpec.ServiceAccountName }}", &pod.service_account)
            .replace("{{ index .PodMeta.Labels \"tier\" }}", &label("tier", ""))
            .replace("{{ index .PodMeta.Labels \"app\" }}", &label("app", ""))
            .replace("{{ .PodMeta.Labels.app }}", &label("app", "<no value>"))
    }

    fn selects(&self, object: &Object, pod: &Pod) -> bool {
        let watched = if object.class == &*self.class.name {
            true
        } else {
            object.class.is_empty() && self.class.classless
        };
        let seen = !self.class.by_label
            || self.class.name.is_empty()
            || (object.label && object.class == &*self.class.name);
        let space = labels(&[("kubernetes.io/metadata.name", pod.namespace.as_str()), ("team", "a")]);
        let ignored = pod.namespace.as_str().contains("kube-system");
        watched
            && seen
            && !object.id.is_empty()
            && object.id != "{{"
            && !ignored
            && Self::holds(&object.namespaces, &space)
            && Self::holds(&object.pods, &pod.labels)
    }

    /// ID and selectors of the entry, when one can be rendered.
    fn entry(&self, object: &Object, pod: &Pod) -> Option<(String, Vec<String>)> {
        if !self.selects(object, pod) || !self.nodes.contains(&pod.node_name.as_deref()?) {
            return None;
        }
        let id = Self::rendered(object.id, pod);
        let path = id.strip_prefix("spiffe://example.org")?;
        let proper = |segment: &str| {
            !segment.is_empty() && segment.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
        };
        if !(path.is_empty() || path.starts_with('/') && path[1..].split('/').all(proper)) {
            return None;
        }
        let items: Vec<String> = object.selectors.iter().map(|item| Self::rendered(item, pod)).collect();
        items
            .iter()
            .all(|item| item.split_once(':').is_some_and(|(a, b)| !a.is_empty() && !b.is_empty()))
            .then_some((id, items))
    }

    /// Everything the agent finds out about a container, as it prints it.
    fn found(pod: &Pod, container: &Container) -> BTreeSet<String> {
        let mut all: BTreeSet<String> = [
            format!("k8s:ns:{}", pod.namespace),
            format!("k8s:sa:{}", pod.service_account),
            format!("k8s:node-name:{}", pod.node_name.as_deref().unwrap_or_default()),
            format!("k8s:pod-uid:{}", pod.uid.as_ref().unwrap()),
            format!("k8s:pod-name:{}", pod.name),
            format!("k8s:pod-image-count:{}", pod.of(false).count()),
            format!("k8s:pod-init-image-count:{}", pod.of(true).count()),
            format!("k8s:container-name:{}", container.name),
        ]
        .into();
        all.extend(pod.labels.iter().map(|(key, value)| format!("k8s:pod-label:{key}:{value}")));
        for owner in &pod.owners {
            all.insert(format!("k8s:pod-owner:{}:{}", owner.kind, owner.name));
            all.insert(format!("k8s:pod-owner-uid:{}:{}", owner.kind, owner.uid));
        }
        for other in &pod.containers {
            let kind = if other.kind.is_init() { "pod-init-image" } else { "pod-image" };
            let image = other.running.as_ref().unwrap();
            all.extend([&image.image, &image.id].map(|reference| format!("k8s:{kind}:{reference}")));
        }
        let image = container.running.as_ref().unwrap();
        all.extend([&image.image, &image.id].map(|reference| format!("k8s:container-image:{reference}")));
        all
    }

    /// Every entry that SPIRE Server holds in the end: object, pod, ID, selectors.
    fn entries(&self) -> Vec<(usize, usize, String, Vec<String>)> {
        let mut made: BTreeMap<(usize, String, Vec<String>), usize> = BTreeMap::new();
        for (p, pod) in self.pods.iter().enumerate() {
            let served =
                self.objects.iter().any(|object| !object.fallback && self.entry(object, pod).is_some());
            for (o, object) in self.objects.iter().enumerate() {
                let Some((id, mut items)) = self.entry(object, pod) else { continue };
                if object.fallback && served {
                    continue;
                }
                items.sort();
                let first = made.entry((p, id, items)).or_insert(o);
                let place = |o: usize| {
                    let object = &self.objects[o];
                    (
                        object.created,
                        object.deletion.is_some(),
                        object.deletion.map(|at| -at),
                        format!("o{o}"),
                    )
                };
                if place(o) < place(*first) {
                    *first = o;
                }
            }
        }
        let refused = |pod: usize, id: &str, items: &[String]| {
            let mut all = items.to_vec();
            all.push(format!("k8s:pod-uid:{}", self.pods[pod].uid.as_ref().unwrap()));
            let number = all.len();
            let distinct = all.into_iter().collect::<BTreeSet<_>>().len();
            distinct != number || id == "spiffe://example.org" || id.contains("org/spire/")
        };
        let mut entries: Vec<_> = made
            .into_iter()
            .filter(|((pod, id, items), _)| !refused(*pod, id, items))
            .map(|((pod, id, items), object)| (object, pod, id, items))
            .collect();
        entries.sort();
        entries
    }
}

proptest! {
    #![proptest_config(cases(1500))]

    #[test]
    fn what_is_foreseen_is_what_a_naive_model_of_scm_does(
        objects in proptest::collection::vec(object(), 0..6),
        pods in pods(),
        class in (select(&["", "spire"]), any::<bool>(), option::weighted(0.2, Just(()))),
    ) {
        let class = Class { name: class.0.into(), classless: class.1, by_label: class.2.is_some() };
        let manager = Manager {
            class: Some(class.clone()),
            ignored: Some(vec![Ignored::new("kube-system")]),
            trust_domain: Some("example.org".into()),
            cluster_name: Some("test".into()),
            ..Manager::default()
        };
        let registrations: Vec<Registration> =
            objects.iter().enumerate().map(|(index, object)| registration(index, object)).collect();
        let nodes = ["n1", "n2"].map(|node| Node { name: node.into(), uid: uid(node), labels: Pairs::new(), taints: Box::default() });
        let spaces = SPACES.map(|space| Space {
            name: ns(space),
            labels: labels(&[("kubernetes.io/metadata.name", space), ("team", "a")]),
            complete: true,
        });
        let world = World {
            manager: &manager,
            others: &[],
            registrations: &registrations,
            pods: &pods,
            nodes: Some(&nodes),
            spaces: &spaces,
        };
        let foreseen = predict(world);
        let naive = Naive { class: &class, objects: &objects, pods: &pods, nodes: &["n1", "n2"] };

        let mut entries: Vec<(usize, usize, String, Vec<String>)> = Vec::new();
        for pod in 0..pods.len() {
            for entry in foreseen.entries_of(pod) {
                prop_assert_eq!(entry.certain, Answer::Yes);
                let mut items: Vec<String> =
                    entry.selectors.iter().map(|item| item.text().unwrap().to_owned()).collect();
                items.sort();
                entries.push((entry.by, entry.pod, entry.spiffe_id.text().unwrap().to_owned(), items));
            }
        }
        entries.sort();
        prop_assert_eq!(&entries, &naive.entries());

        // Containers: selectors are a subset of what the agent finds.
        for (index, pod) in pods.iter().enumerate() {
            for container in &pod.containers {
                let found = Naive::found(pod, container);
                let expected: BTreeSet<&str> = entries
                    .iter()
                    .filter(|(_, of, _, items)| *of == index && items.iter().all(|item| found.contains(item)))
                    .map(|(_, _, id, _)| id.as_str())
                    .collect();
                let answers: Vec<_> = foreseen.identities(world, index, container).collect();
                prop_assert!(answers.iter().all(|(_, answer)| answer.certain()));
                let got: BTreeSet<&str> =
                    answers.iter().filter_map(|(entry, _)| entry.spiffe_id.text()).collect();
                prop_assert_eq!(got, expected);
            }
        }

        // What SCM counts.
        for (index, object) in objects.iter().enumerate() {
            let stats = foreseen.fates[index].stats.unwrap();
            let selected = pods.iter().filter(|pod| naive.selects(object, pod)).count();
            prop_assert_eq!(stats.pods_selected, selected);
            let displaced = foreseen.displaced.iter().filter(|displaced| displaced.fallback == index).count();
            // Where a fallback stood aside, SCM does not even render.
            let all = stats.entries_to_set + stats.entries_masked + stats.render_failures + displaced;
            prop_assert_eq!(stats.pods_selected, all);
        }
    }

    /// proof.md, S4: by brute force through the model of SCM and SPIRE, whatever is unknown counted as a match.
    #[test]
    fn no_container_gets_two_ids_of_one_mode_nor_of_two_pools(
        crowd in crowd(),
        both in any::<bool>(),
        pods in pods(),
    ) {
        let index = settled(crowd, both);
        let wanted = everything_wanted(&index);
        let registrations: Vec<Registration> = wanted
            .iter()
            .map(|(key, identity)| Registration::wanted(&WantedOutput::of(index.settings(), key, None, identity)))
            .collect();
        let identities: Vec<_> = wanted.iter().map(|(_, identity)| identity).collect();
        let manager = Manager {
            class: Some(Class::default()),
            ignored: Some(Vec::new()),
            trust_domain: Some("example.org".into()),
            ..Manager::default()
        };
        let world =
            World { manager: &manager, others: &[], registrations: &registrations, pods: &pods, nodes: None, spaces: &[] };
        let foreseen = predict(world);
        for (index, pod) in pods.iter().enumerate() {
            for container in &pod.containers {
                let given: Vec<usize> =
                    foreseen.identities(world, index, container).map(|(entry, _)| entry.by).collect();
                prop_assert_eq!(foreseen.several(world, index, container).is_some(), {
                    let ids: BTreeSet<&str> = given.iter().map(|by| identities[*by].spiffe_id.as_str()).collect();
                    ids.len() > 1
                });
                prop_assert!(given.iter().all(|by| wanted[*by].0.namespace == pod.namespace));
                for (place, a) in given.iter().enumerate() {
                    for b in &given[place + 1..] {
                        let (a, b) = (identities[*a], identities[*b]);
                        prop_assert!(
                            a.spiffe_id == b.spiffe_id || (a.mode != b.mode && a.pool == b.pool),
                            "{} and {} both reach {} of {}", a.spiffe_id, b.spiffe_id, container.name, pod.path(),
                        );
                    }
                }
            }
        }
    }
}
