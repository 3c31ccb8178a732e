//! The operator's image as an OCI layout, written without a container engine: nothing below the program, which is linked
//! statically. The same programs give the same bytes. `Dockerfile` builds the same image where an engine is at hand.
//!
//! Source: the image, layout, manifest and configuration specifications of the Open Container Initiative, 1.1.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::archive::{self, Entry};

/// Whom the program runs as: nobody in particular, never root.
pub(crate) const USER: &str = "65532:65532";
/// Where the program lies in the image.
pub(crate) const PROGRAM: &str = "/kleym-operator";
const PROGRAM_MODE: u32 = 0o555;
/// Where its licence lies.
const LICENCE: &str = "/licenses/LICENSE";
const LICENCE_MODE: u32 = 0o444;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// The labels that do not depend on the build.
pub(crate) const LABELS: [(&str, &str); 6] = [
    ("org.opencontainers.image.title", "kleym-operator"),
    (
        "org.opencontainers.image.description",
        "SPIFFE identities for LLM inference, compiled from InferencePools and InferenceObjectives",
    ),
    ("org.opencontainers.image.url", "https://kleym.sonda.red"),
    ("org.opencontainers.image.source", "https://github.com/sonda-red/kleym"),
    ("org.opencontainers.image.vendor", "The Kleym authors"),
    ("org.opencontainers.image.licenses", "Apache-2.0"),
];

/// What an image is made of.
pub(crate) struct Parts {
    /// The version, for the label and the tag.
    pub(crate) version: String,
    /// The revision the programs were built from.
    pub(crate) revision: String,
    /// The licence's text.
    pub(crate) licence: Vec<u8>,
    /// The program for each architecture, in the words of the specification.
    pub(crate) programs: BTreeMap<String, PathBuf>,
}

/// A blob by its digest.
struct Blob {
    digest: String,
    size: usize,
}

/// Writes the layout into a folder, which must not be there, and the folder as an archive beside it. Tells, for each
/// architecture, how many bytes are pulled.
pub(crate) fn write(folder: &Path, parts: &Parts) -> anyhow::Result<BTreeMap<String, usize>> {
    ensure!(!folder.exists(), "`{}` is there already; remove it first", folder.display());
    fs::create_dir_all(folder.join("blobs/sha256"))
        .with_context(|| format!("cannot create `{}`", folder.display()))?;
    let mut sizes = BTreeMap::new();
    let mut manifests = Vec::new();
    for (architecture, program) in &parts.programs {
        let bytes = fs::read(program).with_context(|| format!("cannot read `{}`", program.display()))?;
        check(&bytes, architecture).with_context(|| format!("`{}`", program.display()))?;
        let (mut manifest, size) = one(folder, parts, architecture, bytes)?;
        manifest["platform"] = json!({"architecture": architecture, "os": "linux"});
        manifests.push(manifest);
        sizes.insert(architecture.clone(), size);
    }
    let index = json!({
        "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests, "annotations": labels(parts),
    });
    let blob = put(folder, index.to_string().as_bytes())?;
    let entry = json!({
        "mediaType": INDEX, "digest": blob.digest, "size": blob.size,
        "annotations": {"org.opencontainers.image.ref.name": format!("v{}", parts.version)},
    });
    let top = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]});
    let file = |name: &str, text: &str| {
        fs::write(folder.join(name), text).with_context(|| format!("cannot write `{name}`"))
    };
    file("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    file("index.json", &top.to_string())?;
    let archive = folder.with_extension("oci.tar");
    fs::write(&archive, archive::of_folder(folder)?)
        .with_context(|| format!("cannot write `{}`", archive.display()))?;
    Ok(sizes)
}

/// The image of one architecture: its manifest's descriptor, and the bytes that are pulled for it.
fn one(folder: &Path, parts: &Parts, architecture: &str, program: Vec<u8>) -> anyhow::Result<(Value, usize)> {
    let layer = archive::of(&[
        Entry::folder("licenses/"),
        Entry::file(LICENCE.trim_start_matches('/'), LICENCE_MODE, parts.licence.clone()),
        Entry::file(PROGRAM.trim_start_matches('/'), PROGRAM_MODE, program),
    ])?;
    let unpacked = format!("sha256:{}", hex(&Sha256::digest(&layer)));
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&layer)?;
    let layer = put(folder, &gzip.finish()?)?;
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "config": {"User": USER, "Entrypoint": [PROGRAM], "WorkingDir": "/", "Labels": labels(parts)},
        "rootfs": {"type": "layers", "diff_ids": [unpacked]},
        "history": [{"created_by": "cargo xtask image", "comment": "nothing but the program and its licence"}],
    });
    let config = put(folder, config.to_string().as_bytes())?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": config.digest, "size": config.size},
        "layers": [{"mediaType": LAYER, "digest": layer.digest, "size": layer.size}],
        "annotations": labels(parts),
    });
    let manifest = put(folder, manifest.to_string().as_bytes())?;
    let size = manifest.size + config.size + layer.size;
    Ok((json!({"mediaType": MANIFEST, "digest": manifest.digest, "size": manifest.size}), size))
}

fn labels(parts: &Parts) -> BTreeMap<&str, &str> {
    let mut labels = BTreeMap::from(LABELS);
    labels.insert("org.opencontainers.image.version", &parts.version);
    labels.insert("org.opencontainers.image.revision", &parts.revision);
    labels
}

fn put(folder: &Path, bytes: &[u8]) -> anyhow::Result<Blob> {
    let digest = hex(&Sha256::digest(bytes));
    fs::write(folder.join("blobs/sha256").join(&digest), bytes).context("cannot write a blob")?;
    Ok(Blob { digest: format!("sha256:{digest}"), size: bytes.len() })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A program that needs an interpreter, or is for another processor, would not start in an image without anything.
fn check(program: &[u8], architecture: &str) -> anyhow::Result<()> {
    const MACHINE: usize = 18;
    const PROGRAM_HEADERS: (usize, usize, usize) = (32, 54, 56);
    const NEEDS_INTERPRETER: u32 = 3;
    let bytes = |at: usize, count: usize| -> anyhow::Result<u64> {
        let bytes = program.get(at..at + count).context("is too short for a program")?;
        Ok(bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    };
    ensure!(program.starts_with(b"\x7fELF\x02\x01"), "is no 64-bit little-endian ELF program");
    let machine = bytes(MACHINE, 2)?;
    let expected = match architecture {
        "amd64" => 62,
        "arm64" => 183,
        _ => anyhow::bail!("`{architecture}` is no architecture that images are built for"),
    };
    ensure!(machine == expected, "is for another processor than {architecture}");
    let (start, size, count) = PROGRAM_HEADERS;
    let (start, size, count) = (bytes(start, 8)?, bytes(size, 2)?, bytes(count, 2)?);
    for index in 0..count {
        let at = usize::try_from(start + index * size).context("is no program")?;
        let kind = bytes(at, 4)?;
        ensure!(
            kind != u64::from(NEEDS_INTERPRETER),
            "is not linked statically, and the image has no libraries"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest thing that looks like a static program.
    fn program(machine: u8, header: u32) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[18] = machine;
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = 1;
        bytes.extend(header.to_le_bytes());
        bytes.resize(120, 0);
        bytes
    }

    #[test]
    fn the_layout_is_whole_small_and_the_same_every_time() {
        let scratch = std::env::temp_dir().join(format!("kleym-image-{}", std::process::id()));
        fs::create_dir_all(&scratch).unwrap();
        let mut programs = BTreeMap::new();
        for (architecture, machine) in [("amd64", 62), ("arm64", 183)] {
            let path = scratch.join(architecture);
            fs::write(&path, program(machine, 1)).unwrap();
            programs.insert(architecture.to_owned(), path);
        }
        let parts = Parts {
            version: "1.2.3".to_owned(),
            revision: "abc".to_owned(),
            licence: b"free".to_vec(),
            programs,
        };
        let layout = scratch.join("a");
        write(&layout, &parts).unwrap();
        write(&scratch.join("b"), &parts).unwrap();
        let read = |path: PathBuf| fs::read(path).unwrap();
        assert_eq!(read(scratch.join("a.oci.tar")), read(scratch.join("b.oci.tar")));

        // From the top to every blob: digests and sizes are right, and nothing else lies there.
        let blob = |descriptor: &Value| {
            let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
            let bytes = read(layout.join("blobs/sha256").join(digest));
            assert_eq!(
                (hex(&Sha256::digest(&bytes)).as_str(), json!(bytes.len())),
                (digest, descriptor["size"].clone())
            );
            bytes
        };
        let json_of = |bytes: Vec<u8>| serde_json::from_slice::<Value>(&bytes).unwrap();
        let top = json_of(read(layout.join("index.json")));
        let index = json_of(blob(&top["manifests"][0]));
        let mut blobs = 1;
        for (descriptor, architecture) in
            index["manifests"].as_array().unwrap().iter().zip(["amd64", "arm64"])
        {
            assert_eq!(descriptor["platform"]["architecture"], architecture);
            let manifest = json_of(blob(descriptor));
            let config = json_of(blob(&manifest["config"]));
            assert_eq!(config["config"]["User"], USER);
            assert_eq!(config["config"]["Labels"]["org.opencontainers.image.version"], "1.2.3");
            let mut layer = Vec::new();
            let packed = blob(&manifest["layers"][0]);
            flate2::write::GzDecoder::new(&mut layer).write_all(&packed).unwrap();
            assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{}", hex(&Sha256::digest(&layer))));
            blobs += 3;
        }
        assert_eq!(fs::read_dir(layout.join("blobs/sha256")).unwrap().count(), blobs);
        fs::remove_dir_all(&scratch).unwrap();
    }

    #[test]
    fn a_program_that_would_not_start_in_the_image_is_refused() {
        let refused = |bytes: &[u8], architecture| check(bytes, architecture).unwrap_err().to_string();
        assert!(check(&program(62, 1), "amd64").is_ok());
        assert!(refused(&program(62, 3), "amd64").contains("not linked statically"));
        assert!(refused(&program(62, 1), "arm64").contains("another processor"));
        assert!(refused(b"#!/bin/sh\n", "amd64").contains("no 64-bit"));
        assert!(refused(&program(62, 1)[..40], "amd64").contains("too short"));
    }

    /// The instructions of a Dockerfile, each with its words; lines that go on are put together.
    fn instructions(text: &str) -> Vec<(String, Vec<String>)> {
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
        let whole = lines.join("\n").replace("\\\n", " ");
        whole
            .lines()
            .filter_map(|line| {
                let mut words = line.split_whitespace().map(str::to_owned);
                Some((words.next()?, words.collect()))
            })
            .collect()
    }

    #[test]
    fn the_dockerfile_builds_the_same_image() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let text = fs::read_to_string(root.join("Dockerfile")).unwrap();
        let (building, last) = text.rsplit_once("\nFROM scratch\n").unwrap();
        let last = instructions(last);
        let of = |name: &str| -> Vec<String> {
            let words = last.iter().filter(|(instruction, _)| instruction == name);
            words.map(|(_, words)| words.join(" ")).collect()
        };
        let known = ["ARG", "LABEL", "COPY", "USER", "ENTRYPOINT"];
        assert!(last.iter().all(|(name, _)| known.contains(&name.as_str())), "{last:?}");
        assert_eq!(of("USER"), [USER]);
        assert_eq!(of("ENTRYPOINT"), [format!("[\"{PROGRAM}\"]")]);
        assert_eq!(
            of("COPY"),
            [
                format!("--from=build --chmod=0{LICENCE_MODE:o} /kleym/LICENSE {LICENCE}"),
                format!("--from=build --chmod=0{PROGRAM_MODE:o} /kleym-operator {PROGRAM}"),
            ]
        );
        // Every label of the image, and no other; those of the build are arguments of it.
        let parts = Parts {
            version: "$VERSION".to_owned(),
            revision: "$REVISION".to_owned(),
            licence: Vec::new(),
            programs: BTreeMap::new(),
        };
        let expected: Vec<String> =
            labels(&parts).iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
        let [given] = of("LABEL").try_into().unwrap();
        let mut given: Vec<String> = given.split(" org.").map(str::to_owned).collect();
        given[1..].iter_mut().for_each(|label| label.insert_str(0, "org."));
        given.sort();
        assert_eq!(given, expected);
        assert_eq!(of("ARG"), ["VERSION=unknown", "REVISION=unknown"]);

        // The compiler is the pinned one, and the program is built as a release is.
        let toolchain = fs::read_to_string(root.join("rust-toolchain.toml")).unwrap();
        let version =
            toolchain.lines().find_map(|line| line.strip_prefix("channel = ")).unwrap().trim_matches('"');
        let building = instructions(building);
        assert_eq!(
            building[0],
            ("FROM".to_owned(), vec![format!("rust:{version}-alpine"), "AS".to_owned(), "build".to_owned()])
        );
        let build = "cargo build --release --locked --package kleym-operator";
        assert!(building.iter().any(|(_, words)| words.join(" ").contains(build)), "{building:?}");
    }
}
