//! Reads a credential's secret from where it is on this machine. It never shows one.

use std::{env, fs, io, sync::Arc};

use secrecy::SecretString;
use signalbox_routing::SecretSource;
use zeroize::Zeroizing;

use super::UnusableCause;

/// Reads a secret. Blocks where it is in a file.
pub(super) fn read(source: &SecretSource) -> Result<SecretString, UnusableCause> {
    match source {
        SecretSource::Inline(secret) => Ok(secret.clone()),
        SecretSource::Env(name) => match env::var(&**name) {
            Ok(secret) if !secret.is_empty() => Ok(secret.into()),
            _ => Err(UnusableCause::Variable(Arc::clone(name))),
        },
        SecretSource::File(path) => {
            from_file(path).map_err(|error| UnusableCause::File { path: Arc::clone(path), error })
        }
    }
}

fn from_file(path: &str) -> io::Result<SecretString> {
    let text = Zeroizing::new(fs::read_to_string(path)?);
    match text.trim() {
        "" => Err(io::Error::new(io::ErrorKind::InvalidData, "it is empty")),
        secret => Ok(secret.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use secrecy::ExposeSecret as _;
    use tempfile::NamedTempFile;

    use super::*;

    fn file(text: &str) -> (NamedTempFile, SecretSource) {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let path = file.path().to_str().unwrap().into();
        (file, SecretSource::File(path))
    }

    #[test]
    fn a_file_is_read_without_the_white_space_around() {
        let (_kept, source) = file(" sk-1\n");
        assert_eq!(read(&source).unwrap().expose_secret(), "sk-1");
    }

    #[test]
    fn what_is_not_there_is_named() {
        let (_kept, empty) = file("\n");
        assert!(matches!(read(&empty), Err(UnusableCause::File { .. })));
        assert!(matches!(read(&SecretSource::File("/nowhere/at/all".into())), Err(UnusableCause::File { .. })));
        let variable = SecretSource::Env("SIGNALBOX_TEST_VARIABLE_THAT_IS_NOT_SET".into());
        assert!(read(&variable).unwrap_err().to_string().contains("SIGNALBOX_TEST_VARIABLE_THAT_IS_NOT_SET"));
    }
}
