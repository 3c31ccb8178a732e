//! What is there now beside what is wanted: pods that have ended, outputs from before a change, counts that disagree, nodes
//! without an agent.

use super::{BINDING, Dump, FALLBACK, POD, POOL, cause, h, rival};

/// The binding was changed to another container, and nobody has carried that out.
fn changed() -> Dump {
    let status = "value: proxy}
status:
  observedGeneration: 3
  conditions:
  - {type: Ready, status: 'True', reason: Reconciled, message: done, observedGeneration: 3, lastTransitionTime: '2026-11-01T08:01:00Z'}";
    h().edit("binding.yaml", "value: vllm}", status).edit("binding.yaml", "generation: 3,", "generation: 4,")
}

#[test]
fn what_is_there_now_is_told_from_what_a_repair_will_bring() {
    let dump = changed().with("default.yaml", FALLBACK);
    for answer in [dump.explain(), dump.kleym("explain pod/vllm-0 -c vllm")] {
        assert_eq!((cause(&answer), answer.exit), (Some("KLM5011"), Some(2)), "{answer}");
        let table: Vec<Vec<&str>> =
            answer.out.lines().map(|line| line.split_whitespace().collect()).collect();
        assert!(table.contains(&vec!["CONTAINER", "KIND", "NOW", "AFTER-REPAIR"]), "{answer}");
        let id = "spiffe://example.org/ns/llm/objective/chat";
        assert!(table.contains(&vec!["vllm", "container", id, "<none>"]), "{answer}");
        assert!(answer.out.contains("k8s:container-name:vllm, wanted k8s:container-name:proxy"), "{answer}");
        assert!(answer.out.contains("generation 3 of 4, so it is stale (KLM9105)"), "{answer}");
    }
    let json = dump.kleym("explain pod/vllm-0 -o json");
    let read: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    let proxy = &read["containers"][1];
    assert_eq!(proxy["identities"], serde_json::json!([]), "{json}");
    assert_eq!(proxy["afterRepair"][0], "spiffe://example.org/ns/llm/objective/chat", "{json}");
    // The container that is to have it is not one that the binding leaves without.
    let status = dump.kleym("status");
    assert!(!format!("{status}").contains("leaves a container without any: `proxy`"), "{status}");
}

#[test]
fn a_pod_that_has_ended_holds_nothing() {
    for phase in ["Failed", "Succeeded"] {
        let answer = h().edit("pod.yaml", "Running", phase).explain();
        assert_eq!(answer.exit, Some(0), "{answer}");
        assert!(answer.out.contains("vllm, but the pod has ended: nothing of it runs"), "{answer}");
        assert!(answer.out.contains("its entry stays until the pod is deleted"), "{answer}");
        let row = answer.out.lines().find(|line| line.starts_with("vllm ")).unwrap();
        assert!(!row.contains("spiffe://"), "{answer}");
    }
}

#[test]
fn counts_that_contradict_what_is_foreseen_are_told() {
    let counted = |stats: &str| h().edit("output.yaml", "podsSelected: 1, entriesToSet: 1", stats);
    let none = counted("podsSelected: 0, entriesToSet: 0");
    for answer in [none.explain(), none.kleym("explain binding/chat")] {
        assert_eq!((cause(&answer), answer.exit), (Some("KLM6102"), Some(2)), "{answer}");
        assert!(answer.out.contains(": status.stats.podsSelected = 0"), "{answer}");
    }
    let ignored = counted("podsSelected: 0, entriesToSet: 0, namespacesIgnored: 1").explain();
    assert_eq!(cause(&ignored), Some("KLM6102"), "{ignored}");
    assert!(
        ignored.out.contains(
            "fix    restart spire-controller-manager; before that see that `ignoreNamespaces` in ConfigMap"
        ),
        "{ignored}"
    );
    let failing = counted("podsSelected: 1, entriesToSet: 0, podEntryRenderFailures: 1").explain();
    assert_eq!(cause(&failing), Some("KLM6006"), "{failing}");
    // One that an older object makes is there all the same.
    let masked = counted("podsSelected: 1, entriesToSet: 0, entriesMasked: 1").explain();
    assert_eq!((cause(&masked), masked.exit), (None, Some(0)), "{masked}");
}

/// A pod of SPIRE's agent.
fn agent(node: &str, tolerations: &str) -> String {
    let metadata = "name: agent-1, namespace: spire-system, ownerReferences: [{apiVersion: apps/v1, kind: DaemonSet, name: spire-agent, uid: u}]";
    POD.replace("name: vllm-0, namespace: llm", metadata)
        .replace("uid-of-vllm-0", "uid-of-agent-1")
        .replace("{app: vllm}", "{app: agent}")
        .replace("r/vllm:v1", "r/spire-agent:1.14.0")
        .replace("gpu-14", node)
        .replace("  nodeName", &format!("  tolerations: [{tolerations}]\n  nodeName"))
}

/// The DaemonSet of the agent, which reports so many pods.
fn agents(scheduled: usize) -> String {
    format!(
        "apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: spire-agent, namespace: spire-system}}
spec: {{template: {{spec: {{containers: [{{name: agent, image: 'r/spire-agent:1.14.0'}}]}}}}}}
status: {{currentNumberScheduled: {scheduled}}}
"
    )
}

#[test]
fn a_node_without_an_agent_is_told_where_agents_were_seen() {
    let with = |node: &str| h().with("agent.yaml", &agent(node, "")).with("agents.yaml", &agents(1));
    let said = "no pod of SPIRE's agent is on node `gpu-14` of pod `vllm-0`, only on `gpu-1`";
    let fix = "fix    see why DaemonSet `spire-system/spire-agent` has no pod on node `gpu-14`: compare `spec.taints`";
    for asked in ["explain pod/vllm-0", "explain binding/chat"] {
        let elsewhere = with("gpu-1").kleym(asked);
        assert_eq!((cause(&elsewhere), elsewhere.exit), (Some("KLM6107"), Some(2)), "{elsewhere}");
        assert!(elsewhere.out.contains("\n 9 FAIL SCM "), "{elsewhere}");
        assert!(elsewhere.out.contains(said) && elsewhere.out.contains(fix), "{elsewhere}");
        for answer in [with("gpu-14").kleym(asked), h().kleym(asked)] {
            assert!(answer.out.contains("\n 9 ok   SCM "), "{answer}");
            assert!(!answer.out.contains("SPIRE's agent"), "{answer}");
        }
    }
    // What is foreseen is not given out then.
    assert!(!with("gpu-1").explain().out.contains("objective/chat "), "{}", with("gpu-1").explain());
}

#[test]
fn an_agent_that_is_not_ready_serves_nobody() {
    let with = |status: &str| {
        let conditions = format!("{{phase: Running, conditions: [{{type: Ready, status: '{status}'}}]}}");
        h().with("agent.yaml", &agent("gpu-14", "").replace("{phase: Running}", &conditions))
    };
    for asked in ["explain pod/vllm-0", "explain binding/chat"] {
        let answer = with("False").kleym(asked);
        assert_eq!((cause(&answer), answer.exit), (Some("KLM6107"), Some(2)), "{answer}");
        for said in [
            "cause  KLM6107 SPIRE's agent on node `gpu-14` of pod `vllm-0` is not ready, and without it there is no SVID\n",
            "Pod spire-system/agent-1: status.conditions[Ready] = False\n",
            "fix    see why in the status and the log of pod `spire-system/agent-1`\n",
        ] {
            assert!(answer.out.contains(said), "{said}: {answer}");
        }
        let ready = with("True").kleym(asked);
        assert_eq!((cause(&ready), ready.exit), (None, Some(0)), "{ready}");
    }
}

#[test]
fn a_dump_that_may_lack_agents_does_not_show_that_one_is_missing() {
    let seen = "whether all of them are in the files is not known";
    let elsewhere = || h().with("agent.yaml", &agent("gpu-1", ""));
    let node = |name: &str| super::NODE.replace("gpu-14", name);
    // Without the DaemonSet, by one that has more pods, and where other nodes have none either.
    for dump in [elsewhere as fn() -> Dump, || {
        h().with("agent.yaml", &agent("gpu-1", "")).with("agents.yaml", &agents(2))
    }] {
        for asked in ["explain pod/vllm-0", "explain binding/chat"] {
            let answer = dump().kleym(asked);
            assert_eq!((cause(&answer), answer.exit), (None, Some(0)), "{answer}");
            assert!(answer.out.contains("\n 9 ?    SCM ") && answer.out.contains(seen), "{answer}");
        }
        assert!(dump().explain().out.contains(" (maybe)\n"));
        let status = dump().kleym("status");
        assert!(!format!("{status}").contains("KLM6107"), "{status}");
    }
    let partial = elsewhere().with("n1.yaml", &node("gpu-1")).with("n2.yaml", &node("gpu-2")).explain();
    assert_eq!(cause(&partial), None, "{partial}");
    // One on every other node shows that none was left out.
    let other = agent("gpu-2", "").replace("agent-1", "agent-2");
    let all = elsewhere().with("n1.yaml", &node("gpu-1")).with("n2.yaml", &node("gpu-2"));
    let all = all.with("other.yaml", &other).explain();
    assert_eq!(cause(&all), Some("KLM6107"), "{all}");
}

#[test]
fn a_label_that_the_agent_wants_of_a_node_is_the_cause_where_the_node_lacks_it() {
    let wants = agent("gpu-1", "").replace("  nodeName", "  nodeSelector: {spire: 'yes'}\n  nodeName");
    for asked in ["explain pod/vllm-0", "explain binding/chat"] {
        let answer = h().with("agent.yaml", &wants).kleym(asked);
        assert_eq!((cause(&answer), answer.exit), (Some("KLM6107"), Some(2)), "{answer}");
        for said in [
            "for DaemonSet `spire-system/spire-agent` wants the label `spire=yes` of a node (`nodeSelector`), which it lacks",
            "Pod spire-system/agent-1: spec.nodeSelector = spire=yes\n",
            "fix    label node `gpu-14` (spire=yes), or take that out of `spec.template.spec.nodeSelector` of DaemonSet `spire-system/spire-agent`\n",
        ] {
            assert!(answer.out.contains(said), "{said}: {answer}");
        }
        let labelled =
            h().edit("node.yaml", "uid: uid-of-gpu-14", "uid: uid-of-gpu-14, labels: {spire: 'yes'}");
        let labelled = labelled.with("agent.yaml", &wants).kleym(asked);
        assert!(!labelled.out.contains("nodeSelector"), "{labelled}");
    }
}

#[test]
fn a_taint_that_keeps_the_agent_off_the_node_is_the_cause_and_its_toleration_the_fix() {
    let tainted = |tolerations: &str| {
        let taints = "spec: {taints: [{key: dedicated, value: frontier, effect: NoSchedule}, {key: gpu, effect: NoExecute}, {key: slow, effect: PreferNoSchedule}]}\n";
        h().edit("node.yaml", "metadata:", &format!("{taints}metadata:"))
            .with("agent.yaml", &agent("gpu-1", tolerations))
    };
    let gpu = "{key: gpu, operator: Exists}";
    for asked in ["explain pod/vllm-0", "explain binding/chat"] {
        let answer = tainted(gpu).kleym(asked);
        assert_eq!((cause(&answer), answer.exit), (Some("KLM6107"), Some(2)), "{answer}");
        for said in [
            "DaemonSet `spire-system/spire-agent` does not tolerate its taint `dedicated=frontier:NoSchedule`",
            "Node gpu-14: spec.taints = dedicated=frontier:NoSchedule, gpu:NoExecute, slow:PreferNoSchedule\n",
            "Pod spire-system/agent-1: spec.tolerations = gpu:*\n",
            "fix    add a toleration for `dedicated=frontier:NoSchedule` to DaemonSet `spire-system/spire-agent` (`spec.template.spec.tolerations`)\n",
        ] {
            assert!(answer.out.contains(said), "{said}: {answer}");
        }
        let both = tainted("{key: dedicated, value: other, effect: NoSchedule}").kleym(asked);
        let fix = "add tolerations for `dedicated=frontier:NoSchedule` and `gpu:NoExecute` to DaemonSet";
        assert!(both.out.contains(fix), "{both}");
        // Where taints do not keep it off, something else does.
        for all in [
            "{operator: Exists}",
            "{key: dedicated, value: frontier}, {key: gpu, operator: Exists, effect: NoExecute}",
        ] {
            let answer = tainted(all).with("agents.yaml", &agents(1)).kleym(asked);
            assert!(answer.out.contains("fix    see why DaemonSet `spire-system/spire-agent`"), "{answer}");
        }
    }
    assert!(!tainted(gpu).explain().out.contains("(maybe)"));
}

#[test]
fn of_two_refused_bindings_the_one_of_the_container_is_told_and_what_stands_in_its_way() {
    let audit = BINDING
        .replace("name: chat, namespace", "name: audit, namespace")
        .replace("uid-of-chat", "uid-of-audit")
        .replace("2026-11-01", "2026-10-15")
        .replace("{name: chat}", "{kind: InferencePool, name: gpu}")
        .replace("  containerDiscriminator: {type: ContainerName, value: vllm}", "  mode: PoolOnly");
    let dump = rival()
        .edit("rival.yaml", "value: vllm", "value: other")
        .with("audit.yaml", &audit)
        .with("gpu.yaml", &POOL.replace("name: llama", "name: gpu").replace("{app: vllm}", "{tier: gpu}"))
        .edit("pod.yaml", "labels: {app: vllm}", "labels: {app: vllm, tier: gpu}")
        .edit(
            "pod.yaml",
            "  initContainers: [{name: proxy, image: 'r/proxy:v1', restartPolicy: Always}]\n",
            "",
        );
    let answer = dump.explain();
    assert_eq!(cause(&answer), Some("KLM4001"), "{answer}");
    for said in [
        "`llm/chat` is refused: InferenceIdentityBinding `audit` comes first",
        "note   `llm/audit` is refused itself, and counts all the same",
        "this pod has one container",
        "!      claims this pod: `audit`",
    ] {
        assert!(answer.out.contains(said), "{said}: {answer}");
    }
}

#[test]
fn pods_of_the_pool_that_a_binding_leaves_out_are_counted() {
    let second =
        POD.replace("vllm-0", "vllm-1").replace("labels: {app: vllm}", "labels: {app: vllm, engine: vllm}");
    let dump = h()
        .without("output.yaml")
        .edit("binding.yaml", "'k8s:sa:llama'", "'k8s:sa:llama', 'k8s:pod-label:engine:vllm'")
        .with("second.yaml", &second);
    let answer = dump.kleym("explain binding/chat");
    let said = "app=vllm: 2 pods, of which 1 has engine=vllm too, which the binding selects; the other 1 pod gets no identity of it";
    assert!(answer.out.contains(said), "{answer}");
}

#[test]
fn a_pod_that_an_output_from_before_gives_an_identity_is_told_of_that_binding() {
    let moved = h().edit("objective.yaml", "name: llama", "name: mistral").with(
        "mistral.yaml",
        &POOL.replace("name: llama", "name: mistral").replace("app: vllm", "app: mistral"),
    );
    let answer = moved.explain();
    assert_eq!(cause(&answer), Some("KLM2113"), "{answer}");
    for said in [
        "pod `vllm-0` is not in pool `mistral`: it has `app=vllm` instead of `app=mistral`",
        "note   the output of `llm/chat` is from before the binding led to `mistral`: it gives this pod `spiffe://example.org/ns/llm/objective/chat` until",
        "fix    if the pod is to keep that, let InferenceObjective `chat` lead to a pool that selects it (`llama`)\n",
    ] {
        assert!(answer.out.contains(said), "{said}: {answer}");
    }
}

#[test]
fn a_deleted_binding_whose_output_is_still_there_is_not_said_to_be_withdrawn() {
    let ends = "generation: 3, deletionTimestamp: '2026-11-02T08:00:00Z'";
    let answer = h().edit("binding.yaml", "generation: 3", ends).explain();
    assert_eq!((cause(&answer), answer.exit), (Some("KLM5101"), Some(0)), "{answer}");
    assert!(
        answer.out.contains(
            "is still there: it grants `spiffe://example.org/ns/llm/objective/chat` until it is withdrawn"
        ),
        "{answer}"
    );
}

#[test]
fn a_pool_is_not_looked_for_in_another_namespace() {
    let pod = h().edit("pod.yaml", "namespace: llm", "namespace: web");
    let answer = pod.ask(&format!("explain pod/vllm-0 -f dump {}", super::SETTINGS));
    assert!(
        answer.out.contains("note   its labels are those that `llm/llama` would select, but a pool reaches"),
        "{answer}"
    );
    let answer = pod.ask(&format!("explain binding/chat -f dump {}", super::SETTINGS));
    assert_eq!(cause(&answer), Some("KLM6102"), "{answer}");
    assert!(answer.out.contains("note   `web/vllm-0` of other namespaces have them"), "{answer}");
}

#[test]
fn a_sidecar_that_has_the_claimed_name_is_called_one() {
    let answer = h()
        .edit("pod.yaml", "name: vllm, image", "name: server, image")
        .edit("pod.yaml", "name: proxy, image", "name: vllm, image")
        .explain();
    assert!(answer.out.contains(" 6 ok   container        vllm (sidecar)\n"), "{answer}");
}

#[test]
fn a_refused_binding_is_told_its_refusal_whether_or_not_there_is_a_pod() {
    let refused = h().edit("binding.yaml", ", 'k8s:sa:llama'", "").edit(
        "pod.yaml",
        "labels: {app: vllm}",
        "labels: {app: other}",
    );
    let answer = refused.kleym("explain binding/chat");
    assert_eq!(answer.exit, Some(2), "{answer}");
    assert!(answer.out.contains("cause  KLM2001"), "{answer}");
    assert!(!answer.out.contains("KLM6102"), "{answer}");
}
