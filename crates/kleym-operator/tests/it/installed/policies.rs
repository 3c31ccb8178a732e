//! The admission policies of the manifests: what each denies, and what stays free.

use kleym_api::resource::api_resource;
use kleym_core::kind::Kind;
use kleym_core::name::{BindingKey, Namespace, ObjectName, output_name};
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::{Installed, POLICIES, USER, output, said};
use crate::world::{World, per_objective};

/// The test makes the account's calls itself, and what it writes is of no binding.
fn acts_itself(world: &World) {
    ["wire", "S2", "S3"].iter().for_each(|rule| world.excuse(rule));
}

#[tokio::test]
async fn the_policies_deny_what_they_should_and_nothing_else() {
    let installed = Installed::new("fenced", POLICIES).await;
    let world = &installed.world;
    acts_itself(world);
    installed.fenced().await;
    let operator = world.client_as(USER, &[]).unwrap();
    let resource = api_resource(Kind::Output);
    let as_operator = Api::<DynamicObject>::all_with(operator.clone(), &resource);
    let as_admin = world.api(Kind::Output);
    let post = PostParams::default();

    // What the operator writes is taken; each thing that it must not write is not.
    let good = || {
        let pods = json!({"matchLabels": {"app": "vllm"}});
        let items = json!(["k8s:ns:team", "k8s:pod-label:app:vllm"]);
        let spec = json!({
            "namespaceSelector": namespace_selector("team"),
            "podSelector": pods,
            "workloadSelectorTemplates": items,
            "fallback": false,
        });
        let mut object = proven("good", spec);
        set(&mut object, "spiffeIDTemplate", json!("spiffe://kleym.sonda.red/ns/team/objective/chat"));
        object
    };
    assert_eq!(said(as_operator.create(&post, &good()).await), None);
    let bad = |change: &dyn Fn(&mut DynamicObject)| {
        let mut object = good();
        object.metadata.name = Some("bad".to_owned());
        change(&mut object);
        object
    };
    let proof = "carry its proof";
    let namespace = "selects exactly the namespace of its binding";
    let more = "no admin, downstream, federatesWith or DNS names";
    let pods = "by their labels, never every pod";
    let literal = "is literal";
    let id = "no SPIFFE ID of another namespace";
    let lifetime = "no fallback and sets no lifetime";
    let named = |id: &str| {
        let id = json!(id);
        bad(&|object| set(object, "spiffeIDTemplate", id.clone()))
    };
    let cases = [
        (bad(&|object| object.metadata.labels = None), proof),
        (bad(&|object| object.metadata.annotations = None), proof),
        (without_label(bad(&|_| {}), "kleym.sonda.red/instance"), proof),
        (without_label(bad(&|_| {}), "kleym.sonda.red/binding-name"), proof),
        (bad(&|object| label(object, "kleym.sonda.red/binding-namespace", "other")), proof),
        (bad(&|object| label(object, "kleym.sonda.red/managed-by", "me")), proof),
        (bad(&|object| set(object, "namespaceSelector", Value::Null)), namespace),
        (bad(&|object| set(object, "namespaceSelector", namespace_selector("other"))), namespace),
        (bad(&|object| set(object, "namespaceSelector", namespace_selector("te"))), namespace),
        (
            bad(&|object| {
                set(
                    object,
                    "namespaceSelector",
                    json!({"matchLabels": {"kubernetes.io/metadata.name": "team"},
                    "matchExpressions": [{"key": "a", "operator": "Exists"}]}),
                );
            }),
            namespace,
        ),
        (bad(&|object| set(object, "admin", json!(true))), more),
        (bad(&|object| set(object, "downstream", json!(true))), more),
        (bad(&|object| set(object, "federatesWith", json!(["other.example"]))), more),
        (bad(&|object| set(object, "dnsNameTemplates", json!(["a"]))), more),
        (bad(&|object| set(object, "autoPopulateDNSNames", json!(true))), more),
        (bad(&|object| set(object, "podSelector", Value::Null)), pods),
        (bad(&|object| set(object, "podSelector", json!({}))), pods),
        (bad(&|object| set(object, "podSelector", json!({"matchLabels": {}}))), pods),
        (
            bad(&|object| {
                set(object, "podSelector", json!({"matchExpressions": [{"key": "a", "operator": "Exists"}]}));
            }),
            pods,
        ),
        (named("spiffe://kleym.sonda.red/ns/team/{{ .PodMeta.Name }}"), literal),
        (bad(&|object| set(object, "workloadSelectorTemplates", json!(["k8s:sa:{{ .PodSpec }}"]))), literal),
        (named("spiffe://kleym.sonda.red/ns/kube-system/sa/default"), id),
        (named("spiffe://kleym.sonda.red/ns/tea/objective/chat"), id),
        (named("spiffe://kleym.sonda.red/ns/team-b/objective/chat"), id),
        (named("spiffe://kleym.sonda.red/NS/team/objective/chat"), id),
        (named("spiffe://kleym.sonda.red/ns"), id),
        (named("spiffe://kleym.sonda.red"), id),
        (named("spiffe://kleym.sonda.red/spire/server"), id),
        (named("/ns/team/x/y"), id),
        (bad(&|object| set(object, "fallback", json!(true))), lifetime),
        (bad(&|object| set(object, "ttl", json!("8760h"))), lifetime),
        (bad(&|object| set(object, "jwtTtl", json!("8760h"))), lifetime),
    ];
    for (object, expected) in &cases {
        let refusal = said(as_operator.create(&post, object).await).unwrap_or_default();
        assert!(refusal.contains(expected), "{object:?}: {refusal}");
        let mut update = as_operator.get("good").await.unwrap();
        update.metadata.labels.clone_from(&object.metadata.labels);
        update.metadata.annotations.clone_from(&object.metadata.annotations);
        update.data = object.data.clone();
        let refusal = said(as_operator.replace("good", &post, &update).await).unwrap_or_default();
        assert!(refusal.contains(expected), "{object:?}: {refusal}");
    }
    let dry_run = PostParams { dry_run: true, ..post.clone() };
    // What lies outside of `/ns/` an administrator granted.
    for granted in ["spiffe://kleym.sonda.red/models/a/chat", "spiffe://kleym.sonda.red/nsx/chat"] {
        assert_eq!(said(as_operator.create(&dry_run, &named(granted)).await), None);
    }
    // Making an output select nothing needs no proof, whatever else somebody wrote into it: it is a withdrawal.
    let mut nothing = as_operator.get("good").await.unwrap();
    nothing.metadata.labels = None;
    set(&mut nothing, "podSelector", Value::Null);
    set(&mut nothing, "spiffeIDTemplate", json!("spiffe://kleym.sonda.red/ns/other/{{ .PodMeta.Name }}"));
    set(&mut nothing, "workloadSelectorTemplates", json!(["k8s:sa:{{ .PodSpec }}"]));
    set(&mut nothing, "namespaceSelector", namespace_selector("withdrawn.kleym.sonda.red"));
    assert_eq!(said(as_operator.replace("good", &dry_run, &nothing).await), None);

    // Nobody else writes what wears our label, old or new; what does not is theirs.
    let refusal = "only the Kleym operator writes ClusterSPIFFEIDs with the label";
    let denied = |answer: Option<String>| {
        let answer = answer.unwrap_or_default();
        assert!(answer.contains(refusal), "{answer}");
    };
    denied(said(as_admin.create(&post, &bad(&|_| {})).await));
    let theirs = output("theirs", &[("kleym.sonda.red/instance", "x")], json!({}));
    assert_eq!(said(as_admin.create(&post, &theirs).await), None);
    let patched = |name: &'static str, patch: Value| {
        let as_admin = as_admin.clone();
        async move { said(as_admin.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await) }
    };
    assert_eq!(patched("theirs", json!({"spec": {"admin": true}})).await, None);
    denied(patched("theirs", json!({"metadata": {"labels": {"kleym.sonda.red/managed-by": "kleym"}}})).await);
    denied(patched("good", json!({"spec": {"admin": true}})).await);
    denied(patched("good", json!({"metadata": {"labels": {"kleym.sonda.red/managed-by": null}}})).await);
    denied(patched("good", json!({"metadata": {"annotations": {"kleym.sonda.red/binding-uid": "x"}}})).await);
    denied(patched("good", json!({"metadata": {"finalizers": ["example.com/hold"]}})).await);
    // Taking a finalizer off, the status, and deleting stay free.
    let mut held = as_operator.get("good").await.unwrap();
    held.metadata.finalizers = Some(vec!["example.com/hold".to_owned()]);
    assert_eq!(said(as_operator.replace("good", &post, &held).await), None);
    assert_eq!(patched("good", json!({"metadata": {"finalizers": null}})).await, None);
    let status = Patch::Merge(json!({"status": {"stats": {"podsSelected": 1}}}));
    assert_eq!(said(as_admin.patch_status("good", &PatchParams::default(), &status).await), None);
    assert_eq!(said(as_admin.delete("good", &DeleteParams::default()).await), None);
    assert_eq!(said(as_operator.delete("theirs", &DeleteParams::default()).await), None);
}

/// What could be taken for an output without the label: two of its three marks are enough for the operator to take an object at
/// a binding's own name for its output, and any object there keeps the binding from its identity.
#[tokio::test]
async fn nobody_but_the_operator_makes_what_could_be_taken_for_an_output_or_takes_its_name() {
    let installed = Installed::new("posing", POLICIES).await;
    let world = &installed.world;
    acts_itself(world);
    installed.fenced().await;
    let as_admin = world.api(Kind::Output);
    let operator = world.client_as(USER, &[]).unwrap();
    let as_operator = Api::<DynamicObject>::all_with(operator, &api_resource(Kind::Output));
    let post = PostParams::default();
    let key = BindingKey::new(Namespace::parse("team").unwrap(), ObjectName::parse("chat").unwrap());
    let computed = output_name("default", &key).to_string();
    let annotated = |name: &str, key: &str, value: &str| {
        let mut object = output(name, &[], json!({}));
        object.metadata.annotations = Some([(key.to_owned(), value.to_owned())].into());
        object
    };
    let denied = |answer: Option<String>, what: &str| {
        let answer = answer.unwrap_or_default();
        assert!(answer.contains("or a name such as it computes"), "{what}: {answer}");
    };
    for (what, object) in [
        ("the name", output(&computed, &[], json!({}))),
        ("the name of another instance", output(output_name("blue", &key).as_str(), &[], json!({}))),
        ("the binding", annotated("posing", "kleym.sonda.red/binding", "team/chat")),
        ("the uid", annotated("posing", "kleym.sonda.red/binding-uid", "u")),
        ("nothing in it", annotated("posing", "kleym.sonda.red/binding-uid", "")),
    ] {
        denied(said(as_admin.create(&post, &object).await), what);
    }
    // Names that are merely like ours, and marks that prove nothing, are anybody's.
    for object in [
        output("kleym-team-chat", &[("kleym.sonda.red/managed-by", "somebody")], json!({})),
        output(&computed[..computed.len() - 1], &[("kleym.sonda.red/binding-name", "chat")], json!({})),
        output(&format!("{computed}-x"), &[], json!({})),
        annotated("annotated", "kleym.sonda.red/note", "ours"),
    ] {
        assert_eq!(said(as_admin.create(&post, &object).await), None, "{object:?}");
    }
    let mut generated = output("", &[], json!({}));
    generated.metadata.name = None;
    generated.metadata.generate_name = Some("kleym-".to_owned());
    assert_eq!(said(as_admin.create(&post, &generated).await), None);
    let patched = async |name: &str, patch: Value| {
        said(as_admin.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await)
    };
    let annotations = json!({"metadata": {"annotations": {"kleym.sonda.red/binding": "team/chat"}}});
    denied(patched("kleym-team-chat", annotations).await, "an annotation that comes later");

    // What stands at such a name already can be made to go, and is not changed otherwise.
    let mut there = output(&computed, &[], json!({}));
    set(&mut there, "namespaceSelector", namespace_selector("withdrawn.kleym.sonda.red"));
    there.metadata.finalizers = Some(vec!["example.com/hold".to_owned()]);
    assert_eq!(said(as_operator.create(&post, &there).await), None);
    denied(patched(&computed, json!({"spec": {"admin": true}})).await, "a change");
    assert_eq!(patched(&computed, json!({"metadata": {"finalizers": null}})).await, None);
    assert_eq!(said(as_admin.delete(&computed, &DeleteParams::default()).await), None);
}

#[tokio::test]
async fn only_the_operator_writes_a_binding_s_status_and_a_binding_s_name_can_be_read() {
    let installed = Installed::new("binding-policies", POLICIES).await;
    let world = &installed.world;
    installed.fenced().await;
    let binding = per_objective("chat", "chat", "vllm");
    world.create(binding.clone()).await;
    let status = Patch::Merge(json!({"status": {"observedGeneration": 7}}));
    let answer = world.api(Kind::Binding).patch_status("chat", &PatchParams::default(), &status).await;
    assert!(said(answer).unwrap_or_default().contains("only the Kleym operator writes the status"));
    let answer = world.try_create(per_objective(&"x".repeat(64), "chat", "vllm")).await;
    assert!(answer.unwrap_err().contains("at most 63 characters"));
    world.create(per_objective(&"x".repeat(63), "chat", "vllm")).await;
    world.edit(Kind::Binding, "chat", json!({"spec": {"containerDiscriminator": {"value": "b"}}})).await;
    world.delete(Kind::Binding, "chat").await;

    // A name that the API server makes up is one that can be read.
    let (_, mut generated) = per_objective("chat", "chat", "vllm").into_dynamic();
    generated.metadata.name = None;
    generated.metadata.generate_name = Some("chat-".to_owned());
    assert_eq!(said(world.api(Kind::Binding).create(&PostParams::default(), &generated).await), None);
}

/// An output with the proof of a binding `team/chat`.
fn proven(name: &str, spec: Value) -> DynamicObject {
    let labels = [
        ("managed-by", "kleym"),
        ("instance", "default"),
        ("binding-namespace", "team"),
        ("binding-name", "chat"),
    ];
    let mut object = output(name, &[], spec);
    for (key, value) in labels {
        label(&mut object, &format!("kleym.sonda.red/{key}"), value);
    }
    let annotations = [("binding", "team/chat"), ("binding-uid", "u")];
    let annotations = annotations.map(|(key, value)| (format!("kleym.sonda.red/{key}"), value.to_owned()));
    object.metadata.annotations = Some(annotations.into());
    object
}

fn namespace_selector(namespace: &str) -> Value {
    json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}})
}

fn label(object: &mut DynamicObject, key: &str, value: &str) {
    object.metadata.labels.get_or_insert_default().insert(key.to_owned(), value.to_owned());
}

fn without_label(mut object: DynamicObject, key: &str) -> DynamicObject {
    object.metadata.labels.as_mut().unwrap().remove(key).unwrap();
    object
}

fn set(object: &mut DynamicObject, field: &str, value: Value) {
    object.data["spec"][field] = value;
}
