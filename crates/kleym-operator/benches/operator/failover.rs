//! How long nobody writes when a leader is killed, and when it ends in order: from its end to the grant of a change that was
//! made meanwhile.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kleym_core::kind::Kind;
use kleym_testenv::eventually;
use serde_json::json;

use crate::field::{Field, LONG, output_of};
use crate::many::{name, namespace};
use crate::table::Table;

const LEASE_SECONDS: f64 = 15.0;
/// How often each is done; the worst counts.
const TIMES: usize = 2;

/// Measures it, over bindings that are all settled.
pub(crate) async fn measure(table: &mut Table, field: &Field) -> Result<()> {
    let flags = ["--leader-elect"];
    let mut leader = field.operator(&flags).await?;
    leader.says("leading lease=").await;
    let mut worst = [Duration::ZERO; 2];
    for round in 0..2 * TIMES {
        let standby = field.operator(&flags).await?;
        // The lease is young: the worst moment for a successor.
        field.renewed().await?;
        let killed = round % 2 == 0;
        let edited = (namespace(round), name(2));
        let began = Instant::now();
        if killed {
            leader.signal("KILL");
        } else {
            leader.signal("TERM");
        }
        let template = format!("spiffe://{{{{ .TrustDomain }}}}/ns/{}/after/{round}", edited.0);
        field
            .edit(Kind::Binding, Some(&edited.0), &edited.1, &json!({"spec": {"spiffeIDTemplate": template}}))
            .await?;
        granted(field, &edited, round).await?;
        let took = began.elapsed();
        let worst = &mut worst[usize::from(!killed)];
        *worst = took.max(*worst);
        leader = standby;
    }
    leader.terminate().await;
    table.at_most(
        "leader killed: seconds until a change is granted",
        worst[0].as_secs_f64(),
        "s",
        LEASE_SECONDS + 2.0,
    );
    table.at_most("leader stopped: seconds until a change is granted", worst[1].as_secs_f64(), "s", 3.0);
    Ok(())
}

/// Waits until the output grants what the change of this round asked for.
async fn granted(field: &Field, (namespace, name): &(String, String), round: usize) -> Result<()> {
    let output = output_of(namespace, name)?;
    let wanted = format!("/ns/{namespace}/after/{round}");
    eventually("the change is granted", LONG, || async {
        let live = field.get(Kind::Output, None, &output).await?;
        let id = live["spec"]["spiffeIDTemplate"].as_str().context("no ID")?;
        ensure!(id.ends_with(&wanted), "{id}");
        Ok(())
    })
    .await
}
