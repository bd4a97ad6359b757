//! Names, addresses and rights by handle, context and options.

use super::*;
use crate::efs::options::Options;
use test_case::test_case;

pub(crate) fn here() -> Here {
    Here {
        region: "us-east-1".to_owned(),
        zone: "us-east-1a".to_owned(),
        zone_id: Some("use1-az6".to_owned()),
        suffix: None,
        check_name: true,
        ca_file: None,
    }
}

fn route(handle: &str, context: &[(&str, &str)], flags: &[&str]) -> Result<Route, RouteError> {
    let context = context.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
    Route::new(
        &handle.parse().unwrap(),
        &VolumeContext::parse(&context)?,
        &Options::parse(&flags)?.helper,
        &here(),
    )
}

const FS: &str = "fs-92107410";
const AP: &str = "efs:fs-92107410::fsap-0123456789abcdef0";
const NAME: &str = "fs-92107410.efs.us-east-1.amazonaws.com";

#[test]
fn a_volume_of_ours_goes_encrypted_to_the_regional_name_by_its_access_point() {
    let route = route(AP, &[], &[]).unwrap();
    assert_eq!(route.identity.access_point.unwrap().as_str(), "fsap-0123456789abcdef0");
    assert_eq!(route.identity.target.to_string(), format!("{NAME}:2049"));
    let tls = route.identity.tls.unwrap();
    assert_eq!((tls.server_name.as_str(), &tls.iam), (NAME, &None));
    assert!(tls.check_name);
    assert_eq!(tls.authority, Authority::Amazon);
}

#[test_case(&[], &["az=us-east-1c"], "us-east-1c.fs-92107410.efs.us-east-1.amazonaws.com:2049"; "zone")]
#[test_case(&[("crossaccount", "true")], &[], "use1-az6.fs-92107410.efs.us-east-1.amazonaws.com:2049"; "other account")]
#[test_case(&[("mounttargetip", "10.0.0.9")], &[], "10.0.0.9:2049"; "address in the context")]
#[test_case(&[], &["mounttargetip=fd00::9"], "[fd00::9]:2049"; "address in the options")]
fn the_target_is_where_it_is_said_to_be_and_its_name_stays(
    context: &[(&str, &str)],
    flags: &[&str],
    target: &str,
) {
    let identity = route(FS, context, flags).unwrap().identity;
    assert_eq!(identity.target.to_string(), target);
    assert_eq!(identity.tls.unwrap().server_name.as_str(), NAME, "the name without a zone");
}

#[test]
fn the_own_zones_address_is_first_and_the_others_stand_by() {
    let map = r#"{"us-east-1a":"10.0.0.1","us-east-1b":"10.0.0.2","us-east-1c":"10.0.0.3"}"#;
    let first = |flags: &[&str]| {
        let route = route(FS, &[("mounttargetipmap", map)], flags).unwrap();
        let all = [vec![route.identity.target], route.failover].concat();
        all.iter().map(|target| target.host.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(first(&[]), ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    assert_eq!(first(&["az=us-east-1c"]), ["10.0.0.3", "10.0.0.1", "10.0.0.2"]);
    assert_eq!(first(&["az=us-east-1f"]), ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
}

#[test]
fn credentials_come_from_where_the_options_say() {
    let iam = |flags: &[&str]| route(FS, &[], flags).unwrap().identity.tls.unwrap().iam;
    assert_eq!(iam(&["tls"]), None);
    assert_eq!(iam(&["iam"]), Some(CredentialsMethod::Default));
    let profile = CredentialsMethod::Profile { name: "Mine".to_owned() };
    assert_eq!(iam(&["iam", "awsprofile=Mine"]), Some(profile));
    let web = CredentialsMethod::WebIdentity {
        role_arn: "arn:aws:iam::1:role/R".to_owned(),
        token_file: "/t".into(),
    };
    assert_eq!(iam(&["iam", "rolearn=arn:aws:iam::1:role/R", "jwtpath=/t"]), Some(web));
}

#[test]
fn without_encryption_there_is_no_tls_unless_an_access_point_needs_it() {
    let plain = [("encryptInTransit", "false")];
    assert_eq!(route(FS, &plain, &["notls"]).unwrap().identity.tls, None);
    assert_eq!(route(FS, &plain, &[]).unwrap().identity.tls, None);
    assert!(route(AP, &plain, &[]).unwrap().identity.tls.is_some());
}

#[test]
fn who_vouches_for_a_mount_target_can_be_said() {
    let authority = |flags: &[&str]| route(FS, &[], flags).unwrap().identity.tls.unwrap().authority;
    assert_eq!(authority(&["verify=0"]), Authority::Unverified);
    assert_eq!(authority(&["cafile=/Ca.pem"]), Authority::File { path: "/Ca.pem".into() });
    assert_eq!(
        authority(&["region=us-iso-east-1"]),
        Authority::File { path: "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem".into() }
    );
}

#[test_case("us-east-1", "amazonaws.com")]
#[test_case("cn-north-1", "amazonaws.com.cn")]
#[test_case("us-iso-east-1", "c2s.ic.gov")]
#[test_case("us-isob-east-1", "sc2s.sgov.gov")]
#[test_case("us-isof-south-1", "csp.hci.ic.gov")]
#[test_case("eu-isoe-west-1", "cloud.adc-e.uk")]
#[test_case("eusc-de-east-1", "amazonaws.eu")]
fn each_partition_has_its_suffix(region: &str, suffix: &str) {
    let route = route(FS, &[], &[&format!("region={region}")]).unwrap();
    assert_eq!(route.identity.region.as_str(), region);
    assert!(route.identity.target.host.as_str().ends_with(&format!(".{region}.{suffix}")));
}

#[test_case(AP, &[], &["accesspoint=fsap-00000000000000000"], "mount_flags.accesspoint"; "two access points")]
#[test_case(FS, &[("encryptInTransit", "0")], &["tls"], "mount_flags.tls"; "tls and none")]
#[test_case(FS, &[], &["notls"], "mount_flags.notls"; "none and tls by default")]
#[test_case(AP, &[("encryptInTransit", "0")], &["notls"], "mount_flags.notls"; "access point in clear")]
#[test_case(FS, &[("encryptInTransit", "0")], &["iam"], "mount_flags.iam"; "iam in clear")]
#[test_case(FS, &[("mounttargetip", "10.0.0.1")], &["mounttargetip=10.0.0.2"], "mount_flags.mounttargetip"; "two addresses")]
#[test_case(FS, &[("crossaccount", "1")], &["az=us-east-1a"], "volume_context.crossaccount"; "zone in another account")]
fn contradictions_are_named(handle: &str, context: &[(&str, &str)], flags: &[&str], field: &str) {
    match route(handle, context, flags) {
        Err(RouteError::Invalid(invalid)) => assert_eq!(invalid.field, field),
        other => panic!("{other:?}"),
    }
}

#[test]
fn another_account_needs_the_zones_id() {
    let unknown = Here { zone_id: None, ..here() };
    let context = VolumeContext { cross_account: true, ..VolumeContext::default() };
    let found = Route::new(&FS.parse().unwrap(), &context, &Helper::default(), &unknown);
    assert_eq!(found, Err(RouteError::NoZoneId));
}
