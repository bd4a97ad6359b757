#!/bin/bash
# Installs what `make demo` and `make test` need on a Debian 12 machine with Rust, Go and root:
# Debian packages, the official csi-sanity and the guest machine's disk. A second run is quick.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${CSI_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/csi-driver}
csi_sanity=v5.6.0

say() { echo "prepare: $*"; }
started=$SECONDS
mkdir -p "$cache/bin"

missing=()
need() { command -v "$1" >/dev/null || missing+=("$2"); }
need mkfs.xfs xfsprogs
need mke2fs e2fsprogs
need losetup mount
need cc gcc
need cmake cmake
[ -e /usr/lib/x86_64-linux-gnu/ganesha/libfsalvfs.so ] || missing+=(nfs-ganesha nfs-ganesha-vfs)
if [ ${#missing[@]} -gt 0 ]; then
  say "installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi

if [ ! -x "$cache/bin/csi-sanity-$csi_sanity" ]; then
  say "building csi-sanity $csi_sanity"
  GOBIN=$cache/bin go install "github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity@$csi_sanity"
  mv "$cache/bin/csi-sanity" "$cache/bin/csi-sanity-$csi_sanity"
fi

"$here/bed/prepare.sh" >/dev/null
say "ready after $((SECONDS - started)) s"
