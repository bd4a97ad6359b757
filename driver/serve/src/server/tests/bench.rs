//! A served plugin, its client and its log.

use std::future::pending;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Parser;
use csi_proto::csi::controller_client::ControllerClient;
use csi_proto::csi::controller_server::{Controller, ControllerServer};
use csi_proto::csi::plugin_capability::service::Type;
use csi_proto::csi::{CreateVolumeRequest, CreateVolumeResponse, Volume};
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;

use crate::server::ServeError;
use crate::{
    Deadline, Endpoint, Identity, Limits, Metrics, Readiness, ServeArgs, Server, health, subject,
};

/// Longest time a test waits for anything.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Low, so that a test can exceed them.
const LIMITS: Limits = Limits { reads: 2, mutations: 2 };

#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    serve: ServeArgs,
}

pub(super) fn args(endpoint: &Endpoint, more: &[&str]) -> ServeArgs {
    let endpoint = format!("--endpoint={endpoint}");
    Args::try_parse_from(["test", &endpoint].iter().chain(more)).unwrap().serve
}

/// A controller that goes by the volume's name.
#[derive(Debug, Clone)]
pub(super) struct Obedient {
    pub(super) started: Arc<Semaphore>,
    pub(super) go_on: Arc<Semaphore>,
}

#[tonic::async_trait]
impl Controller for Obedient {
    async fn create_volume(
        &self,
        request: Request<CreateVolumeRequest>,
    ) -> Result<Response<CreateVolumeResponse>, Status> {
        let deadline = Deadline::of(&request);
        let name = request.into_inner().name;
        subject::name(&name);
        self.started.add_permits(1);
        match name.as_str() {
            "panic" => panic!("a defect in the handler"),
            "refuse" => return Err(Status::invalid_argument("iops: must be a number")),
            "hang" => pending().await,
            "explain" => {
                tokio::time::sleep_until(deadline.instant()).await;
                return Err(Status::deadline_exceeded("vol-1 is still being made"));
            }
            "wait" => self.go_on.acquire().await.unwrap().forget(),
            _ => {}
        }
        subject::volume("vol-1");
        let volume = Volume { volume_id: "vol-1".to_owned(), ..Volume::default() };
        Ok(Response::new(CreateVolumeResponse { volume: Some(volume) }))
    }
}

/// Log lines as JSON values.
#[derive(Debug, Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The lines that say how a call ended.
    pub(super) fn ends(&self) -> Vec<String> {
        let ended = |line: &&str| line.contains("call ended");
        self.text().lines().filter(ended).map(str::to_owned).collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// A running server. Its log is that of the test's thread.
pub(super) struct Bench {
    pub(super) endpoint: Endpoint,
    pub(super) metrics: Metrics,
    pub(super) log: Log,
    pub(super) plugin: Obedient,
    pub(super) readiness: Arc<Mutex<Readiness>>,
    pub(super) shutdown: CancellationToken,
    pub(super) server: JoinHandle<Result<(), ServeError>>,
    _folder: TempDir,
    _logging: DefaultGuard,
}

impl Bench {
    pub(super) async fn start() -> Self {
        Self::start_with(&[], std::future::ready(())).await
    }

    pub(super) async fn start_with(
        more: &[&str],
        drain: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        let log = Log::default();
        let lines = crate::telemetry::json(log.clone()).with_filter(LevelFilter::DEBUG);
        let logging = tracing::subscriber::set_default(tracing_subscriber::registry().with(lines));

        let folder = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::Unix(folder.path().join("csi.sock"));
        let plugin =
            Obedient { started: Arc::new(Semaphore::new(0)), go_on: Arc::new(Semaphore::new(0)) };
        let readiness = Arc::new(Mutex::new(Readiness::Ready));
        let told = Arc::clone(&readiness);
        let identity = Identity::new("test.csi", "1.2.3", &[Type::ControllerService], &[])
            .with_readiness(move || told.lock().unwrap().clone());
        let routes =
            Routes::new(identity.into_service()).add_service(ControllerServer::new(plugin.clone()));

        let metrics = Metrics::new("aws_ebs_csi");
        let shutdown = CancellationToken::new();
        let server =
            Server::new(&args(&endpoint, more), metrics.clone(), routes).with_limits(LIMITS);
        let server = tokio::spawn(server.run(shutdown.clone(), drain));
        let bench = Self {
            endpoint,
            metrics,
            log,
            plugin,
            readiness,
            shutdown,
            server,
            _folder: folder,
            _logging: logging,
        };
        bench.wait_until_it_accepts().await;
        bench
    }

    async fn wait_until_it_accepts(&self) {
        let accepts = async {
            while health::connect(&self.endpoint).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, accepts).await.unwrap();
    }

    pub(super) fn path(&self) -> PathBuf {
        self.endpoint.path().unwrap().to_owned()
    }

    pub(super) async fn client(&self) -> ControllerClient<Channel> {
        ControllerClient::new(health::connect(&self.endpoint).await.unwrap())
    }

    pub(super) async fn create(&self, name: &str) -> Result<CreateVolumeResponse, Status> {
        let call = self.client().await;
        create(call, request(name)).await
    }

    /// Waits until a handler has begun.
    pub(super) async fn handler_started(&self) {
        timeout(PATIENCE, self.plugin.started.acquire()).await.unwrap().unwrap().forget();
    }

    /// Waits until the log holds as many ends of calls.
    pub(super) async fn ends(&self, count: usize) -> Vec<String> {
        let enough = async {
            while self.log.ends().len() < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            self.log.ends()
        };
        timeout(PATIENCE, enough).await.unwrap()
    }
}

pub(super) fn request(name: &str) -> CreateVolumeRequest {
    CreateVolumeRequest { name: name.to_owned(), ..CreateVolumeRequest::default() }
}

pub(super) async fn create(
    mut client: ControllerClient<Channel>,
    request: impl tonic::IntoRequest<CreateVolumeRequest>,
) -> Result<CreateVolumeResponse, Status> {
    timeout(PATIENCE, client.create_volume(request)).await.unwrap().map(Response::into_inner)
}
