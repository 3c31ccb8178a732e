//! Answers that say nothing: what stands in front of an API server, an API that is half installed, a list of something
//! else. None of them proves that anything is gone, and none costs a grant.

use anyhow::ensure;
use futures::{StreamExt, stream};
use kleym_core::kind::Kind;
use kleym_testenv::eventually;
use kleym_testenv::proxy::{Asked, Fault, Proxy, Reply};
use serde_json::json;

use crate::scenario::orphan;
use crate::world::{OBJECTIVE, Operator, POOL, SOON, World, objective, per_objective};

/// How many worlds live side by side.
const AT_ONCE: usize = 4;

/// What proves nothing, by name.
fn forms() -> Vec<(&'static str, Reply)> {
    let another = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "NotFound", "code": 404,
        "message": "pods \"a\" not found", "details": {"name": "a", "kind": "pods"},
    });
    let failure =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 200});
    let list = |kind: &str| json!({"kind": kind, "apiVersion": "v1", "metadata": {"resourceVersion": "9"}, "items": []});
    vec![
        ("text", Reply::text(404, "text/plain", "404 page not found")),
        ("html", Reply::text(404, "text/html", "<html><body>Not Found</body></html>")),
        ("status", Reply::status(404, "NotFound", "the server could not find the requested resource")),
        ("another", Reply::json(404, &another)),
        ("gone", Reply::status(410, "Gone", "gone")),
        ("ok-html", Reply::text(200, "text/html", "<html><body>Please log in</body></html>")),
        ("ok-failure", Reply::json(200, &failure)),
        ("ok-another", Reply::json(200, &list("ConfigMapList"))),
        ("ok-nothing", Reply::json(200, &json!({}))),
        (
            "ok-group",
            Reply::json(200, &json!({"kind": "APIResourceList", "apiVersion": "v1", "resources": []})),
        ),
        ("ok-null", Reply::json(200, &json!(null))),
    ]
}

async fn granted(name: &str) -> (World, Proxy, Operator) {
    let world = World::new(name).await;
    let proxy = world.proxy().await;
    let operator = world.operator_by(&proxy).await;
    world.with_chat().await;
    world.at_rest().await;
    (world, proxy, operator)
}

/// Waits until the operator has asked such a thing so often.
async fn asked(proxy: &Proxy, since: usize, times: usize, what: impl Fn(&Asked) -> bool) {
    let count = || proxy.asked()[since..].iter().filter(|asked| what(asked)).count();
    eventually("the operator has asked", SOON, || async {
        ensure!(count() >= times, "{} of {times} times", count());
        Ok(())
    })
    .await
    .unwrap();
}

/// Whether a list is of one name, as looks are.
fn looks(asked: &Asked) -> bool {
    asked.is("list", "clusterspiffeids") && asked.uri.contains("fieldSelector")
}

#[tokio::test]
async fn no_answer_but_an_empty_list_lets_a_deleted_binding_go_while_its_output_may_stand() {
    let runs = forms().into_iter().map(|(form, reply)| async move {
        let (world, proxy, _operator) = granted(&format!("look-{form}")).await;
        // The delete seems to be carried out, and is not.
        let taken = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"});
        proxy.always(|asked| asked.is("delete", "clusterspiffeids"), Fault::Answer(Reply::json(200, &taken)));
        proxy.always(looks, Fault::Answer(reply.clone()));
        let since = proxy.asked().len();
        world.delete(Kind::Binding, "chat").await;
        asked(&proxy, since, 2, looks).await;
        assert!(world.find(Kind::Binding, "chat").await.is_some(), "{form}");
        assert!(world.find_output("chat").await.is_some(), "{form}");
        proxy.heal();
        // Nor does the same answer to the delete itself.
        proxy.always(|asked| asked.is("delete", "clusterspiffeids"), Fault::Answer(reply));
        let since = proxy.asked().len();
        asked(&proxy, since, 1, |asked| asked.is("delete", "clusterspiffeids")).await;
        assert!(world.find(Kind::Binding, "chat").await.is_some(), "{form}");
        proxy.heal();
        world.gone(Kind::Binding, "chat").await;
        assert_eq!(world.find_output("chat").await, None, "{form}");
    });
    stream::iter(runs).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
}

/// Whether a list is of one binding, as a look is that is to prove it gone.
fn looks_at_a_binding(asked: &Asked) -> bool {
    asked.is("list", "inferenceidentitybindings") && asked.uri.contains("fieldSelector")
}

#[tokio::test]
async fn no_answer_but_an_empty_list_makes_an_orphan_of_an_output() {
    let runs = forms().into_iter().map(|(form, reply)| async move {
        let (world, proxy, operator) = granted(&format!("orphan-{form}")).await;
        proxy.always(looks_at_a_binding, Fault::Answer(reply));
        let since = proxy.asked().len();
        let made = world.create(orphan(&world, "nobody")).await;
        asked(&proxy, since, 2, looks_at_a_binding).await;
        assert_eq!(world.output("nobody").await, made, "{form}");
        let outputs = |asked: &Asked| asked.writes() && asked.resource.ends_with("/clusterspiffeids");
        assert!(!proxy.asked()[since..].iter().any(|asked| outputs(asked)), "{form}");
        assert_eq!(operator.probe("/healthz").await.0, 200, "{form}");
        proxy.heal();
        world.gone(Kind::Output, &world.output_name("nobody")).await;
        world.at_rest().await;
        world.is_settled().await;
    });
    stream::iter(runs).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
}

#[tokio::test]
async fn an_output_whose_binding_was_not_seen_yet_is_looked_for_and_kept() {
    let (world, proxy, _operator) = granted("unseen").await;
    let gate = proxy.freeze(|asked| asked.is("watch", "inferenceidentitybindings"));
    // Another operator, say, that sees more: the binding lives, and has its output.
    world.create(objective("unseen", "llama")).await;
    let binding = world.create(per_objective("unseen", "unseen", "other")).await;
    let uid = binding["metadata"]["uid"].clone();
    let since = proxy.asked().len();
    let annotation = "/metadata/annotations/kleym.sonda.red~1binding-uid";
    let made = world.create(orphan(&world, "unseen").with(annotation, uid)).await;
    asked(&proxy, since, 1, looks_at_a_binding).await;
    world.at_rest().await;
    assert_eq!(world.output("unseen").await["metadata"]["uid"], made["metadata"]["uid"]);
    let deletes = |asked: &Asked| asked.verb == "delete";
    assert!(!proxy.asked()[since..].iter().any(|asked| deletes(asked)));
    gate.open();
    world.ready("unseen").await;
    world.at_rest().await;
    world.is_settled().await;
}

/// Lists and watches of everything that decides, and what is asked about their definitions.
fn reads(asked: &Asked) -> bool {
    let input = [OBJECTIVE, POOL, Kind::Binding, Kind::Output].map(|kind| kind.plural());
    let of = |verb: &str| input.iter().any(|plural| asked.is(verb, plural));
    of("list")
        || of("watch")
        || asked.uri.starts_with("/apis/") && asked.resource.starts_with('/')
        || asked.resource.ends_with("customresourcedefinitions")
}

#[tokio::test]
async fn no_answer_to_a_list_costs_a_grant() {
    let runs = forms().into_iter().map(|(form, reply)| async move {
        let (world, proxy, operator) = granted(&format!("list-{form}")).await;
        let output = world.output("chat").await;
        let since = proxy.asked().len();
        let code = reply.code();
        proxy.always(reads, Fault::Answer(reply));
        proxy.expire(|_| true);
        for kind in [OBJECTIVE, POOL, Kind::Binding, Kind::Output] {
            asked(&proxy, since, 2, |asked| asked.is("list", kind.plural())).await;
        }
        asked(&proxy, since, 2, |asked| asked.is("list", "customresourcedefinitions")).await;
        assert_eq!(world.output("chat").await, output, "{form}");
        let told = |asked: &Asked| asked.writes() && asked.resource != "events.k8s.io/events";
        let writes: Vec<String> =
            proxy.asked()[since..].iter().filter(|asked| told(asked)).map(|asked| asked.brief()).collect();
        assert!(
            writes.iter().all(|write| write == "update inferenceidentitybindings/status"),
            "{form}: {writes:?}"
        );
        // Healthy, since a restart would not help. Not ready, since it is blind; but an API that answers 404 is not
        // served, which is no matter of this replica.
        assert_eq!(operator.probe("/healthz").await.0, 200, "{form}");
        let expected = if code == 404 { 200 } else { 503 };
        assert_eq!(operator.probe("/readyz").await.0, expected, "{form}");
        proxy.heal();
        operator.ready().await;
        world.ready("chat").await;
        world.at_rest().await;
        assert_eq!(world.output("chat").await, output, "{form}");
    });
    stream::iter(runs).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
}
