//! Lets things go wrong: each fault in the middle of a scenario, until it is over.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::ensure;
use kleym_core::kind::Kind;
use kleym_core::output::FINALIZER;
use kleym_testenv::eventually;
use kleym_testenv::proxy::{Asked, EventFault, Fault, Gate, Reply};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::fault::{Hand, Stopped, Suffering, Suffers, Wrong, reads, writes};
use crate::runs::{Run, counts};
use crate::scenario::Scenario;
use crate::world::{AT_REST, OBJECTIVE, POOL, SOON, World};

/// How often a spell is answered.
const SPELL: usize = 4;
/// Longer than a call may take, and than what was decided may be carried out.
const LATER: Duration = Duration::from_secs(12);
/// How long an operator takes to stop at most: as long as its call may take, and some.
const STOPS_WITHIN: Duration = Duration::from_secs(12);
/// For how long a code is held.
const MINUTE: Duration = Duration::from_secs(60);

/// At which call something goes wrong: what it is, and how many like it come before.
pub(crate) type At = Option<(String, usize)>;

/// Acts, and lets it go wrong; answers whether it came to that.
pub(crate) async fn go_wrong(run: &mut Run, at: &At, wrong: &Wrong, expected: &str) -> bool {
    let struck = Arc::new(AtomicUsize::new(0));
    let the_call = at_call(run, at, &struck);
    let watches = |kind: &'static str| move |asked: &Asked| asked.is("watch", kind);
    match wrong.clone() {
        Wrong::Kill(point) => {
            return run.killed_at(the_call, 0, point, expected).await;
        }
        Wrong::KillTwice(point) => {
            let mut sprung = run.proxy.trap(the_call, 0, point);
            run.act().await;
            for _ in 0..2 {
                if !run.is_trapped(&mut sprung, expected).await {
                    return false;
                }
                drop(run.take_operator());
                run.proxy.heal();
                sprung = run.proxy.trap(writes, 0, point);
                run.start().await;
            }
            // The last one lives.
            run.proxy.heal();
            run.start().await;
            return true;
        }
        Wrong::Terminate(how) => {
            let gate = Gate::new();
            let unheard = how == Stopped::Unheard;
            let fault = if unheard { Fault::Hold(gate.clone()) } else { Fault::HoldAnswer(gate.clone()) };
            run.proxy.once(the_call, fault);
            run.act().await;
            let held = async {
                gate.reached().await;
                true
            };
            let reached = run.comes_to(held, expected).await;
            if reached {
                let operator = run.take_operator();
                operator.signal("TERM");
                if !unheard {
                    gate.open();
                }
                let ended = timeout(STOPS_WITHIN, operator.end()).await;
                assert_eq!(ended.expect("it stops in time").code(), Some(0));
                if how == Stopped::Leading {
                    assert_eq!(holder(run).await, None, "the lease is given back");
                }
                gate.open();
                run.start().await;
            }
            return reached;
        }
        Wrong::Call(fault) => {
            run.proxy.once(the_call, fault);
            run.act().await;
            // When the scenario is at its end, the call was made, or will never be.
            tokio::select! {
                () = run.scenario.end(&run.world) => run.world.at_rest_for(AT_REST).await,
                () = strikes(&struck, at) => run.world.at_rest_for(AT_REST).await,
            };
        }
        Wrong::BlackHole => {
            let gate = Gate::new();
            run.proxy.once(the_call, Fault::Hold(gate.clone()));
            run.act().await;
            run.scenario.end(&run.world).await;
            run.world.at_rest().await;
            gate.open();
        }
        Wrong::Spell(reply) => {
            let strikes = run.proxy.always(writes, Fault::Answer(reply));
            run.act().await;
            let spell = eventually("the spell is over", SOON, || async {
                ensure!(strikes.count() >= SPELL, "{} calls", strikes.count());
                Ok(())
            });
            spell.await.unwrap();
            run.proxy.heal();
            return true;
        }
        Wrong::Minute(suffering, fault) => {
            let calls = if suffering == Suffering::Writes { writes } else { reads };
            let strikes = run.proxy.always(calls, fault);
            if suffering == Suffering::Reads {
                run.proxy.expire(|_| true);
            }
            run.act().await;
            let began = Instant::now();
            let minute = eventually("a minute has passed", MINUTE * 2, || async move {
                (began.elapsed() >= MINUTE).then_some(()).ok_or("not yet")
            });
            minute.await.unwrap();
            run.proxy.heal();
            return strikes.count() > 0;
        }
        Wrong::Frozen(kind) => {
            let gate = run.proxy.freeze(watches(kind));
            run.act().await;
            // As long as the others need.
            let _ = timeout(Duration::from_secs(3), run.scenario.end(&run.world)).await;
            gate.open();
            return gate.is_reached();
        }
        Wrong::Lost(kind) => {
            let lost = run.proxy.on_event(watches(kind), tells, EventFault::Drop);
            run.act().await;
            let _ = timeout(Duration::from_secs(2), run.scenario.end(&run.world)).await;
            run.proxy.expire(watches(kind));
            return lost.count() > 0;
        }
        Wrong::Expired => {
            watching(run).await;
            return run.proxy.expire(|_| true) > 0;
        }
        Wrong::Broken => {
            watching(run).await;
            return run.proxy.break_watches(|_| true) > 0;
        }
        Wrong::Torn => {
            watching(run).await;
            return run.proxy.tear_watches(|_| true) > 0;
        }
        Wrong::Garbage => {
            watching(run).await;
            return run.proxy.inject(|_| true, &json!({"type": "MODIFIED", "object": "nonsense"})) > 0;
        }
        Wrong::Opening(reply) => {
            watching(run).await;
            let strikes = run.proxy.always(|asked| asked.verb == "watch", Fault::Answer(reply));
            let broken = run.proxy.break_watches(|_| true);
            let opened = eventually("the watches are opened again", SOON, || async {
                ensure!(strikes.count() >= broken, "{} of {broken}", strikes.count());
                Ok(())
            });
            opened.await.unwrap();
            run.proxy.heal();
            return broken > 0;
        }
        Wrong::Doubled(kind) => {
            let doubled = run.proxy.on_events(watches(kind), tells, EventFault::Twice);
            run.act().await;
            run.scenario.end(&run.world).await;
            return doubled.count() > 0;
        }
        Wrong::Slow(kind) => {
            let slow = run.proxy.on_event(watches(kind), tells, EventFault::Delay(LATER));
            run.act().await;
            let began = Instant::now();
            let arrives = eventually("it arrives", SOON, || async move {
                (began.elapsed() >= LATER).then_some(()).ok_or("not yet")
            });
            let _ = tokio::join!(arrives, timeout(LATER, run.scenario.end(&run.world)));
            return slow.count() > 0;
        }
        Wrong::OldList(plural) => {
            let kind = [Kind::Binding, OBJECTIVE, POOL, Kind::Output]
                .into_iter()
                .find(|kind| kind.plural() == plural);
            let kind = kind.unwrap();
            let old = list(&run.world, kind).await;
            run.act().await;
            run.scenario.end(&run.world).await;
            let lists = move |asked: &Asked| {
                let of_the_kind = asked.is("list", plural) && asked.resource.starts_with(kind.group());
                of_the_kind && !asked.uri.contains("fieldSelector")
            };
            let replayed = run.proxy.once(lists, Fault::Answer(Reply::json(200, &old)));
            run.proxy.expire(watches(plural));
            let asked = eventually("the old list is asked for", SOON, || async {
                ensure!(replayed.count() > 0, "not yet");
                Ok(())
            });
            asked.await.unwrap();
            return true;
        }
        Wrong::OldLook => {
            let looks =
                |asked: &Asked| asked.is("list", "clusterspiffeids") && asked.uri.contains("fieldSelector");
            let none = json!({
                "kind": "ClusterSPIFFEIDList", "apiVersion": Kind::Output.api_version(), "items": [],
                "metadata": {"resourceVersion": "1"},
            });
            let replayed = run.proxy.once(looks, Fault::Answer(Reply::json(200, &none)));
            run.act().await;
            run.scenario.end(&run.world).await;
            return replayed.count() > 0;
        }
        Wrong::Revoked(resource, verbs) => {
            run.world.revoke(resource, verbs).await;
            let before = run.proxy.asked().len();
            run.proxy.break_watches(|_| true);
            run.act().await;
            let refused = |asked: &Asked| {
                asked.brief().ends_with(&format!(" {resource}")) && verbs.contains(&asked.verb)
            };
            // Until it has been met, if it is.
            let met = timeout(Duration::from_secs(3), async {
                let met = || run.proxy.asked()[before..].iter().any(|asked| refused(asked));
                eventually("what is forbidden is tried", SOON, || async {
                    met().then_some(()).ok_or("not yet")
                })
                .await
            });
            let met = met.await.is_ok();
            run.world.give_all_rights().await;
            return met;
        }
        Wrong::Hand(Hand::DeletesNamespace) => {
            run.act().await;
            namespace_deleted(&run.world).await;
            return true;
        }
        Wrong::Hand(hand) => {
            // What is deleted may be gone at once.
            let early = run.scenario == Scenario::Delete && by_hand(&run.world, hand).await;
            run.act().await;
            let done = eventually("there is something to lay hands on", SOON, || async {
                by_hand(&run.world, hand).await.then_some(()).ok_or("not yet")
            });
            return early || run.comes_to(async { done.await.is_ok() }, expected).await;
        }
        Wrong::Lease(suffers) => {
            run.act().await;
            lease(run, suffers).await;
            return true;
        }
    }
    struck.load(Ordering::Relaxed) > at.as_ref().map_or(0, |(_, nth)| *nth)
}

/// Matches the one call.
fn at_call(run: &Run, at: &At, seen: &Arc<AtomicUsize>) -> impl Fn(&Asked) -> bool + Send + use<> {
    let (roles, at, seen) = (run.roles(), at.clone(), Arc::clone(seen));
    move |asked| {
        let Some((label, nth)) = &at else { return false };
        counts(asked) && roles.label(asked) == *label && seen.fetch_add(1, Ordering::Relaxed) == *nth
    }
}

/// Waits until the one call was made; for ever, if it is not.
async fn strikes(struck: &AtomicUsize, at: &At) {
    let nth = at.as_ref().map_or(0, |(_, nth)| *nth);
    let made = || async move { (struck.load(Ordering::Relaxed) > nth).then_some(()).ok_or("not yet") };
    if eventually("the call is made", SOON, made).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Whether an event tells anything.
fn tells(event: &Value) -> bool {
    event["type"] != "BOOKMARK"
}

/// Acts; an operator that was started by that watches.
async fn watching(run: &mut Run) {
    run.act().await;
    if !run.scenario.restarts_with().is_empty() {
        run.operator().ready().await;
    }
}

/// The list of a kind as an operator asks for it.
async fn list(world: &World, kind: Kind) -> Value {
    let namespace =
        if kind.namespaced() { format!("namespaces/{}/", world.namespace) } else { String::new() };
    let path = format!("/apis/{}/{}/{namespace}{}", kind.group(), kind.version(), kind.plural());
    world.client.request(http::Request::get(path).body(Vec::new()).unwrap()).await.unwrap()
}

/// Every binding of the world, and every output of one.
async fn everything(world: &World) -> Vec<(Kind, String, Value)> {
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
    let bindings = world.all(Kind::Binding).await;
    let own: BTreeSet<String> = bindings.iter().map(|binding| world.output_name(&name(binding))).collect();
    let outputs = world.all(Kind::Output).await.into_iter().filter(|output| own.contains(&name(output)));
    let bindings = bindings.iter().map(|binding| (Kind::Binding, name(binding), binding.clone()));
    bindings.chain(outputs.map(|output| (Kind::Output, name(&output), output))).collect()
}

/// Does something by hand to all that there is; answers whether there was anything.
async fn by_hand(world: &World, hand: Hand) -> bool {
    let mut done = 0;
    for (kind, name, object) in everything(world).await {
        let (patch, status) = match (hand, kind) {
            (Hand::StripsFinalizers, Kind::Binding) if object["metadata"].get("finalizers").is_some() => {
                (json!({"metadata": {"finalizers": null}}), false)
            }
            (Hand::ForgesStatus, Kind::Binding) => (forged(), true),
            (Hand::EditsOutputs, Kind::Output) => {
                (json!({"spec": {"admin": true, "podSelector": {"matchLabels": {"any": "thing"}}}}), false)
            }
            (Hand::DeletesOutputs, Kind::Output) => {
                done += usize::from(world.api(kind).delete(&name, &DeleteParams::default()).await.is_ok());
                continue;
            }
            _ => continue,
        };
        let (api, parameters, patch) = (world.api(kind), PatchParams::default(), Patch::Merge(patch));
        // It may be gone by now.
        let written = if status {
            api.patch_status(&name, &parameters, &patch).await
        } else {
            api.patch(&name, &parameters, &patch).await
        };
        done += usize::from(written.is_ok());
    }
    done > 0
}

/// A status that says what nobody granted.
fn forged() -> Value {
    let condition = json!({
        "type": "Ready", "status": "True", "reason": "Reconciled", "message": "forged", "observedGeneration": 1,
        "lastTransitionTime": "2020-01-01T00:00:00Z",
    });
    json!({"status": {
        "observedGeneration": 1, "conditions": [condition], "trustDomain": "forged.example",
        "computedSpiffeIDs": [{"mode": "PoolOnly", "spiffeID": "spiffe://forged.example/x"}],
    }})
}

/// Deletes the namespace and plays the namespace controller, which makes it end.
async fn namespace_deleted(world: &World) {
    use k8s_openapi::api::core::v1::Namespace;
    let namespaces = Api::<Namespace>::all(world.client.clone());
    namespaces.delete(&world.namespace, &DeleteParams::default()).await.unwrap();
    for kind in [POOL, OBJECTIVE, Kind::Binding] {
        let all = world.api(kind);
        all.delete_collection(&DeleteParams::default(), &kube::api::ListParams::default()).await.unwrap();
    }
    let gone = eventually("every binding of the namespace is let go", SOON, || async {
        let left = world.all(Kind::Binding).await.len();
        ensure!(left == 0, "{left} bindings are left");
        let left = everything_of(world).await;
        ensure!(left.is_empty(), "{left:?} are left");
        Ok(())
    });
    gone.await.unwrap_or_else(|error| panic!("{error:#}"));
    let mut namespace = namespaces.get(&world.namespace).await.unwrap();
    if let Some(spec) = &mut namespace.spec {
        spec.finalizers = None;
    }
    let path = format!("/api/v1/namespaces/{}/finalize", world.namespace);
    let request = http::Request::put(path).header("content-type", "application/json");
    let request = request.body(serde_json::to_vec(&namespace).unwrap()).unwrap();
    let _: Value = world.client.request(request).await.unwrap();
}

/// The outputs that carry the namespace's label.
async fn everything_of(world: &World) -> Vec<String> {
    let ours = |output: &&Value| {
        let labels = &output["metadata"]["labels"];
        labels["kleym.sonda.red/binding-namespace"] == *world.namespace
            && labels["kleym.sonda.red/instance"] == *world.instance
    };
    let outputs = world.all(Kind::Output).await;
    outputs.iter().filter(ours).map(|output| output["metadata"]["name"].to_string()).collect()
}

/// Who holds the lease, if anybody does.
async fn holder(run: &Run) -> Option<String> {
    use k8s_openapi::api::coordination::v1::Lease;
    let leases = Api::<Lease>::namespaced(run.world.client.clone(), "default");
    let lease = leases.get(&format!("kleym-operator-{}", run.world.instance)).await.unwrap();
    lease.spec.and_then(|spec| spec.holder_identity).filter(|holder| !holder.is_empty())
}

/// Does something to the lease; where the operator ends, another one is started.
async fn lease(run: &mut Run, suffers: Suffers) {
    use k8s_openapi::api::coordination::v1::Lease;
    let leases = Api::<Lease>::namespaced(run.world.client.clone(), "default");
    let name = format!("kleym-operator-{}", run.world.instance);
    let patch = |spec: Value| Patch::Merge(json!({"spec": spec}));
    let parameters = PatchParams::default();
    // Who takes over from one that was killed waits for the lease to end.
    run.operator().says(" leading lease=").await;
    match suffers {
        Suffers::Deletion => drop(leases.delete(&name, &DeleteParams::default()).await.unwrap()),
        Suffers::Garbage => {
            let nonsense = json!({
                "holderIdentity": "\u{202e}☃".repeat(300), "leaseDurationSeconds": 2_147_483_647, "leaseTransitions": 0,
                "acquireTime": null, "renewTime": "9999-12-31T23:59:59.000000Z",
            });
            // What is answered is beyond what times can be read.
            let path = format!("/apis/coordination.k8s.io/v1/namespaces/default/leases/{name}");
            let request = http::Request::patch(path).header("content-type", "application/merge-patch+json");
            let body = json!({"spec": nonsense}).to_string().into_bytes();
            let _: Value = run.world.client.request(request.body(body).unwrap()).await.unwrap();
        }
        Suffers::Theft => {
            let other = json!({"holderIdentity": "somebody-else", "leaseDurationSeconds": 15});
            leases.patch(&name, &parameters, &patch(other)).await.unwrap();
        }
    }
    // Whoever lost it ends.
    let operator = run.take_operator();
    assert_eq!(operator.end().await.code(), Some(1), "{}", operator.log());
    drop(operator);
    run.start().await;
    // A thief that never renews it is waited for, and then, by and by, nobody else; nor does nonsense need an administrator.
    let leads = eventually("the next one leads", SOON * 2, || async {
        ensure!(!run.operator().said(" leading lease=").is_empty(), "not yet");
        Ok(())
    });
    leads.await.unwrap();
}
