//! What the operator does to outputs: S2, S3 and S4.

use super::*;

fn second(second: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(second).unwrap()
}

fn held(name: &str) -> Version {
    binding(1, name, &json!([FINALIZER]))
}

/// The output of `a` as it stands since a revision.
fn standing(revision: u64) -> Version {
    output(revision, "a", &spec("a", "x"), true, "kleym-operator")
}

fn delete(name: &str, uid: &str, at: i64) -> Call {
    let call = call("delete", OUTPUTS, name, json!({"preconditions": {"uid": uid}}));
    Call { received: second(at), answered: second(at), ..call }
}

fn delete_of_a(at: i64) -> Call {
    delete(&output_of("a"), "uid-of-output-of-a", at)
}

/// An update of the output of `a` that stood at a revision.
fn update(revision: u64, spec: &Value, change: impl Fn(&mut Value)) -> Call {
    let mut body = whole("a", spec);
    body["metadata"]["uid"] = json!("uid-of-output-of-a");
    body["metadata"]["resourceVersion"] = json!(revision.to_string());
    change(&mut body);
    call("update", OUTPUTS, &output_of("a"), body)
}

const NOTHING: [&str; 0] = [];

#[test]
fn a_foreign_object_that_is_changed_is_named() {
    assert_eq!(broken(&[delete_of_a(0)], &[held("a"), standing(2)]), NOTHING);
    let foreign = output(2, "a", &spec("a", "x"), false, "kubectl");
    let found = violations(&evidence(&[delete_of_a(0)], &[held("a"), foreign.clone()]));
    assert_eq!(found, [format!("S2: delete of a foreign object: `{}`", output_of("a"))]);
    let adopts = update(2, &spec("a", "x"), |_| ());
    assert_eq!(broken(&[adopts], &[held("a"), foreign.clone()]), ["S2: update of a foreign object"]);
    // Whoever names no uid may have met any object of that name.
    let by_name = Call { request: None, ..delete_of_a(0) };
    let second = Version { revision: 3, ..standing(3) };
    assert_eq!(
        broken(&[by_name], &[held("a"), foreign, second]),
        ["wire: has no body", "S2: delete of a foreign object"]
    );
}

#[test]
fn what_was_stripped_of_its_proofs_is_foreign_from_then_on() {
    let stripped = Version { seen: second(5), ..output(3, "a", &spec("a", "x"), false, "kleym-operator") };
    let versions = [held("a"), standing(2), stripped];
    assert_eq!(broken(&[delete_of_a(6)], &versions), NOTHING, "decided before that was told");
    assert_eq!(broken(&[delete_of_a(60)], &versions), ["S2: delete of a foreign object"]);
    // An update says which version it was meant for.
    let adopts = update(3, &spec("a", "x"), |_| ());
    assert_eq!(broken(&[adopts], &versions), ["S2: update of a foreign object"]);
}

#[test]
fn an_object_at_any_other_name_is_ours_only_with_complete_proof() {
    let at = |name: &str, change: fn(&mut Value)| {
        let mut output = standing(2);
        let object = Arc::make_mut(&mut output.object);
        object["metadata"]["name"] = json!(name);
        change(object);
        broken(&[delete(name, "uid-of-output-of-a", 0)], &[output])
    };
    assert_eq!(at(&output_of("a"), |_| ()), NOTHING, "an orphan");
    assert_eq!(at("elsewhere", |_| ()), ["S2: delete of a foreign object"]);
    let of_another =
        |object: &mut Value| object["metadata"]["labels"]["kleym.sonda.red/instance"] = json!("two");
    assert_eq!(at(&output_of("a"), of_another), ["S2: delete of a foreign object"]);
}

#[test]
fn an_output_that_is_written_at_a_name_that_is_not_of_its_binding_is_named() {
    let create = |name: &str| {
        broken(&[call("create", OUTPUTS, name, whole("a", &spec("a", "x")))], &[held("a"), held("b")])
    };
    assert_eq!(create(&output_of("a")), NOTHING);
    assert_eq!(create(&output_of("b")), ["S2: create at a name that is not of its binding"]);
    assert_eq!(create("elsewhere"), ["S2: create at a name that is not of its binding"]);
}

#[test]
fn what_others_put_on_an_output_and_a_replace_takes_away_is_named() {
    let mut marked = standing(2);
    let metadata = &mut Arc::make_mut(&mut marked.object)["metadata"];
    metadata["labels"]["team"] = json!("red");
    metadata["finalizers"] = json!(["example.org/keep"]);
    let versions = [held("a"), marked];
    let keeps = |body: &mut Value| {
        body["metadata"]["labels"]["team"] = json!("red");
        body["metadata"]["finalizers"] = json!(["example.org/keep"]);
    };
    assert_eq!(broken(&[update(2, &spec("a", "x"), keeps)], &versions), NOTHING);
    assert_eq!(
        broken(&[update(2, &spec("a", "x"), |_| ())], &versions),
        ["S2: loses labels `team`", "S2: loses the finalizer `example.org/keep`"]
    );
}

#[test]
fn an_output_that_is_not_what_a_state_asks_for_is_named() {
    let written = |change: &dyn Fn(&mut Value)| {
        let mut body = whole("a", &spec("a", "x"));
        change(&mut body);
        broken(&[call("create", OUTPUTS, &output_of("a"), body)], &[held("a")])
    };
    let rule = |what: &[&str]| -> Vec<String> {
        what.iter().map(|what| format!("S3: `{}` {what}", output_of("a"))).collect()
    };
    let other = "is not what any state asks for";
    assert_eq!(written(&|_| {}), NOTHING);
    assert_eq!(written(&|body| body["spec"]["admin"] = json!(true)), rule(&["admin", other]));
    assert_eq!(
        written(&|body| body["spec"]["namespaceSelector"] = json!({})),
        rule(&["is not pinned to its namespace", other])
    );
    assert_eq!(
        written(&|body| body["spec"]["workloadSelectorTemplates"] = json!(["k8s:sa:a"])),
        rule(&["selects no namespace", other])
    );
    let id = |id: &'static str| move |body: &mut Value| body["spec"]["spiffeIDTemplate"] = json!(id);
    assert_eq!(
        written(&id("spiffe://x/ns/other/y")),
        rule(&["has the SPIFFE ID of another namespace", other])
    );
    assert_eq!(written(&id("spiffe://x/ns/llm/{{ .PodMeta }}")), rule(&["holds braces", other]));
    // And what only the engine can tell.
    let paths: [(&str, Value); 9] = [
        ("/spec/spiffeIDTemplate", json!("spiffe://kleym.sonda.red/granted/to/nobody")),
        ("/spec/spiffeIDTemplate", json!("spiffe://kleym.sonda.red/ns/llm/objective/b")),
        ("/spec/podSelector", json!({"matchLabels": {}})),
        ("/spec/hint", json!("llm/b")),
        ("/spec/fallback", json!(true)),
        ("/spec/workloadSelectorTemplates", json!(["k8s:ns:llm", "k8s:sa:a"])),
        ("/metadata/labels/kleym.sonda.red~1binding-name", json!("b")),
        ("/metadata/labels/kleym.sonda.red~1instance", json!("two")),
        ("/metadata/annotations/kleym.sonda.red~1binding-uid", json!("uid-of-b")),
    ];
    for (path, value) in paths {
        let change = |body: &mut Value| *body.pointer_mut(path).unwrap() = value.clone();
        assert_eq!(written(&change), rule(&[other]), "{path}");
    }
    assert_eq!(written(&|body| body["spec"]["className"] = json!("gold")), rule(&[other]));
}

#[test]
fn an_output_may_be_of_any_state_that_was_and_of_no_other() {
    let of = |container: &str, versions: &[Version]| {
        broken(&[call("create", OUTPUTS, &output_of("a"), whole("a", &spec("a", container)))], versions)
    };
    let versions = [binding_of(2, "a", "x"), binding_of(3, "a", "y")];
    assert_eq!((of("x", &versions), of("y", &versions)), (vec![], vec![]));
    assert_eq!(of("z", &versions), [format!("S3: `{}` is not what any state asks for", output_of("a"))]);
}

#[test]
fn a_class_that_is_changed_in_place_is_named() {
    let mut gold = standing(2);
    Arc::make_mut(&mut gold.object)["spec"]["className"] = json!("gold");
    let found = broken(&[update(2, &spec("a", "x"), |_| ())], &[held("a"), gold]);
    assert_eq!(found, [format!("S3: `{}` changes its class in place", output_of("a"))]);
}

#[test]
fn only_what_a_finalizer_keeps_is_made_to_select_nothing() {
    let mut nothing = spec("a", "x");
    let kept = |keeps: bool| {
        let mut output = standing(2);
        if keeps {
            Arc::make_mut(&mut output.object)["metadata"]["finalizers"] = json!(["example.org/keep"]);
        }
        output
    };
    let keep = |body: &mut Value| body["metadata"]["finalizers"] = json!(["example.org/keep"]);
    let rule = |what: &str| vec![format!("S3: `{}` {what}", output_of("a"))];
    let neutral = "withdrawn.kleym.sonda.red";
    nothing["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] = json!(neutral);
    assert_eq!(broken(&[update(2, &nothing, keep)], &[held("a"), kept(true)]), NOTHING);
    assert_eq!(
        broken(&[update(2, &nothing, keep)], &[held("a"), kept(false)]),
        rule("selects nothing, and nothing keeps it")
    );
    let created = call("create", OUTPUTS, &output_of("a"), whole("a", &nothing));
    assert_eq!(broken(&[created], &[held("a")]), rule("is created and selects nothing"));
    nothing["admin"] = json!(true);
    assert_eq!(
        broken(&[update(2, &nothing, keep)], &[held("a"), kept(true)]),
        rule("selects nothing, and is not what it was")
    );
}

#[test]
fn outputs_that_overlap_at_some_revision_are_named() {
    let of = |containers: [&str; 2], manager: &str| {
        let owners = [binding_of(1, "a", containers[0]), binding_of(2, "b", containers[1])];
        let first = output(3, "a", &spec("a", containers[0]), true, "kleym-operator");
        let second = output(4, "b", &spec("b", containers[1]), true, manager);
        broken(&[], &[owners.as_slice(), &[first, second]].concat())
    };
    assert_eq!(of(["x", "y"], "kleym-operator"), NOTHING);
    assert_eq!(of(["x", "x"], "kubectl"), NOTHING);
    let names = (output_of("b"), output_of("a"));
    assert_eq!(
        of(["x", "x"], "kleym-operator"),
        [format!("S4: `{}` and `{}` overlap at 4", names.0, names.1)]
    );
}

#[test]
fn outputs_overlap_also_when_one_of_their_bindings_changes_its_mode_later() {
    let mut elsewhere = binding_of(9, "b", "x");
    Arc::make_mut(&mut elsewhere.object)["spec"]["mode"] = json!("PoolOnly");
    let first = output(3, "a", &spec("a", "x"), true, "kleym-operator");
    let second = output(4, "b", &spec("b", "x"), true, "kleym-operator");
    let found = broken(&[], &[held("a"), held("b"), first, second, elsewhere]);
    assert_eq!(found, [format!("S4: `{}` and `{}` overlap at 4", output_of("b"), output_of("a"))]);
}

#[test]
fn only_what_lands_late_and_is_swept_may_overlap() {
    let first = output(3, "a", &spec("a", "x"), true, "kleym-operator");
    let second = output(4, "b", &spec("b", "x"), true, "kleym-operator");
    let swept = Version { revision: 5, gone: true, ..second.clone() };
    let found = |displaced: &str, versions: &[Version]| {
        let versions = [inputs().as_slice(), &[held("a"), held("b")], versions].concat();
        let displaced = [output_of(displaced)];
        violations(&Evidence { displaced: &displaced, ..evidence(&[], &versions) }).len()
    };
    let all = [first, second, swept];
    assert_eq!(found("b", &all), 0);
    assert_eq!(found("a", &all), 1, "another one");
    assert_eq!(found("b", &all[..2]), 1, "it stays");
}
