//! Who made what stands in the way, and which installed definition cannot hold what Kleym writes.

use super::advice::fix;
use super::{FALLBACK, cause, h};

#[test]
fn who_made_a_foreign_object_is_read_from_its_metadata() {
    let foreign = "metadata:
  uid: uid-of-foreign
  creationTimestamp: '2026-11-14T02:51:37Z'
  annotations: {note: restored by hand}
  managedFields: [{manager: spire-controller-manager, subresource: status}, {manager: kubectl-create, time: '2026-11-14T02:51:37Z', fieldsV1: {'f:spec': {}}}]
";
    let dump = h().without("output.yaml");
    let output = dump.kleym("render --instance default").out;
    let name = output.lines().find_map(|line| line.strip_prefix("  name: ")).unwrap().to_owned();
    let spec = output.split("\nspec:").nth(1).unwrap();
    let object = format!(
        "apiVersion: spire.spiffe.io/v1alpha1\nkind: ClusterSPIFFEID\n{foreign}  name: {name}\nspec:{spec}"
    );
    let answer = dump.with("output.yaml", &object).explain();
    assert_eq!(cause(&answer), Some("KLM5002"), "{answer}");
    for said in [
        "metadata.creationTimestamp = 2026-11-14T02:51:37Z\n",
        "metadata.managedFields[].manager = kubectl-create (2026-11-14T02:51:37Z)\n",
        "metadata.annotations[note] = restored by hand\n",
        "spec.spiffeIDTemplate = spiffe://example.org/ns/llm/objective/chat\n",
    ] {
        assert!(answer.out.contains(said), "{said}: {answer}");
    }
    let said = format!(
        "`kubectl-create` made it: see that nothing makes it again (GitOps, a backup), and then delete ClusterSPIFFEID `{name}` from the cluster;"
    );
    assert!(fix(&answer).starts_with(&said), "{answer}");
}

#[test]
fn a_definition_that_cannot_hold_an_output_is_named_with_the_fields_that_it_lacks() {
    let status = "value: vllm}
status:
  observedGeneration: 3
  conditions:
  - {type: Ready, status: 'False', reason: ManagedOutputApplyFailed, observedGeneration: 3, message: 'ClusterSPIFFEID `x` has a field that the CRD cannot hold'}";
    let old = |fields: &str| {
        format!(
            "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: clusterspiffeids.spire.spiffe.io, annotations: {{helm.sh/chart: spire-crds-0.4.0}}}}
spec: {{versions: [{{name: v1alpha1, served: true, schema: {{openAPIV3Schema: {{properties: {{spec: {{properties: {{{fields}}}}}}}}}}}}}]}}
"
        )
    };
    let dump = |fields: &str| {
        h().edit("binding.yaml", "value: vllm}", status)
            .without("output.yaml")
            .with("default.yaml", &FALLBACK.replace("  fallback: true\n", ""))
            .with("definition.yaml", &old(fields))
            .explain()
    };
    let answer = dump(
        "spiffeIDTemplate: {}, namespaceSelector: {}, podSelector: {}, workloadSelectorTemplates: {}, className: {}",
    );
    assert_eq!(cause(&answer), Some("KLM5003"), "{answer}");
    let read = "CustomResourceDefinition clusterspiffeids.spire.spiffe.io: ";
    assert!(
        answer.out.contains(&format!(
            "{read}spec.versions[v1alpha1].schema.openAPIV3Schema = lacks spec.fallback, spec.hint\n"
        )),
        "{answer}"
    );
    assert!(
        answer.out.contains(&format!("{read}metadata.annotations[helm.sh/chart] = spire-crds-0.4.0\n")),
        "{answer}"
    );
    let said = "upgrade CustomResourceDefinition `clusterspiffeids.spire.spiffe.io`, which lacks `spec.fallback` and `spec.hint`, to that of spire-controller-manager 0.6.0 or newer (chart `spire-crds`): kleym-operator notices, and writes the output by itself; THEN apply SPIRE's own objects again (`helm upgrade` of its chart): `spire-default` may have lost `fallback: true`, and would stay as a second identity";
    assert_eq!(fix(&answer), said, "{answer}");
    // What stays is in one row.
    let row = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let stays = "spiffe://example.org/ns/llm/sa/llama";
    assert!(answer.out.lines().any(|line| row(line) == ["vllm", "container", stays, stays]), "{answer}");
    // One that holds everything is not what is wrong.
    let whole = dump(
        "spiffeIDTemplate: {}, namespaceSelector: {}, podSelector: {}, workloadSelectorTemplates: {}, className: {}, fallback: {}, hint: {}",
    );
    assert!(!whole.out.contains("CustomResourceDefinition clusterspiffeids"), "{whole}");
}
