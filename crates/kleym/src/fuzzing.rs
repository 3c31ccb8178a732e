//! What fuzz targets drive of this program; only builds for fuzzing have it.

use std::io;

use kleym_core::report;
use kleym_core::settings::{Settings, TypedSettings};

use crate::args::Manager;
use crate::declared::Declared;
use crate::manager::KnownManager;
use crate::output;
use crate::sight::Sight;
use crate::source::Files;
use crate::survey::namespace;

/// Lints a file with this content, and writes what was found as text and as SARIF.
///
/// # Panics
/// When anything in it does: that is what is looked for.
pub fn lint(content: &[u8]) {
    let typed = TypedSettings { trust_domain: None, class_name: None, instance: None, path_grants: &[] };
    let settings = Settings::given(typed, &|_| None).expect("the defaults are good");
    let Ok(home) = namespace("default") else { unreachable!("it is a valid name") };
    let declared = Declared::read(Files::of_one("input.yaml", content), &home, settings);
    let sight = Sight::of(&declared, false, KnownManager::in_files(&Manager::default(), &declared));
    let told = declared.told(report::everything(&sight.scene(&declared, None)), |_| true);
    let written = output::write(&mut io::sink(), true, &declared.files, &told)
        .and_then(|()| output::lint::sarif(&mut io::sink(), &declared.files, &told));
    written.expect("a sink takes everything");
}
