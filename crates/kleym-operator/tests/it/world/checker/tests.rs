//! The checker notices every rule that is broken.

mod outputs;
mod settled;

use std::sync::{Arc, LazyLock, Mutex};

use kleym_core::kind::Kind;
use kleym_core::name::Instance;
use kleym_core::settings::Settings;
use kleym_core::spiffe::{PathGrants, TrustDomain};
use kleym_testenv::Call;
use serde_json::{Value, json};

use super::settled::{Grant, overlaps};
use super::{BINDINGS, Evidence, OUTPUTS, Testimony, violations};
use crate::world::recorder::Version;
use crate::world::{OBJECTIVE, POOL};

const FINALIZER: &str = "kleym.sonda.red/inferenceidentitybinding-finalizer";

fn call(verb: &str, resource: &str, name: &str, request: Value) -> Call {
    Call {
        user: "operator".to_owned(),
        groups: Vec::new(),
        credential: String::new(),
        verb: verb.to_owned(),
        resource: resource.to_owned(),
        subresource: String::new(),
        namespace: "llm".to_owned(),
        name: name.to_owned(),
        code: 200,
        user_agent: format!("kleym-operator/{}", env!("CARGO_PKG_VERSION")),
        uri: "/x".to_owned(),
        received: jiff::Timestamp::UNIX_EPOCH,
        answered: jiff::Timestamp::UNIX_EPOCH,
        request: Some(request),
        response: None,
    }
}

fn version(kind: Kind, revision: u64, object: Value) -> Version {
    let seen = jiff::Timestamp::UNIX_EPOCH;
    Version { kind, revision, seen, gone: false, object: Arc::new(object) }
}

/// A binding of the container `x` of the objective of its name.
fn binding(revision: u64, name: &str, finalizers: &Value) -> Version {
    let object = json!({
        "metadata": {"namespace": "llm", "name": name, "uid": format!("uid-of-{name}"), "finalizers": finalizers},
        "spec": {
            "mode": "PerObjective",
            "targetRef": {"name": name},
            "selectorSource": "DerivedFromPool",
            "workloadSelectorTemplates": ["k8s:ns:llm", "k8s:sa:a"],
            "containerDiscriminator": {"type": "ContainerName", "value": "x"},
        },
    });
    version(Kind::Binding, revision, object)
}

/// The same of another container.
fn binding_of(revision: u64, name: &str, container: &str) -> Version {
    let mut binding = binding(revision, name, &json!([FINALIZER]));
    Arc::make_mut(&mut binding.object)["spec"]["containerDiscriminator"]["value"] = json!(container);
    binding
}

/// The pool, and the objectives of `a` and `b`.
fn inputs() -> Vec<Version> {
    let metadata =
        |name: &str| json!({"namespace": "llm", "name": name, "uid": format!("uid-of-input-{name}")});
    let selector = json!({"matchLabels": {"app": "vllm"}});
    let pool = json!({"metadata": metadata("llama"), "spec": {"selector": selector}});
    let objective = |name: &str| {
        let object = json!({"metadata": metadata(name), "spec": {"poolRef": {"name": "llama"}}});
        version(OBJECTIVE, 1, object)
    };
    vec![version(POOL, 1, pool), objective("a"), objective("b")]
}

/// What an output of a binding is to have when it is of this container.
fn spec(of: &str, container: &str) -> Value {
    let items =
        [&format!("k8s:container-name:{container}"), "k8s:ns:llm", "k8s:pod-label:app:vllm", "k8s:sa:a"];
    json!({
        "spiffeIDTemplate": format!("spiffe://kleym.sonda.red/ns/llm/objective/{of}"),
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "llm"}},
        "podSelector": {"matchLabels": {"app": "vllm"}},
        "workloadSelectorTemplates": items,
        "fallback": false,
        "hint": format!("llm/{of}"),
    })
}

static NOTHING_SAID: LazyLock<Testimony> = LazyLock::new(Testimony::default);
static SETTINGS: LazyLock<Vec<(jiff::Timestamp, Settings)>> = LazyLock::new(|| {
    let settings = Settings {
        trust_domain: TrustDomain::parse("kleym.sonda.red").unwrap(),
        class_name: None,
        instance: Instance::parse("one").unwrap(),
        path_grants: PathGrants::default(),
    };
    vec![(jiff::Timestamp::UNIX_EPOCH, settings)]
});

fn evidence<'a>(calls: &'a [Call], versions: &'a [Version]) -> Evidence<'a> {
    Evidence {
        user: "operator",
        instance: "one",
        namespace: "llm",
        calls,
        versions,
        excused: &[],
        displaced: &[],
        settings: &SETTINGS,
        testimony: &NOTHING_SAID,
    }
}

fn output_of(name: &str) -> String {
    evidence(&[], &[]).output_of(name).unwrap()
}

/// The output of a binding as the operator writes it.
fn whole(of: &str, spec: &Value) -> Value {
    json!({
        "metadata": {
            "name": output_of(of),
            "labels": {
                "kleym.sonda.red/managed-by": "kleym",
                "kleym.sonda.red/instance": "one",
                "kleym.sonda.red/binding-namespace": "llm",
                "kleym.sonda.red/binding-name": of,
            },
            "annotations": {
                "kleym.sonda.red/binding": format!("llm/{of}"),
                "kleym.sonda.red/binding-uid": format!("uid-of-{of}"),
            },
        },
        "spec": spec,
    })
}

fn output(revision: u64, of: &str, spec: &Value, managed: bool, manager: &str) -> Version {
    let mut object = whole(of, spec);
    let metadata = &mut object["metadata"];
    metadata["uid"] = json!(format!("uid-of-output-of-{of}"));
    metadata["resourceVersion"] = json!(revision.to_string());
    metadata["managedFields"] = json!([{"manager": manager}]);
    if !managed {
        (metadata["labels"], metadata["annotations"]) = (json!({}), json!({}));
    }
    version(Kind::Output, revision, object)
}

/// The rules that are broken, without what happened.
fn broken(calls: &[Call], versions: &[Version]) -> Vec<String> {
    let rule = |line: String| line.split(": ").take(2).collect::<Vec<_>>().join(": ");
    violations(&evidence(calls, &[&inputs(), versions].concat())).into_iter().map(rule).collect()
}

#[test]
fn a_request_that_breaks_a_rule_is_named() {
    let versioned = json!({"metadata": {"resourceVersion": "7"}});
    let with = |change: fn(&mut Call)| {
        let mut call = call("patch", BINDINGS, "a", versioned.clone());
        change(&mut call);
        broken(&[call], &[])
    };
    assert_eq!(with(|_| {}), Vec::<String>::new());
    assert_eq!(with(|call| call.user_agent = "curl".to_owned()), ["wire: the user agent is `curl`"]);
    assert_eq!(
        with(|call| call.uri = "/x?resourceVersion=0".to_owned()),
        ["wire: asks for anything that is cached"]
    );
    assert_eq!(with(|call| call.request = Some(json!({}))), ["wire: bound to no resourceVersion"]);
    assert_eq!(with(|call| call.resource = "secrets".to_owned()), ["wire: not among the operator's rights"]);
    assert_eq!(with(|call| call.verb = "delete".to_owned())[0], "wire: not among the operator's rights");
    let large = |call: &mut Call| call.request.as_mut().unwrap()["x"] = json!("x".repeat(256 << 10));
    assert_eq!(with(large), ["wire: the body is too large"]);
    let talks = |call: &mut Call| {
        call.request.as_mut().unwrap()["status"]["conditions"] = json!([{"message": "x".repeat(1025)}]);
    };
    assert_eq!(with(talks), ["wire: a message of 1025 bytes"]);
    let delete =
        |uid: &str| broken(&[call("delete", OUTPUTS, "a", json!({"preconditions": {"uid": uid}}))], &[]);
    assert_eq!((delete("u"), delete("")), (vec![], vec!["wire: bound to no uid".to_owned()]));
}

#[test]
fn a_write_without_a_body_is_named_unless_it_was_turned_away_unread() {
    let bare = |verb: &str, resource: &str, code: u16| {
        broken(&[Call { request: None, code, ..call(verb, resource, "a", Value::Null) }], &[])
    };
    let found = vec!["wire: has no body".to_owned()];
    assert_eq!((bare("delete", OUTPUTS, 200), bare("delete", OUTPUTS, 409)), (found.clone(), found.clone()));
    assert_eq!((bare("patch", BINDINGS, 200), bare("update", OUTPUTS, 201)), (found.clone(), found));
    assert_eq!((bare("delete", OUTPUTS, 403), bare("list", OUTPUTS, 200)), (vec![], vec![]));
}

/// What an operator says of its calls.
fn said(calls: &[(&str, &str, &str)]) -> Testimony {
    let line = |(method, path, took): &(&str, &str, &str)| {
        format!("DEBUG call binding=llm/a method={method} path=\"{path}\" reply=Done took={took}\n")
    };
    Testimony::of(&[Arc::new(Mutex::new(calls.iter().map(line).collect()))])
}

#[test]
fn a_write_that_arrives_more_often_than_it_was_made_is_named() {
    let write = || call("create", OUTPUTS, &output_of("a"), whole("a", &spec("a", "x")));
    let twice = [write(), write()];
    let versions = [inputs(), vec![binding(1, "a", &json!([FINALIZER]))]].concat();
    let broken = |testimony: &Testimony| violations(&Evidence { testimony, ..evidence(&twice, &versions) });
    assert_eq!(broken(&said(&[("POST", "/x", "1ms"), ("POST", "/x", "1ms")])), [""; 0]);
    assert_eq!(
        broken(&said(&[("POST", "/x", "1ms")])),
        ["wire: sent again by something below the operator: POST /x"]
    );
}

#[test]
fn writes_that_no_operator_speaks_of_are_named() {
    let write = || call("create", OUTPUTS, &output_of("a"), whole("a", &spec("a", "x")));
    let versions = [inputs(), vec![binding(1, "a", &json!([FINALIZER]))]].concat();
    let broken = |calls: &[Call]| {
        let testimony = said(&[]);
        violations(&Evidence { testimony: &testimony, ..evidence(calls, &versions) })
    };
    assert_eq!(broken(&[write()]), [""; 0], "its operator was killed");
    assert_eq!(broken(&[write(), write()]), ["wire: nobody spoke of 2 writes"]);
}

#[test]
fn a_call_that_has_no_deadline_is_named() {
    let broken = |took| {
        let testimony = said(&[("POST", "/x", took)]);
        violations(&Evidence { testimony: &testimony, ..evidence(&[], &[]) })
    };
    assert_eq!(broken("10.1s"), [""; 0]);
    assert_eq!(broken("15s"), ["wire: without a deadline: a call took 15s"]);
}

#[test]
fn a_write_without_the_lease_is_named() {
    let at = |second: i64| jiff::Timestamp::from_second(second).unwrap();
    let lease = |second: i64, holder: &str| {
        let spec = json!({"holderIdentity": holder, "renewTime": at(second).to_string(), "leaseDurationSeconds": 15});
        let mut call =
            call("update", "coordination.k8s.io/leases", "kleym-operator-one", json!({"spec": spec}));
        (call.received, call.answered) = (at(second), at(second));
        call
    };
    let write = |second: i64| {
        let mut call = call("create", OUTPUTS, &output_of("a"), whole("a", &spec("a", "x")));
        call.received = at(second);
        call
    };
    let broken = |calls: &[Call]| {
        violations(&evidence(calls, &[])).into_iter().filter(|line| line.starts_with("wire: written")).count()
    };
    assert_eq!(broken(&[write(5)]), 0, "where nobody is elected");
    assert_eq!(broken(&[lease(10, "me"), write(25), lease(20, "me"), write(35)]), 0);
    assert_eq!(broken(&[lease(10, "me"), write(26)]), 1, "the lease is over");
    assert_eq!(broken(&[write(9), lease(10, "me")]), 1, "not yet");
    assert_eq!(broken(&[lease(10, "me"), lease(12, ""), write(13)]), 1, "given back");
}

#[test]
fn a_finalizer_that_goes_while_the_output_is_there_is_named() {
    let held = binding(1, "a", &json!([FINALIZER]));
    let granted = output(2, "a", &spec("a", "x"), true, "kleym-operator");
    let released = binding(4, "a", &json!([]));
    let gone = Version { revision: 3, gone: true, ..granted.clone() };
    assert_eq!(broken(&[], &[held.clone(), granted.clone(), gone, released.clone()]), Vec::<String>::new());
    let found = violations(&evidence(&[], &[held.clone(), granted.clone(), released.clone()]));
    assert_eq!(found, [format!("S1: the finalizer of `a` went while `{}` was there", output_of("a"))]);
    // What a hand did is not the operator's.
    let mut by_hand = call("patch", BINDINGS, "a", json!({"metadata": {"finalizers": []}}));
    by_hand.user = "admin".to_owned();
    assert_eq!(broken(&[by_hand], &[held, granted, released]), Vec::<String>::new());
}

#[test]
fn what_overlaps_when_nothing_happens_any_more_is_named() {
    let grant = |binding, mode, pool, spec| {
        let subject = if mode == "PoolOnly" { ("pool", pool) } else { ("objective", binding) };
        Grant { binding, mode, subject, pool: Some(pool), spec }
    };
    let broken = |one: Grant<'_>, two: Grant<'_>| overlaps(&[one, two]).len();
    let (vllm, router) = (spec("a", "vllm"), spec("b", "router"));
    let other_id = |id: &str| {
        let mut other = vllm.clone();
        other["spiffeIDTemplate"] = json!(id);
        other
    };
    let other = other_id("spiffe://kleym.sonda.red/ns/llm/other");
    let one = grant("a", "PerObjective", "llama", &vllm);
    assert_eq!(broken(one, grant("b", "PerObjective", "llama", &router)), 0, "other containers");
    assert_eq!(broken(one, grant("b", "PerObjective", "llama", &other)), 1, "one container, two IDs");
    assert_eq!(broken(one, grant("b", "PoolOnly", "llama", &other)), 0, "layers of one pool");
    assert_eq!(broken(one, grant("b", "PoolOnly", "qwen", &other)), 1, "two modes over two pools");
    let twin = other_id("spiffe://kleym.sonda.red/ns/llm/OBJECTIVE/A");
    assert_eq!(broken(one, grant("b", "PerObjective", "llama", &twin)), 1, "one ID of two objectives");
    assert_eq!(broken(one, Grant { binding: "b", ..one }), 0, "one identity in two bindings");
}
