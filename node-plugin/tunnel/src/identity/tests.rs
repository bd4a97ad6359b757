//! What an identity accepts, and how it reads on the wire.

use super::*;

fn identity() -> Identity {
    Identity {
        file_system: "fs-92107410".parse().unwrap(),
        access_point: Some("fsap-0123456789abcdef0".parse().unwrap()),
        region: "eu-central-1".parse().unwrap(),
        target: "10.0.0.1".parse().unwrap(),
        tls: Some(Tls {
            server_name: "fs-92107410.efs.eu-central-1.amazonaws.com".parse().unwrap(),
            check_name: true,
            authority: Authority::Amazon,
            iam: Some(CredentialsMethod::Default),
        }),
    }
}

#[test]
fn an_identity_reads_back_as_it_was_written() {
    let text = serde_json::to_string(&identity()).unwrap();
    assert_eq!(
        text,
        "{\"file_system\":\"fs-92107410\",\"access_point\":\"fsap-0123456789abcdef0\",\
         \"region\":\"eu-central-1\",\"target\":\"10.0.0.1:2049\",\"tls\":{\"server_name\":\
         \"fs-92107410.efs.eu-central-1.amazonaws.com\",\"authority\":{\"roots\":\"amazon\"},\
         \"iam\":{\"method\":\"default\"}}}"
    );
    assert_eq!(serde_json::from_str::<Identity>(&text).unwrap(), identity());
}

#[test]
fn hostile_text_is_no_part_of_an_identity() {
    for text in ["", "fs-", "fs-1234567", "fs-9210741G", "fs-92107410\n", "fs-92107410,x=y"] {
        assert!(text.parse::<FileSystemId>().is_err(), "{text:?}");
    }
    for text in ["a b", "a\nb", "-a", "a..b", "a/b", "a,b", ""] {
        assert!(text.parse::<Host>().is_err(), "{text:?}");
        assert!(text.parse::<Target>().is_err(), "{text:?}");
    }
    assert!("h:0".parse::<Target>().is_err());
    assert!("h:70000".parse::<Target>().is_err());
    assert!("EU".parse::<Region>().is_err());
}

#[test]
fn a_target_is_a_name_or_an_address_of_either_family() {
    for (text, written) in [
        ("fs-1.efs.x.amazonaws.com", "fs-1.efs.x.amazonaws.com:2049"),
        ("10.0.0.1:20", "10.0.0.1:20"),
        ("fd00::1", "[fd00::1]:2049"),
        ("[fd00::1]:20", "[fd00::1]:20"),
    ] {
        assert_eq!(text.parse::<Target>().unwrap().to_string(), written);
    }
}

#[test]
fn an_access_point_without_tls_is_refused() {
    let clear = Identity { tls: None, ..identity() };
    assert_eq!(clear.check(), Err(InvalidIdentity::AccessPointInClear));
    assert_eq!(Identity { access_point: None, ..clear }.check(), Ok(()));
}

#[test]
fn a_relative_file_of_roots_is_refused() {
    let mut relative = identity();
    relative.tls.as_mut().unwrap().authority = Authority::File { path: "roots.pem".into() };
    assert!(matches!(relative.check(), Err(InvalidIdentity::RelativePath { .. })));
}
