//! Which link between a pod and its instance's metadata is broken, and what to do.

use std::error::Error;

use http::StatusCode;

use crate::endpoint::ImdsEndpoint;

/// Why the metadata service gave no facts. All of these come within three seconds.
#[derive(Debug, thiserror::Error)]
pub enum ImdsError {
    /// There is no connection.
    #[error(
        "cannot connect to IMDS at {endpoint}: this is no EC2 instance, or a network policy keeps \
         pods away from it; use --metadata-sources=kubernetes"
    )]
    Unreachable {
        /// The service.
        endpoint: ImdsEndpoint,
        /// What the connection failed with.
        source: Box<dyn Error + Send + Sync>,
    },
    /// There is a connection, but the token does not come. The hop limit counts for the answer to
    /// this one request only, which is why the connection looks healthy.
    #[error(
        "no answer from IMDS at {endpoint}: a hop limit of 1 keeps pods away from it; set \
         httpPutResponseHopLimit=2 or use --metadata-sources=kubernetes"
    )]
    NoToken {
        /// The service.
        endpoint: ImdsEndpoint,
    },
    /// A token came, but then no answer.
    #[error("IMDS at {endpoint} gave a token but does not answer {path}; try again")]
    Silent {
        /// The service.
        endpoint: ImdsEndpoint,
        /// What was asked for.
        path: String,
    },
    /// The connection broke in the middle of an answer, or what came was no HTTP.
    #[error("the connection to IMDS at {endpoint} broke during {path}; try again")]
    Broken {
        /// The service.
        endpoint: ImdsEndpoint,
        /// What was asked for.
        path: String,
        /// What broke.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The service is switched off for this instance.
    #[error(
        "IMDS at {endpoint} refuses {path} (403): the instance's metadata options disable it; set \
         httpEndpoint=enabled or use --metadata-sources=kubernetes"
    )]
    Disabled {
        /// The service.
        endpoint: ImdsEndpoint,
        /// What was asked for.
        path: String,
    },
    /// Another status than 200.
    #[error("IMDS at {endpoint} answered {path} with {status}")]
    Refused {
        /// The service.
        endpoint: ImdsEndpoint,
        /// What was asked for.
        path: String,
        /// Its answer.
        status: StatusCode,
    },
    /// The answer is not what the documentation promises.
    #[error("IMDS at {endpoint} answered {path} with something else than {expected}")]
    Malformed {
        /// The service.
        endpoint: ImdsEndpoint,
        /// What was asked for.
        path: String,
        /// What it should be.
        expected: &'static str,
        /// Why it is not.
        source: Box<dyn Error + Send + Sync>,
    },
}
