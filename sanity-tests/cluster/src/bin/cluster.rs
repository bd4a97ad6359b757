//! `make cluster`: a cluster with both charts for a person to play with, until standard input ends or
//! Ctrl-C; then nothing is left.
#![expect(clippy::print_stdout, reason = "it talks to the person who started it")]

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use csi_cluster::{Cluster, Driver};
use csi_sim::world::Settings;
use sanity_tests::chart::project;
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let outcome = Runtime::new().context("no runtime").and_then(|runtime| runtime.block_on(hold()));
    match outcome {
        Ok(()) => {
            println!("cluster: ended; nothing is left");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("cluster: FAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn hold() -> Result<()> {
    println!("cluster: starting (a minute or two; a quarter of an hour if nothing is built yet)");
    let cluster = Cluster::start(Settings::ec2()).await?;
    println!("cluster: helm install aws-ebs-csi-driver, aws-efs-csi-driver");
    cluster.install(Driver::Ebs, &json!({})).await?;
    cluster.install(Driver::Efs, &json!({})).await?;
    for class in ["gp3.yaml", "efs-sc.yaml"] {
        cluster.kubectl().apply_file(&project().join("deploy/examples").join(class))?;
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let kubeconfig = project().join("target/kubeconfig");
    std::fs::write(&kubeconfig, cluster.kubeconfig_outside(&listener)?)?;
    let kubeconfig = std::fs::canonicalize(kubeconfig)?;
    explain(&cluster, &kubeconfig.display().to_string());
    let stop = AtomicBool::new(false);
    let outcome = std::thread::scope(|scope| {
        let leading = scope.spawn(|| cluster.lead_to_api(&listener, &stop));
        let waited = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(asked_to_end())
        });
        stop.store(true, Ordering::Relaxed);
        let woken = listener.local_addr().and_then(TcpStream::connect);
        drop(woken);
        drop(leading.join());
        waited
    });
    std::fs::remove_file(&kubeconfig)?;
    outcome
}

fn explain(cluster: &Cluster, kubeconfig: &str) {
    println!(
        "\ncluster: ready. In another terminal:\n\n\
         \texport KUBECONFIG={kubeconfig} PATH={tools}:$PATH\n\
         \tkubectl get node,pods -A\n\
         \tkubectl apply -f deploy/examples/statefulset.yaml\n\
         \tkubectl get pvc,pv,volumeattachment\n\
         \tssh -F {run}/ssh_config bed lsblk      # the node\n\
         \tcurl --unix-socket {run}/admin.sock http://aws/_admin/state      # the simulated AWS\n\n\
         Ctrl-C ends all of it and leaves nothing.",
        tools = cluster.tools().display(),
        run = cluster.bed().run_dir().display(),
    );
}

async fn asked_to_end() -> Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = term.recv() => Ok(()),
        outcome = tokio::signal::ctrl_c() => Ok(outcome?),
    }
}
