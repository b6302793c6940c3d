//! The documents that an operator hands in: files, folders and standard input become one configuration, and what the control plane says of
//! it is said of the file and the resource again.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use signalbox_control_plane::import;
use signalbox_proto::admin::v1::Config;
use tonic::Code;
use tonic_types::StatusExt as _;

use super::error::Error as Refusal;

/// Largest document, in bytes: as much as the control plane takes.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Why documents cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("{from} cannot be read: {source}")]
    Unreadable {
        /// The file or the folder.
        from: String,
        /// Why.
        source: io::Error,
    },
    /// It is larger than any configuration.
    #[error("{from} has more than {MAX_BYTES} bytes")]
    TooLarge {
        /// The file.
        from: String,
    },
    /// It is no document.
    #[error("{}", located(from, fault))]
    Invalid {
        /// The file.
        from: String,
        /// What is wrong with it.
        fault: import::Error,
    },
    /// Nothing in the folder is a document.
    #[error("{from} holds no .yaml, .yml or .json file")]
    NoFiles {
        /// The folder.
        from: String,
    },
    /// There is one of it, and two documents say it.
    #[error("both {first} and {second} say settings: there is one of them")]
    SettingsTwice {
        /// The document that says it first.
        first: String,
        /// The other one.
        second: String,
    },
}

/// The file, the line where it is known, and what is wrong, as compilers say it.
fn located(from: &str, fault: &import::Error) -> String {
    match fault {
        import::Error::Syntax { line, column, problem } => format!("{from}:{line}:{column}: {problem}"),
        import::Error::Key { key, line: Some(line), rule } => format!("{from}:{line}: `{key}`: {rule}"),
        _ => format!("{from}: {fault}"),
    }
}

/// A configuration, and which document each of its resources is from.
#[derive(Debug, Default)]
pub struct Documents {
    /// All of them, merged.
    pub config: Config,
    origins: Vec<(&'static str, String)>,
}

/// Reads files, folders (`*.yaml`, `*.yml` and `*.json` in the order of their names) and `-`, in the order in which they are named.
///
/// # Errors
/// [`Error`] names the file, and the line where it is known.
pub fn read(paths: &[PathBuf]) -> Result<Documents, Error> {
    let mut documents = Documents::default();
    for path in paths {
        for file in files(path)? {
            let (from, text) = text(&file)?;
            let read = import::documents(&text).map_err(|fault| Error::Invalid { from: from.clone(), fault })?;
            for config in read {
                documents.add(config, &from)?;
            }
        }
    }
    Ok(documents)
}

fn files(path: &Path) -> Result<Vec<PathBuf>, Error> {
    if path.as_os_str() == "-" || !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let unreadable = |source| Error::Unreadable { from: path.display().to_string(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        let extension = file.extension().and_then(|extension| extension.to_str());
        if matches!(extension, Some("yaml" | "yml" | "json")) && file.is_file() {
            found.push(file);
        }
    }
    found.sort();
    if found.is_empty() { Err(Error::NoFiles { from: path.display().to_string() }) } else { Ok(found) }
}

fn text(path: &Path) -> Result<(String, String), Error> {
    let from = if path.as_os_str() == "-" { "standard input".to_owned() } else { path.display().to_string() };
    let mut text = String::new();
    let read = if path.as_os_str() == "-" {
        io::stdin().lock().take(MAX_BYTES + 1).read_to_string(&mut text)
    } else {
        fs::File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text))
    };
    match read {
        Ok(bytes) if u64::try_from(bytes).is_ok_and(|bytes| bytes <= MAX_BYTES) => Ok((from, text)),
        Ok(_) => Err(Error::TooLarge { from }),
        Err(source) => Err(Error::Unreadable { from, source }),
    }
}

impl Documents {
    fn add(&mut self, more: Config, from: &str) -> Result<(), Error> {
        let Config { providers, credentials, client_keys, redirects, routes, settings } = more;
        let mut note = |collection, count| {
            self.origins.extend(std::iter::repeat_n((collection, from.to_owned()), count));
        };
        note("providers", providers.len());
        note("credentials", credentials.len());
        note("client_keys", client_keys.len());
        note("redirects", redirects.len());
        note("routes", routes.len());
        note("settings", settings.iter().len());
        self.config.providers.extend(providers);
        self.config.credentials.extend(credentials);
        self.config.client_keys.extend(client_keys);
        self.config.redirects.extend(redirects);
        self.config.routes.extend(routes);
        if self.config.settings.is_some() && settings.is_some() {
            let first = self.origins.iter().find(|(collection, _)| *collection == "settings");
            let first = first.map(|(_, from)| from.clone()).unwrap_or_default();
            return Err(Error::SettingsTwice { first, second: from.to_owned() });
        }
        self.config.settings = self.config.settings.take().or(settings);
        Ok(())
    }

    /// What the control plane refused, in terms of these documents where it is about them.
    #[must_use]
    pub fn explain(&self, error: Refusal) -> Refusal {
        let Refusal::Refused { method, status } = error else { return error };
        let fields = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
        let rules = status.get_details_precondition_failure().map(|failed| failed.violations).unwrap_or_default();
        let about = |place: &str, what: &str| format!("{}: {what}", self.place(place));
        let inside = rules.iter().filter(|rule| rule.subject.starts_with("config."));
        let faults: Vec<String> = fields
            .iter()
            .map(|field| about(&field.field, &field.description))
            .chain(inside.map(|rule| about(&rule.subject, &rule.description)))
            .collect();
        if faults.is_empty() && status.code() != Code::InvalidArgument {
            return Refusal::Refused { method, status };
        }
        Refusal::Document { message: status.message().to_owned(), faults }
    }

    /// The resource, its document and the field, for a field's path in a request.
    fn place(&self, field: &str) -> String {
        let Some(inner) = field.strip_prefix("config.") else { return field.to_owned() };
        let (head, rest) = inner.split_once('.').unwrap_or((inner, ""));
        let (collection, index) = match head.split_once('[') {
            Some((collection, index)) => (collection, index.trim_end_matches(']').parse().unwrap_or(usize::MAX)),
            None => (head, 0),
        };
        let origin = self.origins.iter().filter(|(known, _)| *known == collection).nth(index);
        let Some((name, (_, from))) = self.name(collection, index).zip(origin) else { return field.to_owned() };
        let name = if name.is_empty() { head } else { name };
        if rest.is_empty() { format!("{name} ({from})") } else { format!("{name} ({from}): {rest}") }
    }

    fn name(&self, collection: &str, index: usize) -> Option<&str> {
        let Config { providers, credentials, client_keys, redirects, routes, settings } = &self.config;
        match collection {
            "providers" => providers.get(index).map(|resource| resource.name.as_str()),
            "credentials" => credentials.get(index).map(|resource| resource.name.as_str()),
            "client_keys" => client_keys.get(index).map(|resource| resource.name.as_str()),
            "redirects" => redirects.get(index).map(|resource| resource.name.as_str()),
            "routes" => routes.get(index).map(|resource| resource.name.as_str()),
            "settings" => settings.as_ref().map(|_| "settings"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn folder(files: &[(&str, &str)]) -> TempDir {
        let dir = TempDir::new().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    #[test]
    fn a_folder_is_merged_in_the_order_of_its_names_and_places_lead_back() {
        let dir = folder(&[
            ("b.yaml", "providers: [{name: providers/two}]\n---\nproviders: [{name: providers/three}]\n"),
            ("a.json", r#"{"providers": [{"name": "providers/one"}], "settings": {"basePath": "/llm"}}"#),
            ("notes.txt", "not a document"),
        ]);
        let documents = read(&[dir.path().to_owned()]).unwrap();
        let names: Vec<_> = documents.config.providers.iter().map(|provider| provider.name.as_str()).collect();
        assert_eq!(names, ["providers/one", "providers/two", "providers/three"]);
        let file = |name| dir.path().join(name).display().to_string();
        for (field, place) in [
            ("config.providers[0].base_url", format!("providers/one ({}): base_url", file("a.json"))),
            ("config.providers[2]", format!("providers/three ({})", file("b.yaml"))),
            ("config.settings.base_path", format!("settings ({}): base_path", file("a.json"))),
            ("config.providers[9].base_url", "config.providers[9].base_url".to_owned()),
            ("owner_labels", "owner_labels".to_owned()),
        ] {
            assert_eq!(documents.place(field), place);
        }
    }

    #[test]
    fn what_cannot_be_read_says_where() {
        for (file, text, words) in [
            ("a.json", "{\n  \"providers\": [{,}]}", "a.json:2:"),
            ("a.json", "{\n  \"provders\": []}", "a.json:2:"),
            ("a.yaml", "providers:\n  - name: providers/a\n    baseUrl: [\n", "a.yaml:"),
            (
                "a.yaml",
                "providers:\n  - name: providers/a\n    baseURL: x\n",
                "a.yaml:2: `providers[0]`: unrecognized field name 'baseURL'",
            ),
            (
                "a.yaml",
                "providers:\n  - name: providers/a\n    priority: sk-secret\n",
                "a.yaml:3: `providers[0].priority`",
            ),
            ("a.yaml", "settings: {}\n---\nprovider: []\n", "a.yaml: document 2: `the document`: unrecognized"),
            ("a.yaml", "settings: {}\n---\nsettings: {}\n", "there is one of them"),
        ] {
            let dir = folder(&[(file, text)]);
            let error = read(&[dir.path().join(file)]).unwrap_err().to_string();
            assert!(error.contains(words) && !error.contains("sk-secret"), "{text}: {error}");
        }
        let dir = folder(&[]);
        assert!(matches!(read(&[dir.path().to_owned()]), Err(Error::NoFiles { .. })));
        assert!(matches!(read(&[dir.path().join("none.yaml")]), Err(Error::Unreadable { .. })));
    }
}
