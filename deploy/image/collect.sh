#!/bin/sh
# Runs in the tools stage of the Dockerfile: puts into a folder what the image is made of, and
# nothing else. Programs of Debian come with the libraries that they are linked to; with them goes
# the list of the packages that they are from, for the SBOM.
# Usage: collect.sh FOLDER-OF-OUR-PROGRAMS ROOT-OF-THE-IMAGE
set -eu
ours=$1 root=$2

mkdir -p "$root/bin" "$root/etc/ssl/certs" "$root/usr/share/doc/aws-csi-driver" "$root/tmp" \
  "$root/proc" "$root/sys" "$root/dev" "$root/run" "$root/var" "$root/csi" "$root/registration"
chmod 1777 "$root/tmp"
ln -s ../run "$root/var/run"
taken=$(mktemp)

# take FILE [PLACE]: copies a file and notes whose it is.
take() {
  place=$root${2:-$1}
  [ -e "$place" ] && return
  mkdir -p "$(dirname "$place")"
  cp -L "$1" "$place"
  readlink -f "$1" >>"$taken"
  echo "$1" >>"$taken"
}

# libraries FILE: takes what the dynamic linker would load, and the linker.
libraries() {
  ldd "$1" | grep -o '/[^ ]*' | while read -r library; do take "$library"; done
}

for program in csi-controller csi-node efs-tunnel; do
  [ -e "$ours/$program" ] || continue
  install -m 755 "$ours/$program" "$root/bin/$program"
  libraries "$ours/$program"
done
# The node plugin of the driver that this one replaces is found under this name by pre-stop hooks.
ln -s csi-node "$root/bin/aws-ebs-csi-driver"

for program in mke2fs e2fsck resize2fs mkfs.xfs xfs_growfs; do
  path=$(command -v "$program")
  take "$path" "/bin/$program"
  libraries "$path"
done
ln -s mke2fs "$root/bin/mkfs.ext3"
ln -s mke2fs "$root/bin/mkfs.ext4"
take /etc/mke2fs.conf
take /etc/ssl/certs/ca-certificates.crt

# Tools ask whether a device is mounted; users have names in messages; names of hosts have sources.
ln -s ../proc/self/mounts "$root/etc/mtab"
printf 'root:x:0:0::/:\ncsi:x:1000:1000::/:\n' >"$root/etc/passwd"
printf 'root:x:0:\ncsi:x:1000:\n' >"$root/etc/group"
printf 'passwd: files\ngroup: files\nhosts: files dns\n' >"$root/etc/nsswitch.conf"

list=$root/usr/share/doc/aws-csi-driver/packages
while read -r file; do
  dpkg-query -S "$file" 2>/dev/null || dpkg-query -S "/usr$file" 2>/dev/null || true
done <"$taken" | grep -v '^diversion' | cut -d: -f1 | tr -d ' ' | tr ',' '\n' | sort -u |
  while read -r package; do
    dpkg-query -W -f '${Package}\t${Version}\t${Architecture}\t${source:Package}\n' "$package" |
      head -n 1
  done >"$list"
echo 'ca-certificates' | while read -r package; do
  grep -q "^$package	" "$list" ||
    dpkg-query -W -f '${Package}\t${Version}\t${Architecture}\t${source:Package}\n' "$package" >>"$list"
done
rm -f "$taken"
