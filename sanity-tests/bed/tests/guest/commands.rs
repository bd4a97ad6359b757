//! Commands, files, sockets and programs of the guest.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use csi_bed::{Guest, GuestError, SpawnError, command};

use super::{eventually, shared, timed};

#[test]
fn a_command_returns_its_output_and_its_status() {
    let Some(bed) = shared() else { return };
    let guest = bed.guest();
    assert_eq!(guest.run("uname -s").unwrap(), "Linux\n");
    timed("exec round trip", || guest.run("true")).unwrap();
    let failed = guest.run("echo bad news >&2; exit 7").unwrap_err();
    let GuestError::Failed { status: 7, stderr, .. } = failed else { panic!("{failed:?}") };
    assert_eq!(stderr, "bad news");
    let counted = guest.exec("wc -c", b"12345", Duration::from_secs(10)).unwrap();
    assert_eq!(counted.stdout, b"5\n");
    let late = guest.exec("sleep 20", &[], Duration::from_millis(200)).unwrap_err();
    assert!(matches!(late, GuestError::NoAnswer { .. }), "{late:?}");
}

#[test]
fn a_boot_leaves_a_kernel_log_and_a_console() {
    let Some(bed) = shared() else { return };
    assert!(bed.guest().dmesg().unwrap().contains("Linux version 6.1"));
    assert!(bed.console_tail(20).contains("BED ready"), "{}", bed.console_tail(20));
}

#[test]
fn files_of_any_length_arrive_as_they_were_both_ways() {
    let Some(bed) = shared() else { return };
    let (there, back) = (bed.run_dir().join("there"), bed.run_dir().join("back"));
    for length in [0, 1, 511, 512, 100_003] {
        let content: Vec<u8> = (0..length).map(|n: u32| n.to_le_bytes()[0] ^ 0x5a).collect();
        fs::write(&there, &content).unwrap();
        bed.guest().copy_in(&there, "/opt/a b/file", 0o751).unwrap();
        let seen = bed.guest().run("stat -c '%s %a' '/opt/a b/file'").unwrap();
        assert_eq!(seen, format!("{length} 751\n"));
        bed.guest().copy_out("/opt/a b/file", &back).unwrap();
        assert!(fs::read(&back).unwrap() == content, "{length} bytes differ");
    }
    bed.guest().write("/opt/small/it's", b"words").unwrap();
    assert_eq!(bed.guest().read("/opt/small/it's").unwrap(), b"words");
}

#[test]
fn forty_megabytes_arrive_with_their_checksum() {
    let Some(bed) = shared() else { return };
    let (there, back) = (bed.run_dir().join("big"), bed.run_dir().join("big-back"));
    let mut content = Vec::new();
    fs::File::open("/dev/urandom").unwrap().take(40_000_001).read_to_end(&mut content).unwrap();
    fs::write(&there, &content).unwrap();
    timed("copy 40 MB in", || bed.guest().copy_in(&there, "/opt/big", 0o600)).unwrap();
    let here = Command::new("sha256sum").stdin(fs::File::open(&there).unwrap()).output().unwrap();
    let seen = bed.guest().run("sha256sum </opt/big").unwrap();
    assert_eq!(seen, String::from_utf8(here.stdout).unwrap());
    timed("copy 40 MB out", || bed.guest().copy_out("/opt/big", &back)).unwrap();
    assert!(fs::read(&back).unwrap() == content);
}

#[test]
fn a_socket_of_the_guest_is_reached_from_the_host() {
    let Some(bed) = shared() else { return };
    let guest = bed.guest();
    guest.start("answer", "sh -c 'echo from the guest | nc -lUN /run/answer.sock'").unwrap();
    eventually("the guest listens", || guest.run("test -S /run/answer.sock").ok());
    let here = bed.run_dir().join("answer.sock");
    guest.forward_to_guest(&here, Path::new("/run/answer.sock")).unwrap();
    let mut stream = UnixStream::connect(&here).unwrap();
    stream.write_all(b"from the host\n").unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert_eq!(said, "from the guest\n");
    eventually("the guest heard", || {
        (guest.log("answer").unwrap() == "from the host\n").then_some(())
    });
}

#[test]
fn a_socket_of_the_host_is_reached_from_the_guest() {
    let Some(bed) = shared() else { return };
    let here = bed.run_dir().join("ask.sock");
    let listener = UnixListener::bind(&here).unwrap();
    bed.guest().forward_to_host(Path::new("/run/ask.sock"), &here).unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"from the host\n").unwrap();
    });
    assert_eq!(bed.guest().run("nc -dU /run/ask.sock").unwrap(), "from the host\n");
    server.join().unwrap();
}

#[test]
fn a_program_runs_on_is_seen_and_is_killed() {
    let Some(bed) = shared() else { return };
    let guest = bed.guest();
    guest
        .start("clock", "sh -c 'echo began; trap \"echo asked\" TERM; while :; do sleep 0.1; done'")
        .unwrap();
    assert!(guest.is_running("clock").unwrap());
    eventually("its word", || (guest.log("clock").unwrap() == "began\n").then_some(()));
    guest.signal("clock", "TERM").unwrap();
    eventually("its word", || (guest.log("clock").unwrap() == "began\nasked\n").then_some(()));
    guest.kill("clock").unwrap();
    assert!(!guest.is_running("clock").unwrap());
}

#[test]
fn a_process_beside_the_guest_has_a_network_of_its_own() {
    let Some(bed) = shared() else { return };
    let mut links = command("ip");
    links.args(["-o", "link"]).stdout(Stdio::piped());
    let links = bed.spawn(links).unwrap().wait_with_output().unwrap();
    let links = String::from_utf8(links.stdout).unwrap();
    assert_eq!(links.lines().count(), 1, "{links}");
    assert!(links.contains("lo: <LOOPBACK,UP"), "{links}");
    let unguarded = bed.spawn(Command::new("true")).unwrap_err();
    assert!(matches!(unguarded, SpawnError::Unguarded { .. }), "{unguarded:?}");
}

#[test]
fn the_guest_reaches_the_loopback_of_its_namespace_and_the_machine_does_not() {
    let Some(bed) = shared() else { return };
    let listener = bed.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        for _ in 0..2 {
            listener.accept().unwrap().0.write_all(b"from the host\n").unwrap();
        }
    });
    let mut said = String::new();
    bed.connect(address).unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "from the host\n");
    let ask = format!("nc -d {} {}", csi_bed::HOST_ADDRESS, address.port());
    assert_eq!(bed.guest().run(&ask).unwrap(), "from the host\n");
    server.join().unwrap();
    let outside = TcpStream::connect(address).unwrap_err();
    assert_eq!(outside.kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_folder_without_a_guest_is_refused() {
    assert!(Guest::open(Path::new("/nonexistent")).is_err());
}
