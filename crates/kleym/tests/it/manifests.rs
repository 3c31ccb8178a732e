//! Objects for tests, as YAML documents. Names differ by role: binding `chat`, objective `goal`, pool `llama`.

/// A binding in namespace `llm`, mode PerObjective, with these selector templates and further lines of its spec.
pub(crate) fn binding(name: &str, templates: &[&str], more: &str) -> String {
    let templates: String = templates.iter().map(|template| format!("    - {template:?}\n")).collect();
    format!(
        "\
apiVersion: kleym.sonda.red/v1alpha1
kind: InferenceIdentityBinding
metadata:
  name: {name}
  namespace: llm
spec:
  targetRef:
    name: goal
  selectorSource: DerivedFromPool
  workloadSelectorTemplates:
{templates}{more}"
    )
}

/// The container that serves.
pub(crate) const VLLM: &str = "  containerDiscriminator:\n    type: ContainerName\n    value: vllm\n";

/// Selector templates that are enough.
pub(crate) const ENOUGH: [&str; 2] = ["k8s:ns:llm", "k8s:sa:server"];

/// A binding that is fine.
pub(crate) fn chat() -> String {
    binding("chat", &ENOUGH, VLLM)
}

/// The objective that the bindings name.
pub(crate) const GOAL: &str = "\
apiVersion: llm-d.ai/v1alpha2
kind: InferenceObjective
metadata:
  name: goal
  namespace: llm
spec:
  poolRef:
    name: llama
";

/// The pool that the objective leads to.
pub(crate) const LLAMA: &str = "\
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata:
  name: llama
  namespace: llm
spec:
  selector:
    matchLabels:
      app: llama
";

/// Documents of one file.
pub(crate) fn file<'a>(documents: impl IntoIterator<Item = &'a str>) -> String {
    documents.into_iter().collect::<Vec<_>>().join("---\n")
}

/// A binding with everything that it needs.
pub(crate) fn good() -> String {
    file([chat().as_str(), GOAL, LLAMA])
}

/// What an API server wants of a pool beside its selector; put behind [`LLAMA`].
pub(crate) const SERVED: &str = "  targetPorts: [{number: 8000}]
  endpointPickerRef: {name: picker, port: {number: 9002}}
";

/// Objects that name no namespace; their templates name the one that they are in.
pub(crate) fn homeless(documents: &[&str]) -> String {
    let text = documents
        .iter()
        .map(|text| if text.starts_with(LLAMA) { format!("{text}{SERVED}") } else { (*text).to_owned() });
    let text: Vec<String> = text.collect();
    file(text.iter().map(String::as_str))
        .replace("  namespace: llm\n", "")
        .replace("k8s:ns:llm", "k8s:ns:{{ .Namespace }}")
}
