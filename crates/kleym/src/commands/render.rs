//! `kleym render`: the ClusterSPIFFEIDs of the bindings in files, byte for byte what the operator writes.

use kleym_api::encode::cluster_spiffe_id;
use kleym_core::index::{Index, Verdict};
use kleym_core::output::WantedOutput;
use kleym_core::settings::given::Environment;

use crate::args;
use crate::console::Console;
use crate::declared::Declared;
use crate::exit::{Exit, Failure};
use crate::output::{self, Summary};
use crate::settings::settings;
use crate::source::Files;
use crate::survey::namespace;

pub(super) fn run(
    typed: &args::Render,
    console: &mut Console,
    environment: Environment<'_>,
) -> Result<Exit, Failure> {
    let args::Render { source, settings: flags, strictness, output: format } = typed;
    let settings = settings(flags, environment)?;
    let home = namespace(&source.namespace)?;
    let files = Files::read(&source.filename, source.recursive)?;

    let declared = Declared::read(files, &home, settings);
    let wanted = wanted_outputs(&declared.index);
    let told = declared.told();

    let objects: Vec<_> = wanted.iter().map(cluster_spiffe_id).collect();
    output::objects(&mut console.out, *format, &objects)?;
    console.out.flush()?;

    if console.verbose {
        output::what_was_read(console, &declared);
    }
    let bindings = declared.index.bindings().count();
    let summary = Summary::of(bindings, wanted.len(), &told);
    output::findings(console, &declared.files, &summary, &told);
    Ok(output::exit_of(&told, strictness.strict))
}

/// The outputs of all bindings that are to have one, by namespace and name.
fn wanted_outputs(index: &Index) -> Vec<WantedOutput> {
    let wanted = index.bindings().filter_map(|binding| match index.verdict(&binding.key).verdict {
        Verdict::Wanted(identity) => {
            Some(WantedOutput::of(index.settings(), &binding.key, binding.uid.as_ref(), &identity))
        }
        Verdict::Gone | Verdict::Deleting | Verdict::Waiting(_) | Verdict::Refused(_) => None,
    });
    wanted.collect()
}
