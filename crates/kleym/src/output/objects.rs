//! Objects on stdout, as kubectl prints and reads them: YAML documents, or one JSON object, which is a List unless there
//! is exactly one.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::json;

use crate::args::Format;

/// Prints objects.
pub(crate) fn objects(out: &mut dyn Write, format: Format, objects: &[impl Serialize]) -> io::Result<()> {
    match format {
        Format::Yaml => {
            for (index, object) in objects.iter().enumerate() {
                if index > 0 {
                    out.write_all(b"---\n")?;
                }
                // Texts that a YAML 1.1 reader would take for something else are quoted; none is folded.
                let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
                let text = serde_saphyr::to_string_with_options(object, options).map_err(io::Error::other)?;
                out.write_all(text.as_bytes())?;
            }
        }
        Format::Json => {
            match objects {
                [object] => serde_json::to_writer_pretty(&mut *out, object)?,
                objects => {
                    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
                    serde_json::to_writer_pretty(&mut *out, &list)?;
                }
            }
            out.write_all(b"\n")?;
        }
    }
    Ok(())
}
