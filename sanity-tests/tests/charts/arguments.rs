//! Arguments and environment of our own containers, held against the programs' own parsers, so that
//! a chart cannot drift from a command line.

use clap::{Command, CommandFactory, Parser};
use sanity_tests::chart::Container;

/// Variables that the AWS SDK reads (credentials, FIPS) and that the programs do not declare.
const OF_THE_SDK: [&str; 8] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_USE_FIPS_ENDPOINT",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
];

/// Checks a container if it runs one of our programs.
pub(crate) fn check(container: &Container) {
    if !container.image().contains("aws-csi-driver") {
        return;
    }
    let program = container.commands().remove(0).remove(0);
    for command in container.commands() {
        parse(&command);
    }
    let declared = declared(&program);
    for name in container.env() {
        let known = declared.contains(&name) || OF_THE_SDK.contains(&name.as_str());
        // What a user adds through `env` is his own.
        assert!(known || name.starts_with("MY_"), "{program} does not read {name}");
    }
}

fn parse(command: &[String]) {
    let refused = match command[0].as_str() {
        "/bin/csi-controller" => csi_controller::args::Args::try_parse_from(command).err(),
        "/bin/csi-node" => {
            // kubelet gives the hook the environment of the container.
            let hook = command.get(1).is_some_and(|first| first == "pre-stop-hook");
            let more = hook.then(|| "--node-name=node".to_owned());
            csi_node::args::Args::try_parse_from(command.iter().cloned().chain(more)).err()
        }
        "/bin/efs-tunnel" => efs_tunnel::args::Args::try_parse_from(command).err(),
        other => panic!("{other} is not in the image"),
    };
    if let Some(error) = refused {
        panic!("{command:?}: {error}");
    }
}

fn declared(program: &str) -> Vec<String> {
    let command = match program {
        "/bin/csi-controller" => csi_controller::args::Args::command(),
        "/bin/csi-node" => csi_node::args::Args::command(),
        "/bin/efs-tunnel" => efs_tunnel::args::Args::command(),
        other => panic!("{other} is not in the image"),
    };
    let mut names = Vec::new();
    collect(&command, &mut names);
    names
}

fn collect(command: &Command, names: &mut Vec<String>) {
    let own = command.get_arguments().filter_map(|argument| argument.get_env());
    names.extend(own.map(|name| name.to_string_lossy().into_owned()));
    for sub in command.get_subcommands() {
        collect(sub, names);
    }
}
