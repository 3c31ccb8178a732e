//! The fault proxy does exactly what it is told, and otherwise nothing.

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kleym_testenv::ControlPlane;
use kleym_testenv::proxy::{Asked, EventFault, Fault, Gate, Point, Proxy, Reply};
use kube::api::{DeleteParams, ListParams, ObjectMeta, PostParams, WatchEvent, WatchParams};
use kube::{Api, Client, Config};
use serde_json::json;
use tokio::time::timeout;

/// Far more than anything here takes.
const SOON: Duration = Duration::from_secs(30);

/// A namespace, seen directly and through a proxy.
struct Field {
    proxy: Proxy,
    direct: Api<ConfigMap>,
    through: Api<ConfigMap>,
}

impl Field {
    async fn new() -> Self {
        let plane = ControlPlane::shared().await.unwrap();
        let namespace = plane.namespace("proxy").await.unwrap();
        let proxy = Proxy::start(plane.config().unwrap()).await.unwrap();
        let mut config = Config::new(proxy.url().parse().unwrap());
        config.default_retry = false;
        let client = Client::try_from(config).unwrap();
        Self {
            proxy,
            direct: Api::namespaced(plane.client().unwrap(), &namespace),
            through: Api::namespaced(client, &namespace),
        }
    }

    async fn create(&self, name: &str) -> kube::Result<ConfigMap> {
        self.through.create(&PostParams::default(), &map(name)).await
    }

    async fn names(&self) -> Vec<String> {
        let list = self.direct.list(&ListParams::default()).await.unwrap();
        list.into_iter().filter_map(|map| map.metadata.name).collect()
    }
}

fn map(name: &str) -> ConfigMap {
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    ConfigMap { metadata, ..ConfigMap::default() }
}

fn creates(asked: &Asked) -> bool {
    asked.is("create", "configmaps")
}

fn watches(asked: &Asked) -> bool {
    asked.is("watch", "configmaps")
}

/// The code of a refusal.
fn code<T: std::fmt::Debug>(answer: kube::Result<T>) -> u16 {
    match answer {
        Err(kube::Error::Api(status)) => status.code,
        other => panic!("{other:?}"),
    }
}

/// Names as a watch brings them.
async fn next(events: &mut (impl StreamExt<Item = kube::Result<WatchEvent<ConfigMap>>> + Unpin)) -> String {
    let event = loop {
        match timeout(SOON, events.next()).await.unwrap() {
            Some(Ok(WatchEvent::Bookmark(_))) => {}
            event => break event,
        }
    };
    match event {
        Some(Ok(WatchEvent::Added(map))) => map.metadata.name.unwrap(),
        Some(Ok(WatchEvent::Error(status))) => format!("error {}", status.code),
        Some(Ok(other)) => panic!("{other:?}"),
        Some(Err(_)) => "broken".to_owned(),
        None => "end".to_owned(),
    }
}

#[tokio::test]
async fn without_a_fault_calls_are_numbered_and_passed_on() {
    let field = Field::new().await;
    field.create("a").await.unwrap();
    field.through.delete("a", &DeleteParams::default()).await.unwrap();
    assert_eq!(code(field.through.get("a").await), 404);
    let asked = field.proxy.asked();
    let told: Vec<String> = asked.iter().map(|a| format!("{} {} {}", a.number, a.brief(), a.name)).collect();
    assert_eq!(told, ["0 create configmaps a", "1 delete configmaps a", "2 get configmaps a"]);
}

#[tokio::test]
async fn a_call_is_answered_by_the_proxy_before_or_after_it_is_carried_out() {
    let field = Field::new().await;
    let away = Reply::status(503, "ServiceUnavailable", "away").with_header("retry-after", "1");
    let before = field.proxy.once(creates, Fault::Answer(away.clone()));
    let after = field.proxy.once(creates, Fault::AnswerAfter(away));
    assert_eq!(code(field.create("a").await), 503);
    assert_eq!(field.names().await, Vec::<String>::new());
    assert_eq!(code(field.create("b").await), 503);
    assert_eq!(field.names().await, ["b"]);
    // Each was meant for one call.
    field.create("c").await.unwrap();
    assert_eq!([before.count(), after.count()], [1, 1]);
    let always =
        field.proxy.always(creates, Fault::Answer(Reply::text(404, "text/plain", "404 page not found")));
    assert_eq!([code(field.create("d").await), code(field.create("e").await)], [404, 404]);
    assert_eq!(always.count(), 2);
    field.proxy.heal();
    field.create("f").await.unwrap();
    assert_eq!(field.names().await, ["b", "c", "f"]);
}

#[tokio::test]
async fn a_connection_breaks_before_or_after_a_call_or_in_the_middle_of_its_answer() {
    let field = Field::new().await;
    for fault in [Fault::Cut, Fault::CutAfter, Fault::Truncate(20)] {
        field.proxy.once(creates, fault);
    }
    for name in ["a", "b", "c"] {
        let answer = field.create(name).await;
        assert!(!matches!(answer, Ok(_) | Err(kube::Error::Api(_))), "{answer:?}");
    }
    assert_eq!(field.names().await, ["b", "c"]);
}

#[tokio::test]
async fn a_call_that_is_held_is_carried_out_when_it_is_released_though_nobody_waits_for_it() {
    let field = Field::new().await;
    let gate = Gate::new();
    field.proxy.once(creates, Fault::Hold(gate.clone()));
    tokio::select! {
        answer = field.create("late") => panic!("{answer:?}"),
        () = gate.reached() => {}
    }
    assert_eq!(field.names().await, Vec::<String>::new());
    let mut events = field.direct.watch(&WatchParams::default(), "0").await.unwrap().boxed();
    gate.open();
    assert_eq!(next(&mut events).await, "late");
}

#[tokio::test]
async fn a_call_can_be_carried_out_twice_and_later() {
    let field = Field::new().await;
    field.proxy.once(creates, Fault::Twice);
    assert_eq!(code(field.create("a").await), 409);
    field.proxy.once(creates, Fault::Delay(Duration::from_millis(1)));
    field.create("b").await.unwrap();
    assert_eq!(field.names().await, ["a", "b"]);
}

#[tokio::test]
async fn a_trap_stops_everything_at_one_call_until_it_is_healed() {
    for (point, there) in [
        (Point::Before, vec!["a"]),
        (Point::AfterCommit, vec!["a", "b"]),
        (Point::AfterReply, vec!["a", "b"]),
    ] {
        let field = Field::new().await;
        let mut sprung = field.proxy.trap(creates, 1, point);
        field.create("a").await.unwrap();
        let second = field.create("b");
        if point == Point::AfterReply {
            second.await.unwrap();
            tokio::select! {
                answer = field.create("c") => panic!("{answer:?}"),
                asked = timeout(SOON, async {
                    while field.proxy.asked().len() < 3 { tokio::task::yield_now().await; }
                }) => asked.unwrap(),
            }
        } else {
            tokio::select! {
                answer = second => panic!("{answer:?}"),
                stopped = sprung.wait_for(|sprung| *sprung) => { stopped.unwrap(); }
            }
        }
        assert!(*sprung.borrow());
        assert_eq!(field.names().await, there, "{point:?}");
        field.proxy.heal();
        field.create("d").await.unwrap();
        assert_eq!(field.names().await, [there, vec!["d"]].concat());
    }
}

#[tokio::test]
async fn events_of_a_watch_are_lost_doubled_frozen_and_injected() {
    let field = Field::new().await;
    let list = field.through.list(&ListParams::default()).await.unwrap();
    let version = list.metadata.resource_version.unwrap();
    let named =
        |name: &'static str| move |event: &serde_json::Value| event["object"]["metadata"]["name"] == name;
    let lost = field.proxy.on_event(watches, named("lost"), EventFault::Drop);
    let never = field.proxy.on_event(watches, named("nobody"), EventFault::Drop);
    let twice = field.proxy.on_events(watches, named("twice"), EventFault::Twice);
    let mut events = field.through.watch(&WatchParams::default(), &version).await.unwrap().boxed();
    for name in ["lost", "twice", "plain"] {
        field.direct.create(&PostParams::default(), &map(name)).await.unwrap();
    }
    assert_eq!([next(&mut events).await, next(&mut events).await], ["twice", "twice"]);
    assert_eq!(next(&mut events).await, "plain");
    assert_eq!([lost.count(), never.count(), twice.count()], [1, 0, 1]);
    assert_eq!(field.proxy.events()["configmaps"], 3);

    let gate = field.proxy.freeze(watches);
    field.direct.create(&PostParams::default(), &map("frozen")).await.unwrap();
    gate.reached().await;
    assert!(gate.is_reached());
    gate.open();
    assert_eq!(next(&mut events).await, "frozen");
    let injected = json!({"type": "ADDED", "object": {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "made-up"},
    }});
    assert_eq!(field.proxy.inject(watches, &injected), 1);
    assert_eq!(next(&mut events).await, "made-up");
    assert_eq!(field.proxy.expire(watches), 1);
    assert_eq!([next(&mut events).await, next(&mut events).await], ["error 410", "end"]);

    for torn in [false, true] {
        let mut events = field.through.watch(&WatchParams::default(), &version).await.unwrap().boxed();
        assert_eq!(next(&mut events).await, "lost");
        let broken = if torn { Proxy::tear_watches } else { Proxy::break_watches };
        assert_eq!(broken(&field.proxy, &watches), 1);
        // The client takes a connection that breaks for the end of the watch.
        let mut rest = Vec::new();
        while rest.last().is_none_or(|last| last != "end" && last != "broken") {
            rest.push(next(&mut events).await);
        }
        // One of the four came before, and one comes twice each time.
        assert!(field.names().await.len() == 4 && rest.len() <= 5, "{rest:?}");
    }
}
