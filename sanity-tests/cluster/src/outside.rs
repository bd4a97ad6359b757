//! The API server for a person's kubectl: at a port of this machine's loopback, for as long as the
//! cluster lives. Tests need none; they run kubectl within the bed's network namespace.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::Result;

use crate::{API, Cluster};

impl Cluster {
    /// Leads connections to `listener` to the API server until `stop` is set; the last one to come
    /// must be made by whoever sets it.
    pub fn lead_to_api(&self, listener: &TcpListener, stop: &AtomicBool) -> Result<()> {
        let address: SocketAddr = API.trim_start_matches("https://").parse()?;
        for client in listener.incoming() {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let (client, server) = (client?, self.bed().connect(address)?);
            copy(client.try_clone()?, server.try_clone()?);
            copy(server, client);
        }
        Ok(())
    }

    /// A kubeconfig of an administrator for the API server behind [`Cluster::lead_to_api`].
    pub fn kubeconfig_outside(&self, listener: &TcpListener) -> Result<String> {
        let server = format!("https://{}", listener.local_addr()?);
        Ok(std::fs::read_to_string(self.kubeconfig())?.replace(API, &server))
    }
}

/// Copies one way until either end closes.
fn copy(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        // An end that is reset ends the connection like one that is closed.
        let _copied = io::copy(&mut from, &mut to);
        let _gone = to.shutdown(Shutdown::Write);
    });
}
