//! Leaves nothing behind, even after `kill -9`: a shell outside waits for the end of this process
//! and then removes loop devices and folders. A clean end goes the same way, so the way is tested.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;

use super::DeviceError;
use super::command::{self, CommandError};

/// A file in a folder that says the folder is aws-sim's to empty.
const MARK: &str = ".aws-sim";

/// `$@` are the folders. Loop devices of files in them are released at once, or when the last
/// mount of them ends.
const CLEAN: &str = r#"
trap '' INT TERM HUP
cat >/dev/null
losetup -n -O NAME,BACK-FILE | while read -r device file; do
    for folder in "$@"; do
        case "$file" in "$folder"/*) losetup -d "$device" ;; esac
    done
done
rm -rf -- "$@"
"#;

/// The shell that waits.
#[derive(Debug)]
pub(crate) struct Cleaner(Child);

impl Cleaner {
    /// Claims folders, which must be absent, empty or claimed by an earlier run, and empties them.
    pub(crate) fn start(folders: &[PathBuf]) -> Result<Self, DeviceError> {
        let folders = folders.iter().map(|folder| claim(folder)).collect::<Result<Vec<_>, _>>()?;
        let names: Vec<&str> = folders.iter().filter_map(|folder| folder.to_str()).collect();
        Self(command::start_script(CLEAN, &names)?).finish()?;
        for folder in &folders {
            make(folder)?;
        }
        Ok(Self(command::start_script(CLEAN, &names)?))
    }

    /// Lets the shell do its work and waits for it.
    pub(crate) fn finish(mut self) -> Result<(), DeviceError> {
        drop(self.0.stdin.take());
        let failed =
            |stderr: String| CommandError::Failed { command: "the clean-up".to_owned(), stderr };
        let status = self.0.wait().map_err(|error| failed(error.to_string()))?;
        if status.success() { Ok(()) } else { Err(failed(status.to_string()).into()) }
    }
}

/// The folder's whole path, once it is certain that nobody else uses it.
fn claim(folder: &Path) -> Result<PathBuf, DeviceError> {
    make_parents(folder)?;
    let mut entries = fs::read_dir(folder).map_err(DeviceError::file("list", folder))?;
    if entries.next().is_some() && !folder.join(MARK).exists() {
        return Err(DeviceError::Foreign(folder.to_owned()));
    }
    make(folder)?;
    fs::canonicalize(folder).map_err(DeviceError::file("find", folder))
}

fn make_parents(folder: &Path) -> Result<(), DeviceError> {
    fs::create_dir_all(folder).map_err(DeviceError::file("make", folder))
}

fn make(folder: &Path) -> Result<(), DeviceError> {
    make_parents(folder)?;
    let mark = folder.join(MARK);
    fs::write(&mark, "aws-sim removes this folder\n").map_err(DeviceError::file("write", &mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_in_other_use_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let precious = folder.path().join("precious");
        fs::write(&precious, "x").unwrap();
        let error = Cleaner::start(&[folder.path().to_owned()]).unwrap_err();
        assert!(matches!(error, DeviceError::Foreign(_)));
        assert!(precious.exists());
    }

    #[test]
    fn what_an_earlier_run_left_is_swept_and_the_end_removes_all() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("disks");
        make(&folder).unwrap();
        fs::write(folder.join("vol-stale"), "x").unwrap();
        let cleaner = Cleaner::start(std::slice::from_ref(&folder)).unwrap();
        assert!(!folder.join("vol-stale").exists() && folder.join(MARK).exists());
        cleaner.finish().unwrap();
        assert!(!folder.exists());
    }
}
