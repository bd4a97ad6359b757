//! From efs-utils' files to what is served.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::{MOUNTING, ROOTS, SETTINGS, State, UpstreamError, config};
use crate::identity::{Authority, CredentialsMethod, Host, Identity, Target, Tls};
use crate::state::Entry;

/// The mount of one state file; none if it is not under the kubelet's folder.
pub(super) fn entry(
    folder: &Path,
    name: &str,
    port: u16,
    kubelet: &Path,
) -> Result<Option<Entry>, UpstreamError> {
    let path = folder.join(name);
    let text = read(&path)?;
    let state: State = serde_json::from_str(&text)
        .map_err(|source| UpstreamError::Format { path: path.clone(), source })?;
    if !state.mountpoint.as_ref().is_some_and(|mount| Path::new(mount).starts_with(kubelet)) {
        return Ok(None);
    }
    let wrong = |field| UpstreamError::Field { path: path.clone(), field };
    let settings = settings(&state).ok_or_else(|| wrong("cmd"))?;
    let settings = read(&folder.join(settings))?;
    let settings = config::parse(&settings);
    let identity = identity(name, &state, &settings).map_err(wrong)?;
    identity.check().map_err(|_contradiction| wrong("accessPoint"))?;
    Ok(Some(Entry { port, identity, failover: Vec::new() }))
}

fn read(path: &Path) -> Result<String, UpstreamError> {
    fs::read_to_string(path).map_err(|source| UpstreamError::File {
        path: path.to_owned(),
        doing: "reading it",
        source,
    })
}

/// The name of the file of settings, which the command line has with the folder of its time.
fn settings(state: &State) -> Option<String> {
    state.cmd.iter().chain(&state.files).find_map(|argument| {
        let name = Path::new(argument).file_name()?.to_str()?;
        name.starts_with(SETTINGS).then(|| name.to_owned())
    })
}

fn identity(
    name: &str,
    state: &State,
    settings: &BTreeMap<&str, &str>,
) -> Result<Identity, &'static str> {
    let file_system = match &state.tls.fs_id {
        Some(id) => id,
        None => name.trim_start_matches(MOUNTING).split('.').next().unwrap_or_default(),
    };
    let region = state.tls.region.as_deref().or_else(|| settings.get("region").copied());
    let access_point = state.tls.access_point.as_ref().map(|id| id.parse()).transpose();
    let target: Target =
        settings.get("connect").and_then(|target| target.parse().ok()).ok_or("connect")?;
    let secured = state.cmd.iter().any(|one| one == "--tls") || settings.contains_key("cert");
    Ok(Identity {
        file_system: file_system.parse().map_err(|_invalid| "fsId")?,
        access_point: access_point.map_err(|_invalid| "accessPoint")?,
        // In clear nothing is signed, and the region is of no use.
        region: region.unwrap_or("unknown").parse().map_err(|_invalid| "region")?,
        tls: if secured { Some(tls(state, settings, &target)?) } else { None },
        target,
    })
}

fn tls(
    state: &State,
    settings: &BTreeMap<&str, &str>,
    target: &Target,
) -> Result<Tls, &'static str> {
    let name = settings.get("checkHost").filter(|name| !name.is_empty());
    let server_name: Host = match name {
        Some(name) => name.parse().map_err(|_invalid| "checkHost")?,
        None => target.host.clone(),
    };
    let roots = settings.get("CAfile").filter(|_| settings.get("verify") != Some(&"0"));
    let method = state.tls.aws_credentials_method.as_deref();
    Ok(Tls {
        server_name,
        check_name: name.is_some(),
        authority: match roots {
            None => Authority::Unverified,
            Some(&ROOTS) => Authority::Amazon,
            Some(path) => Authority::File { path: path.into() },
        },
        iam: method.map(credentials).transpose()?,
    })
}

/// Pod Identity and the instance's role are found by the tunnel itself.
fn credentials(method: &str) -> Result<CredentialsMethod, &'static str> {
    let (kind, value) = method.split_once(':').ok_or("awsCredentialsMethod")?;
    match kind {
        "metadata" | "podidentity" => Ok(CredentialsMethod::Default),
        "ecs" => Ok(CredentialsMethod::Container { path: value.to_owned() }),
        "credentials" | "config" | "named_profile" => {
            Ok(CredentialsMethod::Profile { name: value.to_owned() })
        }
        "webidentity" => {
            let (role, file) = value.split_once(',').ok_or("awsCredentialsMethod")?;
            Ok(CredentialsMethod::WebIdentity {
                role_arn: role.to_owned(),
                token_file: file.into(),
            })
        }
        _ => Err("awsCredentialsMethod"),
    }
}
