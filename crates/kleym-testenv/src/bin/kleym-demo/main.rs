//! `make demo`: a real operator turns objectives and pools into ClusterSPIFFEIDs on a real API server, while a person
//! watches. Everything that is said was seen: what does not happen in time ends the demo with a message.
//!
//! It talks only to the control plane that it started itself, and leaves nothing behind.

mod acts;
mod objects;
mod offline;
mod operator;
mod screen;
mod stage;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use tokio::signal::unix::{Signal, SignalKind, signal};

use screen::Screen;
use stage::Stage;

/// Shows the operator at work on a private control plane
#[derive(Parser)]
#[command(name = "kleym-demo", version)]
struct Arguments {
    /// Leave everything running at the end, until Ctrl-C
    #[arg(long)]
    keep: bool,
}

/// How the demo ended.
enum End {
    /// Everything was shown.
    Shown,
    /// Somebody ended it.
    Interrupted,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let screen = Screen::of_process();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("kleym-demo: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(run(&arguments, &screen));
    // A build of the control plane that nobody waits for any more must not hold us.
    runtime.shutdown_background();
    match ended {
        Ok(End::Shown) => ExitCode::SUCCESS,
        Ok(End::Interrupted) => {
            eprintln!("kleym-demo: interrupted; everything is cleaned up");
            ExitCode::from(130)
        }
        Err(error) => {
            eprintln!("kleym-demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments, screen: &Screen) -> Result<End> {
    // Asked for first, so that everything is ended in order at any moment.
    let mut stop = Stop::listen()?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let root = root.canonicalize().with_context(|| format!("no checkout at `{}`", root.display()))?;
    let stage = tokio::select! {
        stage = Stage::set_up(screen, root) => stage?,
        () = stop.asked() => return Ok(End::Interrupted),
    };
    let told = tokio::select! {
        told = acts::all(&stage) => told.map(|()| End::Shown),
        () = stop.asked() => Ok(End::Interrupted),
    };
    match &told {
        Ok(End::Shown) if arguments.keep => {
            keep(screen, &stage)?;
            stop.asked().await;
        }
        Ok(_) => {}
        Err(_) => stage.show_operator_log(),
    }
    let taken_down = stage.take_down().await;
    let ended = told?;
    taken_down?;
    Ok(ended)
}

fn keep(screen: &Screen, stage: &Stage) -> Result<()> {
    let kubeconfig: PathBuf = stage.kubeconfig()?;
    screen.heading("Left running, until Ctrl-C");
    screen.line(&format!("export KUBECONFIG={}", kubeconfig.display()));
    screen.line("kubectl get iib --all-namespaces -o wide");
    screen.pair("logs", &stage.folder().display().to_string());
    screen.pair("to end it", &format!("Ctrl-C here, or `kill -INT {}`", std::process::id()));
    Ok(())
}

/// The signals that end the demo.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn listen() -> Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
