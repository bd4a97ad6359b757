//! What the kernel's NFS client still uses. A port that it knows must not be closed: the mount table
//! is no proof, since a lazily detached mount with unwritten pages is gone there and still needs its
//! port.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

/// 127.0.0.1 as the file writes it.
const LOOPBACK: &str = "7f000001";

/// The ports of 127.0.0.1 in a file such as `/proc/fs/nfsfs/servers`, whose lines are: version,
/// address, port (both in hex), use count, host. Without the file the kernel has no NFS client.
pub(crate) fn ports_in_use(servers: &Path) -> io::Result<BTreeSet<u16>> {
    match std::fs::read_to_string(servers) {
        Ok(text) => Ok(parse(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(error),
    }
}

fn parse(text: &str) -> BTreeSet<u16> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            let (address, port) = (words.next()?, words.next()?);
            (address == LOOPBACK).then(|| u16::from_str_radix(port, 16).ok())?
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ports_of_the_loopback_are_in_use() {
        let text = "NV SERVER   PORT USE HOSTNAME\n\
                    v4 7f000001 4e51   1 127.0.0.1\n\
                    v4 0a000001  801   2 10.0.0.1\n\
                    v4 7f000001 4e52   0 127.0.0.1\n";
        assert_eq!(parse(text), BTreeSet::from([20_049, 20_050]));
    }

    #[test]
    fn a_kernel_without_nfs_uses_none() {
        assert_eq!(ports_in_use(Path::new("/nowhere/servers")).unwrap(), BTreeSet::new());
    }
}
