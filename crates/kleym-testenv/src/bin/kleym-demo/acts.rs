//! What is shown, act by act: a grant, the same from files, an edit, a foreign hand, a conflict, a delete. Every act
//! changes something as a user would, waits for what must follow, and fails when it does not.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

use crate::objects::{self, title};
use crate::offline;
use crate::screen::Tone;
use crate::stage::{Stage, after};

const QUICKSTART: &str = "examples/quickstart/";
const CONFLICT: &str = "examples/conflict/";
const BINDING: &str = "InferenceIdentityBinding";
const PER_OBJECTIVE: &str = "PerObjective";

/// A binding that is Ready, with its output.
struct Granted {
    binding: DynamicObject,
    output: DynamicObject,
}

/// What the quick start brings.
struct Cast {
    namespace: String,
    pool: DynamicObject,
    granted: Vec<Granted>,
}

impl Cast {
    /// The binding of one container, with its output.
    fn per_objective(&self) -> Result<&Granted> {
        let mut granted = self.granted.iter();
        let found = granted.find(|one| objects::mode(&one.binding) == PER_OBJECTIVE);
        found.with_context(|| format!("no binding of mode {PER_OBJECTIVE} in `{QUICKSTART}`"))
    }
}

/// All acts, in order.
pub(crate) async fn all(stage: &Stage) -> Result<()> {
    let cast = grant(stage).await?;
    same_from_files(stage).await?;
    edit(stage, &cast).await?;
    foreign_hand(stage, cast.per_objective()?).await?;
    let refused = conflict(stage, &cast).await?;
    delete(stage, &refused).await?;
    table(stage, &cast.namespace).await
}

async fn grant(stage: &Stage) -> Result<Cast> {
    let screen = stage.screen;
    screen.heading("1. A binding becomes an identity");
    let (mark, started) = (stage.mark().await?, Instant::now());
    let applied = stage.apply(QUICKSTART).await?;
    for object in &applied {
        screen.quiet(&format!("  {} {}", objects::kind(object), title(object).trim_start_matches('/')));
    }
    let mut granted = Vec::new();
    for binding in applied.iter().filter(|object| objects::kind(object) == BINDING) {
        granted.push(ready(stage, binding).await?);
    }
    screen.gap();
    screen.say(Tone::Good, &format!("{} bindings are Ready after {}.", granted.len(), after(started)));
    let pool = granted
        .iter()
        .map(|one| chain(stage, &applied, one))
        .collect::<Result<Vec<_>>>()?
        .pop()
        .with_context(|| format!("no binding in `{QUICKSTART}`"))?;
    let namespace = pool.namespace().context("a pool without a namespace")?;
    let cast = Cast { namespace, pool, granted };
    let shown = cast.per_objective()?;
    screen.gap();
    screen.line(&format!("The ClusterSPIFFEID of {}, all that Kleym wrote:", title(&shown.binding)));
    screen.gap();
    screen.verbatim(&serde_saphyr::to_string(&objects::essence(&shown.output))?);
    screen.gap();
    screen.pair("operator's writes", &stage.writes_since(mark).await?);
    Ok(cast)
}

/// Waits until a binding is Ready, and gives it with its output.
async fn ready(stage: &Stage, binding: &DynamicObject) -> Result<Granted> {
    let namespace = binding.namespace().context("a binding without a namespace")?;
    let what = format!("the binding `{}` is Ready", title(binding));
    let api = stage.bindings(&namespace);
    let binding = stage.until_is(&what, &api, &binding.name_any(), objects::is_ready).await?;
    let name = objects::output_name(&binding);
    let output = stage.outputs().get(name).await;
    let output = output.with_context(|| format!("`{}` is Ready without an output", title(&binding)))?;
    Ok(Granted { binding, output })
}

/// Prints objective -> pool -> SPIFFE ID -> ClusterSPIFFEID, checks the identity, and gives the pool.
fn chain(stage: &Stage, applied: &[DynamicObject], one: &Granted) -> Result<DynamicObject> {
    let Granted { binding, output } = one;
    let find = |kind: &str, name: &str| {
        let mut objects = applied.iter().filter(|object| object.namespace() == binding.namespace());
        let found = objects.find(|object| objects::kind(object) == kind && object.name_any() == name);
        found.with_context(|| format!("no {kind} `{name}` in `{QUICKSTART}`"))
    };
    let objective = find("InferenceObjective", objects::target(binding))?;
    let pool = find("InferencePool", objects::pool_of(objective))?;
    let mode = objects::mode(binding);
    let subject = match mode {
        PER_OBJECTIVE => format!("objective/{}", objective.name_any()),
        _ => format!("pool/{}", pool.name_any()),
    };
    let namespace = binding.namespace().unwrap_or_default();
    let wanted = format!("spiffe://example.org/ns/{namespace}/{subject}");
    let written = output.data.pointer("/spec/spiffeIDTemplate").and_then(Value::as_str);
    ensure!(
        objects::spiffe_id(binding) == wanted && written == Some(wanted.as_str()),
        "the binding `{}` reports `{}` and its output says {written:?}, not `{wanted}`",
        title(binding),
        objects::spiffe_id(binding),
    );

    let screen = stage.screen;
    let condition = objects::condition(binding, "Ready").context("a binding without a condition")?;
    screen.gap();
    screen.line(&format!("{} {mode}: Ready={} {}", title(binding), condition.status, condition.reason));
    let with_group =
        |object: &DynamicObject| format!("{} ({})", object.name_any(), objects::api_version(object));
    let labels = objects::labels(pool, objects::pool_labels_path(pool));
    screen.pair("  objective", &with_group(objective));
    screen.pair("  -> pool", &format!("{}, pods with {labels}", with_group(pool)));
    screen.pair_in(Tone::Good, "  -> SPIFFE ID", &wanted);
    screen.pair("  -> output", &format!("ClusterSPIFFEID {}", output.name_any()));
    Ok(pool.clone())
}

async fn same_from_files(stage: &Stage) -> Result<()> {
    let screen = stage.screen;
    screen.heading("2. The same from files, without a cluster");
    let rendered = offline::render(stage.root(), QUICKSTART)?;
    screen.quiet(&format!("$ {}", rendered.command));
    for line in rendered.findings.lines() {
        screen.quiet(line);
    }
    screen.gap();
    let live = stage.outputs().list(&ListParams::default()).await?.items;
    ensure!(
        rendered.outputs.len() == live.len(),
        "`kleym render` gives {} outputs, and {} are live",
        rendered.outputs.len(),
        live.len()
    );
    for output in &rendered.outputs {
        let name = output.name_any();
        let twin = live.iter().find(|twin| twin.name_any() == name);
        let twin = twin.with_context(|| format!("`kleym render` gives `{name}`, which is not live"))?;
        let (file, live) = (objects::essence_without_uid(output), objects::essence_without_uid(twin));
        ensure!(file == live, "`{name}` differs: from files\n{file:#}\nand live\n{live:#}");
        screen.pair_in(Tone::Good, "identical", &name);
    }
    screen.line(
        "Name, labels, annotations and the whole spec, compared with what is live; only the binding's uid,",
    );
    screen.line("which no file can know, is left out.");
    Ok(())
}

async fn edit(stage: &Stage, cast: &Cast) -> Result<()> {
    let screen = stage.screen;
    screen.heading("3. An edit: the pool selects other pods");
    let path = objects::pool_labels_path(&cast.pool);
    let labels = cast.pool.data.pointer(path).and_then(Value::as_object);
    let (key, old) = labels.and_then(|labels| labels.iter().next()).context("a pool without labels")?;
    let old = old.as_str().context("a label that is no text")?;
    let new = format!("{old}-v2");
    let pool = cast.pool.name_any();

    let (mark, started) = (stage.mark().await?, Instant::now());
    screen.quiet(&format!("$ kubectl edit inferencepool {pool}        # {key}: {old} becomes {new}"));
    relabel(stage, cast, path, key, &new).await?;
    let mut changed = Vec::new();
    for one in &cast.granted {
        changed.push(follows(stage, one, key, &new).await?);
    }
    screen.say(Tone::Good, &format!("Both identities followed after {}.", after(started)));
    for (before, now) in cast.granted.iter().zip(&changed) {
        screen.gap();
        screen.line(&title(&before.binding));
        let (old, new) = (&before.output, now);
        let pods = "/spec/podSelector/matchLabels";
        screen.pair(
            "  podSelector",
            &format!("{} -> {}", objects::labels(old, pods), objects::labels(new, pods)),
        );
        let (old_items, new_items) = (objects::selectors(old), objects::selectors(new));
        for item in old_items.iter().filter(|item| !new_items.contains(item)) {
            screen.pair_in(Tone::Bad, "  selectors", &format!("- {item}"));
        }
        for item in new_items.iter().filter(|item| !old_items.contains(item)) {
            screen.pair_in(Tone::Good, "  selectors", &format!("+ {item}"));
        }
        ensure!(old.uid() == new.uid(), "the output `{}` was not changed in place", old.name_any());
        let generation = |output: &DynamicObject| output.meta().generation.unwrap_or_default();
        screen.pair(
            "  in place",
            &format!("the same object, generation {} -> {}", generation(old), generation(new)),
        );
    }
    screen.gap();
    screen.pair("operator's writes", &stage.writes_since(mark).await?);

    relabel(stage, cast, path, key, old).await?;
    for one in &cast.granted {
        follows(stage, one, key, old).await?;
    }
    screen.quiet("(The label is put back, and both identities with it.)");
    Ok(())
}

/// Gives one label of the pool's selector another value.
async fn relabel(stage: &Stage, cast: &Cast, path: &str, key: &str, value: &str) -> Result<()> {
    let selector = match path {
        "/spec/selector" => json!({key: value}),
        _ => json!({"matchLabels": {key: value}}),
    };
    let patch = json!({"spec": {"selector": selector}});
    let pools = stage.beside(&cast.pool).await?;
    pools.patch(&cast.pool.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(())
}

/// Waits until an output and its binding's status have a label of the pool, and gives the output.
async fn follows(stage: &Stage, one: &Granted, key: &str, value: &str) -> Result<DynamicObject> {
    let item = format!("k8s:pod-label:{key}:{value}");
    let what = format!("the output of `{}` selects `{item}`", title(&one.binding));
    let has_label = |output: &DynamicObject| {
        let labels = output.data.pointer("/spec/podSelector/matchLabels");
        let label = labels.and_then(|labels| labels.get(key)).and_then(Value::as_str);
        label == Some(value) && objects::selectors(output).contains(&item.as_str())
    };
    let output = stage.until_is(&what, &stage.outputs(), &one.output.name_any(), has_label).await?;
    let namespace = one.binding.namespace().unwrap_or_default();
    let what = format!("the binding `{}` reports `{item}`", title(&one.binding));
    let reports = |binding: &DynamicObject| {
        let selectors = binding.data.pointer("/status/renderedSelectors/0/selectors");
        let mut items = selectors.and_then(Value::as_array).into_iter().flatten();
        objects::is_ready(binding) && items.any(|found| found == item.as_str())
    };
    stage.until_is(&what, &stage.bindings(&namespace), &one.binding.name_any(), reports).await?;
    Ok(output)
}

async fn foreign_hand(stage: &Stage, one: &Granted) -> Result<()> {
    let screen = stage.screen;
    screen.heading("4. A foreign hand: somebody makes the identity an administrator of SPIRE");
    let (outputs, name) = (stage.outputs(), one.output.name_any());
    let before = outputs.get(&name).await?;
    let (mark, started) = (stage.mark().await?, Instant::now());
    let patch = json!({"spec": {"admin": true}});
    screen.quiet(&format!("$ kubectl patch clusterspiffeid {name} --type merge -p '{patch}'"));
    let edited = outputs.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await?;
    ensure!(edited.data.pointer("/spec/admin") == Some(&Value::Bool(true)), "the patch was not taken");
    let repaired = |output: &DynamicObject| {
        output.meta().generation > edited.meta().generation && output.data.pointer("/spec/admin").is_none()
    };
    let now = stage.until_is(&format!("`{name}` is repaired"), &outputs, &name, repaired).await?;
    ensure!(objects::essence(&before) == objects::essence(&now), "`{name}` was not put back as it was");
    screen.say(
        Tone::Good,
        &format!("Put back after {}: `admin` is gone, everything else is as it was.", after(started)),
    );
    screen.pair("operator's writes", &stage.writes_since(mark).await?);
    Ok(())
}

/// Gives the binding that was refused.
async fn conflict(stage: &Stage, cast: &Cast) -> Result<DynamicObject> {
    let screen = stage.screen;
    screen.heading("5. A conflict: a younger binding claims the same workloads");
    // Objects are dated by the second; within one, the name would decide who comes first.
    for one in &cast.granted {
        let created = one.binding.creation_timestamp().context("a binding without a date")?.0;
        let age = Timestamp::now().duration_since(created);
        if let Ok(rest) = Duration::try_from(jiff::SignedDuration::from_secs(2) - age) {
            tokio::time::sleep(rest).await;
        }
    }
    let (mark, started) = (stage.mark().await?, Instant::now());
    let before = stage.outputs().list(&ListParams::default()).await?.items;
    let applied = stage.apply(CONFLICT).await?;
    let refused = stage
        .until("a binding of the conflict example is refused for a conflict", || async {
            for binding in applied.iter().filter(|object| objects::kind(object) == BINDING) {
                let api = stage.bindings(&binding.namespace().unwrap_or_default());
                let live = api.get(&binding.name_any()).await?;
                if objects::condition(&live, "Conflict").is_some_and(|found| found.status == "True") {
                    return Ok(live);
                }
            }
            anyhow::bail!("no binding has the condition `Conflict`")
        })
        .await?;
    let condition = objects::condition(&refused, "Conflict").context("the condition is gone again")?;
    screen.gap();
    screen.say(
        Tone::Bad,
        &format!(
            "{} is refused after {}: Conflict=True {}",
            title(&refused),
            after(started),
            condition.reason
        ),
    );
    screen.gap();
    screen.line(&condition.message);
    screen.gap();
    let after = stage.outputs().list(&ListParams::default()).await?.items;
    let version = |output: &DynamicObject| (output.name_any(), output.resource_version());
    ensure!(
        before.iter().map(version).eq(after.iter().map(version)),
        "a conflict changed an output of somebody who came first"
    );
    screen.say(Tone::Good, "It got no output, and nobody else's was touched: whoever comes first keeps it.");
    screen.pair("operator's writes", &stage.writes_since(mark).await?);
    Ok(refused)
}

async fn delete(stage: &Stage, refused: &DynamicObject) -> Result<()> {
    let screen = stage.screen;
    screen.heading("6. A delete: the identity goes, the next in line recovers");
    let namespace = refused.namespace().context("a binding without a namespace")?;
    let bindings = stage.bindings(&namespace);
    let winner = *objects::winners(refused).first().context("a conflict that names no other binding")?;
    let older = bindings.get(winner).await?;
    let output = objects::output_name(&older).to_owned();

    let (mark, started) = (stage.mark().await?, Instant::now());
    screen.quiet(&format!("$ kubectl delete iib {winner} --namespace {namespace}"));
    bindings.delete(winner, &DeleteParams::default()).await?;
    stage.until_gone(&format!("the output `{output}` is gone"), &stage.outputs(), &output).await?;
    screen.pair_in(Tone::Bad, "gone", &format!("ClusterSPIFFEID {output}"));
    stage.until_gone(&format!("the binding `{namespace}/{winner}` is gone"), &bindings, winner).await?;
    screen.pair_in(Tone::Bad, "gone", &format!("InferenceIdentityBinding {}", title(&older)));
    let next = ready(stage, refused).await?;
    screen.pair_in(
        Tone::Good,
        "now Ready",
        &format!(
            "{} as {}, after {}",
            title(&next.binding),
            objects::spiffe_id(&next.binding),
            after(started)
        ),
    );
    screen.pair("operator's writes", &stage.writes_since(mark).await?);
    Ok(())
}

async fn table(stage: &Stage, namespace: &str) -> Result<()> {
    let screen = stage.screen;
    screen.heading("How it stands at the end");
    let bindings = stage.bindings(namespace).list(&ListParams::default()).await?.items;
    let row = |cells: [&str; 5]| {
        let [name, target, mode, ready, id] = cells;
        screen.verbatim(format!("{name:<14} {target:<10} {mode:<14} {ready:<8} {id}").trim_end());
    };
    row(["NAME", "TARGET", "MODE", "READY", "SPIFFE-ID"]);
    for binding in &bindings {
        let ready = objects::condition(binding, "Ready").map(|ready| ready.status).unwrap_or_default();
        let name = binding.name_any();
        row([&name, objects::target(binding), objects::mode(binding), &ready, objects::spiffe_id(binding)]);
    }
    Ok(())
}
