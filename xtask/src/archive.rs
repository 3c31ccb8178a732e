//! tar archives (POSIX ustar) whose bytes depend on nothing but names and contents: no times, no owners.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};

const BLOCK: usize = 512;

/// Something in an archive.
pub(crate) struct Entry {
    name: String,
    mode: u32,
    /// None for a folder, whose name ends with `/`.
    content: Option<Vec<u8>>,
}

impl Entry {
    /// A folder.
    pub(crate) fn folder(name: &str) -> Self {
        Self { name: name.to_owned(), mode: 0o755, content: None }
    }

    /// A file.
    pub(crate) fn file(name: &str, mode: u32, content: Vec<u8>) -> Self {
        Self { name: name.to_owned(), mode, content: Some(content) }
    }
}

/// The archive of these entries, in this order.
pub(crate) fn of(entries: &[Entry]) -> anyhow::Result<Vec<u8>> {
    let mut archive = Vec::new();
    for entry in entries {
        let content = entry.content.as_deref().unwrap_or_default();
        archive.extend(header(entry, content.len())?);
        archive.extend_from_slice(content);
        archive.resize(archive.len().next_multiple_of(BLOCK), 0);
    }
    archive.resize(archive.len() + 2 * BLOCK, 0);
    Ok(archive)
}

/// The archive of everything in a folder, by name.
pub(crate) fn of_folder(folder: &Path) -> anyhow::Result<Vec<u8>> {
    let mut entries = Vec::new();
    collect(folder, "", &mut entries)?;
    of(&entries)
}

fn collect(folder: &Path, prefix: &str, entries: &mut Vec<Entry>) -> anyhow::Result<()> {
    let listed = fs::read_dir(folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
    let mut listed = listed.with_context(|| format!("cannot list `{}`", folder.display()))?;
    listed.sort_by_key(fs::DirEntry::file_name);
    for entry in listed {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let path = entry.path();
        if path.is_dir() {
            entries.push(Entry::folder(&format!("{name}/")));
            collect(&path, &format!("{name}/"), entries)?;
        } else {
            let content = fs::read(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
            entries.push(Entry::file(&name, 0o644, content));
        }
    }
    Ok(())
}

fn header(entry: &Entry, size: usize) -> anyhow::Result<[u8; BLOCK]> {
    ensure!(entry.name.len() <= 100, "`{}` is too long a name for an archive", entry.name);
    let mut header = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, entry.name.as_bytes());
    put(100, format!("{:07o}", entry.mode).as_bytes());
    put(108, b"0000000");
    put(116, b"0000000");
    put(124, format!("{size:011o}").as_bytes());
    put(136, b"00000000000");
    // The sum is taken with blanks in its own place.
    put(148, b"        ");
    put(156, if entry.content.is_some() { b"0" } else { b"5" });
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(header)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_system_s_tar_reads_what_is_written() {
        let entries = [
            Entry::folder("a/"),
            Entry::file("a/one", 0o555, vec![b'x'; 1000]),
            Entry::file("two", 0o644, Vec::new()),
        ];
        let mut tar = Command::new("tar")
            .args(["--list", "--verbose", "--numeric-owner", "--utc", "--file=-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        tar.stdin.take().unwrap().write_all(&of(&entries).unwrap()).unwrap();
        let output = tar.wait_with_output().unwrap();
        let listed = String::from_utf8(output.stdout).unwrap();
        let words: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
        let seen: Vec<[&str; 4]> = words.iter().map(|line| [line[0], line[1], line[2], line[5]]).collect();
        assert_eq!(
            seen,
            [
                ["drwxr-xr-x", "0/0", "0", "a/"],
                ["-r-xr-xr-x", "0/0", "1000", "a/one"],
                ["-rw-r--r--", "0/0", "0", "two"],
            ]
        );
        assert!(output.status.success());
    }
}
