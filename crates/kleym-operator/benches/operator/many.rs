//! Many bindings in many namespaces: how fast they settle, what the operator needs for them, how soon it is back.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::field::{Field, LONG};
use crate::table::Table;
use crate::usage;
use crate::world::{Object, Operator, get, objective, per_objective, pool};
use crate::{bare, failover, latency};

/// Bindings of one namespace.
const TOGETHER: usize = 10;
/// The part of the bindings that the bare loop settles.
const BARE_PART: usize = 5;
const POOL_NAME: &str = "llama";

/// The name of a namespace.
pub(crate) fn namespace(number: usize) -> String {
    format!("team-{number:05}")
}

/// The name of a binding, of its objective and of its container.
pub(crate) fn name(number: usize) -> String {
    format!("model-{number}")
}

/// Measures with so many bindings, and then, if asked to, with more.
pub(crate) async fn measure(
    table: &mut Table,
    every: bool,
    many: usize,
    more: Option<usize>,
    samples: usize,
) -> Result<()> {
    let field = Field::new().await?;
    if every {
        let alone = many - many / BARE_PART;
        let (operator, rate) = settle(&field, 0, alone).await?;
        let memory = usage::memory(operator.id())?;
        let bindings = spoken(alone);
        table.note(format!("{bindings} bindings, first settle: bindings a second"), rate, "");
        table.at_most(format!("{bindings} bindings, first settle: RSS"), memory.now, "MiB", 64.0);
        table.at_most(format!("{bindings} bindings, first settle: highest RSS"), memory.peak, "MiB", 64.0);
        operator.terminate().await;
        seed_inputs(&field, alone, many).await?;
        let bindings = seed_bindings(&field, alone, many).await?;
        let bare = bare::settle(&field, &bindings).await?;
        table.note("a bare loop of the same writes: bindings a second", bare, "");
        table.at_least("first settle, of the bare loop's rate", 100.0 * rate / bare, "%", 80.0);
        let operator = restart(table, &field, many, 64.0, 5.0).await?;
        latency::measure(table, &field, many / TOGETHER, samples).await?;
        operator.terminate().await;
        failover::measure(table, &field).await?;
    } else {
        settle(&field, 0, many).await?.0.terminate().await;
    }
    if let Some(more) = more {
        let (operator, rate) = settle(&field, many, more).await?;
        table.note(format!("{} bindings more: bindings a second", spoken(more - many)), rate, "");
        operator.terminate().await;
        restart(table, &field, more, 256.0, 25.0).await?.terminate().await;
    }
    Ok(())
}

/// The number with its thousands set apart.
fn spoken(number: usize) -> String {
    match (number / 1_000, number % 1_000) {
        (0, rest) => rest.to_string(),
        (thousands, rest) => format!("{thousands},{rest:03}"),
    }
}

/// Creates the namespaces, pools and objectives of these bindings.
async fn seed_inputs(field: &Field, from: usize, to: usize) -> Result<()> {
    let namespaces = || (from / TOGETHER..to / TOGETHER).map(namespace);
    field.namespaces(namespaces()).await?;
    let pools = namespaces().map(|of| (of, pool(POOL_NAME, &[("app", "vllm")])));
    field.create_all(pools.collect()).await?;
    let objectives = (from..to).map(|number| place(number, |name| objective(name, POOL_NAME)));
    field.create_all(objectives.collect()).await?;
    Ok(())
}

async fn seed_bindings(field: &Field, from: usize, to: usize) -> Result<Vec<Value>> {
    let bindings = (from..to).map(|number| place(number, |name| per_objective(name, name, name)));
    field.create_all(bindings.collect()).await
}

/// The namespace of a binding, and an object of the binding's name.
fn place(number: usize, object: impl Fn(&str) -> Object) -> (String, Object) {
    (namespace(number / TOGETHER), object(&name(number % TOGETHER)))
}

/// Lets an operator that starts find bindings that nobody has settled yet. Answers it, and how many it settled a second
/// from its first write to its last.
async fn settle(field: &Field, from: usize, to: usize) -> Result<(Operator, f64)> {
    seed_inputs(field, from, to).await?;
    seed_bindings(field, from, to).await?;
    let mark = field.mark().await?;
    let operator = field.start(&[]).await;
    let (first, last) =
        field.written(mark, "kleym.sonda.red/inferenceidentitybindings/status", to - from).await?;
    let seconds = last.duration_since(first).as_secs_f64();
    field.at_rest().await?;
    Ok((operator, (to - from) as f64 / seconds))
}

/// Starts an operator for bindings that are all settled: how soon it is ready and has looked at every one, and what it
/// has written then.
async fn restart(
    table: &mut Table,
    field: &Field,
    bindings: usize,
    memory: f64,
    seconds: f64,
) -> Result<Operator> {
    let mark = field.mark().await?;
    let began = Instant::now();
    let operator = field.start(&[]).await;
    let ready = until(began, || async { operator.probe("/readyz").await.0 == 200 }).await?;
    let metrics = metrics_address(&operator)?;
    let looked_at = until(began, || async {
        get(metrics, "/metrics").await.is_ok_and(|(_, page)| granted(&page) == bindings)
    })
    .await?;
    let cpu = usage::cpu(operator.id())?;
    let asked = field.asked(mark).await?;
    let memory_used = usage::memory(operator.id())?;
    let all = spoken(bindings);
    table.at_most(format!("{all} bindings, restart: seconds to ready"), ready.as_secs_f64(), "s", seconds);
    table.at_most(
        format!("{all} bindings, restart: seconds to all looked at"),
        looked_at.as_secs_f64(),
        "s",
        seconds,
    );
    table.note(format!("{all} bindings, restart: seconds of CPU"), cpu.as_secs_f64(), "s");
    table.count(format!("{all} bindings, restart: writes"), asked.writes.len(), 0);
    table.count(format!("{all} bindings, restart: reads of one binding"), asked.reads_of_one(), 0);
    table.at_most(format!("{all} bindings, restart: RSS"), memory_used.now, "MiB", memory);
    table.at_most(format!("{all} bindings, restart: highest RSS"), memory_used.peak, "MiB", memory);
    Ok(operator)
}

/// Asks again and again, every few milliseconds, until it is so; answers how long that took.
async fn until(began: Instant, mut is_so: impl AsyncFnMut() -> bool) -> Result<Duration> {
    while !is_so().await {
        ensure!(began.elapsed() < LONG, "it took longer than {LONG:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(began.elapsed())
}

fn metrics_address(operator: &Operator) -> Result<SocketAddr> {
    let said = operator.said("listening for metrics requests");
    let address =
        said.first().and_then(|line| line.split("address=").nth(1)).context("it serves no metrics")?;
    Ok(address.trim().parse()?)
}

/// How many bindings the metrics say are Ready.
fn granted(page: &str) -> usize {
    let ready = page.lines().filter(|line| {
        line.starts_with("kleym_identity_bindings{") && line.contains("reason=\"Reconciled\"")
    });
    ready.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as usize
}
