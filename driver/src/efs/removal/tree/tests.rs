//! Trees on this machine's own disk.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::*;

struct Bench {
    folder: tempfile::TempDir,
    root: OwnedFd,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::File::open(folder.path()).unwrap().into();
        Self { folder, root }
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.folder.path().join(path)
    }

    fn file(&self, path: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), path).unwrap();
    }

    fn bury(&self, path: &str) -> Result<Option<String>, TreeError> {
        bury(self.root.as_fd(), &removal(path), &owner(1))
    }

    fn purge(&self, ids: &[AccessPointId]) -> Result<u64, TreeError> {
        purge(self.root.as_fd(), |id| ids.contains(id), &CancellationToken::new())
    }

    fn trash(&self) -> std::path::PathBuf {
        self.path(TRASH)
    }
}

fn removal(path: &str) -> Removal {
    Removal { components: path.split('/').map(str::to_owned).collect() }
}

fn owner(n: u32) -> AccessPointId {
    format!("fsap-{n:08x}").parse().unwrap()
}

fn stays(result: Result<Option<String>, TreeError>) -> Kept {
    match result {
        Err(TreeError::Kept(why)) => why,
        other => unreachable!("it was to stay: {other:?}"),
    }
}

#[test]
fn a_directory_is_moved_and_deleted_with_all_that_is_in_it_and_nothing_else() {
    let bench = Bench::new();
    for n in 0..50 {
        bench.file(&format!("base/own/dir-{n}/file"));
        bench.file(&format!("base/own/file-{n}"));
    }
    bench.file("base/other/file");
    symlink(bench.path("base/other"), bench.path("base/own/link")).unwrap();
    let entry = bench.bury("base/own").unwrap().unwrap();
    assert!(!bench.path("base/own").exists());
    assert!(bench.trash().join(&entry).join("file-7").exists());
    assert_eq!(bench.purge(&[owner(2)]).unwrap(), 0, "another's entry is left alone");
    assert_eq!(bench.purge(&[owner(1)]).unwrap(), 50 * 3 + 2);
    assert!(!bench.trash().exists());
    assert!(bench.path("base/other/file").exists());
    assert_eq!(bench.bury("base/own").unwrap(), None, "it is gone");
    assert_eq!(bench.purge(&[owner(1)]).unwrap(), 0);
}

#[test]
fn a_tree_of_any_depth_and_a_directory_of_many_names_are_deleted() {
    let bench = Bench::new();
    let deep = format!("own/{}", ["d"; 300].join("/"));
    bench.file(&format!("{deep}/file"));
    for n in 0..=(AT_ONCE * 2) {
        bench.file(&format!("own/{n}"));
    }
    bench.bury("own").unwrap().unwrap();
    bench.purge(&[owner(1)]).unwrap();
    assert!(!bench.trash().exists());
}

#[test]
fn a_link_anywhere_in_the_path_and_what_is_no_directory_stay() {
    let bench = Bench::new();
    bench.file("real/vol/file");
    bench.file("plain");
    symlink("real", bench.path("linked")).unwrap();
    symlink("real/vol", bench.path("last")).unwrap();
    symlink("/", bench.path("out")).unwrap();
    assert!(matches!(stays(bench.bury("linked/vol")), Kept::Link { .. }));
    assert!(matches!(stays(bench.bury("out/tmp")), Kept::Link { .. }));
    let last = stays(bench.bury("last"));
    assert!(matches!(last, Kept::Link { .. } | Kept::NotADirectory { .. }), "{last}");
    assert!(matches!(stays(bench.bury("plain")), Kept::NotADirectory { .. }));
    assert!(matches!(stays(bench.bury("plain/x")), Kept::NotADirectory { .. }));
    assert!(bench.path("real/vol/file").exists() && bench.path("plain").exists());
}

#[test]
fn nothing_outside_the_root_is_found() {
    let bench = Bench::new();
    bench.file("inner/file");
    bench.file("outer/file");
    let inner: OwnedFd = fs::File::open(bench.path("inner")).unwrap().into();
    let up = Removal { components: vec!["..".to_owned(), "outer".to_owned()] };
    assert!(bury(inner.as_fd(), &up, &owner(1)).is_err());
    let none = Removal { components: vec![] };
    assert!(matches!(stays(bury(inner.as_fd(), &none, &owner(1))), Kept::NoDirectory { .. }));
    assert!(bench.path("outer/file").exists() && bench.path("inner/file").exists());
}

#[test]
fn a_purge_that_was_cut_short_is_finished_by_the_next() {
    let bench = Bench::new();
    for n in 0..20 {
        bench.file(&format!("own/{n}/file"));
    }
    bench.bury("own").unwrap().unwrap();
    let stop = CancellationToken::new();
    stop.cancel();
    let stopped = purge(bench.root.as_fd(), |_| true, &stop);
    assert!(matches!(stopped, Err(TreeError::Stopped)), "{stopped:?}");
    assert!(bench.trash().exists());
    // A tenant's mount made the directory again in the meantime.
    bench.file("own/again");
    bench.bury("own").unwrap().unwrap();
    bench.purge(&[owner(1)]).unwrap();
    assert!(!bench.trash().exists() && !bench.path("own").exists());
}

#[test]
fn an_entry_goes_back_to_its_place_unless_that_is_taken() {
    let bench = Bench::new();
    bench.file("base/own/file");
    let entry = bench.bury("base/own").unwrap().unwrap();
    assert!(dig_up(bench.root.as_fd(), &removal("base/own"), &entry).unwrap());
    assert!(bench.path("base/own/file").exists());
    let entry = bench.bury("base/own").unwrap().unwrap();
    bench.file("base/own/of-another");
    assert!(!dig_up(bench.root.as_fd(), &removal("base/own"), &entry).unwrap());
    assert!(bench.path("base/own/of-another").exists());
    bench.purge(&[owner(1)]).unwrap();
    let kept = bench.trash().join(format!("{KEPT}{entry}")).join("file");
    assert!(kept.exists(), "what is kept is not purged");
}

#[test]
fn a_trash_folder_that_is_a_link_or_a_file_is_not_used() {
    let bench = Bench::new();
    bench.file("own/file");
    bench.file("else/fsap-00000001.1/precious");
    symlink("else", bench.trash()).unwrap();
    assert!(matches!(bench.bury("own"), Err(TreeError::Trash)));
    assert!(matches!(bench.purge(&[owner(1)]), Err(TreeError::Trash)));
    assert!(bench.path("else/fsap-00000001.1/precious").exists());
    fs::remove_file(bench.trash()).unwrap();
    bench.file(TRASH);
    assert!(matches!(bench.bury("own"), Err(TreeError::Trash)));
    assert!(bench.path("own/file").exists());
}

#[test]
fn names_in_the_trash_that_are_not_the_drivers_are_left_alone() {
    let bench = Bench::new();
    bench.file(&format!("{TRASH}/notes/file"));
    bench.file("own/file");
    bench.bury("own").unwrap().unwrap();
    purge(bench.root.as_fd(), |_| true, &CancellationToken::new()).unwrap();
    assert!(Path::new(&bench.trash()).join("notes/file").exists());
}
