#!/bin/bash
# Prepares what a cluster needs beside the guest: Kubernetes, etcd and the official sidecars, built
# from the pinned versions of tools/, and a disk with the images that pods of the charts and of the
# tests need. Kept in the cache by the hash of all that it is made from. Idempotent. Progress goes to
# standard error; the last line on standard output is the folder.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${CSI_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/csi-driver}
helm=$cache/bin/helm-v3.19.0
charts=$here/../../deploy/charts
say() { echo "cluster: $*" >&2; }
. "$here/containerd.sh"

# The images that the charts name themselves, so that they are installed with their own values.
images() {
  for chart in aws-ebs-csi-driver aws-efs-csi-driver; do
    "$helm" template "$chart" "$charts/$chart" --api-versions snapshot.storage.k8s.io/v1
  done | sed -n 's/^ *image: *"\{0,1\}\([^"]*\)"\{0,1\}$/\1/p' | grep -v '^localhost/' | sort -u
}
# What pods of the examples run.
busybox=public.ecr.aws/docker/library/busybox:1.36

wanted=$(images)
tools=$("$here/tools/build.sh")
hash=$( (cat "$here/prepare.sh" "$here/containerd.sh"; echo "$wanted"; basename "$tools") | sha256sum | cut -c1-16)
folder=$cache/cluster/$hash

# pack OUT NAME ROOT ENTRYPOINT: a folder as an archive that containerd imports (Docker Image
# Specification v1.2, "Combined Image JSON + Filesystem Changeset Format").
pack() {
  local out=$1 name=$2 root=$3 entrypoint=$4 parts layer config
  parts=$(mktemp -d "$work/parts.XXXXXX")
  tar -C "$root" --owner=0 --group=0 --sort=name --mtime=@0 -cf "$parts/layer" .
  layer=$(sha256sum "$parts/layer" | cut -d' ' -f1)
  mkdir "$parts/$layer"
  mv "$parts/layer" "$parts/$layer/layer.tar"
  jq -n --arg layer "sha256:$layer" --argjson entrypoint "$entrypoint" '{
    architecture: "amd64", os: "linux", config: {Entrypoint: $entrypoint, Env: ["PATH=/bin"]},
    rootfs: {type: "layers", diff_ids: [$layer]}}' >"$parts/config"
  config=$(sha256sum "$parts/config" | cut -d' ' -f1)
  mv "$parts/config" "$parts/$config.json"
  jq -n --arg config "$config.json" --arg name "$name" --arg layer "$layer/layer.tar" \
    '[{Config: $config, RepoTags: [$name], Layers: [$layer]}]' >"$parts/manifest.json"
  tar -C "$parts" -cf "$out" .
  rm -rf "$parts"
}

# Packages are unpacked, not installed: containerd would be a service of this machine.
unpack() {
  (cd "$work" && { apt-get -qq download "$1" 2>/dev/null || { apt-get -qq update && apt-get -qq download "$1"; }; } &&
    dpkg-deb -x "$1"_*.deb "$work/$1") >&2
}

build() {
  local started=$SECONDS root program
  work=$(mktemp -d "$cache/cluster/build.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  chmod 755 "$work"
  say "building the node's disk"
  unpack containerd
  unpack busybox-static
  mkdir -p "$work/new/containerd"
  cp "$work"/containerd/usr/bin/{containerd,ctr} "$work/new/containerd/"
  archives=()
  root=$work/busybox
  mkdir -p "$root"/{bin,etc,proc,sys,dev,root,tmp}
  cp "$work/busybox-static/bin/busybox" "$root/bin/"
  for program in $("$root/bin/busybox" --list | grep -vx busybox); do ln -s busybox "$root/bin/$program"; done
  chmod 1777 "$root/tmp"
  echo 'root:x:0:0::/root:/bin/sh' >"$root/etc/passwd"
  pack "$work/busybox.tar" "$busybox" "$root" '["/bin/sh"]'
  # Nothing in a pod's sandbox has to be reaped: each container has process numbers of its own.
  pack "$work/pause.tar" localhost/pause:1 "$root" '["/bin/sleep", "inf"]'
  archives+=("$work/busybox.tar" "$work/pause.tar")
  for image in $wanted; do
    program=$(basename "${image%:*}")
    root=$work/$program
    [ -d "$root" ] || { mkdir -p "$root/bin"; cp "$tools/$program" "$root/bin/"; }
    out=$work/$program-${image##*:}.tar
    pack "$out" "$image" "$root" "[\"/bin/$program\"]"
    archives+=("$out")
  done
  mkdir -p "$work/tree/bin"
  cp "$tools/kubelet" "$work/tree/bin/"
  truncate -s 3G "$work/new/node.raw"
  mke2fs -q -t ext4 -m 0 -E lazy_itable_init=1,lazy_journal_init=1,nodiscard -d "$work/tree" "$work/new/node.raw" >&2
  in_images "$work/new/containerd" "$work/new/node.raw" "${archives[@]}" >&2
  ln -s "$tools" "$work/new/tools"
  mv -T "$work/new" "$folder"
  say "built in $((SECONDS - started)) s, $(du -sh "$folder" | cut -f1)"
}

mkdir -p "$cache/cluster"
if [ ! -e "$folder" ]; then
  command -v jq >/dev/null || { say "installing jq"; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq jq >&2; }
  exec 9>"$cache/cluster/lock"
  flock 9
  rm -rf "$cache"/cluster/build.*
  [ -e "$folder" ] || (build)
  # Keep the newest two: a checkout of another branch may use one.
  find "$cache/cluster" -mindepth 1 -maxdepth 1 -type d ! -name tools -printf '%T@ %p\n' | sort -rn | tail -n +3 |
    cut -d' ' -f2- | xargs -r rm -rf
fi
echo "$folder"
