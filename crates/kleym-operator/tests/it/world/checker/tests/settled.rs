//! What holds when nothing happens any more.

use std::collections::BTreeMap;

use kleym_api::decode;
use kleym_core::fact::Change;
use kleym_core::index::Index;

use super::super::settled::{End, settled};
use super::*;

/// What is wrong in the end when the output of `a`, and the bindings `a` and `b` of these containers, stand so.
fn wrong(containers: [&str; 2], change: impl Fn(&mut Value, &mut [Value; 2])) -> Vec<String> {
    let [a, b] = [("a", "2020-01-01T00:00:00Z"), ("b", "2021-01-01T00:00:00Z")];
    let mut bindings = [(a, containers[0]), (b, containers[1])].map(|((name, created), container)| {
        let mut binding = Value::clone(&binding_of(2, name, container).object);
        binding["metadata"]["creationTimestamp"] = json!(created);
        binding
    });
    let mut output = Value::clone(&output(3, "a", &spec("a", containers[0]), true, "kleym-operator").object);
    let id = "spiffe://kleym.sonda.red/ns/llm/objective/a";
    bindings[0]["status"] = json!({
        "conditions": [{"type": "Ready", "status": "True"}],
        "renderedClusterSPIFFEID": {"uid": output["metadata"]["uid"], "spiffeID": id},
        "renderedSelectors": [{"selectors": output["spec"]["workloadSelectorTemplates"]}],
    });
    bindings[1]["status"] = json!({
        "conditions": [{"type": "Ready", "status": "False"}, {"type": "Conflict", "status": "True"}],
        "conflicts": [{"bindingName": "a", "cause": "IdentityCollision", "spiffeID": id}],
    });
    change(&mut output, &mut bindings);
    let mut index = Index::new(SETTINGS[0].1.clone());
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Output) {
        let fact = |object: &Value| decode::fact(kind, object).unwrap();
        let facts = match kind {
            Kind::Binding => bindings.iter().map(fact).collect(),
            _ => inputs()
                .iter()
                .filter(|version| version.kind == kind)
                .map(|version| fact(&version.object))
                .collect(),
        };
        index.apply(Change::Listed(kind, facts));
    }
    let pools = BTreeMap::from(["a", "b"].map(|name| (name.to_owned(), "llama".to_owned())));
    let (outputs, index) = ([output], &index);
    let end = End { namespace: "llm", bindings: &bindings, outputs: &outputs, pools: &pools, index };
    settled(&end)
        .into_iter()
        .map(|line| line.split([':', ',']).take(2).collect::<Vec<_>>().join(":"))
        .collect()
}

#[test]
fn an_output_that_is_not_whole_in_the_end_is_named() {
    assert_eq!(wrong(["x", "x"], |_, _| ()), [""; 0]);
    let found = ["S5: the output of `a` is {\"metadata\""];
    for (path, value) in [
        ("/spec/podSelector", json!({"matchLabels": {}})),
        ("/spec/hint", json!("llm/b")),
        ("/spec/fallback", json!(true)),
        ("/metadata/labels/kleym.sonda.red~1binding-name", json!("b")),
    ] {
        let change = |output: &mut Value| *output.pointer_mut(path).unwrap() = value.clone();
        assert_eq!(wrong(["x", "x"], |output, _| change(output)), found, "{path}");
    }
    assert_eq!(wrong(["x", "x"], |output, _| output["spec"]["className"] = json!("gold")), found);
    assert_eq!(wrong(["x", "x"], |output, _| output["metadata"]["ownerReferences"] = json!([{}])), found);
}

#[test]
fn a_conflict_with_nobody_who_comes_first_and_claims_the_same_is_named() {
    let found = ["S5: `b` is in conflict"];
    assert_eq!(wrong(["x", "y"], |_, _| ()), found, "they are apart");
    assert_eq!(wrong(["x", "x"], |_, bindings| bindings[1]["status"]["conflicts"] = json!([])), found);
    let with = |name: &'static str| {
        wrong(["x", "x"], |_, bindings| bindings[1]["status"]["conflicts"][0]["bindingName"] = json!(name))
    };
    assert_eq!((with("c"), with("b")), (found.map(str::to_owned).into(), found.map(str::to_owned).into()));
    let broken = |_: &mut Value, bindings: &mut [Value; 2]| {
        bindings[0]["spec"]["workloadSelectorTemplates"] = json!(["k8s:ns:web"]);
    };
    assert_eq!(wrong(["x", "x"], broken), ["S5: `a` is Ready and must not be", found[0]]);
}
