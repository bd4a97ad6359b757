# Sourced: puts images into a disk, without a registry and without a daemon on this machine.

# in_images CONTAINERD DISK ARCHIVE...: runs a containerd of its own on the disk for as long as it
# takes. Its mounts are in a mount namespace that ends with it.
in_images() {
  unshare --mount --propagation private -- bash -euo pipefail -c '
    bin=$1 disk=$2; shift 2
    work=$(mktemp -d)
    trap "kill \$daemon 2>/dev/null; wait \$daemon; umount $work/disk; rm -rf $work" EXIT
    mkdir "$work/disk"
    mount -o loop "$disk" "$work/disk"
    mkdir -p "$work/disk/containerd"
    printf "version = 2\nroot = \"%s\"\nstate = \"%s\"\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\n  address = \"%s\"\n[plugins.\"io.containerd.internal.v1.opt\"]\n  path = \"%s\"\n" \
      "$work/disk/containerd" "$work/state" "$work/sock" "$work/opt" >"$work/config.toml"
    "$bin/containerd" -c "$work/config.toml" >"$work/log" 2>&1 &
    daemon=$!
    ctr() { "$bin/ctr" -a "$work/sock" -n k8s.io "$@"; }
    for _ in $(seq 200); do ctr version >/dev/null 2>&1 && break; sleep 0.1; done
    for archive; do
      ctr images import "$archive" >/dev/null || { tail -n 20 "$work/log" >&2; exit 1; }
    done' in_images "$@"
}
