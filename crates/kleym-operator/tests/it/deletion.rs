//! The way out: the output goes first, and the finalizer only on the proof that it is gone.

use anyhow::{Context, ensure};
use kleym_core::kind::Kind;
use kleym_testenv::proxy::Point;
use serde_json::{Value, json};

use crate::world::{OBJECTIVE, Operator, POOL, World, install, per_objective, ready, remove};

const FINALIZER: &str = "kleym.sonda.red/inferenceidentitybinding-finalizer";

/// A world with a binding `chat` that is Ready, and an operator at rest.
async fn settled(world: World) -> (World, Operator) {
    let operator = world.operator().await;
    world.with_chat().await;
    world.at_rest().await;
    (world, operator)
}

fn output_is_deleting(output: Option<&Value>) -> anyhow::Result<()> {
    let metadata = &output.context("the output is gone")?["metadata"];
    ensure!(metadata.get("deletionTimestamp").is_some(), "nobody deleted it: {metadata}");
    Ok(())
}

#[tokio::test]
async fn of_a_deleted_binding_the_output_goes_first_and_then_the_finalizer() {
    let (world, _operator) = settled(World::new("delete").await).await;
    let mark = world.at_rest().await;
    world.delete(Kind::Binding, "chat").await;
    world.gone(Kind::Binding, "chat").await;
    assert_eq!(world.find_output("chat").await, None);
    let output = world.output_name("chat");
    assert_eq!(
        world.named_calls(mark).await,
        [
            format!("delete clusterspiffeids {output}"),
            format!("list clusterspiffeids {output}"),
            "patch inferenceidentitybindings chat".to_owned(),
        ]
    );
}

#[tokio::test]
async fn a_binding_stays_until_an_output_that_a_foreign_finalizer_holds_is_gone() {
    let (world, _operator) = settled(World::new("held").await).await;
    let output = world.output_name("chat");
    world.edit(Kind::Output, &output, json!({"metadata": {"finalizers": ["example.com/hold"]}})).await;
    world.delete(Kind::Binding, "chat").await;
    world.until("the output is being deleted", Kind::Output, &output, output_is_deleting).await;
    world.at_rest().await;
    assert_eq!(world.binding("chat").await["metadata"]["finalizers"], json!([FINALIZER]));
    assert_eq!(world.output("chat").await["metadata"]["finalizers"], json!(["example.com/hold"]));

    world.edit(Kind::Output, &output, json!({"metadata": {"finalizers": null}})).await;
    world.gone(Kind::Binding, "chat").await;
    assert_eq!(world.find_output("chat").await, None);
}

#[tokio::test]
async fn an_output_that_a_foreign_finalizer_holds_matches_no_namespace_and_the_binding_says_who_holds_it() {
    let (world, _operator) = settled(World::new("neutral").await).await;
    let output = world.output_name("chat");
    world.edit(Kind::Output, &output, json!({"metadata": {"finalizers": ["example.com/hold"]}})).await;
    world.delete(Kind::Binding, "chat").await;
    world.until("the output is being deleted", Kind::Output, &output, output_is_deleting).await;
    let pin = json!({"matchLabels": {"kubernetes.io/metadata.name": world.namespace}});
    world
        .until("it grants nothing any more", Kind::Output, &output, |output| {
            let selector = &output.context("the output is gone")?["spec"]["namespaceSelector"];
            ensure!(*selector != pin && !selector.is_null(), "it selects {selector}");
            Ok(())
        })
        .await;
    world
        .until("the binding names the finalizer", Kind::Binding, "chat", |binding| {
            let conditions = &binding.context("the binding is gone")?["status"]["conditions"];
            let conditions = conditions.as_array().context("no conditions")?;
            let reconciling = conditions.iter().find(|condition| condition["type"] == "Reconciling");
            let message = &reconciling.context("not reconciling")?["message"];
            ensure!(message.to_string().contains("example.com/hold"), "{message}");
            Ok(())
        })
        .await;
    world.edit(Kind::Output, &output, json!({"metadata": {"finalizers": null}})).await;
    world.gone(Kind::Binding, "chat").await;
}

#[tokio::test]
async fn a_binding_that_a_foreign_finalizer_keeps_says_that_its_identity_is_gone_and_who_keeps_it() {
    let (world, operator) = settled(World::new("kept").await).await;
    let both = json!({"metadata": {"finalizers": [FINALIZER, "example.com/hold"]}});
    world.edit(Kind::Binding, "chat", both).await;
    let mark = world.at_rest().await;
    world.delete(Kind::Binding, "chat").await;
    let binding = world
        .reported("the binding says that it is kept", "chat", |binding| {
            ensure!(binding["metadata"]["finalizers"] == json!(["example.com/hold"]), "ours is there");
            ensure!(ready(binding) == ("Unknown", "Initializing"), "{:?}", ready(binding));
            Ok(())
        })
        .await;
    let status = &binding["status"];
    let reconciling = "the binding is being deleted and its ClusterSPIFFEID is gone; the object is kept by the \
                       finalizers `example.com/hold`; whoever set them must remove them";
    for condition in status["conditions"].as_array().unwrap() {
        let waits = condition["type"] == "Ready" || condition["type"] == "Reconciling";
        assert_eq!(condition["message"], if waits { reconciling } else { "" }, "{condition}");
    }
    for granted in ["computedSpiffeIDs", "renderedSelectors", "renderedClusterSPIFFEID"] {
        assert_eq!(status.get(granted), None, "{granted}");
    }
    assert_eq!(world.find_output("chat").await, None);
    // The finalizer waits for no status, and what was said once is not said again.
    assert_eq!(
        world.calls(mark).await,
        [
            "delete clusterspiffeids",
            "list clusterspiffeids",
            "patch inferenceidentitybindings",
            "update inferenceidentitybindings/status",
        ]
    );
    operator.terminate().await;
    let _operator = world.operator().await;
    world.at_rest().await;
    assert_eq!(world.binding("chat").await, binding);
    world.edit(Kind::Binding, "chat", json!({"metadata": {"finalizers": null}})).await;
    world.gone(Kind::Binding, "chat").await;
}

#[tokio::test]
async fn an_operator_that_died_before_it_could_say_that_a_binding_is_kept_leaves_that_to_the_next() {
    let world = World::new("kept-crash").await;
    let proxy = world.proxy().await;
    let operator = world.operator_by(&proxy).await;
    world.with_chat().await;
    let both = json!({"metadata": {"finalizers": [FINALIZER, "example.com/hold"]}});
    world.edit(Kind::Binding, "chat", both).await;
    world.at_rest().await;
    let mut sprung =
        proxy.trap(|asked| asked.is("patch", "inferenceidentitybindings"), 0, Point::AfterCommit);
    world.delete(Kind::Binding, "chat").await;
    sprung.wait_for(|sprung| *sprung).await.unwrap();
    drop(operator);
    proxy.heal();
    let binding = world.binding("chat").await;
    assert_eq!((ready(&binding), world.find_output("chat").await), (("True", "Reconciled"), None));
    let _operator = world.operator_by(&proxy).await;
    world
        .reported("the next one says it", "chat", |binding| {
            ensure!(ready(binding) == ("Unknown", "Initializing"), "{:?}", ready(binding));
            Ok(())
        })
        .await;
}

#[tokio::test]
async fn a_binding_without_an_output_is_gone_at_once_and_costs_nothing() {
    let world = World::new("nothing").await;
    let _operator = world.operator().await;
    world.create(per_objective("chat", "nowhere", "vllm")).await;
    world.refused("chat", "TargetObjectiveNotFound").await;
    let mark = world.at_rest().await;
    world.delete(Kind::Binding, "chat").await;
    assert_eq!(world.find(Kind::Binding, "chat").await, None);
    assert_eq!(world.calls(mark).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_deletion_does_not_depend_on_the_spec_nor_on_the_operator_having_seen_the_rest() {
    let (world, operator) = settled(World::new("invalid").await).await;
    operator.terminate().await;
    let patch = json!({"spec": {"spiffeIDTemplate": "{{ .Nothing }}", "targetRef": {"name": "nowhere"}}});
    world.edit(Kind::Binding, "chat", patch).await;
    world.delete(POOL, "llama").await;
    world.delete(OBJECTIVE, "chat").await;
    world.delete(Kind::Binding, "chat").await;
    assert_ne!(world.find_output("chat").await, None);

    let _operator = world.operator().await;
    world.gone(Kind::Binding, "chat").await;
    assert_eq!(world.find_output("chat").await, None);
}

#[tokio::test]
async fn a_binding_that_became_invalid_loses_its_output_and_is_then_deleted() {
    let (world, _operator) = settled(World::new("became").await).await;
    world.edit(Kind::Binding, "chat", json!({"spec": {"spiffeIDTemplate": "{{ .Nothing }}"}})).await;
    world.refused("chat", "SPIFFEIDRenderFailed").await;
    assert_eq!(world.find_output("chat").await, None);
    world.delete(Kind::Binding, "chat").await;
    world.gone(Kind::Binding, "chat").await;
}

#[tokio::test]
async fn a_binding_can_be_deleted_while_outputs_cannot_exist() {
    let kinds = [Kind::Binding, OBJECTIVE, POOL, Kind::Output];
    let (world, operator) = settled(World::with_only("no-outputs", &kinds).await).await;
    remove(&world.client, Kind::Output).await;
    world.refused("chat", "ClusterSPIFFEIDCRDMissing").await;
    world.delete(Kind::Binding, "chat").await;
    world.gone(Kind::Binding, "chat").await;

    // The same for an operator that never saw the kind.
    install(&world.client, &[Kind::Output]).await;
    world.create(per_objective("chat", "chat", "vllm")).await;
    world.ready("chat").await;
    drop(operator);
    remove(&world.client, Kind::Output).await;
    world.delete(Kind::Binding, "chat").await;
    assert_eq!(world.binding("chat").await["metadata"]["finalizers"], json!([FINALIZER]));
    let _operator = world.operator().await;
    world.gone(Kind::Binding, "chat").await;
}
