//! `file:PATH`, and `file:FOLDER#NAME`: folders as Kubernetes and systemd mount them.

use std::{fs::File, io::Read, path::Path};

use zeroize::Zeroizing;

use super::{Secret, SecretError};

/// The largest file taken for a secret: room for a long certificate chain, not for a disk image.
const MAX_BYTES: u64 = 256 * 1024;

/// The content of the file at `path` without one final line end (editors and `echo` add one).
pub(super) fn resolve(path: &Path) -> Result<Secret, SecretError> {
    let unreadable = |source| SecretError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Err(SecretError::Folder(path.to_owned()));
    }
    // Reserved at once: a buffer that grows would leave copies of the secret in freed memory.
    let capacity = file.metadata().map_or(0, |metadata| metadata.len()).min(MAX_BYTES) + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(capacity).unwrap_or(0)));
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(SecretError::TooLarge { limit: MAX_BYTES });
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    Ok(Secret(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_final_line_end_does_not_belong_to_the_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        for (written, read) in
            [("abc\n", "abc"), ("abc\r\n", "abc"), ("abc", "abc"), ("abc\n\n", "abc\n"), (" abc ", " abc ")]
        {
            std::fs::write(&path, written).unwrap();
            assert_eq!(resolve(&path).unwrap().expose(), read.as_bytes());
        }
    }

    #[test]
    fn a_file_far_too_large_for_a_secret_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        std::fs::write(&path, vec![b'x'; 300 * 1024]).unwrap();
        assert!(matches!(resolve(&path), Err(SecretError::TooLarge { .. })));
    }
}
