//! Writer of tar archives (ustar) with plain files.

/// Size of a block.
const BLOCK: usize = 512;
/// Longest name of a file.
const NAME: usize = 100;

/// Archive that is being written.
#[derive(Default)]
pub(super) struct TarArchive {
    bytes: Vec<u8>,
}

// === impl TarArchive ===

impl TarArchive {
    /// Appends a file. `name`: at most 100 bytes, longer ones are cut off. `modified`: seconds since the Unix epoch.
    pub(super) fn file(&mut self, name: &str, content: &[u8], modified: u64) {
        let mut header = [0_u8; BLOCK];
        let name = &name.as_bytes()[..name.floor_char_boundary(NAME)];
        header[..name.len()].copy_from_slice(name);
        let mut field = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        field(100, "0000600\0");
        field(108, "0000000\0");
        field(116, "0000000\0");
        field(124, &format!("{:011o}\0", content.len()));
        field(136, &format!("{modified:011o}\0"));
        // The sum is formed with blanks in its own place.
        field(148, "        ");
        field(156, "0");
        field(257, "ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.bytes.extend_from_slice(&header);
        self.bytes.extend_from_slice(content);
        let padding = content.len().next_multiple_of(BLOCK) - content.len();
        self.bytes.extend_from_slice(&[0; BLOCK][..padding]);
    }

    /// Returns the archive with its end.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(&[0; 2 * BLOCK]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_tar_of_the_system_reads_the_archive() {
        let dir = tempfile::tempdir().unwrap();
        let mut archive = TarArchive::default();
        let long = "x".repeat(1_024);
        archive.file("a/settings.toml", b"x = 1\n", 1_700_000_000);
        archive.file("a/empty", b"", 0);
        archive.file("b/long.txt", long.as_bytes(), 0);
        let path = dir.path().join("bundle.tar");
        std::fs::write(&path, archive.finish()).unwrap();
        let unpacked = Command::new("tar")
            .arg("-xf")
            .arg(&path)
            .arg("-C")
            .arg(dir.path())
            .output()
            .unwrap();
        assert!(
            unpacked.status.success() && unpacked.stderr.is_empty(),
            "{unpacked:?}"
        );
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(read("a/settings.toml"), "x = 1\n");
        assert_eq!((read("a/empty"), read("b/long.txt")), (String::new(), long));
    }
}
