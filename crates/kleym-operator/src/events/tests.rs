use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use http::{Request, Response};
use kleym_core::announce::{Object, Occasion, Weight};
use kleym_core::name::{BindingKey, Namespace, ObjectName, Uid};
use kube::client::Body;
use serde_json::{Value, json};
use tower::Service;

use super::backlog::ROOM;
use super::*;
use crate::metrics::samples;

fn about(name: &str, note: &str) -> Announcement {
    about_in("llm", name, note)
}

fn about_in(namespace: &str, name: &str, note: &str) -> Announcement {
    let key = BindingKey::new(Namespace::parse(namespace).unwrap(), ObjectName::parse(name).unwrap());
    Announcement {
        regarding: Object::Binding(key, Uid::parse(name).unwrap()),
        related: Some(Object::Output(ObjectName::parse("out").unwrap(), Uid::parse("o-1").unwrap())),
        occasion: Occasion::IdentityGranted,
        weight: Weight::Normal,
        note: note.to_owned(),
    }
}

/// An API server that answers with these codes and reasons, one after another, and then with 201.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    answers: VecDeque<(u16, &'static str)>,
    calls: Vec<(String, Value)>,
    leader: Option<watch::Sender<Leadership>>,
    loses_the_lease: bool,
}

impl Service<Request<Body>> for Server {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let server = self.clone();
        Box::pin(async move {
            let method = request.method().to_string();
            let body = request.into_body().collect_bytes().await.unwrap();
            let mut seen = server.0.lock().unwrap();
            let body: Value = serde_json::from_slice(&body).unwrap();
            seen.calls.push((method, body));
            if let Some(leader) = seen.leader.as_ref().filter(|_| seen.loses_the_lease) {
                leader.send_replace(Leadership::Over);
            }
            let (code, reason) = seen.answers.pop_front().unwrap_or((201, ""));
            let answer = match code {
                200 | 201 => json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {}}),
                _ => json!({
                    "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no", "code": code,
                    "reason": reason.split('/').next(),
                    "details": {"causes": [{"reason": reason.split('/').nth(1).unwrap_or_default()}]},
                }),
            };
            let body = Body::from(serde_json::to_vec(&answer).unwrap());
            Ok(Response::builder().status(code).body(body).unwrap())
        })
    }
}

/// A recorder on such a server.
struct Desk {
    server: Server,
    recorder: Recorder,
    metrics: Metrics,
    tasks: JoinSet<anyhow::Result<()>>,
    stop: CancellationToken,
}

impl Desk {
    fn with(answers: &[(u16, &'static str)]) -> Self {
        Self::that_is(Leadership::Unelected, answers)
    }

    fn that_is(leadership: Leadership, answers: &[(u16, &'static str)]) -> Self {
        let server = Server::default();
        let (leader, leadership) = watch::channel(leadership);
        server.0.lock().unwrap().leader = Some(leader);
        server.0.lock().unwrap().answers.extend(answers);
        let (metrics, mut tasks, stop) = (Metrics::default(), JoinSet::new(), CancellationToken::new());
        let client = Client::new(server.clone(), "default");
        let recorder =
            Recorder::start(client, "pod-1", leadership, metrics.clone(), &mut tasks, stop.clone());
        Self { server, recorder, metrics, tasks, stop }
    }

    /// Tells all of it, stops, and gives the calls that were made and what became of the events.
    async fn tell(
        self,
        announcements: impl IntoIterator<Item = Announcement>,
    ) -> (Vec<(String, Value)>, [u64; 4]) {
        let Self { server, recorder, metrics, mut tasks, stop } = self;
        for announcement in announcements {
            recorder.tell(announcement);
        }
        drop(recorder);
        stop.cancel();
        tasks.join_next().await.unwrap().unwrap().unwrap();
        let calls = std::mem::take(&mut server.0.lock().unwrap().calls);
        (calls, results(&metrics))
    }
}

/// How many events were created, repeated, dropped and failed.
fn results(metrics: &Metrics) -> [u64; 4] {
    EventResult::ALL.map(|result| {
        let sample = format!("kleym_events_total{{result=\"{}\"}} ", result.as_str());
        samples(metrics, &sample)[0].strip_prefix(&sample).unwrap().parse().unwrap()
    })
}

fn methods(calls: &[(String, Value)]) -> Vec<&str> {
    calls.iter().map(|(method, _)| method.as_str()).collect()
}

fn counts(calls: &[(String, Value)]) -> Vec<Option<i64>> {
    calls.iter().map(|(_, body)| body["series"]["count"].as_i64()).collect()
}

#[tokio::test]
async fn an_event_says_what_happened_to_whom() {
    let (calls, results) = Desk::with(&[]).tell([about("chat", "granted")]).await;
    assert_eq!((methods(&calls), results), (vec!["POST"], [1, 0, 0, 0]));
    let mut event = calls[0].1.clone();
    let time = event["eventTime"].take();
    assert!(time.as_str().unwrap().parse::<Timestamp>().is_ok(), "{time}");
    let name = about("chat", "granted").event_name();
    assert_eq!(
        event,
        json!({
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": "llm"},
            "eventTime": null,
            "reportingController": "kleym.sonda.red/operator",
            "reportingInstance": "pod-1",
            "action": "Grant",
            "reason": "IdentityGranted",
            "type": "Normal",
            "note": "granted",
            "regarding": {
                "apiVersion": "kleym.sonda.red/v1alpha1",
                "kind": "InferenceIdentityBinding",
                "namespace": "llm",
                "name": "chat",
                "uid": "chat",
            },
            "related": {
                "apiVersion": "spire.spiffe.io/v1alpha1", "kind": "ClusterSPIFFEID", "name": "out", "uid": "o-1",
            },
        })
    );
}

#[tokio::test]
async fn the_same_news_is_one_event_with_a_series_and_a_changed_note_is_another() {
    let news = [about("chat", "a"), about("chat", "a"), about("chat", "b"), about("chat", "a")];
    let (calls, results) = Desk::with(&[]).tell(news).await;
    assert_eq!(methods(&calls), ["POST", "PATCH", "POST", "PATCH"]);
    assert_eq!(counts(&calls), [None, Some(2), None, Some(3)]);
    assert_eq!(results, [2, 2, 0, 0]);
}

#[tokio::test]
async fn an_event_of_an_earlier_process_is_counted_on() {
    let desk = Desk::with(&[(409, "AlreadyExists")]);
    let (calls, results) = desk.tell([about("chat", "a"), about("chat", "a")]).await;
    assert_eq!(methods(&calls), ["POST", "PATCH", "PATCH"]);
    assert_eq!(counts(&calls), [None, Some(2), Some(3)]);
    assert_eq!(results, [0, 2, 0, 0]);
}

#[tokio::test]
async fn what_lasts_and_was_told_by_an_earlier_process_is_not_told_again() {
    let lasting = || Announcement { occasion: Occasion::NotPickedUp, ..about("chat", "a") };
    let (calls, results) = Desk::with(&[(409, "AlreadyExists")]).tell([lasting()]).await;
    assert_eq!(methods(&calls), ["POST"]);
    assert_eq!(results, [0, 1, 0, 0]);
}

#[tokio::test]
async fn an_event_that_expired_is_created_again() {
    let desk = Desk::with(&[(201, ""), (404, "NotFound")]);
    let (calls, results) = desk.tell([about("chat", "a"), about("chat", "a"), about("chat", "a")]).await;
    assert_eq!(methods(&calls), ["POST", "PATCH", "POST", "PATCH"]);
    assert_eq!(counts(&calls), [None, Some(2), None, Some(2)]);
    assert_eq!(results, [2, 1, 0, 0]);
}

#[tokio::test]
async fn a_call_that_fails_is_made_once_more_and_then_the_event_is_lost() {
    for (answers, made, outcome) in [
        (vec![(500, "")], 2, [1, 0, 0, 0]),
        (vec![(500, ""), (503, "")], 2, [0, 0, 0, 1]),
        (vec![(504, "Timeout"), (409, "AlreadyExists")], 2, [1, 0, 0, 0]),
        (vec![(429, "TooManyRequests"), (403, "Forbidden")], 2, [0, 0, 0, 1]),
        (vec![(409, "AlreadyExists"), (500, "")], 2, [0, 0, 0, 1]),
        (vec![(403, "Forbidden")], 1, [0, 0, 0, 1]),
        (vec![(422, "Invalid")], 1, [0, 0, 0, 1]),
        (vec![(404, "NotFound")], 1, [0, 0, 0, 1]),
        (vec![(403, "Forbidden/NamespaceTerminating")], 1, [0, 0, 1, 0]),
    ] {
        let (calls, results) = Desk::with(&answers).tell([about("chat", "a")]).await;
        assert_eq!((calls.len(), results), (made, outcome), "{answers:?}");
    }
}

#[tokio::test]
async fn one_event_that_is_lost_costs_no_other() {
    let desk = Desk::with(&[(403, "Forbidden"), (500, ""), (500, "")]);
    let (calls, results) = desk.tell(["a", "b", "c"].map(|name| about(name, "n"))).await;
    assert_eq!((calls.len(), results), (4, [1, 0, 0, 2]));
}

#[tokio::test]
async fn telling_never_waits_and_what_finds_no_room_is_counted() {
    // Nothing else runs while this test does not wait, so the queue is full after its size.
    let desk = Desk::with(&[]);
    let taken = (0..ROOM + 7).filter(|number| desk.recorder.tell(about(&format!("b-{number}"), "n"))).count();
    assert_eq!((taken, results(&desk.metrics)), (ROOM, [0, 0, 7, 0]));
    let (calls, results) = desk.tell([]).await;
    assert_eq!((calls.len(), results), (ROOM, [1024, 0, 7, 0]));
}

#[tokio::test]
async fn a_flood_in_one_namespace_costs_no_event_of_another() {
    let desk = Desk::with(&[]);
    let flood =
        |from: usize, to: usize| (from..to).map(|number| about_in("mob", &format!("b-{number}"), "n"));
    let told = flood(0, ROOM).chain([about_in("quiet", "chat", "n")]).chain(flood(ROOM, 2 * ROOM));
    let (calls, results) = desk.tell(told.collect::<Vec<_>>()).await;
    let place = calls.iter().position(|(_, event)| event["regarding"]["namespace"] == "quiet");
    assert_eq!((place, calls.len(), results), (Some(1), ROOM, [1024, 0, 1025, 0]));
}

#[tokio::test]
async fn nothing_is_sent_by_a_replica_that_does_not_lead() {
    let (past, soon) = (Instant::now(), Instant::now() + Duration::from_secs(60));
    for leadership in
        [Leadership::Over, Leadership::Standby { trouble: None }, Leadership::Leading { until: past }]
    {
        let (calls, results) = Desk::that_is(leadership, &[]).tell([about("chat", "a")]).await;
        assert_eq!((calls.len(), results), (0, [0, 0, 1, 0]));
    }
    let desk = Desk::that_is(Leadership::Leading { until: soon }, &[]);
    assert_eq!(desk.tell([about("chat", "a")]).await.1, [1, 0, 0, 0]);
    // The lease is lost while the first call is under way: there is no second one.
    let desk = Desk::that_is(Leadership::Leading { until: soon }, &[(409, "AlreadyExists")]);
    desk.server.0.lock().unwrap().loses_the_lease = true;
    let (calls, results) = desk.tell([about("chat", "a")]).await;
    assert_eq!((methods(&calls), results), (vec!["POST"], [0, 0, 1, 0]));
}

#[tokio::test]
async fn an_object_that_flaps_is_told_of_a_bounded_number_of_times() {
    let news = (0..40).map(|number| about("chat", &format!("note {number}")));
    let (calls, results) = Desk::with(&[]).tell(news).await;
    assert_eq!((calls.len(), results), (25, [25, 0, 15, 0]));
}

#[test]
fn a_process_is_named_in_128_bytes() {
    let named = |name: &str| {
        let event = Reporter::new(name).event(&about("chat", "a"), Timestamp::UNIX_EPOCH);
        event.reporting_instance.unwrap()
    };
    assert_eq!(named("pod-1"), "pod-1");
    assert_eq!(named(""), "kleym-operator");
    assert_eq!(named(&"\u{e9}".repeat(100)), "\u{e9}".repeat(64));
}
