#!/bin/bash
# Installs what `make demo` and `make test` need on a Debian 12 machine with Rust, Go and root:
# Debian packages, the official csi-sanity, helm and the guest machine's disk. A second run is quick.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${CSI_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/csi-driver}
csi_sanity=v5.6.0
helm=v3.19.0

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

# Without the linker's flags helm takes itself for one of Kubernetes 1.20 when it has no cluster to ask.
if [ ! -x "$cache/bin/helm-$helm" ]; then
  say "building helm $helm"
  kube=helm.sh/helm/v3/pkg/chartutil.k8sVersion
  GOBIN=$cache/bin CGO_ENABLED=0 go install -trimpath -ldflags "-s -w -X ${kube}Major=1 -X ${kube}Minor=34" \
    "helm.sh/helm/v3/cmd/helm@$helm"
  mv "$cache/bin/helm" "$cache/bin/helm-$helm"
fi

"$here/bed/prepare.sh" >/dev/null
say "ready after $((SECONDS - started)) s"
