//! Another configuration after a restart: it moves every output in place, unless identities that are in use would go.

use kleym_core::kind::Kind;
use kleym_testenv::proxy::{Fault, Reply};
use serde_json::{Value, json};

use crate::world::{Object, Operator, World, objective, pool, pool_only, text};

/// A world with a binding `chat` that is Ready, under an operator with these flags.
async fn settled(name: &str, flags: &[&str]) -> (World, Operator) {
    let world = World::new(name).await;
    let operator = world.operator_with(flags).await;
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    world.create(pool_only("chat", "chat")).await;
    world.ready("chat").await;
    (world, operator)
}

/// Lets SPIRE have made an entry for the output of `chat`.
async fn issued(world: &World) -> Value {
    let stats = json!({"namespacesSelected": 1, "podsSelected": 1, "entriesToSet": 1});
    world.edit_status(Kind::Output, &world.output_name("chat"), json!({"status": {"stats": stats}})).await
}

/// Starts an operator that must refuse to start, and gives what it says.
async fn braked(world: &World, flags: &[&str]) -> String {
    let operator = world.start_operator(flags).await;
    assert_eq!(operator.end().await.code(), Some(1));
    let said = operator.said("ERROR");
    assert_eq!(said.len(), 1, "{}", operator.log());
    assert!(said[0].contains("--allow-configuration-change"), "{}", said[0]);
    said[0].clone()
}

#[tokio::test]
async fn a_first_wrong_trust_domain_is_mended_in_place() {
    let (world, operator) = settled("mended", &["--trust-domain=wrong.example"]).await;
    let before = world.output("chat").await;
    operator.terminate().await;
    let mark = world.mark().await;
    let _operator = world.operator_with(&["--trust-domain=right.example"]).await;
    let id = format!("spiffe://right.example/ns/{}/pool/llama", world.namespace);
    let ready = world
        .reported("the status says the new trust domain", "chat", |binding| {
            anyhow::ensure!(binding["status"]["trustDomain"] == "right.example", "not yet");
            anyhow::ensure!(binding["status"]["computedSpiffeIDs"][0]["spiffeID"] == id, "not yet");
            Ok(())
        })
        .await;
    let output = world.output("chat").await;
    assert_eq!(output["spec"]["spiffeIDTemplate"], id);
    assert_eq!(output["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(ready["metadata"]["generation"], 1);
    let mut calls = world.calls(mark).await;
    calls.retain(|call| !call.starts_with("get ") && !call.starts_with("list "));
    assert_eq!(calls, ["update clusterspiffeids", "update inferenceidentitybindings/status"]);
}

#[tokio::test]
async fn a_trust_domain_that_no_issued_output_carries_stops_the_start_until_it_is_allowed() {
    let (world, operator) = settled("domain", &["--trust-domain=example.org"]).await;
    operator.terminate().await;
    let before = issued(&world).await;
    // The variable that said it is lost.
    let said = braked(&world, &[]).await;
    let expected = "--trust-domain is `kleym.sonda.red`, but the 1 outputs that SPIRE has made entries for carry \
                    `example.org`";
    assert!(said.contains(expected), "{said}");
    assert_eq!(world.output("chat").await, before);

    let _operator = world.operator_with(&["--allow-configuration-change"]).await;
    let id = format!("spiffe://kleym.sonda.red/ns/{}/pool/llama", world.namespace);
    world
        .until("the output has moved", Kind::Output, &world.output_name("chat"), |output| {
            anyhow::ensure!(output.is_some_and(|output| output["spec"]["spiffeIDTemplate"] == id), "not yet");
            Ok(())
        })
        .await;
    world.ready("chat").await;
}

#[tokio::test]
async fn a_lost_setting_stops_an_operator_that_could_not_read_outputs_when_it_started_before_it_moves_one() {
    let (world, operator) = settled("late-brake", &["--trust-domain=example.org"]).await;
    operator.terminate().await;
    let before = issued(&world).await;
    let mark = world.mark().await;
    let operator = world.start_operator_without("clusterspiffeids", &["list", "watch"]).await;
    operator.says("serving bindings=1").await;
    world.give_all_rights().await;
    assert_eq!(operator.end().await.code(), Some(1), "{}", operator.log());
    let said = operator.said("ERROR");
    assert!(said.len() == 1 && said[0].contains("--allow-configuration-change"), "{}", operator.log());
    assert_eq!(world.output("chat").await, before);
    let writes: Vec<String> = world.calls(mark).await;
    assert!(
        !writes.iter().any(|call| call.ends_with(" clusterspiffeids") && !call.starts_with("list")),
        "{writes:?}"
    );
}

#[tokio::test]
async fn a_class_that_no_issued_output_carries_stops_the_start() {
    let (world, operator) = settled("classes", &["--clusterspiffeid-class-name=gold"]).await;
    operator.terminate().await;
    let before = issued(&world).await;
    let said = braked(&world, &[]).await;
    assert!(said.contains("--clusterspiffeid-class-name is not set"), "{said}");
    let said = braked(&world, &["--clusterspiffeid-class-name=silver"]).await;
    assert!(said.contains("--clusterspiffeid-class-name is `silver`"), "{said}");
    assert_eq!(world.output("chat").await, before);
}

/// The world of [`settled`] whose binding `chat` has an ID below a path that is granted to its namespace by the flag that is
/// given too.
async fn granted_a_path(name: &str) -> (World, Operator, String) {
    let world = World::new(name).await;
    let flag = format!("--path-grant={0}=/teams/{0}", world.namespace);
    let operator = world.operator_with(&[&flag]).await;
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    let template = "spiffe://{{ .TrustDomain }}/teams/{{ .Namespace }}/{{ .PoolName }}";
    world.create(pool_only("chat", "chat").with("/spec/spiffeIDTemplate", json!(template))).await;
    let ready = world.ready("chat").await;
    assert_eq!(ready["status"]["pathGrants"], json!([format!("/teams/{}", world.namespace)]));
    (world, operator, flag)
}

/// Waits until `chat` has lost the ID that no path is granted for any more.
async fn has_lost_its_path(world: &World) {
    let refused = world.refused("chat", "InvalidSPIFFEID").await;
    assert_eq!(refused["status"].get("pathGrants"), None);
    assert_eq!(world.find_output("chat").await, None);
}

#[tokio::test]
async fn a_path_that_is_no_longer_granted_is_withdrawn_and_one_that_is_granted_again_comes_back() {
    let (world, operator, flag) = granted_a_path("ungranted").await;
    let spec = world.output("chat").await["spec"].clone();
    operator.terminate().await;
    let operator = world.operator().await;
    has_lost_its_path(&world).await;
    operator.terminate().await;
    let _operator = world.operator_with(&[&flag]).await;
    world.ready("chat").await;
    assert_eq!(world.output("chat").await["spec"], spec);
}

#[tokio::test]
async fn path_grants_that_cover_no_issued_output_stop_the_start_until_it_is_allowed() {
    let (world, operator, _) = granted_a_path("paths").await;
    operator.terminate().await;
    let before = issued(&world).await;
    let elsewhere = format!("--path-grant={}=/elsewhere", world.namespace);
    for flags in [&[] as &[&str], &[&elsewhere]] {
        let said = braked(&world, flags).await;
        let id = format!("spiffe://kleym.sonda.red/teams/{}/llama", world.namespace);
        assert!(
            said.contains("no --path-grant of their namespaces covers any of the 1 issued outputs")
                && said.contains(&id),
            "{said}"
        );
        assert_eq!(world.output("chat").await, before);
    }
    let _operator = world.operator_with(&["--allow-configuration-change"]).await;
    has_lost_its_path(&world).await;
}

#[tokio::test]
async fn of_a_class_change_that_would_be_rejected_nothing_is_deleted() {
    let (world, operator) = settled("class-rejected", &[]).await;
    operator.terminate().await;
    let before = world.output("chat").await;
    let proxy = world.proxy().await;
    let denied = Reply::status(422, "Invalid", "admission webhook denied the request: no");
    proxy.always(|asked| asked.is("create", "clusterspiffeids"), Fault::Answer(denied));
    let _operator = world.start_operator_by(&proxy, &["--clusterspiffeid-class-name=gold"]).await;
    let refused = world.refused("chat", "ManagedOutputApplyFailed").await;
    world.at_rest().await;
    assert_eq!(world.output("chat").await, before);
    // That the identity stands is said where the rejection is.
    let message = text(&refused["status"]["conditions"][0]["message"]);
    assert!(message.ends_with(&world.meanwhile(&before)), "{message}");
    let asked = proxy.asked();
    let writes: Vec<&str> = asked
        .iter()
        .filter(|asked| asked.writes() && asked.resource.ends_with("/clusterspiffeids"))
        .map(|asked| asked.uri.as_str())
        .collect();
    assert!(writes.len() == 1 && writes[0].contains("dryRun=All"), "{writes:?}");
    proxy.heal();
    // A rejection is tried again when something changes.
    let template = "spiffe://{{ .TrustDomain }}/ns/{{ .Namespace }}/model/x";
    world.edit(Kind::Binding, "chat", json!({"spec": {"spiffeIDTemplate": template}})).await;
    world.ready("chat").await;
    assert_eq!(world.output("chat").await["spec"]["className"], "gold");
}

#[tokio::test]
async fn another_instance_name_stops_the_start_while_outputs_of_the_old_one_are_in_use() {
    let (mut world, operator) = settled("instances", &[]).await;
    operator.terminate().await;
    let before = issued(&world).await;
    let old = std::mem::replace(&mut world.instance, "renamed".to_owned());
    let said = braked(&world, &[]).await;
    assert!(said.contains("--instance is `renamed`") && said.contains(&format!("`{old}`")), "{said}");
    world.instance = old;
    assert_eq!(world.output("chat").await, before);
}

#[tokio::test]
async fn another_instance_name_stops_the_operator_also_when_the_namespace_can_only_be_read_later() {
    let mut world = World::new("instances-soon").await;
    let mut later = world.neighbour("instances-later").await;
    let proxy = world.proxy().await;
    let both = format!("--watch-namespace={}", later.namespace);
    let operator = world.start_operator_by(&proxy, &[&both]).await;
    later.with_chat().await;
    operator.terminate().await;
    let before = issued(&later).await;
    let place = later.namespace.clone();
    let forbidden = Fault::Answer(Reply::status(403, "Forbidden", "it may not be read"));
    proxy.always(move |asked| asked.namespace == place && asked.verb == "list", forbidden);
    let old = std::mem::replace(&mut world.instance, "renamed-later".to_owned());
    let operator = world.start_operator_by(&proxy, &[&both]).await;
    operator.says("serving").await;
    proxy.heal();
    assert_eq!(operator.end().await.code(), Some(1), "{}", operator.log());
    let said = &operator.said("ERROR")[0];
    assert!(said.contains("--instance is `renamed-later`") && said.contains(&format!("`{old}`")), "{said}");
    assert_eq!(later.output("chat").await, before);
    later.instance.clone_from(&world.instance);
    assert_eq!(later.find_output("chat").await, None, "a second grant");
    (world.instance, later.instance) = (old.clone(), old);
}

#[tokio::test]
async fn outputs_of_an_old_instance_are_named_at_the_start_though_none_was_issued() {
    let (mut world, operator) = settled("successor", &[]).await;
    operator.terminate().await;
    let (old, left) = (world.output_name("chat"), world.output("chat").await);
    let old_instance = std::mem::replace(&mut world.instance, "successor-new".to_owned());
    let operator = world.operator().await;
    world.ready("chat").await;
    let warned = operator.said("outputs of another instance");
    assert_eq!(warned.len(), 1, "{}", operator.log());
    assert!(warned[0].contains(&old) && warned[0].contains("never removes them"), "{warned:?}");
    world.instance = old_instance;
    assert_eq!(world.output("chat").await, left);
}

#[tokio::test]
async fn bindings_and_outputs_outside_the_watched_namespaces_are_left_alone_and_named_once() {
    let world = World::new("inside").await;
    let outside = world.neighbour("outside").await;
    let key = format!("{}/gone", outside.namespace);
    let left =
        Object::new(Kind::Output, &outside.output_name("gone"), json!({"spiffeIDTemplate": "spiffe://x/y"}))
            .with("/metadata/labels/kleym.sonda.red~1managed-by", json!("kleym"))
            .with("/metadata/labels/kleym.sonda.red~1instance", json!(world.instance))
            .with("/metadata/annotations/kleym.sonda.red~1binding", json!(key))
            .with("/metadata/annotations/kleym.sonda.red~1binding-uid", json!("gone"));
    let left = outside.create(left).await;
    outside.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    outside.create(pool_only("chat", "chat")).await;
    let operator = world.operator().await;
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    world.create(pool_only("chat", "chat")).await;
    world.ready("chat").await;
    world.at_rest().await;
    assert_eq!(outside.output("gone").await, left);
    assert_eq!(outside.binding("chat").await["status"], json!({"observedGeneration": -1}));
    let warned = operator.said("namespaces that are not served");
    assert_eq!(warned.len(), 1, "{}", operator.log());
    assert!(warned[0].contains(&outside.output_name("gone")), "{warned:?}");
}
