//! What happens in a cluster, in the words of users: the scenarios on which faults are tried, each with where it begins,
//! what is done, and how it ends when nothing goes wrong.

use kleym_core::kind::Kind;
use kleym_testenv::eventually;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::world::{
    OBJECTIVE, Object, POOL, SOON, World, doom, install, objective, per_objective, pool, pool_only, removed,
};

/// A scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// A binding of an objective is created.
    Create,
    /// A binding of a pool is created.
    CreatePoolOnly,
    /// A binding changes its container.
    Change,
    /// A binding changes its SPIFFE ID.
    ChangeId,
    /// An older binding moves into the way of a younger one.
    Conflict,
    /// A younger binding claims what an older one has.
    ConflictOfTwo,
    /// Three claim one container.
    ConflictOfThree,
    /// The older of two in conflict moves away.
    OlderEdited,
    /// The older of two in conflict is deleted.
    OlderDeleted,
    /// The older of two in conflict becomes invalid.
    OlderInvalidated,
    /// Two bindings swap their containers.
    Swap,
    /// Three bindings shift their containers by one.
    Shift,
    /// A pool with five dependants selects other pods.
    PoolChange,
    /// An objective is pointed to another pool.
    Repoint,
    /// A pool is deleted and comes back.
    PoolGoneAndBack,
    /// A binding is deleted.
    Delete,
    /// A foreign object stands at the name of a new binding's output, and goes.
    Foreign,
    /// An orphan of an earlier incarnation stands at the name of a new binding's output.
    Orphan,
    /// An orphan appears that nobody asks for.
    Stray,
    /// The same, and a foreign finalizer keeps it until it grants nothing any more.
    StrayKept,
    /// A binding of the pool is created beside one of an objective on it.
    Layers,
    /// The operator is started again with another trust domain.
    TrustDomain,
    /// The operator is started again with another class.
    Class,
    /// Twenty bindings that can be granted are created among twenty that cannot.
    GoodAmongBad,
    /// The definition of a kind goes, with all its objects, and comes back. Needs a control plane of its own.
    Definition(Kind),
}

use Scenario::*;

impl Scenario {
    /// The four that every test run tries.
    pub(crate) const MAIN: [Scenario; 4] = [Create, Change, Conflict, Delete];
    /// The others.
    pub(crate) const FURTHER: [Scenario; 20] = [
        CreatePoolOnly,
        ChangeId,
        ConflictOfTwo,
        ConflictOfThree,
        OlderEdited,
        OlderDeleted,
        OlderInvalidated,
        Swap,
        Shift,
        PoolChange,
        Repoint,
        PoolGoneAndBack,
        Foreign,
        Orphan,
        Stray,
        StrayKept,
        Layers,
        TrustDomain,
        Class,
        GoodAmongBad,
    ];

    /// Its name, as part of a namespace's.
    pub(crate) fn name(self) -> String {
        match self {
            Definition(kind) => format!("definition-of-{}", kind.plural()),
            _ => format!("{self:?}").to_lowercase(),
        }
    }

    /// The flags with which the operator is started again; that is then all that is done.
    pub(crate) fn restarts_with(self) -> &'static [&'static str] {
        match self {
            TrustDomain => &["--trust-domain=other.example"],
            Class => &["--clusterspiffeid-class-name=other"],
            _ => &[],
        }
    }

    /// The names of the bindings that can have a part in it.
    pub(crate) fn bindings(self) -> Vec<String> {
        match self {
            GoodAmongBad => ["good", "bad"].iter().flat_map(|kind| crowd(kind)).collect(),
            _ => ["a", "b", "c", "d", "e"].map(str::to_owned).into(),
        }
    }

    /// The part of a binding; those that are alike have the same.
    pub(crate) fn role(self, binding: &str) -> String {
        match self {
            PoolChange => "one".to_owned(),
            GoodAmongBad => binding.split('-').next().unwrap_or(binding).to_owned(),
            _ => binding.to_owned(),
        }
    }

    /// Brings the world to where it begins; an operator serves it already.
    pub(crate) async fn prepare(self, world: &World) {
        world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
        let containers: &[(&str, &str)] = match self {
            Create | CreatePoolOnly | Foreign | Orphan | Stray | StrayKept | GoodAmongBad => &[],
            Change | ChangeId | Delete | ConflictOfTwo | ConflictOfThree | Repoint | PoolGoneAndBack
            | Layers | Definition(_) => &[("a", "x")],
            Conflict | Swap | TrustDomain | Class => &[("a", "x"), ("b", "y")],
            OlderEdited | OlderDeleted | OlderInvalidated => &[("a", "x")],
            Shift => &[("a", "x"), ("b", "y"), ("c", "z")],
            PoolChange => &[("a", "v"), ("b", "w"), ("c", "x"), ("d", "y"), ("e", "z")],
        };
        for (name, container) in containers {
            // One objective each: bindings of one objective may share a SPIFFE ID.
            world.create_all([objective(name, "llama"), per_objective(name, name, container)]).await;
            world.ready(name).await;
        }
        match self {
            Repoint => {
                world.create(pool("qwen", &[("app", "sglang")])).await;
            }
            OlderEdited | OlderDeleted | OlderInvalidated => {
                world.create_all([objective("b", "llama"), per_objective("b", "b", "x")]).await;
                world.refused("b", "IdentityCollision").await;
            }
            Foreign => {
                let spec = json!({"spiffeIDTemplate": "spiffe://elsewhere/x", "podSelector": {}});
                let name = world.output_name("a");
                world.create(Object::new(Kind::Output, &name, spec)).await;
            }
            Orphan => {
                world.create_all([objective("a", "llama")]).await;
                // Kept until the operator is there to see the binding too.
                world.create(orphan(world, "a").with("/metadata/finalizers", json!([KEEPS]))).await;
            }
            _ => {}
        }
    }

    /// What is done.
    pub(crate) async fn act(self, world: &World) {
        match self {
            Create | Foreign => {
                world.create_all([objective("a", "llama"), per_objective("a", "a", "x")]).await;
            }
            Orphan => {
                world.create(per_objective("a", "a", "x")).await;
                let name = world.output_name("a");
                world.edit(Kind::Output, &name, json!({"metadata": {"finalizers": null}})).await;
            }
            Stray => drop(world.create(orphan(world, "a")).await),
            StrayKept => {
                world.create(orphan(world, "a").with("/metadata/finalizers", json!([KEEPS]))).await;
            }
            CreatePoolOnly => {
                world.create(pool_only("a", "chat")).await;
            }
            Change | OlderEdited => moved(world, &[("a", "q")]).await,
            ChangeId => {
                let template = "spiffe://{{ .TrustDomain }}/ns/{{ .Namespace }}/made/{{ .BindingName }}";
                world.edit(Kind::Binding, "a", json!({"spec": {"spiffeIDTemplate": template}})).await;
            }
            Conflict => moved(world, &[("a", "y")]).await,
            ConflictOfTwo => {
                world.create_all([objective("b", "llama"), per_objective("b", "b", "x")]).await;
            }
            ConflictOfThree => {
                for name in ["b", "c"] {
                    world.create_all([objective(name, "llama"), per_objective(name, name, "x")]).await;
                }
            }
            OlderDeleted | Delete => world.delete(Kind::Binding, "a").await,
            OlderInvalidated => {
                let templates =
                    json!({"spec": {"workloadSelectorTemplates": ["k8s:ns:elsewhere", "k8s:sa:x"]}});
                world.edit(Kind::Binding, "a", templates).await;
            }
            Swap => moved(world, &[("a", "y"), ("b", "x")]).await,
            Shift => moved(world, &[("a", "y"), ("b", "z"), ("c", "x")]).await,
            PoolChange => {
                let selector = json!({"spec": {"selector": {"matchLabels": {"tier": "gold"}}}});
                world.edit(POOL, "llama", selector).await;
            }
            Repoint => {
                world.edit(OBJECTIVE, "a", json!({"spec": {"poolRef": {"name": "qwen"}}})).await;
            }
            PoolGoneAndBack => world.delete(POOL, "llama").await,
            Layers => drop(world.create(pool_only("b", "chat")).await),
            Definition(kind) => doom(&world.client, kind).await,
            // See `restarts_with`.
            TrustDomain | Class => {}
            GoodAmongBad => {
                for (nth, (good, bad)) in crowd("good").iter().zip(crowd("bad")).enumerate() {
                    world.create_all([objective(good, "llama"), per_objective(good, good, good)]).await;
                    world.create(objective(&bad, if nth % 4 == 2 { "nowhere" } else { "llama" })).await;
                    let (path, value) = match nth % 4 {
                        0 => ("/spec/workloadSelectorTemplates", json!(["k8s:ns:elsewhere", "k8s:sa:x"])),
                        1 => ("/spec/spiffeIDTemplate", json!("not an ID")),
                        2 => ("/spec/mode", json!("PerObjective")),
                        _ => ("/spec/spiffeIDTemplate", json!("spiffe://{{ .Nothing }}")),
                    };
                    world.create(per_objective(&bad, &bad, &bad).with(path, value)).await;
                }
            }
        }
    }

    /// Waits for how it ends, and does what has to be done on the way there.
    pub(crate) async fn end(self, world: &World) {
        match self {
            Create | CreatePoolOnly | Orphan => drop(world.ready("a").await),
            Stray => world.gone(Kind::Output, &world.output_name("a")).await,
            StrayKept => {
                let name = world.output_name("a");
                let kept = |output: &Value| !output["metadata"]["finalizers"].is_null();
                // The end may be waited for again, when all has been done.
                if world.find(Kind::Output, &name).await.as_ref().is_some_and(kept) {
                    let pin = "/spec/namespaceSelector/matchLabels/kubernetes.io~1metadata.name";
                    let what = "it selects no namespace that can exist";
                    world
                        .until(what, Kind::Output, &name, |found| {
                            let Some(output) = found.filter(|output| kept(output)) else { return Ok(()) };
                            let pin = output.pointer(pin).and_then(Value::as_str);
                            anyhow::ensure!(pin.is_some_and(|pin| pin.contains('.')), "{output}");
                            Ok(())
                        })
                        .await;
                    let finalizers = json!({"metadata": {"finalizers": null}});
                    let patch = Patch::Merge(finalizers);
                    // Somebody else may have waited for the same.
                    let _ = world.api(Kind::Output).patch(&name, &PatchParams::default(), &patch).await;
                }
                world.gone(Kind::Output, &name).await;
            }
            Layers => {
                world.ready("a").await;
                world.ready("b").await;
            }
            TrustDomain => {
                for name in ["a", "b"] {
                    holds(world, name, "spec/spiffeIDTemplate", "spiffe://other.example/").await;
                }
            }
            Class => {
                for name in ["a", "b"] {
                    holds(world, name, "spec/className", "other").await;
                }
            }
            Definition(kind) => {
                // The end may be waited for again, when all has been done.
                if removed(&world.client, kind).await {
                    match kind {
                        Kind::Binding => {}
                        Kind::Output => drop(world.refused("a", "ClusterSPIFFEIDCRDMissing").await),
                        _ => world.gone(Kind::Output, &world.output_name("a")).await,
                    }
                    install(&world.client, &[kind]).await;
                }
                let all =
                    [pool("llama", &[("app", "vllm")]), objective("chat", "llama"), objective("a", "llama")];
                for object in all.into_iter().chain([per_objective("a", "a", "x")]) {
                    // Most are there, and a definition that was just installed takes none for a moment.
                    let made = || async {
                        world.try_create(object.clone()).await.or_else(|refusal| there(&refusal))
                    };
                    eventually("it can be created again", SOON, made).await.unwrap();
                }
                world.ready("a").await;
            }
            GoodAmongBad => {
                let reasons =
                    ["UnsafeSelector", "InvalidSPIFFEID", "TargetPoolNotFound", "SPIFFEIDRenderFailed"];
                for (nth, (good, bad)) in crowd("good").iter().zip(crowd("bad")).enumerate() {
                    world.ready(good).await;
                    world.refused(&bad, reasons[nth % 4]).await;
                }
            }
            Change => holds(world, "a", "spec/workloadSelectorTemplates", "k8s:container-name:q").await,
            ChangeId => holds(world, "a", "spec/spiffeIDTemplate", "/made/a").await,
            Conflict => {
                world.refused("b", "IdentityCollision").await;
                holds(world, "a", "spec/workloadSelectorTemplates", "k8s:container-name:y").await;
            }
            ConflictOfTwo => drop(world.refused("b", "IdentityCollision").await),
            ConflictOfThree => {
                world.refused("b", "IdentityCollision").await;
                world.refused("c", "IdentityCollision").await;
            }
            OlderEdited => {
                holds(world, "a", "spec/workloadSelectorTemplates", "k8s:container-name:q").await;
                world.ready("b").await;
            }
            OlderDeleted => {
                world.gone(Kind::Binding, "a").await;
                world.ready("b").await;
            }
            OlderInvalidated => {
                world.refused("a", "UnsafeSelector").await;
                world.ready("b").await;
            }
            Swap => {
                holds(world, "a", "spec/workloadSelectorTemplates", "k8s:container-name:y").await;
                holds(world, "b", "spec/workloadSelectorTemplates", "k8s:container-name:x").await;
            }
            Shift => {
                for (name, container) in [("a", "y"), ("b", "z"), ("c", "x")] {
                    let item = format!("k8s:container-name:{container}");
                    holds(world, name, "spec/workloadSelectorTemplates", &item).await;
                }
            }
            PoolChange => {
                for name in ["a", "b", "c", "d", "e"] {
                    holds(world, name, "spec/workloadSelectorTemplates", "k8s:pod-label:tier:gold").await;
                }
            }
            Repoint => holds(world, "a", "spec/workloadSelectorTemplates", "k8s:pod-label:app:sglang").await,
            PoolGoneAndBack => {
                // The end may be waited for again, when all has been done.
                if world.find(POOL, "llama").await.is_none() {
                    world.refused("a", "TargetPoolNotFound").await;
                    world.create(pool("llama", &[("app", "vllm")])).await;
                }
                world.ready("a").await;
            }
            Delete => world.gone(Kind::Binding, "a").await,
            Foreign => {
                let output = world.find_output("a").await;
                if output.is_some_and(|output| output["spec"]["spiffeIDTemplate"] == "spiffe://elsewhere/x") {
                    world.refused("a", "ManagedOutputConflict").await;
                    world.delete(Kind::Output, &world.output_name("a")).await;
                }
                world.ready("a").await;
            }
        }
    }
}

/// Keeps an object from going.
const KEEPS: &str = "example.org/kept";

/// The output of a binding of this name that lives no more, with a grant of its own.
pub(crate) fn orphan(world: &World, binding: &str) -> Object {
    let metadata = json!({
        "labels": {
            "kleym.sonda.red/managed-by": "kleym", "kleym.sonda.red/instance": world.instance,
            "kleym.sonda.red/binding-namespace": world.namespace, "kleym.sonda.red/binding-name": binding,
        },
        "annotations": {
            "kleym.sonda.red/binding": format!("{}/{binding}", world.namespace),
            "kleym.sonda.red/binding-uid": "00000000-0000-0000-0000-000000000000",
        },
    });
    let spec = json!({"spiffeIDTemplate": "spiffe://kleym.sonda.red/ns/old/x", "podSelector": {}});
    Object::new(Kind::Output, &world.output_name(binding), spec).with("/metadata", metadata)
}

/// Takes what is there already as created.
fn there(refusal: &str) -> anyhow::Result<Value> {
    anyhow::ensure!(refusal.contains("already exists"), "{refusal}");
    Ok(Value::Null)
}

/// Twenty names of a kind.
fn crowd(kind: &str) -> Vec<String> {
    (0..20).map(|nth| format!("{kind}-{nth}")).collect()
}

/// Moves bindings to other containers, all at once.
pub(crate) async fn moved(world: &World, moves: &[(&str, &str)]) {
    let patch = |to: &str| json!({"spec": {"containerDiscriminator": {"value": to}}});
    let edits = moves.iter().map(|(name, to)| world.edit(Kind::Binding, name, patch(to)));
    futures::future::join_all(edits).await;
}

/// Waits until a binding is Ready and its output holds a text somewhere below a path.
async fn holds(world: &World, name: &str, path: &str, text: &str) {
    world.ready(name).await;
    let output = world.output_name(name);
    let what = format!("the output of `{name}` holds {text}");
    world
        .until(&what, Kind::Output, &output, |found| {
            let place = found.and_then(|output| output.pointer(&format!("/{path}"))).unwrap_or(&Value::Null);
            anyhow::ensure!(place.to_string().contains(text), "{place}");
            Ok(())
        })
        .await;
}
