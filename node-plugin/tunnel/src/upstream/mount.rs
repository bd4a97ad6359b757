//! From what is served to efs-utils' files.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::Offset;

use super::{KEY, PROXY, ROOTS, SETTINGS, State, TlsState, UpstreamError};
use crate::identity::{Authority, CredentialsMethod, Identity, Tls};
use crate::private_file;

/// One mount, as efs-utils keeps it.
#[derive(Debug, Clone)]
pub struct Mount {
    /// Whom it speaks for.
    pub identity: Identity,
    /// Its port.
    pub port: u16,
    /// Where it is mounted.
    pub mountpoint: PathBuf,
    /// When it was mounted.
    pub mounted_at: Timestamp,
    /// The node's host name.
    pub common_name: String,
}

impl Mount {
    /// Writes both files into `folder`, the settings first: a state without settings would be taken
    /// for a mount that cannot be served.
    pub fn record(&self, folder: &Path) -> Result<(), UpstreamError> {
        let settings = folder.join(format!("{SETTINGS}{}", self.name()));
        write(&settings, self.settings(folder).as_bytes())?;
        let path = folder.join(self.name());
        let text = serde_json::to_vec(&self.state(folder, &settings))
            .map_err(|source| UpstreamError::Format { path: path.clone(), source })?;
        write(&path, &text)
    }

    /// Whether there is a state of this mount, by whomever.
    #[must_use]
    pub fn is_recorded(&self, folder: &Path) -> bool {
        folder.join(self.name()).exists()
    }

    /// The name by which efs-utils finds a mount: file system, path with dots for slashes, port.
    fn name(&self) -> String {
        let path = self.mountpoint.to_string_lossy().replace('/', ".");
        let path = path.trim_start_matches('.');
        format!("{}.{path}.{}", self.identity.file_system, self.port)
    }

    fn state(&self, folder: &Path, settings: &Path) -> State {
        let settings = settings.display().to_string();
        let mut cmd = vec![PROXY.to_owned(), settings.clone()];
        if self.identity.tls.is_some() {
            cmd.push("--tls".to_owned());
        }
        cmd.push("--no-direct-s3-read".to_owned());
        let seconds = self.mounted_at.as_duration().as_secs_f64();
        State {
            cmd,
            files: vec![settings],
            mountpoint: Some(self.mountpoint.display().to_string()),
            mount_time: Some(seconds),
            pid: None,
            service_type: Some("elasticfilesystem".to_owned()),
            tls: self
                .identity
                .tls
                .as_ref()
                .map_or_else(TlsState::default, |tls| self.tls_state(folder, tls)),
        }
    }

    /// The certificate is not there; efs-utils makes it of these values.
    fn tls_state(&self, folder: &Path, tls: &Tls) -> TlsState {
        let own = format!("{}+", self.name());
        let certificate = folder.join(&own).join("certificate.pem");
        let made = Offset::UTC.to_datetime(self.mounted_at).strftime("%y%m%d%H%M%SZ");
        TlsState {
            mount_state_dir: Some(own),
            common_name: Some(self.common_name.clone()),
            region: Some(self.identity.region.to_string()),
            certificate_creation_time: Some(made.to_string()),
            certificate: Some(certificate.display().to_string()),
            private_key: Some(KEY.to_owned()),
            fs_id: Some(self.identity.file_system.to_string()),
            access_point: self.identity.access_point.as_ref().map(ToString::to_string),
            aws_credentials_method: tls.iam.as_ref().map(method),
        }
    }

    fn settings(&self, folder: &Path) -> String {
        let own = folder.join(format!("{}+", self.name()));
        let mut text = format!(
            "fips = no\nforeground = yes\nsocket = l:SO_REUSEADDR=yes\n\
             socket = a:SO_BINDTODEVICE=lo\npid = {}\n[efs]\nclient = yes\n\
             accept = 127.0.0.1:{}\nconnect = {}\nsslVersion = TLSv1.2\nrenegotiation = no\n\
             TIMEOUTbusy = 20\nTIMEOUTclose = 0\nTIMEOUTidle = 70\ndelay = yes\n\
             fs_id = {}\nregion = {}\nretry_nfs_mount_command_timeout_sec = 15\n",
            own.join("stunnel.pid").display(),
            self.port,
            self.identity.target,
            self.identity.file_system,
            self.identity.region,
        );
        if let Some(tls) = &self.identity.tls {
            text.push_str(&secured(tls, &own));
        }
        text
    }
}

fn secured(tls: &Tls, own: &Path) -> String {
    let certificate = own.join("certificate.pem");
    let mut text = format!("cert = {}\nkey = {KEY}\n", certificate.display());
    let roots = match &tls.authority {
        Authority::Amazon => Some(Path::new(ROOTS)),
        Authority::File { path } => Some(path.as_path()),
        Authority::Unverified => None,
    };
    // Writing to a String cannot fail.
    let _ = match roots {
        Some(roots) => writeln!(text, "verify = 2\nCAfile = {}", roots.display()),
        None => writeln!(text, "verify = 0"),
    };
    if tls.check_name {
        let _ = writeln!(text, "checkHost = {}", tls.server_name);
    }
    text
}

/// Removes the files of a mount, and those that efs-utils made of them. It is no error if they are
/// gone.
pub(super) fn remove(folder: &Path, name: &str) -> Result<(), UpstreamError> {
    let gone = |path: PathBuf, removed: io::Result<()>| match removed {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(UpstreamError::File { path, doing: "removing it", source })
        }
        Ok(()) | Err(_) => Ok(()),
    };
    let own = folder.join(format!("{name}+"));
    gone(own.clone(), fs::remove_dir_all(own))?;
    // The state is the last, so that what is cut short is found again.
    for name in [format!("{SETTINGS}{name}"), name.to_owned()] {
        let path = folder.join(name);
        gone(path.clone(), fs::remove_file(path))?;
    }
    Ok(())
}

/// The source by efs-utils' name. What the tunnel finds by itself, efs-utils finds by itself too.
fn method(method: &CredentialsMethod) -> String {
    match method {
        CredentialsMethod::Default => "metadata:".to_owned(),
        CredentialsMethod::WebIdentity { role_arn, token_file } => {
            format!("webidentity:{role_arn},{}", token_file.display())
        }
        CredentialsMethod::Container { path } => format!("ecs:{path}"),
        CredentialsMethod::Profile { name } => format!("named_profile:{name}"),
    }
}

/// A crash leaves the whole file or none.
fn write(path: &Path, text: &[u8]) -> Result<(), UpstreamError> {
    let new =
        path.with_file_name(format!(".{}", path.file_name().unwrap_or_default().to_string_lossy()));
    let written = private_file::write(&new, text).and_then(|_file| fs::rename(&new, path));
    written.map_err(|source| UpstreamError::File {
        path: path.to_owned(),
        doing: "writing it",
        source,
    })
}
