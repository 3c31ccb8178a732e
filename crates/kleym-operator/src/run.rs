//! The life of the process: connect, start every task in one set, stop together.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use kleym_core::name::Namespace;
use kube::Client;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::driver::{Braked, CALLS_AT_ONCE, Driver, Surroundings};
use crate::events::Recorder;
use crate::horizon::Horizons;
use crate::lease::{Elector, Leadership};
use crate::metrics::{Metrics, Secure};
use crate::settings::Configuration;
use crate::{admin, client, feed, lease, metrics};

/// Runs until SIGTERM or SIGINT. A task that ends before that ends the process.
///
/// # Errors
/// When the start fails, or a task ends.
pub async fn run(configuration: Configuration) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let origin = Instant::now();
    let metrics = Metrics::new(CALLS_AT_ONCE, origin);
    let client = client::connect(configuration.kubeconfig.as_deref(), &metrics).await?;

    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let (readiness, unready) = watch::channel(vec!["starting".to_owned()]);
    if let Some(address) = configuration.health_address {
        let listener = admin::listen(address).await?;
        tasks.spawn(admin::serve(listener, unready.clone(), stop.clone()));
    }
    if let Some(address) = configuration.metrics_address {
        let listener = metrics::listen(address).await?;
        let secure = match configuration.metrics_certificate.clone() {
            Some(certificate) => Some(Secure::new(certificate, &client).await?),
            None => None,
        };
        tasks.spawn(metrics::serve(listener, secure, metrics.clone(), stop.clone()));
    }
    announce(&configuration);
    let identity = lease::identity();
    // The lease is given back when every write has ended, and events have had their time.
    let released = CancellationToken::new();
    let mut electors = JoinSet::new();
    let leadership = elect(&client, &configuration, &identity, &metrics, &released, &mut electors)?;
    let recorder = Recorder::start(
        client.clone(),
        &identity,
        leadership.clone(),
        metrics.clone(),
        &mut tasks,
        stop.clone(),
    );
    let mut watches = JoinSet::new();
    let horizons = Horizons::default();
    let (anew, asked) = watch::channel(0);
    let news = feed::start(
        &client,
        &Arc::new(configuration.settings.clone()),
        &configuration.namespaces,
        &horizons,
        &asked,
        &mut watches,
    );
    let surroundings = Surroundings { readiness, leadership, recorder, horizons, anew, metrics, origin };
    let driver = Driver::new(client, configuration, surroundings);
    tasks.spawn(driver.run(news, stop.clone()));

    let ended = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        Some(ended) = tasks.join_next() => Some(ended),
        Some(ended) = watches.join_next() => Some(ended),
        Some(ended) = electors.join_next() => Some(ended),
    };
    let mut failed = match ended.transpose().context("a task panicked")? {
        None => None,
        Some(Err(error)) if error.is::<Braked>() => Some(error),
        Some(Err(error)) => return Err(error),
        Some(Ok(())) => match cause([&mut watches, &mut tasks, &mut electors]).await {
            error if error.is::<Braked>() => Some(error),
            error => return Err(error),
        },
    };
    tracing::info!("stopping");
    stop.cancel();
    while let Some(ended) = tasks.join_next().await {
        match ended.context("a task panicked while stopping")? {
            Err(error) if error.is::<Braked>() => failed = Some(error),
            ended => ended?,
        }
    }
    released.cancel();
    while let Some(ended) = electors.join_next().await {
        // What stopped it counts for more than that the lease was lost meanwhile.
        failed = failed.or(ended.context("the leader election panicked while stopping")?.err());
    }
    failed.map_or(Ok(()), Err)
}

/// How long a task that failed may take to say so after another one ended because of that.
const CAUSE_WITHIN: Duration = Duration::from_secs(1);

/// Why the process ends after a task ended by itself: mostly because another one failed, which is told a moment later.
async fn cause(all: [&mut JoinSet<anyhow::Result<()>>; 3]) -> anyhow::Error {
    let deadline = Instant::now() + CAUSE_WITHIN;
    for tasks in all {
        while let Ok(Some(ended)) = timeout_at(deadline, tasks.join_next()).await {
            match ended.context("a task panicked") {
                Ok(Ok(())) => {}
                Ok(Err(error)) | Err(error) => return error,
            }
        }
    }
    anyhow::anyhow!("a task ended by itself")
}

/// Starts the leader election, if it is on; otherwise this replica may always write.
fn elect(
    client: &Client,
    configuration: &Configuration,
    identity: &str,
    metrics: &Metrics,
    released: &CancellationToken,
    electors: &mut JoinSet<anyhow::Result<()>>,
) -> anyhow::Result<watch::Receiver<Leadership>> {
    let instance = &configuration.settings.instance;
    if !configuration.leader_elect {
        let (always, leadership) = watch::channel(Leadership::Unelected);
        let released = released.clone();
        electors.spawn(async move {
            released.cancelled().await;
            drop(always);
            Ok(())
        });
        return Ok(leadership);
    }
    let (sender, leadership) = watch::channel(Leadership::Standby { trouble: None });
    let namespace = lease::namespace(client)?;
    let elector = Elector::new(client.clone(), namespace, instance, identity);
    let elected = elector.run(sender, released.clone());
    let lease = kleym_core::lease::name(instance).to_string();
    metrics.leads(&lease, false);
    let (metrics, mut seen) = (metrics.clone(), leadership.clone());
    let follow = async move {
        while seen.changed().await.is_ok() {
            metrics.leads(&lease, seen.borrow_and_update().deadline(Instant::now()).is_some());
        }
        // Why the election ended is for the elector to say.
        std::future::pending::<()>().await;
    };
    electors.spawn(async move {
        tokio::select! {
            ended = elected => ended,
            () = follow => Ok(()),
        }
    });
    Ok(leadership)
}

/// How many namespaces are named in one line of the log.
const NAMED: usize = 8;

/// The namespaces that are served, the first few by name.
fn named(namespaces: &BTreeSet<Namespace>) -> String {
    if namespaces.is_empty() {
        return "all".to_owned();
    }
    let first: Vec<&str> = namespaces.iter().take(NAMED).map(Namespace::as_str).collect();
    let more = namespaces.len().saturating_sub(NAMED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{more}", first.join(","))
}

fn announce(configuration: &Configuration) {
    let settings = &configuration.settings;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        trust_domain = %settings.trust_domain,
        class_name = settings.class_name.as_ref().map_or("<none>", |class| class.as_str()),
        instance = %settings.instance,
        path_grants = settings.path_grants.iter().count(),
        namespaces = %named(&configuration.namespaces),
        "kleym-operator starts"
    );
    if configuration.metrics_certificate.is_some() && configuration.metrics_address.is_none() {
        tracing::warn!(
            "--metrics-secure has no effect: --metrics-bind-address is not given, so no metrics are served"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_names_the_namespaces_that_are_served_as_many_as_fit_a_line() {
        let of = |names: &[&str]| {
            let names: BTreeSet<Namespace> =
                names.iter().map(|name| Namespace::parse(name).unwrap()).collect();
            named(&names)
        };
        assert_eq!(of(&[]), "all");
        assert_eq!(of(&["llm", "audio"]), "audio,llm");
        assert_eq!(of(&["a", "b", "c", "d", "e", "f", "g", "h"]), "a,b,c,d,e,f,g,h");
        assert_eq!(of(&["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]), "a,b,c,d,e,f,g,h and 2 more");
    }

    #[tokio::test]
    async fn what_a_task_ended_for_is_told_although_its_own_end_was_seen_first() {
        let (mut watches, mut tasks, mut electors) = (JoinSet::new(), JoinSet::new(), JoinSet::new());
        watches.spawn(async { Ok(()) });
        watches.spawn(std::future::pending());
        tasks.spawn(async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            anyhow::bail!("what it stood on failed")
        });
        let told = cause([&mut watches, &mut tasks, &mut electors]).await;
        assert_eq!(told.to_string(), "what it stood on failed");
        let told = cause([&mut watches, &mut tasks, &mut electors]).await;
        assert_eq!(told.to_string(), "a task ended by itself");
    }
}
