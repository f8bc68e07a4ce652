#!/usr/bin/env bash
# Boots Debian's kernels (one lacks the newest tracepoints, one has them and lets programs hang on functions) in qemu, traces the
# load program in each with every kind of hooks, and holds the events to the same checks as on this machine. Needs no acceleration, no root, nothing installed but
# qemu-system-x86 and busybox-static.
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/../.."
root=$PWD
cache=$root/.cache/kernels
mkdir -p "$cache"

fail() { echo "test:kernels: $1" >&2; exit 1; }
[ "$(uname -m)" = x86_64 ] || fail "only x86_64 kernels are booted so far; this machine is $(uname -m)"
for tool in qemu-system-x86_64:qemu-system-x86 busybox:busybox-static gcc:gcc make:make apt-get:apt; do
  command -v "${tool%%:*}" > /dev/null || fail "${tool%%:*} is missing: sudo apt-get install ${tool##*:}"
done
file "$(command -v busybox)" 2> /dev/null | grep -q dynamically && fail "busybox is not static: sudo apt-get install busybox-static"

make -s -C bpf > /dev/null
gcc -O1 -static -pthread test/bpf/load.c -o .output/tracehouse-load

# Debian's kernel, and the newer one that it also has, where apt knows it.
if [ -z "${KERNEL_PACKAGE:-}" ]; then
  metas="linux-image-amd64 $(apt-cache search --names-only '^linux-image-[0-9]+\.[0-9]+-amd64$' 2> /dev/null | cut -d' ' -f1)"
  packages=$(for meta in $metas; do apt-cache depends "$meta" 2> /dev/null | sed -n 's/.*Depends: \(linux-image-[0-9][^ ]*\)$/\1/p' | head -1; done)
  [ -n "$packages" ] || fail "apt knows no linux-image-amd64 (is this Debian?): set KERNEL_PACKAGE to a kernel package"
  failed=0
  for package in $packages; do KERNEL_PACKAGE=$package bash test/kernels/run.sh || failed=1; done
  exit $failed
fi
package=$KERNEL_PACKAGE
if ! ls "$cache/$package"_*.deb > /dev/null 2>&1; then
  echo "test:kernels: fetching $package"
  (cd "$cache" && apt-get download -q "$package" > /dev/null 2> download.log) || fail "apt-get download $package failed: $(tail -1 "$cache/download.log")"
fi
if [ ! -e "$cache/$package/boot" ]; then
  mkdir -p "$cache/$package"
  dpkg-deb --fsys-tarfile "$(ls "$cache/$package"_*.deb | head -1)" | tar -x -C "$cache/$package" ./boot
fi
kernel=$(ls "$cache/$package"/boot/vmlinuz-*)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/root/{bin,proc,sys,dev,tmp,run}
cp "$(command -v busybox)" "$work/root/bin/busybox"
cp .output/tracehouse-loader .output/tracehouse-load "$work/root/bin/"
cp test/kernels/init "$work/root/init"
if command -v go > /dev/null; then
  (cd test/bpf/go && CGO_ENABLED=0 go build -ldflags="-s -w" -o "$work/root/bin/tracehouse-tasks" .)
else
  echo "test:kernels: goroutines are left out, no Go toolchain is installed"
fi
chmod +x "$work/root/init"
(cd "$work/root" && find . | busybox cpio -o -H newc 2> /dev/null | gzip -1) > "$work/initramfs.gz"

# The guest says all it has to say on its console, results as base64 between markers.
echo "test:kernels: booting $(basename "$kernel")"
timeout "${GUEST_SECONDS:-300}" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 1024 -nographic -no-reboot -nodefaults -serial stdio \
  -kernel "$kernel" -initrd "$work/initramfs.gz" -append "console=ttyS0 quiet loglevel=3 panic=-1 rdinit=/init" < /dev/null > "$work/console.log" 2>&1 || true
out=$cache/out
rm -rf "$out"
mkdir -p "$out"
tr -d '\r' < "$work/console.log" > "$out/console.log"
sed -n '/^-----BEGIN RESULTS-----$/,/^-----END RESULTS-----$/p' "$out/console.log" | sed '1d;$d' | base64 -d | tar -xz -C "$out" ||
  fail "the guest gave no results; its console is in $out/console.log"

RESULTS="$out" npx vitest run --config test/kernels/vitest.config.ts --reporter=json --outputFile="$out/report.json" > "$out/vitest.log" 2>&1 || true
node -e '
  const report = JSON.parse(require("fs").readFileSync(process.argv[1], "utf8"));
  for (const file of report.testResults) {
    if (file.assertionResults.length === 0) console.log(file.message);
    for (const one of file.assertionResults)
      if (one.status !== "passed") console.log(`failed: ${one.fullName}\n  ${(one.failureMessages[0] ?? "").split("\n").slice(0, 12).join("\n  ")}`);
  }
  const failed = report.numFailedTests + report.testResults.filter((file) => file.assertionResults.length === 0).length;
  console.log(`${report.numPassedTests} passed, ${failed} failed`);
  process.exit(failed || report.numPassedTests === 0 ? 1 : 0);
' "$out/report.json"
