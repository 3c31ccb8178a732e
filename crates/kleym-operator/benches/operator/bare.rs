//! The same writes without an operator: as many at once, each binding's one after another, and its event beside them. What
//! is to be written is decided before the clock starts.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::events::v1::Event;
use kleym_api::{decode, encode};
use kleym_core::fact::{Change, Fact};
use kleym_core::index::{Index, Verdict};
use kleym_core::kind::Kind;
use kleym_core::name::BindingKey;
use kleym_core::output::WantedOutput;
use kleym_core::plan::{LiveBinding, Reply, Standing, Step};
use kleym_core::render::Identity;
use kleym_core::settings::{Settings, TypedSettings};
use kleym_core::status;
use kleym_operator::client::CALL_DEADLINE;
use kleym_operator::driver::CALLS_AT_ONCE;
use kleym_operator::horizon::Horizons;
use kleym_operator::perform::{Action, Call, Term, perform};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::field::{Field, INSTANCE};
use crate::world::{OBJECTIVE, POOL};

/// How many events wait to be sent; what comes when there is no room is lost.
const EVENTS: usize = 1024;

/// A binding and what it is to have.
struct Wanted {
    key: BindingKey,
    live: LiveBinding,
    identity: Arc<Identity>,
    output: Box<WantedOutput>,
}

/// Settles these bindings, as the operator does; answers how many a second.
pub(crate) async fn settle(field: &Field, bindings: &[Value]) -> Result<f64> {
    let index = index(field).await?;
    let wanted = bindings.iter().map(|binding| wanted(&index, binding)).collect::<Result<Vec<_>>>()?;
    let (events, queue) = mpsc::channel(EVENTS);
    let telling = tokio::spawn(tell(field.client.clone(), queue));
    let began = Instant::now();
    let number = wanted.len() as f64;
    stream::iter(wanted)
        .map(async |wanted| {
            write(&field.client, &index, &wanted).await?;
            // One that finds no room is lost, as the operator's are.
            let _ = events.try_send(wanted.key);
            Ok::<_, anyhow::Error>(())
        })
        .buffer_unordered(CALLS_AT_ONCE)
        .try_collect::<()>()
        .await?;
    let rate = number / began.elapsed().as_secs_f64();
    drop(events);
    telling.await??;
    Ok(rate)
}

/// Everything declared.
async fn index(field: &Field) -> Result<Index> {
    let instance = INSTANCE.to_owned();
    let typed =
        TypedSettings { trust_domain: None, class_name: None, instance: Some(&instance), path_grants: &[] };
    let settings = Settings::given(typed, &|_| None).map_err(|error| anyhow!("{error}"))?;
    let mut index = Index::new(settings);
    for kind in Kind::ALL {
        let mut facts = Vec::new();
        if matches!(kind, POOL | OBJECTIVE | Kind::Binding) {
            for object in field.api(kind, None).list(&ListParams::default()).await? {
                facts.push(decode::fact(kind, &serde_json::to_value(object)?)?);
            }
        }
        index.apply(Change::Listed(kind, facts));
    }
    Ok(index)
}

fn wanted(index: &Index, binding: &Value) -> Result<Wanted> {
    let live = decode::live_binding(binding)?;
    let Fact::Binding(fact) = decode::fact(Kind::Binding, binding)? else { bail!("not a binding") };
    let key = fact.key;
    let Verdict::Wanted(identity) = index.verdict(&key).verdict else {
        bail!("`{key}` is to have no identity")
    };
    let output = WantedOutput::of(index.settings(), &key, Some(&live.uid), &identity);
    Ok(Wanted { key, live, identity, output: Box::new(output) })
}

/// Finalizer, output, status.
async fn write(client: &Client, index: &Index, wanted: &Wanted) -> Result<()> {
    let Wanted { key, live, identity, output } = wanted;
    let call = |action: Action, live: &LiveBinding| Call {
        key: key.clone(),
        action,
        binding: Some(live.clone()),
        output: None,
        failures: 0,
    };
    let held = made(client, call(Action::Step(Step::AddFinalizer), live)).await?;
    let live = decode::live_binding(&held)?;
    let created = made(client, call(Action::Step(Step::CreateOutput(output.clone())), &live)).await?;
    let uid = decode::output(&created)?.uid;
    let standing = Standing::Granted { identity: Arc::clone(identity), output: output.name.clone(), uid };
    let facts = status::report(index.settings(), key, live.generation, &index.verdict(key), &standing);
    let status = encode::status(&facts.context("nothing to report")?, None, jiff::Timestamp::now());
    made(client, call(Action::WriteStatus(serde_json::to_value(status)?), &live)).await?;
    Ok(())
}

/// Makes a call; gives the object that it answered.
async fn made(client: &Client, call: Call) -> Result<Value> {
    let term = Term::of_now(tokio::time::Instant::now() + CALL_DEADLINE);
    let answer = perform(client, &Horizons::default(), &call, term).await;
    match (answer.reply, answer.objects.into_iter().next()) {
        (Reply::Done, Some((_, object))) => Ok(object),
        (reply, _) => bail!("a write of `{}` was answered with {reply:?}", call.key),
    }
}

/// Sends an event a binding, one after another.
async fn tell(client: Client, mut queue: mpsc::Receiver<BindingKey>) -> Result<()> {
    while let Some(key) = queue.recv().await {
        let (namespace, name) = (key.namespace.as_str(), key.name.as_str());
        let event: Event = serde_json::from_value(json!({
            "metadata": {"name": format!("{name}.granted"), "namespace": namespace},
            "eventTime": format!("{:.6}", jiff::Timestamp::now()),
            "reportingController": "kleym.sonda.red/bench",
            "reportingInstance": "bench",
            "action": "Grant",
            "reason": "IdentityGranted",
            "type": "Normal",
            "note": format!("`{key}` may be issued an identity now"),
            "regarding": {
                "apiVersion": Kind::Binding.api_version(), "kind": Kind::Binding.kind(),
                "namespace": namespace, "name": name,
            },
        }))?;
        Api::namespaced(client.clone(), namespace).create(&PostParams::default(), &event).await?;
    }
    Ok(())
}
