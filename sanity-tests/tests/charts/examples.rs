//! The examples, and the classes that the README shows.

use std::path::PathBuf;

use sanity_tests::chart::{Object, project};

fn read(path: &str) -> String {
    std::fs::read_to_string(project().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Blocks of the language in a Markdown text.
pub(crate) fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    text.split(fence.as_str()).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn the_readme_shows_the_storage_classes_as_they_are() {
    let readme = read("README.md");
    for file in ["deploy/examples/gp3.yaml", "deploy/examples/efs-sc.yaml"] {
        let class = read(file);
        assert!(blocks(&readme, "yaml").contains(&class.as_str()), "{file} is not in the README");
    }
}

#[test]
fn every_example_is_an_object_with_kind_and_name() {
    let folder = project().join("deploy/examples");
    let files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 2);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let objects = Object::read_all(&text).unwrap_or_else(|error| panic!("{file:?}: {error}"));
        assert!(!objects.is_empty(), "{file:?}");
    }
}
