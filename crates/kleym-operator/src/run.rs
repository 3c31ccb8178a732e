//! The life of the process: connect, start every task in one set, stop together.

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::driver::Driver;
use crate::settings::Configuration;
use crate::{admin, client, feed};

/// Runs until SIGTERM or SIGINT. A task that ends before that ends the process.
///
/// # Errors
/// When the start fails, or a task ends.
pub async fn run(configuration: Configuration) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let client = client::connect(configuration.kubeconfig.as_deref()).await?;

    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let (readiness, unready) = watch::channel(vec!["starting".to_owned()]);
    if let Some(address) = configuration.health_address {
        let listener = admin::listen(address).await?;
        tasks.spawn(admin::serve(listener, unready.clone(), stop.clone()));
    }
    announce(&configuration);
    let mut watches = JoinSet::new();
    let news = feed::start(&client, &configuration.namespaces, &mut watches);
    let driver = Driver::new(client, configuration, readiness);
    tasks.spawn(driver.run(news, stop.clone()));

    let ended = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        Some(ended) = tasks.join_next() => Some(ended),
        Some(ended) = watches.join_next() => Some(ended),
    };
    if let Some(ended) = ended {
        ended.context("a task panicked")?.context("a task failed")?;
        anyhow::bail!("a task ended by itself");
    }
    tracing::info!("stopping");
    stop.cancel();
    while let Some(ended) = tasks.join_next().await {
        ended.context("a task panicked while stopping")??;
    }
    Ok(())
}

fn announce(configuration: &Configuration) {
    let settings = &configuration.settings;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        trust_domain = %settings.trust_domain,
        class_name = settings.class_name.as_ref().map_or("<none>", |class| class.as_str()),
        instance = %settings.instance,
        path_grants = settings.path_grants.iter().count(),
        namespaces = configuration.namespaces.len(),
        "kleym-operator starts"
    );
}
