//! Many bindings that claim one container: one has it, and the others cost a status each.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use kleym_core::kind::Kind;
use kube::api::ListParams;

use crate::field::{Field, is_ready};
use crate::table::Table;
use crate::usage;
use crate::world::{objective, per_objective, pool};

const NAMESPACE: &str = "claim";
const POOL_NAME: &str = "llama";
const CONTAINER: &str = "vllm";
const OLDEST: &str = "a-oldest";
const STATUS: &str = "kleym.sonda.red/inferenceidentitybindings/status";

/// Measures it with so many bindings.
pub(crate) async fn measure(table: &mut Table, bindings: usize) -> Result<()> {
    let field = Field::new().await?;
    let operator = field.operator(&[]).await?;
    field.namespaces([NAMESPACE.to_owned()]).await?;
    field.create(NAMESPACE, pool(POOL_NAME, &[("app", "vllm")])).await?;
    let names: Vec<String> = (1..bindings).map(|number| format!("b-{number:04}")).collect();
    let all = || names.iter().map(String::as_str).chain([OLDEST, "newcomer"]);
    let here = |object| (NAMESPACE.to_owned(), object);
    field.create_all(all().map(|name| here(objective(name, POOL_NAME))).collect()).await?;

    let mark = field.at_rest().await?;
    field.create(NAMESPACE, per_objective(OLDEST, OLDEST, CONTAINER)).await?;
    field.ready(NAMESPACE, OLDEST).await?;
    // Who comes first within a second is decided by name: so they come in that order, one by one.
    for name in &names {
        field.create(NAMESPACE, per_objective(name, name, CONTAINER)).await?;
    }
    field.written(mark, STATUS, bindings).await?;
    let asked = field.asked(mark).await?;
    let mut statuses: BTreeMap<&str, usize> = BTreeMap::new();
    for call in asked.writes.iter().filter(|call| call.target() == STATUS && call.name != OLDEST) {
        *statuses.entry(&call.name).or_default() += 1;
    }
    let what = format!("{bindings} bindings claim one container");
    let ready = ready(&field).await?;
    table.count(
        format!("{what}: others than the oldest that are Ready"),
        ready.iter().filter(|name| *name != OLDEST).count(),
        0,
    );
    table.at_least(
        format!("{what}: the oldest is Ready"),
        ready.iter().filter(|name| *name == OLDEST).count() as f64,
        "",
        1.0,
    );
    table.count(
        format!("{what}: status writes of a refused one, at the most"),
        statuses.values().copied().max().unwrap_or_default(),
        1,
    );
    let sizes = field.api(Kind::Binding, Some(NAMESPACE)).list(&ListParams::default()).await?;
    let largest = sizes.into_iter().map(|binding| binding.data["status"].to_string().len()).max();
    let largest = largest.context("there are no bindings")? as f64 / 1024.0;
    table.at_most(format!("{what}: the largest status"), largest, "KiB", 64.0);

    let mark = field.at_rest().await?;
    let before = usage::cpu(operator.id())?;
    field.create(NAMESPACE, per_objective("newcomer", "newcomer", CONTAINER)).await?;
    field.written(mark, STATUS, 1).await?;
    let asked = field.asked(mark).await?;
    let elsewhere = asked.writes.iter().filter(|call| call.name != "newcomer").count();
    table.count(format!("{what}: writes elsewhere for a newcomer"), elsewhere, 0);
    let cpu = (usage::cpu(operator.id())? - before).as_secs_f64() * 1_000.0;
    table.note(format!("{what}: CPU for a newcomer"), cpu, "ms");
    operator.terminate().await;
    Ok(())
}

/// The names of the bindings that are Ready.
async fn ready(field: &Field) -> Result<Vec<String>> {
    let bindings = field.api(Kind::Binding, Some(NAMESPACE)).list(&ListParams::default()).await?;
    let mut ready = Vec::new();
    for binding in bindings {
        if is_ready(&serde_json::to_value(&binding)?) {
            ready.extend(binding.metadata.name);
        }
    }
    Ok(ready)
}
