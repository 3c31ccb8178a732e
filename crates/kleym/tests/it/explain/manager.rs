//! What is said of spire-controller-manager where its settings, or pods, could not be read.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Dump, h};

/// A ClusterSPIFFEID of somebody else, of no class, with an ID in SCM's trust domain.
const CLASSLESS: &str = "apiVersion: spire.spiffe.io/v1alpha1
kind: ClusterSPIFFEID
metadata: {name: everybody, uid: uid-of-everybody}
spec:
  spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}/everybody'
";

/// Who is given what, according to the map: container and SPIFFE ID.
fn drawn(dump: &Dump) -> BTreeSet<(String, String)> {
    let map: Value = serde_json::from_str(&dump.kleym("graph -o json").out).unwrap();
    let region = &map["namespaces"][0];
    let nodes = region["nodes"].as_array().unwrap();
    let name = |id: &Value| {
        let node = nodes.iter().find(|node| node["id"] == *id).unwrap();
        node["name"].as_str().unwrap().to_owned()
    };
    let edges = region["edges"].as_array().unwrap().iter();
    let given = edges.filter(|edge| edge["to"].as_str().unwrap().starts_with("identity"));
    let given = given.filter(|edge| matches!(edge["link"].as_str(), Some("granted" | "overlap")));
    given.filter_map(|edge| Some((edge["fromContainer"].as_str()?.to_owned(), name(&edge["to"])))).collect()
}

/// The same according to `explain`.
fn explained(dump: &Dump) -> BTreeSet<(String, String)> {
    let report: Value = serde_json::from_str(&dump.kleym("explain pod/vllm-0 -o json").out).unwrap();
    let mut given = BTreeSet::new();
    for container in report["containers"].as_array().unwrap() {
        for identity in container["identities"].as_array().unwrap() {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            given.insert((text(&container["container"]), text(&identity["spiffeID"])));
        }
    }
    given
}

#[test]
fn map_and_explanation_mean_the_same_by_settings_that_nobody_could_read() {
    let everybody = |container: &str| (container.to_owned(), "spiffe://example.org/everybody".to_owned());
    for class in ["", "\n  className: spire-spire", "\n  className: other"] {
        let object = CLASSLESS.replace("spec:", &format!("spec:{class}"));
        let dump = h().with("everybody.yaml", &object).without("manager.yaml");
        assert_eq!(drawn(&dump), explained(&dump), "{class:?}");
        let given = !class.contains("other");
        assert_eq!(explained(&dump).contains(&everybody("proxy")), given, "{class:?}");
    }
    // What rests on what is only assumed is not certain.
    let answer = h().with("everybody.yaml", CLASSLESS).without("manager.yaml").explain();
    let line = answer.out.lines().find(|line| line.starts_with("proxy ")).unwrap();
    assert!(line.ends_with("everybody (maybe)"), "{answer}");
}

#[test]
fn where_no_pods_were_read_no_entry_is_foreseen() {
    let answer = h().without("pod.yaml").kleym("explain binding/chat");
    assert_eq!(answer.exit, Some(0), "{answer}");
    let says = " 9 ?    SCM              there is no pod in the files, so no entry can be foreseen; last reported: 1 pod selected, 1 to set";
    assert!(answer.out.lines().any(|line| line == says), "{answer}");
    assert!(
        answer.out.contains(" 1 ?    labels           app=vllm; there is no pod in the files"),
        "{answer}"
    );
}

#[test]
fn of_several_pods_those_that_wait_are_counted() {
    let waiting = super::POD.replace("vllm-0", "vllm-1").replace("  nodeName: gpu-14\n", "");
    let answer = h().with("pod-1.yaml", &waiting).kleym("explain binding/chat");
    assert!(
        answer.out.contains("ok   SCM              1 entry foreseen; 1 pod is on no node yet"),
        "{answer}"
    );
    let all = h().edit("pod.yaml", "  nodeName: gpu-14\n", "").kleym("explain binding/chat");
    assert_eq!(all.exit, Some(0), "{all}");
    assert!(all.out.contains(" 9 wait SCM "), "{all}");
}

#[test]
fn a_namespace_whose_pods_spire_controller_manager_does_not_read_is_told_with_its_setting() {
    let with = |cached: &str| {
        h().edit("manager.yaml", "clusterName: prod", &format!("clusterName: prod\n    {cached}"))
    };
    let none = |cached: &str| {
        with(cached).edit(
            "output.yaml",
            "podsSelected: 1, entriesToSet: 1",
            "podsSelected: 0, entriesToSet: 0",
        )
    };
    let cached = "cacheNamespaces: {speech: {}, vision: {}}";
    for asked in ["explain pod/vllm-0", "explain binding/chat"] {
        let answer = none(cached).kleym(asked);
        assert_eq!((super::cause(&answer), answer.exit), (Some("KLM6007"), Some(2)), "{answer}");
        for said in [
            "ConfigMap spire-server/spire-controller-manager: cacheNamespaces = speech, vision\n",
            ": status.stats.podsSelected = 0\n",
            "fix    add `llm: {}` to `cacheNamespaces` of spire-controller-manager in ConfigMap spire-server/spire-controller-manager, and start it anew",
        ] {
            assert!(answer.out.contains(said), "{said}: {answer}");
        }
        assert!(!answer.out.contains("spiffe://example.org/ns/llm/objective/chat   kleym-"), "{answer}");
    }
    // A fallback identity is given by the same entries.
    let data = none(cached).with("default.yaml", super::FALLBACK).kleym("explain pod/vllm-0 -o json");
    assert!(!data.out.contains("\"certain\": true"), "{data}");
    let status = none(cached).kleym("status");
    assert!(status.err.contains("KLM6007"), "{status}");
    let one = none("cacheNamespace: speech").explain();
    assert_eq!(super::cause(&one), Some("KLM6007"), "{one}");
    for all in [
        "cacheNamespaces: {}",
        "cacheNamespaces: {llm: null, speech: {}}",
        "cacheNamespaces: {'': {}, speech: {}}",
    ] {
        let answer = with(all).explain();
        assert_eq!((super::cause(&answer), answer.exit), (None, Some(0)), "{all}: {answer}");
    }
}

#[test]
fn what_a_report_contradicts_is_not_certain() {
    let answer = h()
        .edit("output.yaml", "podsSelected: 1, entriesToSet: 1", "podsSelected: 0, entriesToSet: 0")
        .kleym("explain pod/vllm-0 -o json");
    assert!(answer.out.contains("\"KLM6102\"") && answer.out.contains("\"certain\": false"), "{answer}");
    assert!(!answer.out.contains("\"certain\": true"), "{answer}");
}

/// The pod of SCM, which runs since then.
fn scm(since: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata:
  name: spire-server-0
  namespace: spire-server
  uid: uid-of-spire-server-0
  ownerReferences: [{{apiVersion: apps/v1, kind: StatefulSet, name: spire-server, uid: uid-of-set, controller: true}}]
spec:
  nodeName: gpu-14
  containers:
  - {{name: spire-server, image: 'r/spire-server:1'}}
  - {{name: scm, image: 'r/spire-controller-manager:1', volumeMounts: [{{name: config, mountPath: /c.yaml, subPath: c.yaml}}]}}
  volumes: [{{name: config, configMap: {{name: spire-controller-manager}}}}]
status:
  phase: Running
  containerStatuses: [{{name: scm, state: {{running: {{startedAt: '{since}'}}}}}}]
"
    )
}

/// SCM's ConfigMap was written at noon of 20 November, its labels later.
const WRITTEN: &str = "metadata:
  name: spire-controller-manager
  namespace: spire-server
  annotations: {meta.helm.sh/release-name: spire, meta.helm.sh/release-namespace: spire-server}
  managedFields:
  - {manager: helm, time: '2026-03-02T09:21:00Z', fieldsV1: {f:data: {}}}
  - {manager: kubectl-edit, time: '2026-11-20T12:00:00Z', fieldsV1: {f:data: {f:controller-manager-config.yaml: {}}}}
  - {manager: labeller, time: '2026-11-25T12:00:00Z', fieldsV1: {f:metadata: {f:labels: {}}}}
";

/// SCM ignores the namespace, as it reports, and its ConfigMap does not say so.
fn still_ignored() -> Dump {
    h().edit(
        "output.yaml",
        "podsSelected: 1, entriesToSet: 1, namespacesSelected: 1",
        "podsSelected: 0, entriesToSet: 0, namespacesSelected: 1, namespacesIgnored: 1",
    )
}

const RESTART: &str = "restart StatefulSet `spire-server/spire-server`, which runs spire-controller-manager (`spire-server` in the same pod restarts with it); before that see that `ignoreNamespaces` in ConfigMap spire-server/spire-controller-manager is as it is to be, and that its source, Helm release `spire` of namespace `spire-server`, says the same, or the next upgrade brings the former value back; in Kleym nothing is to be changed";

#[test]
fn a_configuration_that_spire_controller_manager_has_not_read_yet_is_told_with_what_to_restart() {
    let written = "metadata: {name: spire-controller-manager, namespace: spire-server}\n";
    let dump =
        |since: &str| still_ignored().edit("manager.yaml", written, WRITTEN).with("scm.yaml", &scm(since));
    let older = dump("2026-11-02T08:00:00Z");
    for asked in ["explain pod/vllm-0", "explain binding/chat"] {
        let answer = older.kleym(asked);
        assert_eq!((super::cause(&answer), answer.exit), (Some("KLM6102"), Some(2)), "{answer}");
        for said in [
            "though no pattern of `ignoreNamespaces` in ConfigMap spire-server/spire-controller-manager matches it: ConfigMap spire-server/spire-controller-manager was last written at 2026-11-20T12:00:00Z, which is after it started, and it reads that only when it starts\n",
            ": status.stats.namespacesIgnored = 1\n",
            "ConfigMap spire-server/spire-controller-manager: ignoreNamespaces = kube-system, kube-public, openshift-.*\n",
            "ConfigMap spire-server/spire-controller-manager: metadata.managedFields[].time = 2026-11-20T12:00:00Z (kubectl-edit)\n",
            "Pod spire-server/spire-server-0: status.containerStatuses[scm].state.running.startedAt = 2026-11-02T08:00:00Z\n",
        ] {
            assert!(answer.out.contains(said), "{said}: {answer}");
        }
        assert_eq!(super::advice::fix(&answer), RESTART);
    }
    // One that started since has read it: another reason is looked for.
    let newer = dump("2026-11-21T08:00:00Z").explain();
    assert_eq!(super::cause(&newer), Some("KLM6102"), "{newer}");
    assert!(
        super::advice::fix(&newer).starts_with("see the log of spire-controller-manager: it started after"),
        "{newer}"
    );
    assert!(!newer.out.contains("reads that only"), "{newer}");
    // Which is older is said only where both are read.
    for (dump, restart) in [
        (
            still_ignored(),
            "restart spire-controller-manager; before that see that `ignoreNamespaces` in ConfigMap",
        ),
        (
            still_ignored().with("scm.yaml", &scm("2026-11-02T08:00:00Z")),
            "restart StatefulSet `spire-server/spire-server`",
        ),
        (still_ignored().edit("manager.yaml", written, WRITTEN), "restart spire-controller-manager; before"),
    ] {
        let answer = dump.explain();
        assert!(super::advice::fix(&answer).starts_with(restart), "{answer}");
        assert!(
            !answer.out.contains("after it started")
                && answer
                    .out
                    .contains("; it reads that only when it starts, and may run with a former one\n"),
            "{answer}"
        );
    }
    // What was typed or is assumed is in no ConfigMap that a restart would bring.
    for answer in [
        still_ignored().kleym("explain pod/vllm-0 --scm-ignore-namespaces x"),
        still_ignored().without("manager.yaml").explain(),
    ] {
        assert_eq!(super::cause(&answer), Some("KLM6102"), "{answer}");
        assert!(
            super::advice::fix(&answer)
                .starts_with("see `ignoreNamespaces` of the spire-controller-manager that runs"),
            "{answer}"
        );
    }
}

#[test]
fn a_class_that_spire_controller_manager_has_not_read_yet_is_told_likewise() {
    let written = "metadata: {name: spire-controller-manager, namespace: spire-server}\n";
    let stats = "status: {stats: {podsSelected: 1, entriesToSet: 1, namespacesSelected: 1}}\n";
    let dump = |since: &str| {
        h().edit("output.yaml", stats, "")
            .edit("output.yaml", "metadata:\n", "metadata:\n  uid: uid-of-output\n")
            .edit("manager.yaml", written, WRITTEN)
            .with("scm.yaml", &scm(since))
    };
    let answer = dump("2026-11-02T08:00:00Z").explain();
    assert_eq!((super::cause(&answer), answer.exit), (Some("KLM6104"), Some(2)), "{answer}");
    for said in [
        "\n 8 FAIL class ",
        "though by ConfigMap spire-server/spire-controller-manager it watches class `spire-spire` and no classless objects: ConfigMap spire-server/spire-controller-manager was last written at 2026-11-20T12:00:00Z, which is after it started",
        "ConfigMap spire-server/spire-controller-manager: className = spire-spire\n",
        ": status.stats = <none>\n",
        "startedAt = 2026-11-02T08:00:00Z\n",
    ] {
        assert!(answer.out.contains(said), "{said}: {answer}");
    }
    assert_eq!(super::advice::fix(&answer), RESTART.replace("ignoreNamespaces", "className"));
    // Of one that has started since nothing is known but that it has not come to it.
    let newer = dump("2026-11-21T08:00:00Z").explain();
    assert!(newer.out.contains("\n 8 ok   class "), "{newer}");
}
