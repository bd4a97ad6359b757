//! Files as efs-utils 3.2.0 leaves them, and ours read back.

use std::collections::BTreeSet;

use super::*;
use crate::identity::{Authority, CredentialsMethod, Identity, Tls};

const POD: &str = "/var/lib/kubelet/pods/1/volumes/kubernetes.io~csi/pv/mount";
const NAME: &str = "fs-92107410.var.lib.kubelet.pods.1.volumes.kubernetes.io~csi.pv.mount.20060";

fn folder(state: &str, settings: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(NAME), state).unwrap();
    fs::write(folder.path().join(format!("stunnel-config.{NAME}")), settings).unwrap();
    folder
}

fn found(folder: &Path) -> Vec<Entry> {
    live(folder, Path::new("/var/lib/kubelet"), &BTreeSet::from([20_060]))
}

fn secure() -> Identity {
    Identity {
        file_system: "fs-92107410".parse().unwrap(),
        access_point: Some("fsap-0123456789abcdef0".parse().unwrap()),
        region: "eu-central-1".parse().unwrap(),
        target: "10.0.0.7:2049".parse().unwrap(),
        tls: Some(Tls {
            server_name: "fs-92107410.efs.eu-central-1.amazonaws.com".parse().unwrap(),
            check_name: true,
            authority: Authority::Amazon,
            iam: Some(CredentialsMethod::WebIdentity {
                role_arn: "arn:aws:iam::1:role/efs".to_owned(),
                token_file: "/var/run/secrets/token".into(),
            }),
        }),
    }
}

fn state() -> String {
    format!(
        "{{\"pid\": 71, \"cmd\": [\"/usr/bin/efs-proxy\", \"/var/run/efs/stunnel-config.{NAME}\", \
         \"--tls\", \"--no-direct-s3-read\"], \"files\": [\"/var/run/efs/stunnel-config.{NAME}\"], \
         \"mount_time\": 1782907200.5, \"mountpoint\": \"{POD}\", \"commonName\": \"node\", \
         \"region\": \"eu-central-1\", \"fsId\": \"fs-92107410\", \"accessPoint\": \
         \"fsap-0123456789abcdef0\", \"awsCredentialsMethod\": \
         \"webidentity:arn:aws:iam::1:role/efs,/var/run/secrets/token\", \"unmount_count\": 0}}"
    )
}

const SETTINGS_TLS: &str = "fips = no\n[efs]\nclient = yes\naccept = 127.0.0.1:20060\n\
    connect = 10.0.0.7:2049\nverify = 2\nCAfile = /etc/amazon/efs/efs-utils.crt\n\
    cert = /var/run/efs/x+/certificate.pem\n\
    checkHost = fs-92107410.efs.eu-central-1.amazonaws.com\n";

#[test]
fn a_live_mount_of_efs_utils_is_served_on_its_port() {
    let folder = folder(&state(), SETTINGS_TLS);
    let entry = Entry { port: 20_060, identity: secure(), failover: Vec::new() };
    assert_eq!(found(folder.path()), [entry]);
}

#[test]
fn a_mount_in_clear_of_a_stunnel_era_is_served_too() {
    let state = format!(
        "{{\"pid\": 71, \"cmd\": [\"/usr/bin/stunnel5\", \"/var/run/efs/stunnel-config.{NAME}\"], \
         \"files\": [], \"mountpoint\": \"{POD}\"}}"
    );
    let folder = folder(&state, "[efs]\nconnect = fs-92107410.efs.x.amazonaws.com:2049\n");
    let identity = found(folder.path()).pop().unwrap().identity;
    assert_eq!(identity.tls, None);
    assert_eq!(identity.target.to_string(), "fs-92107410.efs.x.amazonaws.com:2049");
}

#[test]
fn mounts_that_the_kernel_forgot_or_that_belong_to_the_host_are_left_alone() {
    let folder = folder(&state(), SETTINGS_TLS);
    assert_eq!(live(folder.path(), Path::new("/var/lib/kubelet"), &BTreeSet::new()), []);
    assert_eq!(live(folder.path(), Path::new("/mnt"), &BTreeSet::from([20_060])), []);
}

#[test]
fn a_hostile_or_torn_file_is_not_served() {
    for (good, bad) in [
        ("fsap-0123456789abcdef0", "fsap-x"),
        ("\"region\": \"eu-central-1\"", "\"region\": \"EU\\n\""),
        ("stunnel-config", "other-config"),
        ("}", ""),
    ] {
        let folder = folder(&state().replace(good, bad), SETTINGS_TLS);
        assert_eq!(found(folder.path()), [], "{bad}");
    }
}

#[test]
fn what_is_recorded_of_a_mount_is_read_back_and_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let clear = Identity { access_point: None, tls: None, ..secure() };
    for identity in [secure(), clear] {
        let mount = Mount {
            identity: identity.clone(),
            port: 20_060,
            mountpoint: POD.into(),
            mounted_at: "2026-07-01T12:00:00.5Z".parse().unwrap(),
            common_name: "node".to_owned(),
        };
        mount.record(folder.path()).unwrap();
        let entry = Entry { port: 20_060, identity, failover: Vec::new() };
        assert_eq!(found(folder.path()), [entry]);
        let state = fs::read_to_string(folder.path().join(NAME)).unwrap();
        let state: serde_json::Value = serde_json::from_str(&state).unwrap();
        assert_eq!(state["mount_time"], 1_782_907_200.5);
        assert_eq!(state["cmd"][0], "/usr/bin/efs-proxy");
        assert!(state.get("pid").is_none(), "no process serves it for efs-utils");
        assert!(mount.is_recorded(folder.path()));
        fs::create_dir(folder.path().join(format!("{NAME}+"))).unwrap();
        let left = |mounted| leftovers(folder.path(), Path::new("/var/lib"), |_, _| mounted);
        assert_eq!(left(true), []);
        let mut left = left(false);
        let own = left.pop().unwrap();
        assert_eq!((own.port, own.foreign, left.len()), (20_060, false, 0));
        own.remove(folder.path()).unwrap();
        own.remove(folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[test]
fn what_efs_utils_left_is_told_apart_and_what_is_the_hosts_or_torn_is_not_ours_to_remove() {
    let folder = folder(&state(), SETTINGS_TLS);
    let left = |kubelet: &str| leftovers(folder.path(), Path::new(kubelet), |_, _| false);
    assert!(left("/var/lib/kubelet").iter().all(|one| one.foreign && one.port == 20_060));
    assert_eq!((left("/var/lib/kubelet").len(), left("/mnt")), (1, vec![]));
    fs::rename(folder.path().join(NAME), folder.path().join(format!("~{NAME}"))).unwrap();
    assert_eq!(left("/var/lib/kubelet"), [], "it is being mounted");
    fs::write(folder.path().join(NAME), "{").unwrap();
    assert_eq!(left("/var/lib/kubelet"), []);
}
