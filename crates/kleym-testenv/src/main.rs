//! A private control plane from the shell, and the step before the tests that makes sure the programs are there.
//! Data goes to stdout, everything else to stderr.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use kleym_testenv::assets::Assets;
use kleym_testenv::{ControlPlane, Options, apply_manifests};
use tokio::signal::unix::{SignalKind, signal};

/// A private etcd and kube-apiserver on loopback
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make sure that etcd and kube-apiserver are there, and print their folder
    #[command(visible_alias = "fetch")]
    Assets,
    /// Start an environment, print the path of its kubeconfig, and end it on SIGINT or SIGTERM
    Up(Up),
}

#[derive(clap::Args)]
struct Up {
    /// Apply this YAML file, or the YAML files of this folder; repeatable, in order
    #[arg(long = "manifest", value_name = "PATH")]
    manifests: Vec<PathBuf>,
    /// Print the path of a kubeconfig for this user too, one line each; repeatable
    #[arg(long = "user", value_name = "NAME")]
    users: Vec<String>,
    /// Use this folder and keep it, instead of one that is removed at the end
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// End the environment also when standard input ends
    #[arg(long)]
    until_end_of_input: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Command::Assets => Assets::ensure().map(|assets| println!("{}", assets.folder.display())),
        Command::Up(up) => run(up),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kleym-testenv: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Up) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let outcome = runtime.block_on(up(arguments));
    // A read of standard input that nobody waits for any more must not hold us.
    runtime.shutdown_background();
    outcome
}

async fn up(arguments: Up) -> Result<()> {
    // Asked for first, so that a signal during the start ends everything in order as well.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let until_end_of_input = arguments.until_end_of_input;
    let serve = async {
        let options = Options { folder: arguments.folder, ..Options::default() };
        let control_plane = ControlPlane::start(options).await?;
        let client = control_plane.client()?;
        for path in &arguments.manifests {
            for object in apply_manifests(&client, path).await? {
                let kind = object.types.map(|types| types.kind).unwrap_or_default();
                eprintln!("applied {kind} `{}`", object.metadata.name.unwrap_or_default());
            }
        }
        println!("{}", control_plane.kubeconfig()?.display());
        for user in &arguments.users {
            println!("{}", control_plane.kubeconfig_as(user, &[])?.display());
        }
        eprintln!(
            "the API server listens at {}; the processes are {:?}",
            control_plane.url(),
            control_plane.process_ids()
        );
        std::future::pending::<Result<()>>().await
    };
    let end_of_input = async {
        if !until_end_of_input {
            std::future::pending::<()>().await;
        }
        // Whatever is said there, only its end matters; an error is an end too.
        let drain = || std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        let _ = tokio::task::spawn_blocking(drain).await;
    };
    tokio::select! {
        failure = serve => failure,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
        () = end_of_input => Ok(()),
    }
}
