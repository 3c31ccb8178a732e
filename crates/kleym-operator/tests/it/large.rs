//! Answers of any size: they cost neither memory nor more time than any other call, prove nothing, and are told in one line.

use anyhow::ensure;
use kleym_core::kind::Kind;
use kleym_testenv::eventually;
use kleym_testenv::proxy::{Asked, Fault, Proxy, Reply};
use serde_json::json;

use crate::world::{OBJECTIVE, Operator, POOL, SOON, World, objective, per_objective, pool};

/// What an operator says of an answer that is too large.
const SAID: &str = "larger than 16 MiB";
/// The memory that an operator of a small world takes, with some answers in it that are as large as any may be.
const LITTLE: u64 = 96 << 20;

/// A hundred megabytes that are no JSON, or are JSON for long.
fn large(code: u16) -> Reply {
    Reply::text(code, "application/json", vec![b' '; 100 << 20])
}

/// An operator that serves its metrics, behind a proxy, with a Ready binding `chat`.
async fn granted(name: &str) -> (World, Proxy, Operator) {
    let world = World::new(name).await;
    let proxy = world.proxy().await;
    let operator = world.start_operator_by(&proxy, &["--metrics-bind-address=127.0.0.1:0"]).await;
    operator.ready().await;
    world.with_chat().await;
    world.at_rest().await;
    (world, proxy, operator)
}

/// How much memory an operator has had at the most.
fn peak(operator: &Operator) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", operator.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}

/// How many calls of a method have failed without an answer, by the operator's metrics.
async fn failed(operator: &Operator, method: &str) -> anyhow::Result<u64> {
    let page = operator.metrics().await?;
    let labels = format!(r#"rest_client_requests_total{{code="<error>",method="{method}","#);
    let line = page.lines().find(|line| line.starts_with(&labels));
    Ok(line.map_or(Ok(0), |line| line.rsplit(' ').next().unwrap_or("").parse())?)
}

#[tokio::test]
async fn an_answer_to_a_write_is_given_up_when_it_is_larger_than_any_can_be() {
    for (code, after) in [(200, true), (200, false), (422, false)] {
        let (world, proxy, operator) = granted(&format!("large-{code}-{after}")).await;
        let updates = |asked: &Asked| asked.is("update", "clusterspiffeids");
        let fault = if after { Fault::AnswerAfter(large(code)) } else { Fault::Answer(large(code)) };
        proxy.once(updates, fault);
        let change = json!({"spec": {"containerDiscriminator": {"value": "sglang"}}});
        world.edit(Kind::Binding, "chat", change).await;
        operator.says(SAID).await;
        // Whatever it says, it was neither done nor refused for good.
        world.ready("chat").await;
        assert!(world.output("chat").await["spec"].to_string().contains("k8s:container-name:sglang"));
        world.at_rest().await;
        assert_eq!(operator.said(SAID).len(), 1, "{}", operator.log());
        let told = eventually("the call counts as one without an answer", SOON, || async {
            let count = failed(&operator, "PUT").await?;
            ensure!(count == 1, "{count}");
            Ok(())
        });
        told.await.unwrap();
        assert!(peak(&operator) < LITTLE, "{} MiB", peak(&operator) >> 20);
        world.is_settled().await;
    }
}

#[tokio::test]
async fn a_list_that_is_larger_than_any_can_be_costs_no_grant() {
    let (world, proxy, operator) = granted("large-list").await;
    let output = world.output("chat").await;
    let lists = |asked: &Asked| {
        [POOL, OBJECTIVE, Kind::Binding, Kind::Output].iter().any(|kind| asked.is("list", kind.plural()))
            || asked.resource.ends_with("customresourcedefinitions")
    };
    proxy.always(lists, Fault::Answer(large(200)));
    proxy.expire(|_| true);
    let held = eventually("nothing can be read", SOON, || async {
        let (code, body) = operator.probe("/readyz").await;
        ensure!(code == 503, "{code}: {body}");
        Ok(())
    });
    held.await.unwrap();
    // Pages were asked for until there was but one object in them.
    let to_one = eventually("the smallest page is asked for", SOON, || async {
        ensure!(operator.log().lines().any(|line| line.ends_with(" limit=1")), "not yet");
        Ok(())
    });
    to_one.await.unwrap();
    assert_eq!(operator.probe("/healthz").await.0, 200);
    proxy.heal();
    operator.ready().await;
    world.ready("chat").await;
    world.at_rest().await;
    assert_eq!(world.output("chat").await, output);
    assert!(peak(&operator) < LITTLE, "{} MiB", peak(&operator) >> 20);
}

#[tokio::test]
async fn objects_that_are_too_many_bytes_for_one_page_are_read_in_several() {
    let world = World::new("large-page").await;
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    // As much as an object's annotations may hold.
    let filled = "x".repeat(250 << 10);
    for number in 0..70 {
        let large = objective(&format!("z{number}"), "llama");
        world.create(large.with("/metadata/annotations/filled", json!(filled))).await;
    }
    world.create(per_objective("chat", "z69", "vllm")).await;
    let mark = world.mark().await;
    let operator = world.operator().await;
    world.ready("chat").await;
    let lists = world.all_calls(mark).await;
    let of_objectives = |call: &&kleym_testenv::Call| {
        call.verb == "list" && call.resource == format!("{}/{}", OBJECTIVE.group(), OBJECTIVE.plural())
    };
    let pages: Vec<&str> = lists
        .iter()
        .filter(of_objectives)
        .map(|call| call.uri.split_once("limit=").unwrap().1.split('&').next().unwrap())
        .collect();
    assert_eq!(pages, ["500", "125", "31", "31", "31"]);
    drop(operator);
}

#[tokio::test]
async fn a_line_of_a_watch_that_has_no_end_is_given_up_and_everything_is_read_again() {
    let (world, proxy, operator) = granted("large-line").await;
    let watches = |asked: &Asked| asked.is("watch", OBJECTIVE.plural());
    let objects =
        json!({"kind": "InferenceObjective", "metadata": {"name": "x", "filled": "y".repeat(20 << 20)}});
    proxy.inject(watches, &json!({"type": "ADDED", "object": objects}));
    operator.says(SAID).await;
    world.create_all([objective("later", "llama"), per_objective("later", "later", "sglang")]).await;
    world.ready("later").await;
    world.at_rest().await;
    assert!(peak(&operator) < LITTLE, "{} MiB", peak(&operator) >> 20);
    operator.ready().await;
}

#[tokio::test]
async fn what_is_no_json_is_not_repeated_in_the_log() {
    let (world, proxy, operator) = granted("large-log").await;
    let junk = Reply::text(200, "text/html", vec![b'j'; 1 << 20]);
    let events = |asked: &Asked| asked.is("create", "events") || asked.is("update", "clusterspiffeids");
    proxy.always(events, Fault::Answer(junk));
    world.edit(Kind::Binding, "chat", json!({"spec": {"containerDiscriminator": {"value": "sglang"}}})).await;
    operator.says("a call failed").await;
    proxy.heal();
    world.ready("chat").await;
    let longest = operator.log().lines().map(str::len).max();
    assert!(longest < Some(8 << 10), "{longest:?}");
}
