//! What decides about a file: every name on the way to it that may be exchanged.
//!
//! A file is replaced by renaming another one over it, by exchanging a link on the way to it (as Kubernetes does with
//! `..data`), or with its whole folder. Whoever wants to hear of it has to look at all these names.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// As many links the system follows.
const MOST_LINKS: usize = 40;

/// A folder, and a name in it.
pub type Entry = (PathBuf, OsString);

/// The entries that decide which file stands at `path`: the last one, links on the way, and the folders of all these in
/// theirs. What does not exist yet is part of it.
pub fn deciding(path: &Path) -> BTreeSet<Entry> {
    let mut found = BTreeSet::new();
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut rest: Vec<OsString> = names(&absolute);
    let mut folder = PathBuf::from("/");
    let mut links = 0;
    while let Some(name) = rest.pop() {
        if name == ".." {
            folder.pop();
            continue;
        }
        let target = fs::read_link(folder.join(&name)).ok().filter(|_| links < MOST_LINKS);
        if target.is_some() || rest.is_empty() {
            if let (Some(parent), Some(own)) = (folder.parent(), folder.file_name()) {
                found.insert((parent.to_owned(), own.to_owned()));
            }
            found.insert((folder.clone(), name.clone()));
        }
        match target {
            Some(target) => {
                links += 1;
                if target.is_absolute() {
                    folder = PathBuf::from("/");
                }
                rest.extend(names(&target));
            }
            None => folder.push(name),
        }
    }
    found
}

/// The names of a path, the last one first.
fn names(path: &Path) -> Vec<OsString> {
    let names = path.components().rev().filter_map(|it| match it {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_on_the_way_and_their_folders_decide() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let [data, mounted] = ["data", "mounted"].map(|name| root.join(name));
        fs::create_dir_all(mounted.join("..1")).unwrap();
        fs::create_dir(&data).unwrap();
        symlink("..1", mounted.join("..data")).unwrap();
        symlink("..data/o.json", mounted.join("o.json")).unwrap();
        symlink("../mounted/o.json", data.join("o.json")).unwrap();
        let entry = |folder: &Path, name: &str| (folder.to_owned(), OsString::from(name));
        let expected = [
            entry(&data, "o.json"),
            entry(&root, "data"),
            entry(&mounted, "o.json"),
            entry(&mounted, "..data"),
            entry(&root, "mounted"),
            entry(&mounted.join("..1"), "o.json"),
            entry(&mounted, "..1"),
        ];
        assert_eq!(deciding(&data.join("o.json")), expected.into());
    }

    #[test]
    fn what_is_not_there_yet_is_waited_for_and_a_circle_ends() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        assert!(deciding(&root.join("none/x")).contains(&(root.clone(), "none".into())));
        symlink("b", root.join("a")).unwrap();
        symlink("a", root.join("b")).unwrap();
        assert!(deciding(&root.join("a")).contains(&(root, "b".into())));
    }
}
