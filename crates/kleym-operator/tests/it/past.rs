//! Answers from the past: a store that was restored from an older snapshot, and lists from a cache on the way. What was seen
//! once is not forgotten for the sake of the latter, and nothing of it is believed any more after the former.

use std::time::Duration;

use anyhow::{Context, ensure};
use kleym_core::kind::Kind;
use kleym_testenv::proxy::{Asked, Fault, Reply};
use kleym_testenv::{Call, eventually};
use serde_json::{Value, json};

use crate::snapshot::{copy, put_back, restart_etcd};
use crate::world::{OBJECTIVE, POOL, SOON, World, objective, per_objective, pool};

/// The list of a kind as it is now, to be replayed.
async fn list(world: &World, kind: Kind) -> Value {
    let namespace =
        if kind.namespaced() { format!("namespaces/{}/", world.namespace) } else { String::new() };
    let path = format!("/apis/{}/{}/{namespace}{}", kind.group(), kind.version(), kind.plural());
    world.client.request(http::Request::get(path).body(Vec::new()).unwrap()).await.unwrap()
}

async fn granted(world: &World, name: &str) {
    world.create_all([objective(name, "llama"), per_objective(name, name, name)]).await;
    world.ready(name).await;
}

#[tokio::test]
async fn after_etcd_was_restored_from_an_older_snapshot_the_operator_begins_anew_and_all_is_as_it_should_be()
{
    let world = World::with_only("restored", &Kind::ALL).await;
    // Revisions repeat themselves, so that no history can be told.
    for rule in ["S1", "S2", "S3", "S4"] {
        world.excuse(rule);
    }
    let operator = world.operator().await;
    world.create(pool("llama", &[("app", "vllm")])).await;
    for name in ["changed", "deleted"] {
        granted(&world, name).await;
    }
    world.at_rest().await;
    restart_etcd(&world, copy).await;
    let moved = json!({"spec": {"containerDiscriminator": {"value": "moved"}}});
    world.edit(Kind::Binding, "changed", moved).await;
    world.ready("changed").await;
    world.delete(Kind::Binding, "deleted").await;
    world.gone(Kind::Binding, "deleted").await;
    granted(&world, "lost").await;
    world.at_rest().await;
    restart_etcd(&world, put_back).await;
    // What is said into the past is heard: the definitions' watch is one of those that find out.
    assert_eq!(operator.end().await.code(), Some(1), "{}", operator.log());
    operator.says("an older state than before").await;
    drop(operator);
    let _operator = world.operator().await;
    world.delete(OBJECTIVE, "deleted").await;
    world.refused("deleted", "TargetObjectiveNotFound").await;
    granted(&world, "new").await;
    let item = json!("k8s:container-name:changed");
    assert!(
        world.output("changed").await["spec"]["workloadSelectorTemplates"]
            .as_array()
            .unwrap()
            .contains(&item)
    );
    world.at_rest().await;
    world.is_settled().await;
}

#[tokio::test]
async fn a_list_that_is_older_than_what_was_seen_takes_nothing_away() {
    let world = World::new("stale-list").await;
    let proxy = world.proxy().await;
    let old = list(&world, POOL).await;
    let operator = world.operator_by(&proxy).await;
    world.create(pool("llama", &[("app", "vllm")])).await;
    granted(&world, "chat").await;
    let mark = world.at_rest().await;
    let lists = |asked: &Asked| asked.verb == "list" && asked.resource.starts_with(POOL.group());
    proxy.once(lists, Fault::Answer(Reply::json(200, &old)));
    let before = proxy.asked().len();
    assert!(proxy.expire(|asked| asked.is("watch", "inferencepools")) > 0);
    operator.says("older than what was seen before").await;
    operator.ready().await;
    world.at_rest().await;
    let lists = proxy.asked()[before..].iter().filter(|asked| lists(asked)).count();
    assert!(lists > 1, "it is listed again");
    let calls = world.calls(mark).await;
    assert!(calls.iter().all(|call| !call.ends_with(" clusterspiffeids")), "no output is touched: {calls:?}");
    world.ready("chat").await;
    world.is_settled().await;
}

#[tokio::test]
async fn a_look_that_is_older_than_what_was_seen_proves_no_absence() {
    let world = World::new("stale-look").await;
    let proxy = world.proxy().await;
    let mut old = list(&world, Kind::Output).await;
    old["items"] = json!([]);
    let _operator = world.operator_by(&proxy).await;
    world.create(pool("llama", &[("app", "vllm")])).await;
    granted(&world, "chat").await;
    world.at_rest().await;
    // The delete only seems to have happened.
    let success = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"});
    proxy.once(|asked| asked.is("delete", "clusterspiffeids"), Fault::Answer(Reply::json(200, &success)));
    proxy.once(|asked| asked.is("list", "clusterspiffeids"), Fault::Answer(Reply::json(200, &old)));
    world.delete(Kind::Binding, "chat").await;
    world.gone(Kind::Binding, "chat").await;
    world.gone(Kind::Output, &world.output_name("chat")).await;
    world.at_rest().await;
    world.is_settled().await;
    // The checker of every world sees to it that the finalizer did not go first.
}

#[tokio::test]
async fn a_delete_that_only_seems_to_have_happened_is_asked_again() {
    let world = World::new("seeming-delete").await;
    let proxy = world.proxy().await;
    let _operator = world.operator_by(&proxy).await;
    world.create(pool("llama", &[("app", "vllm")])).await;
    for name in ["deleted", "refused"] {
        granted(&world, name).await;
    }
    world.at_rest().await;
    let success = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"});
    for _ in 0..2 {
        proxy.once(|asked| asked.is("delete", "clusterspiffeids"), Fault::Answer(Reply::json(200, &success)));
    }
    world.delete(Kind::Binding, "deleted").await;
    world.delete(OBJECTIVE, "refused").await;
    world.gone(Kind::Binding, "deleted").await;
    world.refused("refused", "TargetObjectiveNotFound").await;
    world.gone(Kind::Output, &world.output_name("refused")).await;
    world.at_rest().await;
    world.is_settled().await;
}

#[tokio::test]
async fn a_watch_that_is_too_old_each_time_has_its_kind_listed_ever_more_rarely_and_what_lists_show_counts() {
    let world = World::new("too-old").await;
    let proxy = world.proxy().await;
    let operator = world.operator_by(&proxy).await;
    world.create(pool("llama", &[("app", "vllm")])).await;
    granted(&world, "chat").await;
    let mark = world.at_rest().await;
    let watches =
        |asked: &Asked| asked.is("watch", "inferencepools") && asked.resource.starts_with(POOL.group());
    let expired = Reply::status(410, "Expired", "too old resource version: 1 (2)");
    proxy.always(watches, Fault::Answer(expired));
    assert!(proxy.expire(watches) > 0);
    let lists = || -> Vec<Call> {
        let of_pools = format!("{}/inferencepools", POOL.group());
        let lists = |call: &Call| call.verb == "list" && call.resource == of_pools;
        world.calls_so_far(mark).into_iter().filter(lists).collect()
    };
    eventually("pools are listed again and again", SOON, || async {
        let count = lists().len();
        ensure!(count >= 6, "{count} times");
        Ok(())
    })
    .await
    .unwrap_or_else(|error| panic!("{error:#}"));
    // A pause of at least 50 ms, and each time one of twice that.
    let six = lists();
    let took = six[5].received.duration_since(six[0].answered).unsigned_abs();
    assert!(took >= Duration::from_millis(50 * 31), "{took:?}");
    world.edit(POOL, "llama", json!({"spec": {"selector": {"matchLabels": {"app": "sglang"}}}})).await;
    let of_the_pool = async |app: &str| {
        world
            .until("what a list shows counts", Kind::Output, &world.output_name("chat"), |output| {
                let labels = &output.context("it is gone")?["spec"]["podSelector"]["matchLabels"];
                ensure!(*labels == json!({ "app": app }), "{labels}");
                Ok(())
            })
            .await;
    };
    of_the_pool("sglang").await;
    world.ready("chat").await;
    assert_eq!(operator.probe("/readyz").await.0, 200);
    proxy.heal();
    world.edit(POOL, "llama", json!({"spec": {"selector": {"matchLabels": {"app": "vllm"}}}})).await;
    of_the_pool("vllm").await;
    world.ready("chat").await;
    world.at_rest().await;
    world.is_settled().await;
}
