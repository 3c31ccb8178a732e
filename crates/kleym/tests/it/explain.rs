//! `kleym explain`: a healthy cluster as files, and every way in which it can be broken, by one change each.

mod advice;
mod asked;
mod collision;
mod containers;
mod ending;
mod evidence;
mod groups;
mod harm;
mod hint;
mod maker;
mod manager;
mod mesh;
mod pools;
mod purpose;
mod socket;
mod state;

use std::collections::BTreeMap;

use crate::run::{Answer, Folder};

const BINDING: &str = "apiVersion: kleym.sonda.red/v1alpha1
kind: InferenceIdentityBinding
metadata: {name: chat, namespace: llm, uid: uid-of-chat, generation: 3, creationTimestamp: '2026-11-01T08:00:00Z'}
spec:
  targetRef: {name: chat}
  selectorSource: DerivedFromPool
  workloadSelectorTemplates: ['k8s:ns:llm', 'k8s:sa:llama']
  containerDiscriminator: {type: ContainerName, value: vllm}
";

const OBJECTIVE: &str = "apiVersion: llm-d.ai/v1alpha2
kind: InferenceObjective
metadata: {name: chat, namespace: llm}
spec: {poolRef: {name: llama}}
";

const POOL: &str = "apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {name: llama, namespace: llm}
spec: {selector: {matchLabels: {app: vllm}}}
";

const POD: &str = "apiVersion: v1
kind: Pod
metadata: {name: vllm-0, namespace: llm, uid: uid-of-vllm-0, labels: {app: vllm}}
spec:
  serviceAccountName: llama
  nodeName: gpu-14
  containers: [{name: vllm, image: 'r/vllm:v1'}]
  initContainers: [{name: proxy, image: 'r/proxy:v1', restartPolicy: Always}]
status: {phase: Running}
";

const NODE: &str = "apiVersion: v1
kind: Node
metadata: {name: gpu-14, uid: uid-of-gpu-14}
";

const MANAGER: &str = "apiVersion: v1
kind: ConfigMap
metadata: {name: spire-controller-manager, namespace: spire-server}
data:
  controller-manager-config.yaml: |
    apiVersion: spire.spiffe.io/v1alpha1
    kind: ControllerManagerConfig
    clusterName: prod
    trustDomain: example.org
    className: spire-spire
    ignoreNamespaces: [kube-system, kube-public, 'openshift-.*']
";

/// The chart's default identity.
const FALLBACK: &str = "apiVersion: spire.spiffe.io/v1alpha1
kind: ClusterSPIFFEID
metadata: {name: spire-default, uid: uid-of-default, creationTimestamp: '2026-10-01T08:00:00Z'}
spec:
  className: spire-spire
  fallback: true
  hint: default
  spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/sa/{{ .PodSpec.ServiceAccountName }}'
";

const SETTINGS: &str = "--trust-domain example.org --clusterspiffeid-class-name spire-spire";

/// A cluster as `kubectl get -o yaml` would show it.
pub(crate) struct Dump(BTreeMap<&'static str, String>);

impl Dump {
    /// Everything is as it should be.
    fn healthy() -> Self {
        let mut files: BTreeMap<&str, String> = [
            ("binding.yaml", BINDING),
            ("objective.yaml", OBJECTIVE),
            ("pool.yaml", POOL),
            ("pod.yaml", POD),
            ("node.yaml", NODE),
            ("manager.yaml", MANAGER),
        ]
        .map(|(name, text)| (name, text.to_owned()))
        .into();
        let folder = Folder::with(&[("b.yaml", BINDING), ("o.yaml", OBJECTIVE), ("p.yaml", POOL)]);
        let output = folder.kleym(&format!("render -f . {SETTINGS}"));
        assert_eq!(output.exit, Some(0), "{output}");
        let stats = "status: {stats: {podsSelected: 1, entriesToSet: 1, namespacesSelected: 1}}\n";
        files.insert("output.yaml", output.out + stats);
        Self(files)
    }

    pub(crate) fn edit(mut self, file: &str, from: &str, to: &str) -> Self {
        let text = self.0.get_mut(file).unwrap();
        assert!(text.contains(from), "{file} has no {from:?}:\n{text}");
        *text = text.replace(from, to);
        self
    }

    fn without(mut self, file: &str) -> Self {
        self.0.remove(file).unwrap();
        self
    }

    fn with(mut self, file: &'static str, text: &str) -> Self {
        assert!(self.0.insert(file, text.to_owned()).is_none());
        self
    }

    pub(crate) fn kleym(&self, arguments: &str) -> Answer {
        self.ask(&format!("{arguments} -f dump -n llm {SETTINGS}"))
    }

    /// The same, without naming files, namespace and settings.
    fn ask(&self, arguments: &str) -> Answer {
        let folder = Folder::new();
        for (name, text) in &self.0 {
            folder.put(&format!("dump/{name}"), text.as_bytes());
        }
        folder.kleym(arguments)
    }

    fn explain(&self) -> Answer {
        self.kleym("explain pod/vllm-0")
    }
}

/// The code that `explain` gives as the cause.
fn cause(answer: &Answer) -> Option<&str> {
    let line = answer.out.lines().find_map(|line| line.strip_prefix("cause  "))?;
    line.split(' ').next()
}

macro_rules! broken {
    ($($name:ident: $code:literal, $dump:expr;)*) => {
        $(
            #[test]
            fn $name() {
                let answer = $dump.explain();
                assert_eq!(cause(&answer), Some($code), "{answer}");
                assert_eq!(answer.exit, Some(2), "{answer}");
                insta::assert_snapshot!(answer);
            }
        )*

        /// All of them, by name.
        pub(crate) fn all_broken() -> Vec<(&'static str, Dump)> {
            vec![$((stringify!($name), $dump)),*]
        }
    };
}

fn h() -> Dump {
    Dump::healthy()
}

/// A second, older binding over the same container.
fn rival() -> Dump {
    let rival = BINDING
        .replace("name: chat, namespace", "name: rival, namespace")
        .replace("uid-of-chat", "uid-of-rival")
        .replace("{name: chat}", "{name: batch}")
        .replace("2026-11-01", "2026-10-01");
    let objective = OBJECTIVE.replace("name: chat", "name: batch");
    h().with("rival.yaml", &rival).with("batch.yaml", &objective)
}

/// The same ID for another objective, in another container.
fn duplicate() -> Dump {
    let one = "\n  spiffeIDTemplate: spiffe://example.org/ns/llm/one";
    rival().edit("rival.yaml", "value: vllm}", &format!("value: other}}{one}")).edit(
        "binding.yaml",
        "value: vllm}",
        &format!("value: vllm}}{one}"),
    )
}

broken! {
    the_pod_lacks_a_label_of_the_pool: "KLM2113", h().edit("pod.yaml", "labels: {app: vllm}", "labels: {app: vllm-2}");
    there_is_no_pool_at_all: "KLM1002", h().without("pool.yaml");
    the_pod_runs_as_another_service_account: "KLM2110", h().edit("pod.yaml", "llama", "default");
    the_objective_leads_to_a_pool_that_is_not_there: "KLM1002", h().edit("objective.yaml", "{name: llama}", "{name: lama}");
    the_selector_of_the_pool_is_empty: "KLM2002", h().edit("pool.yaml", "{app: vllm}", "{}");
    the_objective_is_not_there: "KLM1001", h().without("objective.yaml");
    the_objective_leads_to_another_namespace: "KLM1003",
        h().edit("objective.yaml", "{name: llama}", "{name: llama, namespace: other}");
    two_objectives_of_one_name_disagree: "KLM1004", h().with(
        "other.yaml",
        &(OBJECTIVE.replace("llm-d.ai/", "inference.networking.x-k8s.io/").replace("name: llama", "name: mistral")
            + "---\n"
            + &POOL.replace("name: llama", "name: mistral").replace("app: vllm", "app: mistral")),
    );
    there_is_no_binding: "KLM2114", h().without("binding.yaml").without("output.yaml");
    another_binding_has_the_spiffe_id: "KLM4002", duplicate();
    the_selectors_are_unsafe: "KLM2001", h().edit("binding.yaml", "'k8s:ns:llm', ", "");
    a_selector_template_cannot_be_rendered: "KLM2003", h().edit("binding.yaml", "k8s:ns:llm", "k8s:ns:{{ .Name }}");
    the_discriminator_is_missing: "KLM2004",
        h().edit("binding.yaml", "  containerDiscriminator: {type: ContainerName, value: vllm}\n", "");
    the_discriminator_is_no_selector_value: "KLM2005", h().edit("binding.yaml", "value: vllm", "value: 'v llm'");
    the_mode_is_unknown: "KLM3003", h().edit("binding.yaml", "spec:", "spec:\n  mode: PerPod");
    the_template_of_the_id_cannot_be_rendered: "KLM3001",
        h().edit("binding.yaml", "spec:", "spec:\n  spiffeIDTemplate: 'spiffe://{{ .TrustDomain'");
    the_id_belongs_to_another_namespace: "KLM3002",
        h().edit("binding.yaml", "spec:", "spec:\n  spiffeIDTemplate: spiffe://example.org/ns/web/x");
    no_container_has_the_name: "KLM2111", h().edit("pod.yaml", "name: vllm, image", "name: server, image");
    a_selector_fits_no_pod: "KLM2112", h().edit("binding.yaml", "'k8s:sa:llama'", "'k8s:sa:llama', 'k8s:node-name:gpu-1'")
        .edit("output.yaml", "- k8s:ns:llm\n", "- k8s:node-name:gpu-1\n  - k8s:ns:llm\n");
    the_output_is_missing: "KLM5010", h().without("output.yaml").with("default.yaml", FALLBACK);
    the_output_is_somebody_elses: "KLM5002", h()
        .edit("output.yaml", "kleym.sonda.red/managed-by: kleym", "app: other")
        .edit("output.yaml", "kleym.sonda.red/binding-uid: uid-of-chat", "app: other");
    the_output_is_left_by_an_earlier_binding: "KLM5012",
        h().edit("output.yaml", "kleym.sonda.red/binding-uid: uid-of-chat", "kleym.sonda.red/binding-uid: uid-of-an-earlier-one");
    the_output_was_edited: "KLM5011", h().edit("output.yaml", "fallback: false", "fallback: true\n  admin: true");
    the_class_is_not_watched: "KLM6001", h().edit("manager.yaml", "className: spire-spire", "className: spire-prod");
    the_namespace_is_ignored: "KLM6002", h().edit("manager.yaml", "kube-system", "l*m");
    the_trust_domain_is_not_spires: "KLM6003", h().edit("manager.yaml", "trustDomain: example.org", "trustDomain: prod.example.org");
    spire_server_refuses_the_entries: "KLM6004", h().edit("output.yaml", "entriesToSet: 1", "entriesToSet: 1, entryFailures: 1");
    an_object_of_somebody_stops_everything: "KLM6005",
        h().with("default.yaml", &FALLBACK.replace("fallback: true", "ttl: 5d"));
    the_node_is_gone: "KLM6006", h().edit("node.yaml", "name: gpu-14", "name: gpu-15");
    nothing_was_reported_and_the_class_is_not_known: "KLM6104", Dump(
        h().0.into_iter().map(|(name, text)| (name, if name == "output.yaml" { unreported(&text) } else { text })).collect(),
    ).without("manager.yaml");
}

#[test]
fn what_waits_breaks_nothing() {
    let pending =
        h().edit("pod.yaml", "  nodeName: gpu-14\n", "").edit("pod.yaml", "Running", "Pending").explain();
    assert_eq!((cause(&pending), pending.exit), (Some("KLM6105"), Some(0)), "{pending}");
    assert!(pending.out.contains("\n 9 wait SCM "), "{pending}");
    insta::assert_snapshot!("the_pod_is_on_no_node", pending);
    let deleted = h()
        .edit("binding.yaml", "generation: 3", "generation: 3, deletionTimestamp: '2026-11-02T08:00:00Z'")
        .explain();
    assert_eq!((cause(&deleted), deleted.exit), (Some("KLM5101"), Some(0)), "{deleted}");
    insta::assert_snapshot!("the_binding_is_being_deleted", deleted);
}

fn unreported(output: &str) -> String {
    output.lines().filter(|line| !line.starts_with("status:")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn an_older_binding_has_the_container() {
    let answer = rival().kleym("explain binding/chat");
    assert_eq!((cause(&answer), answer.exit), (Some("KLM4001"), Some(2)), "{answer}");
    insta::assert_snapshot!(answer);
}

#[test]
fn of_a_healthy_pod_every_link_holds() {
    let answer = h().explain();
    assert_eq!(answer.exit, Some(0), "{answer}");
    insta::assert_snapshot!(answer);
}

#[test]
fn a_sidecar_that_lost_its_fallback_identity_is_told() {
    let dump = h().with("default.yaml", FALLBACK);
    insta::assert_snapshot!("fallback_pod", dump.explain());
    insta::assert_snapshot!("fallback_sidecar", dump.kleym("explain pod/vllm-0 -c proxy"));
}

#[test]
fn a_pod_whose_chain_holds_says_which_container_has_no_identity_and_why() {
    let answer = h().with("default.yaml", FALLBACK).explain();
    assert_eq!(answer.exit, Some(0), "{answer}");
    assert!(answer.out.contains("none   container `proxy` has no identity: KLM6101 `llm/chat` "), "{answer}");
    let again = format!("see `kleym explain pod/vllm-0 -n llm -c proxy -f dump {SETTINGS}`");
    assert!(answer.out.contains(&again), "{answer}");
    // Without a fallback identity it never had one, and the binding's words say why.
    let answer = h().explain();
    let why = "KLM2111 container `proxy` of pod `vllm-0` does not have `k8s:container-name:vllm`";
    assert!(answer.out.contains(why), "{answer}");
    let json = h().kleym("explain pod/vllm-0 -o json");
    let read: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(read["withoutIdentity"][0]["container"], "proxy");
    assert_eq!(read["withoutIdentity"][0]["cause"]["code"], "KLM2111");
    // One that ends needs none.
    let init = h().edit("pod.yaml", ", restartPolicy: Always", "").explain();
    assert!(!init.out.contains("has no identity"), "{init}");
}

#[test]
fn another_binding_that_claims_the_pod_and_is_refused_is_named() {
    let rival_has_it = rival().kleym("render --instance default");
    assert_eq!(rival_has_it.exit, Some(2), "{rival_has_it}");
    let dump = rival().without("output.yaml").with("output.yaml", &rival_has_it.out);
    let answer = dump.explain();
    let line = format!(
        "!      claims this pod: `chat`, refused KLM4001, see `kleym explain binding/chat -n llm -f dump {SETTINGS}`"
    );
    assert!(answer.out.contains(&line), "{answer}");
    let json = dump.kleym("explain pod/vllm-0 -o json");
    let read: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(read["otherClaims"][0]["binding"], "llm/chat");
    assert_eq!(read["otherClaims"][0]["cause"]["code"], "KLM4001");
    // One of another pool does not claim it.
    let elsewhere = rival()
        .edit("batch.yaml", "{name: llama}", "{name: other}")
        .with("other.yaml", &POOL.replace("name: llama", "name: other").replace("app: vllm", "app: other"))
        .edit("rival.yaml", "'k8s:ns:llm', ", "")
        .explain();
    assert!(!elsewhere.out.contains("claims this pod"), "{elsewhere}");
}

#[test]
fn a_drifted_output_is_shown_value_by_value() {
    let edited = h()
        .edit("output.yaml", "      app: vllm", "      app: vllm\n      pod-template-hash: 6c4f8d7b5c")
        .edit("output.yaml", "hint: llm/chat", "hint: llm/other")
        .edit("output.yaml", "\n  - k8s:ns:llm", "")
        .explain();
    let read: Vec<&str> =
        edited.out.lines().filter_map(|line| line.split_once(": spec.").map(|all| all.1)).collect();
    assert_eq!(
        read,
        [
            "podSelector = pod-template-hash: 6c4f8d7b5c, which is not wanted",
            "workloadSelectorTemplates = lacks k8s:ns:llm",
            "hint = llm/other, wanted llm/chat",
        ],
        "{edited}"
    );
}

/// A binding that is being deleted, and these finalizers hold it.
fn ending(finalizers: &str) -> Dump {
    let ends =
        format!("generation: 3, deletionTimestamp: '2024-11-02T08:00:00Z', finalizers: [{finalizers}]");
    let status =
        "status: {observedGeneration: 2, conditions: [{type: Ready, status: 'True', reason: Reconciled}]}\n";
    let binding = BINDING.replace("generation: 3", &ends) + status;
    h().without("binding.yaml").with("binding.yaml", &binding).without("output.yaml")
}

#[test]
fn a_binding_that_does_not_go_says_what_holds_it() {
    insta::assert_snapshot!("held_by_another", ending("acme.io/audit").explain());
    let own = "kleym.sonda.red/inferenceidentitybinding-finalizer";
    insta::assert_snapshot!("held_by_kleym", ending(own).explain());
    let both = ending(&format!("{own}, acme.io/audit")).explain();
    assert!(both.out.contains("fix    it stays until `acme.io/audit` is removed"), "{both}");
    // The command takes off that one alone.
    assert!(both.out.contains(r#"-p '[{"op":"test","path":"/metadata/finalizers/1","value":"acme.io/audit"},{"op":"remove","path":"/metadata/finalizers/1"}]'`"#), "{both}");
    assert!(both.out.contains(&format!("{own} (Kleym's), acme.io/audit (not Kleym's)")), "{both}");
}

#[test]
fn a_spiffe_id_that_nobody_has_leads_to_the_binding_that_asks_for_it() {
    let id = "spiffe://example.org/ns/llm/objective/chat";
    let asked = |dump: Dump| dump.kleym(&format!("explain {id}"));
    for (dump, exit, code) in [
        (ending("acme.io/audit"), 2, "KLM5014"),
        (h().without("objective.yaml").without("output.yaml"), 2, "KLM1001"),
        (h().without("pool.yaml").without("output.yaml"), 2, "KLM1002"),
    ] {
        let answer = asked(dump);
        assert_eq!((answer.exit, cause(&answer)), (Some(exit), Some(code)), "{answer}");
        let title =
            format!("{id}   given by nothing that was read; asked for by binding/chat of namespace llm");
        assert!(answer.out.starts_with(&title), "{answer}");
    }
    let held =
        h().edit("binding.yaml", "generation: 3", "generation: 3, deletionTimestamp: '2026-11-02T08:00:00Z'");
    let answer = asked(held);
    assert!(answer.out.contains(", the output of binding/chat of namespace llm\n"), "{answer}");
    // What takes the pool's name is not known without the pool.
    let template = "spec:\n  spiffeIDTemplate: 'spiffe://example.org/ns/llm/{{ .PoolName }}'";
    let unknown = h().edit("binding.yaml", "spec:", template).without("pool.yaml").without("output.yaml");
    assert_eq!(unknown.kleym("explain spiffe://example.org/ns/llm/llama").exit, Some(3));
}

#[test]
fn a_container_of_a_pod_that_is_given_nothing_is_not_told_that_others_are() {
    let dump =
        h().edit("pod.yaml", "name: vllm, image", "name: server, image").with("default.yaml", FALLBACK);
    let answer = dump.kleym("explain pod/vllm-0 -c proxy");
    assert_eq!(cause(&answer), Some("KLM2111"), "{answer}");
    assert!(!answer.out.contains("an identity, but not container"), "{answer}");
    insta::assert_snapshot!("no_container_of_the_pod", answer);
}

#[test]
fn a_target_that_leads_to_several_pools_is_not_said_to_lead_to_none() {
    let other = OBJECTIVE
        .replace("llm-d.ai/", "inference.networking.x-k8s.io/")
        .replace("name: llama", "name: mistral");
    let pool = POOL.replace("name: llama", "name: mistral").replace("app: vllm", "app: mistral");
    let dump = h().with("other.yaml", &format!("{other}---\n{pool}")).without("output.yaml");
    let answer = dump.kleym("explain binding/chat");
    assert!(
        answer.out.contains("the target leads to several") && !answer.out.contains("to none"),
        "{answer}"
    );
}

#[test]
fn a_foreign_object_that_gives_another_id_is_told() {
    let foreign = FALLBACK.replace("fallback: true", "fallback: false");
    insta::assert_snapshot!(h().with("default.yaml", &foreign).explain());
}

#[test]
fn a_pod_in_the_mesh_is_told() {
    insta::assert_snapshot!(h().edit("pod.yaml", "name: proxy", "name: istio-proxy").explain());
}

#[test]
fn a_binding_is_explained_over_all_its_pods() {
    let pod = POD.replace("vllm-0", "vllm-1");
    insta::assert_snapshot!("binding_holds", h().with("pod-1.yaml", &pod).kleym("explain binding/chat"));
    let others = h().edit("pod.yaml", "llama", "default");
    insta::assert_snapshot!("binding_account", others.kleym("explain iib/chat"));
    let none = h().without("pod.yaml").with("pod-1.yaml", &pod.replace("app: vllm", "app: other"));
    insta::assert_snapshot!("binding_no_pod", none.kleym("explain binding/chat"));
}

#[test]
fn a_spiffe_id_leads_to_the_binding_that_has_it() {
    let id = "spiffe://example.org/ns/llm/objective/chat";
    insta::assert_snapshot!("id_of_a_binding", h().kleym(&format!("explain {id}")));
    insta::assert_snapshot!("id_of_a_refused_binding", rival().kleym(&format!("explain {id}")));
    let foreign = FALLBACK.replace("fallback: true", "fallback: false");
    let foreign = h().with("default.yaml", &foreign);
    insta::assert_snapshot!(
        "id_of_another_object",
        foreign.kleym("explain spiffe://example.org/ns/llm/sa/llama")
    );
}

#[test]
fn what_is_not_there_is_not_found() {
    let asked = [
        "pod/nobody",
        "binding/nobody",
        "spiffe://example.org/nobody",
        "pod/vllm-0 -c nobody",
        "pod",
        "node/x",
        "pod/a/b",
    ];
    let answers: Vec<String> =
        asked.iter().map(|what| h().kleym(&format!("explain {what}")).to_string()).collect();
    insta::assert_snapshot!(answers.join("\n\n"));
}

#[test]
fn declarations_alone_are_explained_as_far_as_they_go() {
    let planned = h().without("output.yaml").without("manager.yaml").without("node.yaml");
    insta::assert_snapshot!("planned", planned.explain());
    let flags = "--scm-class-name spire-spire --scm-ignore-namespaces kube-system,^llm$";
    insta::assert_snapshot!("planned_with_flags", planned.kleym(&format!("explain pod/vllm-0 {flags}")));
}

#[test]
fn the_answer_is_the_same_as_data() {
    let broken = h().edit("manager.yaml", "className: spire-spire", "className: spire-prod");
    insta::assert_snapshot!("data", broken.kleym("explain pod/vllm-0 -o yaml"));
    let json = h().kleym("explain pod/vllm-0 -o json");
    let read: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(read["apiVersion"], "cli.kleym.sonda.red/v1alpha1");
    assert_eq!(read["kind"], "ExplainReport");
    assert_eq!(
        read["containers"][0]["identities"][0]["spiffeID"],
        "spiffe://example.org/ns/llm/objective/chat"
    );
}

#[test]
fn odd_objects_beside_the_pod_spoil_nothing() {
    let odd = "apiVersion: v1\nkind: Pod\nmetadata: {name: 7, namespace: [], labels: no}\nspec: 5\n---\napiVersion: spire.spiffe.io/v1alpha1\nkind: ClusterSPIFFEID\nmetadata: {name: odd}\nspec: {spiffeIDTemplate: 5, podSelector: x}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: odd}\ndata: {x: 'kind: ControllerManagerConfig: ['}\n";
    let answer = h().with("a-odd.yaml", odd).explain();
    assert_eq!(answer.exit, Some(0), "{answer}");
}
