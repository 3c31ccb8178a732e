//! How long the engine takes for what stands in files: 1,000, 10,000 and 100,000 bindings, decoded, indexed, decided and
//! rendered, on one core. Whether that grows in a line is told by the throughput, which stays the same.
//!
//! `cargo bench -p kleym` prints it. It asserts nothing: machines differ.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kleym_api::decode;
use kleym_api::encode::cluster_spiffe_id;
use kleym_core::fact::{Change, Fact};
use kleym_core::index::{Index, Verdict};
use kleym_core::kind::{Kind, ObjectiveGroup, PoolGroup};
use kleym_core::output::WantedOutput;
use kleym_core::report;
use kleym_core::settings::Settings;
use serde_json::{Value, json};

/// Bindings of one namespace.
const TOGETHER: usize = 10;

const OBJECTIVE: Kind = Kind::Objective(ObjectiveGroup::LlmD);
const POOL: Kind = Kind::Pool(PoolGroup::Inference);

/// That many bindings with an objective each, ten of them to a namespace with one pool.
fn objects(count: usize) -> Vec<(Kind, Value)> {
    let mut objects = Vec::new();
    for number in 0..count {
        let (namespace, name) =
            (format!("team-{}", number / TOGETHER), format!("model-{}", number % TOGETHER));
        let object = |kind: Kind, name: &str, spec: Value| {
            let value = json!({
                "apiVersion": kind.api_version(), "kind": kind.kind(),
                "metadata": {"namespace": namespace, "name": name}, "spec": spec,
            });
            (kind, value)
        };
        if number % TOGETHER == 0 {
            objects.push(object(POOL, "pool", json!({"selector": {"matchLabels": {"app": "vllm"}}})));
        }
        objects.push(object(OBJECTIVE, &name, json!({"poolRef": {"name": "pool"}})));
        let spec = json!({
            "targetRef": {"name": name}, "selectorSource": "DerivedFromPool", "mode": "PerObjective",
            "workloadSelectorTemplates": ["k8s:ns:{{ .Namespace }}", "k8s:sa:server"],
            "containerDiscriminator": {"type": "ContainerName", "value": name},
        });
        objects.push(object(Kind::Binding, &name, spec));
    }
    objects
}

/// Everything that `render` and `lint` do between parsing and printing; answers how many outputs there are.
fn decide(objects: &[(Kind, Value)], settings: &Settings) -> usize {
    let mut index = Index::new(settings.clone());
    for kind in Kind::ALL.into_iter().rev() {
        let facts: Vec<Fact> = objects
            .iter()
            .filter(|(of, _)| *of == kind)
            .filter_map(|(of, object)| decode::fact(*of, object).ok())
            .collect();
        index.apply(Change::Listed(kind, facts));
    }
    let mut outputs = 0;
    for binding in index.bindings() {
        if let Verdict::Wanted(identity) = index.verdict(&binding.key).verdict {
            let wanted = WantedOutput::of(index.settings(), &binding.key, None, &identity);
            black_box(cluster_spiffe_id(&wanted));
            outputs += 1;
        }
    }
    black_box(report::findings(&index));
    outputs
}

fn engine(criterion: &mut Criterion) {
    let settings = Settings::given(
        kleym_core::settings::TypedSettings {
            trust_domain: None,
            class_name: None,
            instance: None,
            path_grants: &[],
        },
        &|_| None,
    );
    let Ok(settings) = settings else { return };
    let mut group = criterion.benchmark_group("bindings from files");
    group.sample_size(10);
    // As a test it runs once, and without optimisation.
    let counts: &[usize] =
        if std::env::args().any(|word| word == "--bench") { &[1_000, 10_000, 100_000] } else { &[1_000] };
    for count in counts.iter().copied() {
        let objects = objects(count);
        assert_eq!(decide(&objects, &settings), count);
        group.throughput(Throughput::Elements(count as u64));
        group.bench_with_input(BenchmarkId::from_parameter(count), &objects, |bencher, objects| {
            bencher.iter(|| decide(objects, &settings));
        });
    }
    group.finish();
}

criterion_group!(benches, engine);
criterion_main!(benches);
