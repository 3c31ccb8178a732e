//! A connection that is dead without anybody having closed it, as after a failover of what stands between: longer than
//! `make test` has time for.

use std::time::Duration;

use anyhow::ensure;
use kleym_core::kind::Kind;
use kleym_testenv::eventually;
use serde_json::json;

use crate::world::{World, objective, per_objective, pool};

/// Three bookmarks of the API server that do not come, and the opening and the write that follow.
const NOTICED: Duration = Duration::from_secs(240);

#[tokio::test]
async fn a_watch_that_went_silent_is_opened_again_long_before_its_time_is_over() {
    let world = World::new("silent").await;
    let proxy = world.proxy().await;
    let operator = world.operator_by(&proxy).await;
    world.with_chat().await;
    world.at_rest().await;
    // Where no bookmark ever came, the lack of one says nothing; a first one can take two minutes.
    let version = world.output("chat").await["metadata"]["resourceVersion"].clone();
    let bookmark = json!({"type": "BOOKMARK", "object": {
        "apiVersion": "spire.spiffe.io/v1alpha1", "kind": "ClusterSPIFFEID", "metadata": {"resourceVersion": version},
    }});
    assert_eq!(proxy.inject(|asked| asked.is("watch", "clusterspiffeids"), &bookmark), 1);
    // Only the watch that is open goes silent.
    let until = proxy.asked().len();
    let silence = proxy.freeze(move |asked| asked.number < until && asked.is("watch", "clusterspiffeids"));
    let output = world.output_name("chat");
    world.delete(Kind::Output, &output).await;
    silence.reached().await;
    let wanted = eventually("what was deleted meanwhile is there again", NOTICED, || async {
        ensure!(world.find(Kind::Output, &output).await.is_some(), "not yet");
        Ok(())
    });
    wanted.await.unwrap();
    assert!(!operator.said("a watch went silent").is_empty());
    world.is_settled().await;
}
