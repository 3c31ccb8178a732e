//! What a change costs, in calls.

use anyhow::{Context, Result, ensure};
use kleym_core::kind::Kind;
use kleym_testenv::eventually;
use serde_json::json;

use crate::field::{Field, LONG, output_of};
use crate::table::Table;
use crate::world::{OBJECTIVE, POOL, objective, per_objective, pool};

const NAMESPACE: &str = "llm";
const NAME: &str = "chat";
/// SPIRE has made entries for outputs without a class by then.
const GOLD: [&str; 2] = ["--clusterspiffeid-class-name=gold", "--allow-configuration-change"];
/// How often spire-controller-manager writes its counts.
const CHURN: usize = 20;

/// Measures it.
pub(crate) async fn measure(table: &mut Table) -> Result<()> {
    let field = Field::new().await?;
    let operator = field.operator(&[]).await?;
    field.namespaces([NAMESPACE.to_owned()]).await?;
    let output = output_of(NAMESPACE, NAME)?;
    let inputs = [pool("llama", &[("app", "vllm")]), objective(NAME, "llama")];
    field.create_all(inputs.map(|object| (NAMESPACE.to_owned(), object)).to_vec()).await?;

    let mark = field.at_rest().await?;
    field.create(NAMESPACE, per_objective(NAME, NAME, "vllm")).await?;
    field.ready(NAMESPACE, NAME).await?;
    let asked = field.asked(mark).await?;
    table.count("create -> Ready: writes", asked.writes.len(), 3);
    table.count("create -> Ready: events", asked.events, 1);
    table.count("create -> Ready: reads", asked.reads.len(), 0);

    let mark = field.at_rest().await?;
    let note =
        json!({"metadata": {"annotations": {"example.com/note": "x"}, "labels": {"example.com/l": "x"}}});
    field.edit(POOL, Some(NAMESPACE), "llama", &note).await?;
    let ports = json!({"spec": {"targetPorts": [{"number": 9000}]}});
    field.edit(POOL, Some(NAMESPACE), "llama", &ports).await?;
    field.edit(OBJECTIVE, Some(NAMESPACE), NAME, &note).await?;
    field.edit(OBJECTIVE, Some(NAMESPACE), NAME, &json!({"spec": {"priority": 7}})).await?;
    field.edit(Kind::Binding, Some(NAMESPACE), NAME, &note).await?;
    field.edit(Kind::Output, None, &output, &note).await?;
    table.count("changes that change no identity: calls", all(&field.asked(mark).await?), 0);

    let mark = field.at_rest().await?;
    let outputs = field.api(Kind::Output, None);
    for pods in 1..=CHURN {
        let stats = json!({"status": {"stats": {"namespacesSelected": 1, "podsSelected": pods, "entriesToSet": pods}}});
        outputs.patch_status(&output, &Default::default(), &kube::api::Patch::Merge(stats)).await?;
    }
    table.count(format!("{CHURN} status changes by SCM: calls"), all(&field.asked(mark).await?), 0);

    let mark = field.at_rest().await?;
    field.edit(Kind::Output, None, &output, &json!({"spec": {"admin": true}})).await?;
    eventually("`admin` is gone", LONG, || async {
        let live = field.get(Kind::Output, None, &output).await?;
        ensure!(live["spec"].get("admin").is_none(), "it is there");
        Ok(())
    })
    .await?;
    let asked = field.asked(mark).await?;
    table.count("drift repair: writes", asked.writes.len(), 1);
    table.count("drift repair: reads", asked.reads.len(), 0);

    let mark = field.at_rest().await?;
    let template = "spiffe://{{ .TrustDomain }}/ns/{{ .Namespace }}/model/{{ .ObjectiveName }}";
    let edit = json!({"spec": {"spiffeIDTemplate": template}});
    field.edit(Kind::Binding, Some(NAMESPACE), NAME, &edit).await?;
    field.ready(NAMESPACE, NAME).await?;
    let asked = field.asked(mark).await?;
    table.count("spec edit: writes", asked.writes.len(), 2);
    table.count("spec edit: reads", asked.reads.len(), 0);

    field.at_rest().await?;
    operator.terminate().await;
    let mark = field.mark().await?;
    let operator = field.operator(&GOLD).await?;
    eventually("the class is in the status", LONG, || async {
        let binding = field.get(Kind::Binding, Some(NAMESPACE), NAME).await?;
        ensure!(binding["status"]["clusterSPIFFEIDClassName"] == "gold", "not yet");
        Ok(())
    })
    .await?;
    field.ready(NAMESPACE, NAME).await.context("with another class")?;
    table.count("class change: writes", field.asked(mark).await?.writes.len(), 4);

    operator.terminate().await;
    let mark = field.mark().await?;
    let operator = field.operator(&GOLD).await?;
    let asked = field.asked(mark).await?;
    table.count("restart in sync: writes", asked.writes.len() + asked.events, 0);
    table.count("restart in sync: reads of one binding", asked.reads_of_one(), 0);
    table.note("restart in sync: lists and discovery", asked.reads.len() as f64, "");
    operator.terminate().await;
    Ok(())
}

fn all(asked: &crate::field::Asked) -> usize {
    asked.writes.len() + asked.events + asked.reads.len()
}
