//! `kleym render`: the ClusterSPIFFEIDs of the bindings in files, byte for byte what the operator writes.

use kleym_api::encode::cluster_spiffe_id;
use kleym_core::name::BindingKey;
use kleym_core::report;
use kleym_core::settings::given::Environment;

use crate::args;
use crate::console::Console;
use crate::declared::Declared;
use crate::exit::{Exit, Failure};
use crate::labels::Labels;
use crate::output::{self, Summary};
use crate::settings::settings;
use crate::source::Files;
use crate::survey::namespace;

pub(super) fn run(
    typed: &args::Render,
    console: &mut Console,
    environment: Environment<'_>,
) -> Result<Exit, Failure> {
    let args::Render { source, selector, settings: flags, strictness, output: format } = typed;
    let labels = Labels::of(selector)?;
    // What is rendered means what the flags say, whatever status a file carries.
    let settings = settings(flags, environment)?;
    let home = namespace(&source.namespace)?;
    let files = Files::read(&source.filename, source.recursive)?;

    let declared = Declared::read(files, &home, settings);
    let chosen = |key: &BindingKey| labels.select(declared.labels(key));
    let wanted = declared.wanted().filter(|(binding, _)| chosen(&binding.key));
    let objects: Vec<_> = wanted.map(|(_, output)| cluster_spiffe_id(&output)).collect();
    let told = declared.told(report::declarations(&declared.index, false), chosen);
    output::objects(&mut console.out, *format, &objects)?;
    console.out.flush()?;

    if console.verbose {
        output::what_was_read(console, &declared);
    }
    let bindings = declared.index.bindings().filter(|binding| chosen(&binding.key)).count();
    let summary = Summary::of(bindings, objects.len(), &told);
    output::findings(console, &declared.files, &summary, &told);
    Ok(output::exit_of(&told, strictness.strict))
}
