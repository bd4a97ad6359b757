//! What the node does in Kubernetes, against an API server in this process that speaks HTTP.

#[cfg(test)]
mod api_server;
#[cfg(test)]
mod hook;
#[cfg(test)]
mod taint;
