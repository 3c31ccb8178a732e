//! Somebody who undoes what the operator writes, again and again, as fast as he can: he is not fought with at his pace,
//! what he widens does not stand meanwhile, the status says so, nobody else is slowed, and all is well when he stops.
//! Only that pauses are long enough is looked at, for a busy machine makes them longer.

use std::cell::Cell;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures::StreamExt;
use kleym_core::kind::Kind;
use kleym_testenv::{Call, eventually};
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, WatchEvent, WatchParams};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::world::{POOL, SOON, World, objective, per_objective, pool};

/// How often something is put right at once before there are pauses.
const AT_ONCE: usize = 20;
/// The first of the pauses, each of which is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// What somebody does to the output of `chat` whenever it stands as it should.
#[derive(Clone, Copy)]
enum Undoing {
    /// Merges this into its spec: what it says of a field that is not so already.
    Merge(&'static str, fn() -> Value),
    /// Deletes it.
    Delete,
}

impl Undoing {
    fn is_done(self, object: &Value) -> bool {
        match self {
            Undoing::Merge(field, value) => object["spec"][field] == value(),
            Undoing::Delete => !object["metadata"]["deletionTimestamp"].is_null(),
        }
    }

    async fn undo(self, world: &World, object: &DynamicObject) -> bool {
        if self.is_done(&serde_json::to_value(object).unwrap()) {
            return false;
        }
        let (api, name) = (world.api(Kind::Output), object.metadata.name.as_deref().unwrap());
        // It may be gone by now.
        match self {
            Undoing::Merge(field, value) => {
                let patch = Patch::Merge(json!({"spec": {field: value()}}));
                api.patch(name, &PatchParams::default(), &patch).await.is_ok()
            }
            Undoing::Delete => api.delete(name, &DeleteParams::default()).await.is_ok(),
        }
    }
}

/// Undoes whatever is written at this name, until it is told to stop; counts how often.
async fn rival(world: &World, name: &str, undoing: Undoing, count: &Cell<usize>, stop: &CancellationToken) {
    let api = world.api(Kind::Output);
    let only = format!("metadata.name={name}");
    let fight = async {
        loop {
            let listed = api.list(&ListParams::default().fields(&only)).await.unwrap();
            for object in &listed.items {
                count.set(count.get() + usize::from(undoing.undo(world, object).await));
            }
            let since = listed.metadata.resource_version.unwrap();
            let mut events = pin!(api.watch(&WatchParams::default().fields(&only), &since).await.unwrap());
            while let Some(Ok(
                WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object),
            )) = events.next().await
            {
                count.set(count.get() + usize::from(undoing.undo(world, &object).await));
            }
        }
    };
    stop.run_until_cancelled(fight).await;
}

fn message(binding: &Value) -> &str {
    binding["status"]["conditions"][0]["message"].as_str().unwrap_or("")
}

/// What the operator did with an output, one after the other, as far as it succeeded; and how often the status had said by
/// then that somebody undoes it.
struct Done {
    call: Call,
    blamed: usize,
}

/// What the operator did in a war that is over.
struct War {
    done: Vec<Done>,
    /// What was done last before each status that blamed somebody.
    before_blame: Vec<String>,
}

impl War {
    fn of(calls: Vec<Call>, output: &str, blame: &str) -> Self {
        let mut war = War { done: Vec::new(), before_blame: Vec::new() };
        for call in calls.into_iter().filter(|call| call.code < 300) {
            let is = |verbs: &[&str]| call.name == output && verbs.contains(&call.verb.as_str());
            if call.target().ends_with("clusterspiffeids") && is(&["create", "update", "delete"]) {
                war.done.push(Done { call, blamed: war.before_blame.len() });
            } else if call.name == "chat" && call.subresource == "status" {
                let body = call.request.as_ref().map(ToString::to_string).unwrap_or_default();
                if body.contains(blame) {
                    war.before_blame.push(war.done.last().unwrap().call.verb.clone());
                }
            }
        }
        war
    }

    fn verbs(&self) -> Vec<&str> {
        self.done.iter().map(|done| done.call.verb.as_str()).collect()
    }

    /// What made the output stand as it should, in their order.
    fn repairs(&self) -> Vec<&Done> {
        self.done.iter().filter(|done| done.call.verb != "delete").collect()
    }

    /// The first repairs are followed by no pause, and each later one by one that is twice as long as the one before.
    fn is_paced(&self) {
        let repairs = self.repairs();
        assert!(repairs.len() > AT_ONCE + 2, "{:?}", self.verbs());
        assert_eq!(repairs[AT_ONCE - 1].blamed, 0, "nobody is blamed for a few edits");
        let mut least = FIRST_PAUSE;
        for (before, after) in repairs.iter().zip(&repairs[1..]).skip(AT_ONCE - 1) {
            let pause = after.call.received.duration_since(before.call.answered).unsigned_abs();
            assert!(pause >= least, "a pause of {pause:?} and not of {least:?}: {:?}", self.verbs());
            least *= 2;
        }
    }
}

/// Lets somebody undo the output of `chat` until the status has blamed him; meanwhile another binding of the namespace is
/// changed again and again. Then he stops, and everything is as it should be.
async fn war(name: &str, undoing: Undoing) -> War {
    let world = World::new(name).await;
    let _operator = world.operator().await;
    world.create(pool("llama", &[("app", "vllm")])).await;
    for (binding, container) in [("chat", "vllm"), ("other", "router")] {
        world.create_all([objective(binding, "llama"), per_objective(binding, binding, container)]).await;
        world.ready(binding).await;
    }
    let (output, wanted) = (world.output_name("chat"), world.output("chat").await["spec"].clone());
    let mark = world.at_rest().await;
    let (count, stop) = (Cell::new(0), CancellationToken::new());
    let blame = format!("somebody changes or deletes ClusterSPIFFEID `{output}` again and again: ");
    let meanwhile = async {
        let blamed = async || {
            world
                .until("somebody is blamed", Kind::Binding, "chat", |binding| {
                    let message = message(binding.context("it is gone")?);
                    ensure!(message.starts_with(&blame), "{message}");
                    Ok(())
                })
                .await;
        };
        blamed().await;
        for container in ["a", "b", "c"] {
            let patch = json!({"spec": {"containerDiscriminator": {"value": container}}});
            world.edit(Kind::Binding, "other", patch).await;
            world.ready("other").await;
        }
        let hostilities = count.get();
        eventually("it goes on", SOON, || async {
            ensure!(count.get() > hostilities, "not yet");
            Ok(())
        })
        .await
        .unwrap();
        blamed().await;
        stop.cancel();
    };
    tokio::join!(rival(&world, &output, undoing, &count, &stop), meanwhile);
    // The pause that is under way is waited for, and that is all.
    world
        .until("peace returns", Kind::Output, &output, |found| {
            let spec = &found.context("there is no output")?["spec"];
            ensure!(*spec == wanted, "{spec}");
            Ok(())
        })
        .await;
    let ready = world.ready("chat").await;
    assert!(message(&ready).contains("grants `spiffe://"), "{ready}");
    let calls = world.all_calls(mark).await;
    world.is_settled().await;
    let others = world.output_name("other");
    let of_other = |call: &&Call| [others.as_str(), "other"].contains(&call.name.as_str());
    let of_other: Vec<&str> = calls.iter().filter(of_other).map(text_of).collect();
    assert_eq!(of_other, ["update", "update status"].repeat(3));
    War::of(calls, &output, &blame)
}

fn text_of(call: &Call) -> &str {
    match (call.verb.as_str(), call.subresource.as_str()) {
        ("update", "status") => "update status",
        (verb, _) => verb,
    }
}

#[tokio::test]
async fn an_output_that_somebody_widens_all_the_time_is_put_right_ever_more_rarely_and_is_gone_meanwhile() {
    let admin = Undoing::Merge("admin", || json!(true));
    let selectors = || json!(["k8s:ns:{{ .PodMeta.Namespace }}", "k8s:sa:model-server"]);
    let selector = Undoing::Merge("workloadSelectorTemplates", selectors);
    let wars = tokio::join!(war("widened", admin), war("unselected", selector));
    for war in [wars.0, wars.1] {
        war.is_paced();
        // Nothing was taken away as long as it could be put right at once.
        assert_eq!(war.verbs()[..AT_ONCE], ["update"; AT_ONCE]);
        // Whenever somebody is blamed, which is in a pause, nothing stands that he could have widened.
        assert!(!war.before_blame.is_empty(), "{:?}", war.before_blame);
        assert!(war.before_blame.iter().all(|last| last == "delete"), "{:?}", war.before_blame);
    }
}

#[tokio::test]
async fn an_output_that_somebody_edits_or_deletes_all_the_time_is_put_right_ever_more_rarely() {
    let hint = Undoing::Merge("hint", || json!("somebody's"));
    let (edited, deleted) = tokio::join!(war("edited", hint), war("deleted", Undoing::Delete));
    edited.is_paced();
    deleted.is_paced();
    // What grants no more than it should stays, and what somebody else deletes is only made again.
    assert!(edited.verbs().iter().all(|verb| *verb == "update"), "{:?}", edited.verbs());
    assert!(deleted.verbs().iter().all(|verb| *verb == "create"), "{:?}", deleted.verbs());
}

#[tokio::test]
async fn a_pool_that_comes_and_goes_is_withdrawn_at_once_and_granted_again_ever_more_rarely() {
    let world = World::new("flaps").await;
    let _operator = world.operator().await;
    let llama = || pool("llama", &[("app", "vllm")]);
    world.create_all([llama(), objective("chat", "llama"), per_objective("chat", "chat", "vllm")]).await;
    world.ready("chat").await;
    let (output, mark) = (world.output_name("chat"), world.at_rest().await);
    for _ in 0..5 {
        world.delete(POOL, "llama").await;
        world.refused("chat", "TargetPoolNotFound").await;
        assert_eq!(world.find_output("chat").await, None);
        world.create(llama()).await;
        world.ready("chat").await;
    }
    let calls = world.all_calls(mark).await;
    let of_output = |call: &&Call| call.name == output && ["create", "delete"].contains(&call.verb.as_str());
    let done: Vec<&Call> = calls.iter().filter(of_output).collect();
    let verbs: Vec<&str> = done.iter().map(|call| call.verb.as_str()).collect();
    assert_eq!(verbs, ["delete", "create"].repeat(5));
    let mut least = FIRST_PAUSE;
    for pair in done.chunks(2) {
        let pause = pair[1].received.duration_since(pair[0].answered).unsigned_abs();
        assert!(pause >= least, "a pause of {pause:?} and not of {least:?}");
        least *= 2;
    }
}

#[tokio::test]
async fn a_status_that_somebody_overwrites_all_the_time_is_written_again_ever_more_rarely() {
    let world = World::new("overwritten").await;
    let _operator = world.operator().await;
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    world.create(per_objective("chat", "chat", "vllm")).await;
    let wanted = world.ready("chat").await["status"].clone();
    let (output, mark) = (world.output("chat").await, world.at_rest().await);
    for _ in 0..5 {
        world.edit_status(Kind::Binding, "chat", json!({"status": {"trustDomain": "forged.example"}})).await;
        world
            .until("it is written again", Kind::Binding, "chat", |binding| {
                let status = &binding.context("it is gone")?["status"];
                ensure!(*status == wanted, "{status}");
                Ok(())
            })
            .await;
    }
    let calls = world.all_calls(mark).await;
    assert!(calls.iter().all(|call| (call.verb.as_str(), call.subresource.as_str()) == ("update", "status")));
    assert_eq!(calls.len(), 5);
    // The first time at once.
    let mut least = FIRST_PAUSE;
    for pair in calls.windows(2) {
        let pause = pair[1].received.duration_since(pair[0].answered).unsigned_abs();
        assert!(pause >= least, "a pause of {pause:?} and not of {least:?}");
        least *= 2;
    }
    assert_eq!(world.output("chat").await, output);
}
