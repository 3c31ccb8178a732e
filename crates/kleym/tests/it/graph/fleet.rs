//! Clusters of any size for pictures and measurements, as YAML: pools, objectives, bindings, pods with side cars, SPIRE's
//! usual fallback, and in every namespace something that went wrong.

use std::fmt::Write;

/// SPIRE's usual fallback, as its Helm chart makes it.
pub(crate) const FALLBACK: &str = "\
apiVersion: spire.spiffe.io/v1alpha1
kind: ClusterSPIFFEID
metadata:
  name: spire-server-spire-default
spec:
  className: spire-spire
  fallback: true
  hint: default
  spiffeIDTemplate: spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/sa/{{ .PodSpec.ServiceAccountName }}
";

const TEAMS: [&str; 10] =
    ["llm", "search", "vision", "speech", "support", "research", "code", "ads", "fraud", "docs"];
const MODELS: [&str; 8] = ["llama", "qwen", "mistral", "gemma", "phi", "whisper", "bge", "deepseek"];

/// A pod of a deployment.
pub(crate) fn pod(namespace: &str, deployment: &str, number: usize, containers: &[&str]) -> String {
    let mut text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {deployment}-7c9f-{number:04}\n  namespace: {namespace}\n  labels:\n    app: {deployment}\n    pod-template-hash: 7c9f\n  \
         ownerReferences:\n    - apiVersion: apps/v1\n      kind: ReplicaSet\n      name: {deployment}-7c9f\n      uid: rs-{deployment}\n      controller: true\nspec:\n  serviceAccountName: {deployment}\n  nodeName: gpu-{}\n  containers:\n",
        number % 7
    );
    for container in containers {
        let _ = write!(text, "    - name: {container}\n      image: registry.example/{container}:1.4\n");
    }
    text
}

/// A pool over the pods of a deployment, and objectives that lead to it.
pub(crate) fn pool(namespace: &str, name: &str, objectives: &[&str]) -> String {
    let mut text = format!(
        "apiVersion: inference.networking.k8s.io/v1\nkind: InferencePool\nmetadata:\n  name: {name}\n  namespace: {namespace}\nspec:\n  selector:\n    matchLabels:\n      app: {name}\n"
    );
    for objective in objectives {
        let _ = write!(
            text,
            "---\napiVersion: llm-d.ai/v1alpha2\nkind: InferenceObjective\nmetadata:\n  name: {objective}\n  namespace: {namespace}\nspec:\n  poolRef:\n    name: {name}\n"
        );
    }
    text
}

/// A binding; without a container it is the pool's.
pub(crate) fn binding(
    namespace: &str,
    name: &str,
    objective: &str,
    account: &str,
    container: Option<&str>,
) -> String {
    let mode = match container {
        Some(container) => {
            format!("  containerDiscriminator:\n    type: ContainerName\n    value: {container}\n")
        }
        None => "  mode: PoolOnly\n".to_owned(),
    };
    format!(
        "apiVersion: kleym.sonda.red/v1alpha1\nkind: InferenceIdentityBinding\nmetadata:\n  name: {name}\n  namespace: {namespace}\nspec:\n  targetRef:\n    name: {objective}\n  selectorSource: DerivedFromPool\n  \
         workloadSelectorTemplates:\n    - k8s:ns:{namespace}\n    - k8s:sa:{account}\n{mode}"
    )
}

/// A cluster with so many pods.
pub(crate) fn fleet(pods: usize) -> String {
    let mut documents = vec![FALLBACK.to_owned()];
    let teams = (pods / 40).clamp(1, TEAMS.len());
    for (team, namespace) in TEAMS.iter().take(teams).enumerate() {
        let share = pods / teams + usize::from(team < pods % teams);
        let models = (share / 8).clamp(1, MODELS.len());
        for (place, model) in MODELS.iter().cycle().skip(team).take(models).enumerate() {
            let (chat, batch) = (format!("{model}-chat"), format!("{model}-batch"));
            documents.push(pool(namespace, model, &[&chat, &batch]));
            documents.push(binding(namespace, &chat, &chat, model, Some("vllm")));
            match place % 4 {
                // The pool's identity beside the objective's.
                0 => documents.push(binding(namespace, &format!("{model}-pool"), &chat, model, None)),
                // Nothing tells the two apart.
                1 => documents.push(binding(
                    namespace,
                    &format!("{model}-nightly"),
                    &batch,
                    model,
                    Some("vllm"),
                )),
                // A container that no pod has.
                2 => documents.push(binding(namespace, &batch, &batch, model, Some("batcher"))),
                _ => {}
            }
            let replicas = share / models + usize::from(place < share % models);
            for number in 0..replicas {
                let containers: &[&str] = if place % 3 == 1 { &["vllm"] } else { &["vllm", "proxy"] };
                documents.push(pod(namespace, model, number, containers));
            }
        }
    }
    documents.join("---\n")
}
