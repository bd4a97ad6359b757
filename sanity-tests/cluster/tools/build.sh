#!/bin/bash
# Builds Kubernetes, etcd and the official sidecars from the versions that the modules here pin, and
# takes the snapshot CRDs from the module that has them. Kept in the cache by the hash of all that
# decides; cold it takes a quarter of an hour on two cores. Progress goes to standard error; the
# last line on standard output is the folder.
#
# Three modules, because Kubernetes' own libraries are of another version than those that the
# sidecars are written for. Both projects' go.mod have `replace` lines, which `go install` refuses.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${CSI_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/csi-driver}
say() { echo "tools: $*" >&2; }
hash=$(cd "$here" && cat build.sh ./*/go.mod ./*/go.sum | sha256sum | cut -c1-16)
folder=$cache/cluster/tools/$hash
export CGO_ENABLED=0 GOFLAGS=-mod=readonly GOTOOLCHAIN=local

# build MODULE FLAGS PACKAGE...
build() {
  local module=$1 flags=$2
  shift 2
  (cd "$here/$module" && go build -trimpath -ldflags "-s -w $flags" -o "$new/" "$@") >&2
}

if [ ! -e "$folder" ]; then
  mkdir -p "$cache/cluster/tools"
  exec 8>"$cache/cluster/tools/lock"
  flock -n 8 || { say "waiting for another build"; flock 8; }
fi
if [ ! -e "$folder" ]; then
  started=$SECONDS
  say "building Kubernetes, etcd and the sidecars (once; about a quarter of an hour)"
  rm -rf "$cache"/cluster/tools/build.*
  new=$(mktemp -d "$cache/cluster/tools/build.XXXXXX")
  trap 'rm -rf "$new"' EXIT
  chmod 755 "$new"
  kubernetes=$(cd "$here/kubernetes" && go list -m -f '{{.Version}}' k8s.io/kubernetes)
  version=k8s.io/component-base/version
  minor=${kubernetes#v1.}
  build kubernetes "-X $version.gitVersion=$kubernetes -X $version.gitMajor=1 -X $version.gitMinor=${minor%%.*}" \
    k8s.io/kubernetes/cmd/{kube-apiserver,kube-controller-manager,kube-scheduler,kubelet,kubectl}
  build etcd "" go.etcd.io/etcd/server/v3
  mv "$new/server" "$new/etcd" 2>/dev/null || mv "$new/v3" "$new/etcd"
  csi=github.com/kubernetes-csi
  build sidecars "" "$csi/external-provisioner/v6/cmd/csi-provisioner" \
    "$csi/external-attacher/v4/cmd/csi-attacher" "$csi/external-resizer/v2/cmd/csi-resizer" \
    "$csi/external-snapshotter/v8/cmd/csi-snapshotter" \
    "$csi/external-snapshotter/v8/cmd/snapshot-controller"
  crds=$(cd "$here/sidecars" && go list -m -f '{{.Dir}}' "$csi/external-snapshotter/client/v8")
  mkdir "$new/crd"
  cp "$crds"/config/crd/snapshot.storage.k8s.io_*.yaml "$new/crd/"
  chmod -R u+w "$new/crd"
  mv -T "$new" "$folder"
  trap - EXIT
  say "built in $((SECONDS - started)) s, $(du -sh "$folder" | cut -f1)"
fi
echo "$folder"
