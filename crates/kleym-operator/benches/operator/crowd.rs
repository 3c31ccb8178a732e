//! One namespace full of bindings: what an edit of one of them costs.

use anyhow::{Context, Result};
use kleym_core::kind::Kind;
use serde_json::{Value, json};

use crate::field::Field;
use crate::table::Table;
use crate::usage;
use crate::world::{Operator, objective, per_objective, pool};

const NAMESPACE: &str = "crowd";
const POOL_NAME: &str = "llama";
/// How many edits are averaged over.
const EDITS: usize = 50;

fn name(number: usize) -> String {
    format!("model-{number:04}")
}

/// Measures it with so many bindings.
pub(crate) async fn measure(table: &mut Table, bindings: usize) -> Result<()> {
    let field = Field::new().await?;
    field.namespaces([NAMESPACE.to_owned()]).await?;
    let here = |object| (NAMESPACE.to_owned(), object);
    field.create(NAMESPACE, pool(POOL_NAME, &[("app", "vllm")])).await?;
    field.create_all((0..bindings).map(|n| here(objective(&name(n), POOL_NAME))).collect()).await?;
    let every = (0..bindings).map(|n| here(per_objective(&name(n), &name(n), &name(n))));
    field.create_all(every.collect()).await?;
    let mark = field.mark().await?;
    let operator = field.start(&[]).await;
    field.written(mark, "kleym.sonda.red/inferenceidentitybindings/status", bindings).await?;

    let template = |sample: usize| json!({"spec": {"spiffeIDTemplate": format!("spiffe://{{{{ .TrustDomain }}}}/ns/{NAMESPACE}/model/{sample}")}});
    edits(table, &field, &operator, bindings, "another SPIFFE ID", template).await?;
    let container =
        |sample: usize| json!({"spec": {"containerDiscriminator": {"value": format!("container-{sample}")}}});
    edits(table, &field, &operator, bindings, "another container", container).await?;
    let memory = usage::memory(operator.id())?;
    table.note(format!("one namespace, {bindings} bindings: RSS"), memory.now, "MiB");
    operator.terminate().await;
    Ok(())
}

/// Edits some bindings one after another, each when the one before is Ready.
async fn edits(
    table: &mut Table,
    field: &Field,
    operator: &Operator,
    bindings: usize,
    what: &str,
    patch: impl Fn(usize) -> Value,
) -> Result<()> {
    let mark = field.at_rest().await?;
    let before = usage::cpu(operator.id())?;
    for sample in 0..EDITS {
        let name = name(sample * (bindings / EDITS));
        field.edit(Kind::Binding, Some(NAMESPACE), &name, &patch(sample)).await?;
        field.ready(NAMESPACE, &name).await.with_context(|| format!("after {what}"))?;
    }
    let cpu = usage::cpu(operator.id())? - before;
    let asked = field.asked(mark).await?;
    let calls = (asked.writes.len() + asked.reads.len()) as f64 / EDITS as f64;
    table.at_most(format!("one namespace, {bindings} bindings, {what}: calls an edit"), calls, "", 4.0);
    let milliseconds = cpu.as_secs_f64() * 1_000.0 / EDITS as f64;
    table.at_most(
        format!("one namespace, {bindings} bindings, {what}: CPU an edit"),
        milliseconds,
        "ms",
        5.0,
    );
    Ok(())
}
