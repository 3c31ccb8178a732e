//! Events on the real API server: the recorder of the library, with the rights of an operator.

use anyhow::ensure;
use k8s_openapi::api::core::v1::{Event as CoreEvent, Namespace as CoreNamespace};
use k8s_openapi::api::events::v1::Event;
use kleym_core::announce::{Announcement, Object, Occasion, Weight};
use kleym_core::name::{BindingKey, Namespace, ObjectName, Uid};
use kleym_operator::events::Recorder;
use kleym_operator::lease::Leadership;
use kleym_operator::metrics::{EventResult, Metrics};
use kleym_testenv::eventually;
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::world::{SOON, World};

const OPERATORS: &str = "kleym-operators";

fn binding(namespace: &str, name: &str) -> Object {
    binding_with(namespace, name, &format!("uid-of-{name}"))
}

fn binding_with(namespace: &str, name: &str, uid: &str) -> Object {
    let key = BindingKey::new(Namespace::parse(namespace).unwrap(), ObjectName::parse(name).unwrap());
    Object::Binding(key, Uid::parse(uid).unwrap())
}

fn output(name: &str) -> Object {
    Object::Output(ObjectName::parse(name).unwrap(), Uid::parse(&format!("uid-of-{name}")).unwrap())
}

fn refused(regarding: Object, note: &str) -> Announcement {
    let (occasion, weight) = (Occasion::IdentityRefused, Weight::Warning);
    Announcement { regarding, related: Some(output("out")), occasion, weight, note: note.to_owned() }
}

/// Tells all of it as one process of the operator does, from its start to its end; gives how many events were created,
/// repeated, dropped and failed.
async fn tell(world: &World, groups: &[&str], announcements: Vec<Announcement>) -> [u64; 4] {
    let client = world.client_as(&world.user, groups).unwrap();
    let (metrics, mut tasks, stop) = (Metrics::default(), JoinSet::new(), CancellationToken::new());
    let leadership = watch::Sender::new(Leadership::Unelected).subscribe();
    let recorder = Recorder::start(client, "pod-1", leadership, metrics.clone(), &mut tasks, stop.clone());
    let wanted = announcements.len();
    for announcement in announcements {
        assert!(recorder.tell(announcement));
    }
    // Not by stopping it, which bounds how long it may take.
    let all = eventually("every event has a result", SOON, || async {
        let results = results(&metrics);
        ensure!(results.iter().sum::<u64>() == wanted as u64, "{results:?}");
        Ok(results)
    });
    let results = all.await.unwrap();
    drop(recorder);
    stop.cancel();
    tasks.join_next().await.unwrap().unwrap().unwrap();
    results
}

fn results(metrics: &Metrics) -> [u64; 4] {
    let text = metrics.text();
    EventResult::ALL.map(|result| {
        let sample = format!("kleym_events_total{{result=\"{}\"}} ", result.as_str());
        text.lines().find_map(|line| line.strip_prefix(&sample)).unwrap().parse().unwrap()
    })
}

/// The events of a namespace about an object, with what the API server gives taken out, by note.
async fn events(world: &World, namespace: &str, about: &Object) -> Vec<Value> {
    let listed = Api::<Event>::namespaced(world.client.clone(), namespace).list(&ListParams::default()).await;
    let mut events: Vec<Value> = listed
        .unwrap()
        .into_iter()
        .filter(|event| {
            event.regarding.as_ref().and_then(|it| it.uid.as_deref()) == Some(about.uid().as_str())
        })
        .map(|event| {
            let mut event = serde_json::to_value(event).unwrap();
            let name = event["metadata"]["name"].take();
            event["metadata"] = json!({"name": name});
            let fields = event.as_object_mut().unwrap();
            for time in
                ["eventTime", "deprecatedFirstTimestamp", "deprecatedLastTimestamp", "deprecatedSource"]
            {
                fields.remove(time);
            }
            if let Some(series) = fields.get_mut("series").and_then(Value::as_object_mut) {
                series.remove("lastObservedTime").unwrap();
            }
            event
        })
        .collect();
    events.sort_by_key(|event| event["note"].to_string());
    events
}

#[tokio::test]
async fn an_event_is_taken_as_it_is_and_found_by_those_who_describe_the_binding() {
    let world = World::in_process("events").await;
    let chat = binding(&world.namespace, "chat");
    let told = refused(chat.clone(), "no such pool");
    assert_eq!(tell(&world, &[OPERATORS], vec![told.clone()]).await, [1, 0, 0, 0]);
    assert_eq!(
        events(&world, &world.namespace, &chat).await,
        [json!({
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": told.event_name()},
            "reportingController": "kleym.sonda.red/operator",
            "reportingInstance": "pod-1",
            "action": "Refuse",
            "reason": "IdentityRefused",
            "type": "Warning",
            "note": "no such pool",
            "regarding": {
                "apiVersion": "kleym.sonda.red/v1alpha1",
                "kind": "InferenceIdentityBinding",
                "namespace": world.namespace,
                "name": "chat",
                "uid": "uid-of-chat",
            },
            "related": {
                "apiVersion": "spire.spiffe.io/v1alpha1",
                "kind": "ClusterSPIFFEID",
                "name": "out",
                "uid": "uid-of-out",
            },
        })]
    );
    // As `kubectl describe` looks for them.
    let by_uid = ListParams::default().fields("involvedObject.uid=uid-of-chat,involvedObject.name=chat");
    let found =
        Api::<CoreEvent>::namespaced(world.client.clone(), &world.namespace).list(&by_uid).await.unwrap();
    assert_eq!(found.into_iter().filter_map(|event| event.message).collect::<Vec<_>>(), ["no such pool"]);
}

#[tokio::test]
async fn the_same_news_stays_one_event_over_restarts_and_a_changed_note_is_another() {
    let world = World::in_process("events").await;
    let chat = binding(&world.namespace, "chat");
    let told = |note| refused(chat.clone(), note);
    assert_eq!(tell(&world, &[OPERATORS], vec![told("a"), told("b"), told("a")]).await, [2, 1, 0, 0]);
    assert_eq!(tell(&world, &[OPERATORS], vec![told("a"), told("b"), told("a")]).await, [0, 3, 0, 0]);
    let series: Vec<(String, i64)> = events(&world, &world.namespace, &chat)
        .await
        .iter()
        .map(|event| (event["note"].as_str().unwrap().to_owned(), event["series"]["count"].as_i64().unwrap()))
        .collect();
    assert_eq!(series, [("a".to_owned(), 3), ("b".to_owned(), 2)]);
}

#[tokio::test]
async fn events_about_an_output_live_in_the_default_namespace() {
    let world = World::in_process("events").await;
    let orphan = output(&format!("kleym-{}-orphan", world.namespace));
    let told = refused(orphan.clone(), "it is gone");
    assert_eq!(tell(&world, &[OPERATORS], vec![told]).await, [1, 0, 0, 0]);
    let found = events(&world, "default", &orphan).await;
    assert_eq!(found.len(), 1, "{found:?}");
}

#[tokio::test]
async fn the_longest_names_and_notes_are_taken() {
    let world = World::in_process("events").await;
    let longest = binding_with(&world.namespace, &"b".repeat(253), &"u".repeat(128));
    let told = refused(longest.clone(), &"n".repeat(1024));
    assert_eq!(tell(&world, &[OPERATORS], vec![told]).await, [1, 0, 0, 0]);
    assert_eq!(events(&world, &world.namespace, &longest).await.len(), 1);
}

#[tokio::test]
async fn in_a_terminating_namespace_events_are_dropped_and_others_are_sent_all_the_same() {
    let world = World::in_process("events").await;
    let going = world.namespace("events-going").await.unwrap();
    let namespaces = Api::<CoreNamespace>::all(world.client.clone());
    namespaces.delete(&going, &DeleteParams::default()).await.unwrap();
    let (lost, sent) = (binding(&going, "lost"), binding(&world.namespace, "sent"));
    let told = vec![refused(lost.clone(), "n"), refused(sent.clone(), "n")];
    assert_eq!(tell(&world, &[OPERATORS], told).await, [1, 0, 1, 0]);
    assert_eq!(events(&world, &going, &lost).await, Vec::<Value>::new());
    assert_eq!(events(&world, &world.namespace, &sent).await.len(), 1);
}

#[tokio::test]
async fn without_the_right_to_tell_events_are_lost_and_nothing_else() {
    let world = World::in_process("events").await;
    let told = refused(binding(&world.namespace, "chat"), "n");
    assert_eq!(tell(&world, &[], vec![told]).await, [0, 0, 0, 1]);
}
