//! What the released program weighs: its size, its start and its memory. The program is the one that the other tests run
//! too, which `make package-test` sets to the released build.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::world::{World, objective, per_objective, pool, program};

const MEBIBYTE: u64 = 1 << 20;

/// Bytes that the process holds in memory.
fn resident(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn the_program_is_small_and_speaks_at_once() {
    let size = fs::metadata(program()).unwrap().len();
    // The best of several: the machine may be busy with something else.
    let fastest = (0..20)
        .map(|_| {
            let started = Instant::now();
            let mut child = Command::new(program())
                .args(["--kubeconfig=/nowhere", "--health-probe-bind-address=0"])
                .env_remove("KUBERNETES_SERVICE_HOST")
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let mut line = String::new();
            BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
            let took = started.elapsed();
            child.wait().unwrap();
            assert!(line.contains("/nowhere"), "{line}");
            took
        })
        .min()
        .unwrap();
    eprintln!("measured: the program has {size} bytes and speaks after {fastest:?}");
    assert!(size <= 15_000_000, "{size}");
    assert!(fastest < Duration::from_millis(50), "{fastest:?}");
}

#[tokio::test]
async fn with_a_hundred_bindings_the_operator_needs_little_memory() {
    let world = World::new("memory").await;
    let operator = world.operator().await;
    for number in 0..100 {
        let (pool_name, name) = (format!("pool-{number}"), format!("chat-{number}"));
        world.create_all([pool(&pool_name, &[("app", &name)]), objective(&name, &pool_name)]).await;
        let id = json!(format!("spiffe://kleym.sonda.red/ns/{{{{ .Namespace }}}}/objective/{name}"));
        world.create(per_objective(&name, &name, &name).with("/spec/spiffeIDTemplate", id)).await;
    }
    for number in 0..100 {
        world.ready(&format!("chat-{number}")).await;
    }
    world.at_rest().await;
    let resident = resident(operator.id());
    eprintln!("measured: with 100 bindings {} KiB are resident", resident / 1024);
    assert!(resident <= 20 * MEBIBYTE, "{resident}");
}

#[test]
fn the_image_is_small() {
    let archive =
        Path::new(&std::env::var("KLEYM_IMAGE").expect("`make package-test` sets KLEYM_IMAGE")).to_owned();
    let size = fs::metadata(&archive).unwrap().len();
    eprintln!("measured: the image has {size} bytes");
    assert!(size <= 20_000_000, "{size}");
}
