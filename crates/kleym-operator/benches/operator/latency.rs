//! How soon a change is a grant, and how soon a grant that must not be is gone: timed from just before the client sends the
//! change until its watch shows the output.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::{Stream, TryStreamExt};
use kleym_core::kind::Kind;
use kube::api::{DynamicObject, ListParams, WatchEvent, WatchParams};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::field::{Field, output_of};
use crate::many::{name, namespace};
use crate::table::Table;
use crate::world::SOON;

/// Measures it, with an edit of one binding a sample.
pub(crate) async fn measure(
    table: &mut Table,
    field: &Field,
    namespaces: usize,
    samples: usize,
) -> Result<()> {
    // As every client's, it shows what happens from now on.
    let outputs = field.api(Kind::Output, None);
    let version = outputs.list(&ListParams::default().limit(1)).await?.metadata.resource_version;
    let parameters = WatchParams::default().disable_bookmarks().timeout(280);
    let events = outputs.watch(&parameters, &version.context("a list without a version")?).await?;
    let mut events = std::pin::pin!(events);

    let (mut granted, mut heard) = (Vec::new(), Vec::new());
    for sample in 0..samples {
        let (namespace, name) = (namespace(sample * 7 % namespaces), name(0));
        let output = output_of(&namespace, &name)?;
        let id = format!("spiffe://{{{{ .TrustDomain }}}}/ns/{namespace}/model/{sample}");
        let began = Instant::now();
        field
            .edit(Kind::Binding, Some(&namespace), &name, &json!({"spec": {"spiffeIDTemplate": id}}))
            .await?;
        let answered = Instant::now();
        let wanted = format!("/ns/{namespace}/model/{sample}");
        let seen = until(&mut events, |event| match event {
            WatchEvent::Modified(object) => {
                is(object, &output)
                    && object.data["spec"]["spiffeIDTemplate"]
                        .as_str()
                        .is_some_and(|id| id.ends_with(&wanted))
            }
            _ => false,
        })
        .await?;
        granted.push(seen - began);
        heard.push(seen.saturating_duration_since(answered));
        // The next one finds the operator idle.
        field.ready(&namespace, &name).await?;
    }
    table.at_most("change -> grant, from before it is sent: p50", percentile(&mut granted, 50), "ms", 15.0);
    table.at_most("change -> grant, from before it is sent: p99", percentile(&mut granted, 99), "ms", 100.0);
    table.note("change -> grant, from its answer: p50", percentile(&mut heard, 50), "ms");

    let unsafe_templates: Value = json!(["k8s:ns:{{ .Namespace }}"]);
    let mut gone = Vec::new();
    for sample in 0..samples.min(namespaces) {
        let (namespace, name) = (namespace(sample), name(1));
        let output = output_of(&namespace, &name)?;
        let patch = json!({"spec": {"workloadSelectorTemplates": unsafe_templates}});
        let began = Instant::now();
        field.edit(Kind::Binding, Some(&namespace), &name, &patch).await?;
        let seen =
            until(&mut events, |event| matches!(event, WatchEvent::Deleted(object) if is(object, &output)));
        gone.push(seen.await? - began);
        field.refused(&namespace, &name).await?;
    }
    table.at_most(
        "unsafe change -> grant gone, from before it is sent: p99",
        percentile(&mut gone, 99),
        "ms",
        200.0,
    );
    Ok(())
}

fn is(object: &DynamicObject, name: &str) -> bool {
    object.metadata.name.as_deref() == Some(name)
}

/// Reads events until one is as wanted; answers when it came.
async fn until(
    events: &mut (impl Stream<Item = kube::Result<WatchEvent<DynamicObject>>> + Unpin),
    wanted: impl Fn(&WatchEvent<DynamicObject>) -> bool,
) -> Result<Instant> {
    let found = async {
        while let Some(event) = events.try_next().await? {
            let now = Instant::now();
            if wanted(&event) {
                return Ok(now);
            }
        }
        bail!("the watch ended")
    };
    timeout(SOON, found).await.context("the output did not follow")?
}

/// The value that so many of a hundred are not above, in milliseconds.
fn percentile(times: &mut [Duration], of_hundred: usize) -> f64 {
    times.sort();
    let at = (times.len() * of_hundred).div_ceil(100).saturating_sub(1);
    times.get(at).map_or(f64::NAN, |time| time.as_secs_f64() * 1_000.0)
}
