#!/bin/bash
# Prepares what the guest machine needs: QEMU and a few tools on this host, and the guest's root
# disk and kernel, made from Debian packages and kept in the cache by the hash of this recipe.
# Idempotent. Progress goes to standard error; the last line on standard output is the folder with
# root.raw, vmlinux, key and known_hosts. Nothing is installed when all is there.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${CSI_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/csi-driver}
guests=$cache/guest
suite=bookworm
packages=udev,kmod,mount,e2fsprogs,xfsprogs,iproute2,procps,openssh-server,netcat-openbsd
# What makes the guest a node of a Kubernetes cluster.
packages+=,containerd,runc,containernetworking-plugins,iptables

say() { echo "guest: $*" >&2; }
hash=$(cd "$here" && cat prepare.sh guest/* | sha256sum | cut -c1-16)
image=$guests/$hash

# --- tools of the host
missing=()
need() { command -v "$1" >/dev/null || missing+=("$2"); }
need qemu-system-x86_64 qemu-system-x86
need qemu-img qemu-utils
need ssh openssh-client
need ssh-keygen openssh-client
need ip iproute2
need setpriv util-linux
need mke2fs e2fsprogs
need mmdebstrap mmdebstrap
if [ ${#missing[@]} -gt 0 ] || [ ! -e "$image" ]; then
  [ "$(id -u)" = 0 ] || { say "root is needed to install packages and to build the guest"; exit 1; }
fi
if [ ${#missing[@]} -gt 0 ]; then
  say "installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq >&2
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
fi

# --- the guest
build() {
  local started=$SECONDS work kernel
  work=$(mktemp -d "$guests/build.XXXXXX")
  # shellcheck disable=SC2064  # expanded now: the variable is local
  trap "rm -rf '$work'" EXIT
  say "building the root disk from Debian packages (once; about a minute)"
  # The kernel is downloaded and unpacked, not installed: its hooks would build an initrd that
  # nobody boots.
  mmdebstrap --quiet --variant=minbase --include="$packages" \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook='
      export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
      kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n "s/.*Depends: //p" | head -n 1)
      cd "$1/../kernel" && apt-get -qq download "$kernel"' \
    --setup-hook='mkdir -p "$1/../kernel"' \
    "$suite" "$work/root" >&2
  dpkg-deb -x "$work"/kernel/*.deb "$work/kernel/tree"
  kernel=$(ls "$work/kernel/tree/lib/modules")
  mkdir -p "$work/root/lib/modules"
  cp -a "$work/kernel/tree/lib/modules/$kernel" "$work/root/lib/modules/"
  chroot "$work/root" depmod "$kernel"
  cp "$work/kernel/tree/boot/vmlinuz-$kernel" "$work/vmlinuz"
  say "kernel $kernel"

  # Keys are made once per image: they guard a port that exists in a private network namespace only.
  ssh-keygen -q -t ed25519 -N '' -C bed -f "$work/key"
  rm -f "$work"/root/etc/ssh/ssh_host_*
  ssh-keygen -q -t ed25519 -N '' -C bed -f "$work/root/etc/ssh/ssh_host_ed25519_key"
  echo "bed $(cut -d' ' -f1,2 "$work/root/etc/ssh/ssh_host_ed25519_key.pub")" >"$work/known_hosts"
  install -D -m 600 "$work/key.pub" "$work/root/root/.ssh/authorized_keys"
  install -m 755 "$here/guest/init" "$work/root/sbin/bed-init"
  install -m 755 "$here/guest/bed-disk" "$work/root/usr/local/sbin/bed-disk"
  install -m 644 "$here/guest/sshd_config" "$work/root/etc/ssh/sshd_config"
  echo bed >"$work/root/etc/hostname"
  echo '127.0.0.1 localhost bed' >"$work/root/etc/hosts"
  rm -rf "$work"/root/var/cache/apt/* "$work"/root/var/lib/apt/lists/* "$work/root/etc/machine-id"

  truncate -s 4G "$work/root.raw"
  mke2fs -q -t ext4 -m 0 -E lazy_itable_init=1,lazy_journal_init=1,nodiscard \
    -d "$work/root" "$work/root.raw" >&2
  rm -rf "$work/root" "$work/kernel"
  chmod 755 "$work"
  mv -T "$work" "$image"
  trap - EXIT
  say "built in $((SECONDS - started)) s, $(du -sh "$image" | cut -f1)"
}

if [ ! -e "$image" ]; then
  mkdir -p "$guests"
  exec 9>"$guests/lock"
  flock -n 9 || { say "waiting for another build"; flock 9; }
  rm -rf "$guests"/build.*
  [ -e "$image" ] || build
  # Keep the newest three: a checkout of another branch may use them.
  find "$guests" -mindepth 1 -maxdepth 1 -type d -printf '%T@ %p\n' | sort -rn | tail -n +4 |
    cut -d' ' -f2- | xargs -r rm -rf
fi
echo "$image"
