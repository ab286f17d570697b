#!/bin/sh
# Copies programs and the shared libraries that they load into a folder that becomes an image.
# usage: collect.sh FOLDER PROGRAM…
set -eu

folder=$1
shift
mkdir -p "$folder/usr/bin" "$folder/etc" "$folder/tmp" "$folder/bin"
chmod 1777 "$folder/tmp"

for program in "$@"; do
    cp -L "$program" "$folder/usr/bin/"
    chmod 755 "$folder/usr/bin/${program##*/}"
    # Lines are "NAME => PATH (ADDRESS)" and, for the loader, "PATH (ADDRESS)". A static program has none.
    libraries=$(ldd "$program" 2>/dev/null | sed -n 's|^[^/]*\(/[^ ]*\) (0x.*|\1|p') || true
    for library in $libraries; do
        mkdir -p "$folder${library%/*}"
        cp -L "$library" "$folder$library"
    done
done

# Names for the users that images run as, and the order in which host names are looked up.
printf 'root:x:0:0::/:/bin/sh\nweft:x:65532:65532::/:/bin/sh\n' >"$folder/etc/passwd"
printf 'root:x:0:\nweft:x:65532:\n' >"$folder/etc/group"
printf 'hosts: files dns\n' >"$folder/etc/nsswitch.conf"
