#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Builds the kernel of this bundle and boots it once, as it was booted when the bundle was made.
#
#   ./reproduce.sh KERNEL-SOURCE [FOLDER]
#
# KERNEL-SOURCE is a clean tree of the version in boot.env; it is not changed. All that is made goes to FOLDER
# (`again` beside this script, some GB). Needs QEMU, what a kernel is compiled with, a static C library, sha256sum.
set -eu

say() { printf '%s\n' "$*" >&2; }
fail() {
	say "reproduce.sh: $*"
	exit 2
}

here=$(cd "$(dirname "$0")" && pwd)
case $# in
1 | 2) ;;
*) fail "usage: reproduce.sh KERNEL-SOURCE [FOLDER]" ;;
esac
[ -f "$1/Makefile" ] || fail "$1 is no kernel tree"
source=$(cd "$1" && pwd)
mkdir -p "${2:-$here/again}"
work=$(cd "${2:-$here/again}" && pwd)

(cd "$here" && sha256sum --check --quiet SHA256SUMS) || fail "the bundle was changed: what is named above is not what was packed"
# What is not in the list would be applied, compiled or run like the rest.
there() { (cd "$here" && find . ! -type d ! -path './again/*' ! -path ./SHA256SUMS ! -path ./bundle.json | sed 's|^\./||' | sort); }
[ "$(there)" = "$(sed 's/^[0-9a-f]*  //' "$here/SHA256SUMS" | sort)" ] ||
	fail "the bundle was changed: there are files in it that were not packed; unpack it again, into an empty folder"
# shellcheck source=/dev/null
. "$here/boot.env"

version=$(make -s -C "$source" kernelversion)
[ "$version" = "$BOOT_VERSION" ] || say "note: the source is Linux $version; the boot was of $BOOT_VERSION ($ORIGIN)"

tree=$source
if [ -n "$(ls "$here/kernel/patches" 2>/dev/null)" ]; then
	tree=$work/linux
	if [ ! -f "$work/patched" ]; then
		say "copying the source"
		rm -rf "$tree"
		cp -a "$source" "$tree"
		for patch in "$here"/kernel/patches/*; do
			say "applying ${patch##*/}"
			patch -d "$tree" -p1 -s <"$patch" || fail "${patch##*/} does not apply"
		done
		: >"$work/patched"
	fi
fi

build=$work/build
kmake() {
	# shellcheck disable=SC2086  # words
	make -C "$tree" O="$build" $MAKE_VARIABLES ${CC:+"CC=$CC"} "$@"
}
symbols() { sed -n 's/^# \(CONFIG_[A-Za-z0-9_]*\) is not set$/\1=n/p; /^CONFIG_/p' "$1" | grep -v '^CONFIG_\(CC\|GCC\|CLANG\|LD\|AS\|LLD\|PAHOLE\|RUSTC\)_' | sort; }

mkdir -p "$build"
if [ ! -f "$build/.config" ]; then
	cp "$here/kernel/config" "$build/.config"
	kmake -s olddefconfig
fi
symbols "$here/kernel/config" >"$work/config.was"
symbols "$build/.config" >"$work/config.is"
cmp -s "$work/config.was" "$work/config.is" || {
	say "note: the configuration is not quite the same:"
	diff "$work/config.was" "$work/config.is" >&2 || :
}

jobs=$(getconf _NPROCESSORS_ONLN)
say "building Linux $version with $jobs jobs"
kmake -s -j"$jobs" "$IMAGE_TARGET" modules
rm -rf "$work/mods"
kmake -s INSTALL_MOD_PATH="$work/mods" modules_install
rm -f "$work"/mods/lib/modules/*/build "$work"/mods/lib/modules/*/source
cp "$build/$IMAGE_PATH" "$work/image"

rm -rf "$work/extra" "$work/module"
if [ -d "$here/suite" ]; then
	say "building the suite's modules"
	mkdir -p "$work/extra"
	cp -R "$here/suite" "$work/module"
	if [ -f "$work/module/driver" ]; then # our files, laid over a copy of one of the tree's drivers
		driver=$(cat "$work/module/driver")
		own=$work/module/${driver##*/}
		cp -a "$tree/$driver" "$own"
		cp -R "$work/module/own/." "$own/"
		for hook in "$work"/module/hooks/*.file; do
			printf '\n%s\n' "$(cat "${hook%.file}.append")" >>"$own/$(cat "$hook")"
		done
	else
		own=$work/module/own
	fi
	kmake -s -j"$jobs" M="$own" modules
	find "$own" -name '*.ko' -exec cp {} "$work/extra" \;
fi

root=$work/root
rm -rf "$root"
for name in proc sys dev run tmp lib/modules results extra scripts tools bin; do
	mkdir -p "$root/$name"
done
cp "$here/guest/busybox" "$root/bin/busybox"
for applet in $("$here/guest/busybox" --list); do
	[ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
done
cp "$here"/guest/scripts/* "$root/scripts/"
cp "$here/guest/scripts/init" "$root/init"
chmod 755 "$root"/scripts/* "$root/init"
for program in "$here"/guest/load/*.c; do
	name=${program##*/}
	cc -O2 -static -o "$root/tools/${name%.c}" "$program" || fail "a static C library is needed (libc6-dev, glibc-static)"
done

cd "$work"
rm -rf results control.log console.log qmp
mkdir results
cp "$here"/job/* results/
while read -r image size; do
	rm -f "$image"
	truncate -s "$size" "$image"
	"$here/guest/busybox" mkswap "$image" >/dev/null
done <"$here/disks"
set --
while IFS= read -r word; do
	set -- "$@" "$word"
done <"$here/qemu.args"
say "booting: $MACHINE, at most $SECONDS_AT_MOST s; the console is $work/console.log"
status=0
timeout --kill-after=10 "$SECONDS_AT_MOST" "$@" </dev/null >qemu.log 2>&1 || status=$?
[ "$status" = 124 ] && say "the guest did not end by itself within $SECONDS_AT_MOST s"
[ -s console.log ] || fail "QEMU ended with status $status and the guest said nothing: $(tail -n 1 qemu.log)"
say "what the guest's kernel said that was not calm:"
grep -aE '^(\[[^]]*\] *)?( *not ok |.*(Kernel panic|BUG: |WARNING: |Oops|invoked oom-killer|soft lockup|blocked for more than))' console.log | head -n 60
say "what it said when the bundle was made: evidence/console.log"
