//! What `fuzz/` asks of the readers of strangers' bytes, each by one function that panics where it breaks a promise. The
//! ordinary tests ask the same of every input that fuzzing has kept; the shipped program has none of this.

pub use crate::{
    front::properties::requests,
    identify::properties::{api_key, claims, did, document, header, key_set, message, metadata},
    source::properties::keys_file,
};

#[cfg(test)]
mod tests {
    use std::{
        fs,
        panic::catch_unwind,
        path::{Path, PathBuf},
    };

    type Property = fn(&[u8]);

    /// By the names of their targets.
    const PROPERTIES: [(&str, Property); 10] = [
        ("api_key", super::api_key),
        ("claims", super::claims),
        ("did", super::did),
        ("did_document", super::document),
        ("did_message", super::message),
        ("discovery", super::metadata),
        ("front", super::requests),
        ("jwks", super::key_set),
        ("jwt_header", super::header),
        ("keys_file", super::keys_file),
    ];

    #[test]
    fn every_input_that_fuzzing_kept_is_read_as_promised() {
        let mut broken = Vec::new();
        for (target, property) in PROPERTIES {
            // Written by hand or once a fault; and what a run has found to lead elsewhere.
            let [mut inputs, corpus] = ["cases", "corpus"].map(|folder| files(&format!("{folder}/{target}")));
            assert!(inputs.len() >= 5 && corpus.len() >= 5, "the inputs of {target} are not there");
            inputs.extend(corpus);
            for path in inputs {
                let input = fs::read(&path).unwrap();
                if catch_unwind(|| property(&input)).is_err() {
                    broken.push(path);
                }
            }
        }
        assert!(broken.is_empty(), "{broken:#?}");
    }

    #[test]
    fn each_target_has_its_property_here() {
        let targets: Vec<_> = files("targets")
            .iter()
            .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(targets, PROPERTIES.map(|(target, _)| target));
    }

    /// In the order of their names; none of a folder that is not there.
    fn files(folder: &str) -> Vec<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz").join(folder);
        let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    }
}
