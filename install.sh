#!/usr/bin/env bash
# Builds agentsh and installs it; on request as the /bin/bash and /bin/sh of an image. `./install.sh --help`.
#
# Safe when killed at any moment: what it is about to do goes into a journal first, files are written beside their
# place and renamed into it, and an original shell has its second name before the first one is given away. Run it
# again to finish, or with --uninstall to have every byte back.
set -euo pipefail
export LC_ALL=C
umask 022

usage() {
    cat <<'HELP'
usage: ./install.sh [--prefix DIR] [--root IMAGE_ROOTFS] [--as-bash] [--built DIR] [--uninstall]
  --prefix DIR   where agentsh goes; /opt/agentsh by default
  --root DIR     install into the root file system of an image instead of this machine
  --as-bash      be its /bin/bash and /bin/sh as well; the originals are kept in /usr/libexec/agentsh
                 (registered with dpkg-divert where there is dpkg, so upgrades of bash and dash go there)
  --built DIR    take agentsh, agentshctl and agentsh-helper from there instead of building them
  --uninstall    put everything back as it was
HELP
}

here=$(cd "$(dirname "$0")" && pwd)
prefix=/opt/agentsh root='' as_bash=no uninstall=no built=''
kept=/usr/libexec/agentsh # the launcher looks there for the real shells first (src/launcher/real.rs)
units=/etc/systemd/system
cache=$here/.cache/shells

say() { printf 'install.sh: %s\n' "$*" >&2; }
die() {
    say "$1"
    exit "${2:-3}"
}

# ---- the journal: lines of WHAT PATH [MORE], each written before the thing is done -------------------------------

note() { grep -qxF -- "$*" "$journal" || printf '%s\n' "$*" >>"$journal"; }
noted() { grep -qxF -- "$*" "$journal"; }

# Makes a folder and those above it, each noted so that it can go again.
make_dir() {
    [ -d "$root$1" ] && return
    make_dir "$(dirname "$1")"
    note "dir $1"
    mkdir -p "$root$1"
}

open_journal() {
    journal=$root$prefix/.journal
    if [ ! -e "$journal" ]; then
        # The folders above it can't be noted before it exists: they come into their place with it, by one rename.
        local made='' top='' at=$prefix
        while [ ! -d "$root$at" ]; do
            made="dir $at"$'\n'"$made"
            top=$at
            at=$(dirname "$at")
        done
        rm -rf "$journal.agentsh-new" ${top:+"$root$top.agentsh-new"} # of one that was killed here
        [ "$uninstall" = no ] || die "nothing to uninstall: $journal isn't there" 2
        local new=$root${top:+$top.agentsh-new}${prefix#"$top"}
        mkdir -p "$new" || die "can't write to $root$prefix: run as root, or choose a --prefix that is yours"
        printf '%s' "$made" >"$new/.journal.agentsh-new"
        mv -fT "$new/.journal.agentsh-new" "$new/.journal"
        [ -z "$top" ] || mv -T "$root$top.agentsh-new" "$root$top"
    fi
    exec 9<"$journal"
    ! command -v flock >/dev/null || flock -n 9 || die "another install.sh is at work in $root$prefix"
}

# ---- files ---------------------------------------------------------------------------------------------------------

# put SOURCE PLACE MODE
put() {
    if [ -e "$root$2" ] && ! noted "file $2"; then
        die "$root$2 is there already and isn't agentsh's: choose another --prefix"
    fi
    make_dir "$(dirname "$2")"
    note "file $2"
    cp "$1" "$root$2.agentsh-new"
    chmod "$3" "$root$2.agentsh-new"
    mv -fT "$root$2.agentsh-new" "$root$2"
}

# same_file PLACE NEW: another name for a file, a copy where there can't be one. Keeps all that a file has: owner,
# mode, times, attributes; a link stays a link.
same_file() {
    rm -f "$2.agentsh-new"
    ln -P "$1" "$2.agentsh-new" 2>/dev/null || cp -a "$1" "$2.agentsh-new"
    sync "$2.agentsh-new" 2>/dev/null || true
    # A rename between two names of one file does nothing, not even away with the first.
    if [ "$2.agentsh-new" -ef "$2" ] && [ ! -L "$2" ]; then
        rm -f "$2.agentsh-new"
    else
        mv -fT "$2.agentsh-new" "$2"
    fi
}

# ---- building --------------------------------------------------------------------------------------------------------

# need COMMAND PACKAGE …: installs the package if the command is missing.
need() {
    local missing=()
    while [ $# -gt 0 ]; do
        command -v "$1" >/dev/null || missing+=("$2")
        shift 2
    done
    local library package
    for library in libc.a:libc6-dev ${libraries:-}; do
        package=${library#*:}
        # Printed as it came if there is no such file.
        [ -e "$(cc -print-file-name="${library%:*}" 2>/dev/null || true)" ] || missing+=("$package")
    done
    [ "${#missing[@]}" -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        die "missing: ${missing[*]}. Install these packages, or run this as root."
    fi
    say "installing what the build needs: ${missing[*]}"
    apt-get -qq update || true
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
}

build() {
    # agentsh-helper has libbpf in it, which is built from its source.
    libraries='libelf.a:libelf-dev libz.a:zlib1g-dev' need cc gcc clang clang make make pkg-config pkg-config
    PATH=$PATH:$HOME/.cargo/bin
    command -v cargo >/dev/null || die "no Rust toolchain: install one with rustup (Debian's own is too old), then run this again"
    local wanted have
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$here/Cargo.toml")
    have=$(rustc --version | cut -d' ' -f2)
    printf '%s\n' "$wanted" "$have" | sort -VC || die "Rust $have is too old: $wanted or later is needed (rustup update)"
    say "building (a few minutes the first time)"
    (cd "$here" && cargo build --quiet --release --locked --bins) || die "the build failed: see above"
    built=${CARGO_TARGET_DIR:-$here/target}/$(rustc -vV | sed -n 's/^host: //p')/release
}

apt_here() { # apt with a state of its own: the machine's lists stay as they are
    apt-get -qq -o Dir::State="$cache/apt" -o Dir::State::status=/var/lib/dpkg/status -o Dir::Cache="$cache/apt" \
        -o Dir::Etc::sourcelist="$cache/apt/sources.list" -o Dir::Etc::sourceparts="$cache/apt/parts" \
        -o APT::Sandbox::User="$(id -un)" "$@"
}

# Where a bind mount hides an image's own shells, ours must do: static, so that they run in any image.
# sh is Debian's dash, built static from its source: busybox's own sh runs its applets in the place of the image's ls
# and grep, and bash as sh differs in echo and more. bash in POSIX mode does where that source can't be had.
carried_shells() {
    [ ! -e "$cache/done" ] || return 0
    command -v apt-get >/dev/null || die "no apt-get here to get static shells with: put bash, sh and busybox into $cache and make $cache/done"
    need cc gcc make make autoconf autoconf automake automake dpkg-source dpkg-dev xz xz-utils patch patch
    say "fetching the static shells"
    rm -rf "$cache"
    mkdir -p "$cache/apt/lists/partial" "$cache/apt/parts" "$cache/work"
    sed -n 'p;s/^deb /deb-src /p' /etc/apt/sources.list >"$cache/apt/sources.list" 2>/dev/null || true
    local file
    for file in /etc/apt/sources.list.d/*; do
        case $file in
            *.list) sed -n 'p;s/^deb /deb-src /p' "$file" >"$cache/apt/parts/${file##*/}" ;;
            *.sources) sed 's/^Types:.*/Types: deb deb-src/' "$file" >"$cache/apt/parts/${file##*/}" ;;
        esac
    done
    apt_here update >/dev/null 2>&1 || true # another vendor's list may have no sources
    (
        cd "$cache/work"
        apt_here download bash-static busybox-static
        for file in *.deb; do dpkg-deb -x "$file" .; done
        cp bin/bash-static "$cache/bash" 2>/dev/null || cp usr/bin/bash-static "$cache/bash"
        cp bin/busybox "$cache/busybox" 2>/dev/null || cp usr/bin/busybox "$cache/busybox"
    ) || die "can't download bash-static and busybox-static with this machine's apt"
    if ! (cd "$cache/work" && dash_static) >"$cache/dash.log" 2>&1; then
        say "dash's source can't be had or built (see $cache/dash.log): bash in POSIX mode will stand in for a hidden /bin/sh"
        cp "$cache/bash" "$cache/sh"
    fi
    rm -rf "$cache/work" "$cache/apt"
    touch "$cache/done"
}

dash_static() {
    apt_here source --download-only dash && dpkg-source --no-check -x dash_*.dsc dash || return 1
    cd dash || return 1
    # Debian's options (debian/rules), and static.
    autoreconf -fi && ./configure LDFLAGS=-static --disable-fnmatch --disable-lineno --disable-glob || return 1
    make && strip src/dash && cp src/dash "$cache/sh"
}

install_tree() {
    local name file
    put "$built/agentsh" "$prefix/bin/agentsh" 755
    for name in bash sh; do
        [ ! -e "$root$prefix/bin/$name" ] || noted "file $prefix/bin/$name" || die "$prefix/bin/$name isn't agentsh's"
        note "file $prefix/bin/$name"
        same_file "$root$prefix/bin/agentsh" "$root$prefix/bin/$name"
    done
    put "$built/agentshctl" "$prefix/bin/agentshctl" 755
    put "$built/agentsh-helper" "$prefix/libexec/agentsh-helper" 755
    for name in bash sh busybox; do put "$cache/$name" "$prefix/libexec/$name" 755; done
    for file in "$here"/policies/*.yaml; do put "$file" "$prefix/share/policies/${file##*/}" 644; done
    put "$here/shims/hook.bash" "$prefix/share/hook.bash" 644
    put "$here/policies/schema.json" "$prefix/share/schema/policy.schema.json" 644
    unit
    local share
    share=$(mktemp -d)
    "$built/agentshctl" generate "$share"
    while IFS= read -r file; do put "$share/$file" "$prefix/share/$file" 644; done < <(cd "$share" && find . -type f -printf '%P\n')
    rm -rf "$share"
}

unit() { # The units that load and that serve, where there is systemd; enabling them is the administrator's.
    [ -x "$root/usr/lib/systemd/systemd" ] || [ -x "$root/lib/systemd/systemd" ] || return 0
    local made name; made=$(mktemp)
    for name in agentsh agentsh-serve; do
        sed "s|@PREFIX@|$prefix|g" "$here/systemd/$name.service" >"$made"
        put "$made" "$units/$name.service" 644
    done
    rm -f "$made"
}

# ---- taking the place of an image's shells -------------------------------------------------------------------------

# Where a path really is, in the image: /bin is often a link to usr/bin.
real_place() {
    local dir
    dir=$(readlink "$root$(dirname "$1")" || true)
    case $dir in
        '') printf '%s' "$1" ;;
        /*) printf '%s/%s' "$dir" "${1##*/}" ;;
        *) printf '/%s/%s' "$dir" "${1##*/}" ;;
    esac
}

# agentsh is known by the ELF note that it also knows itself by (src/launcher/note.rs): any build, under any name.
is_ours() { [ ! -L "$root$1" ] && [ -f "$root$1" ] && grep -aqF agentsh < <(head -c 4096 "$root$1"); }

# The path under which a package brings this shell, if one does.
packaged_as() {
    local path
    for path in "/bin/$1" "/usr/bin/$1"; do
        grep -qsxF -- "$path" "$root"/var/lib/dpkg/info/*.list && printf '%s' "$path" && return
    done
    return 0
}

divert() {
    if command -v dpkg-divert >/dev/null; then
        dpkg-divert --admindir "$root/var/lib/dpkg" --quiet --local --no-rename "$@"
    else
        chroot "$root/" dpkg-divert --quiet --local --no-rename "$@"
    fi
}

# Does dpkg bring upgrades of PATH to $2?
diverts_to() { [ -n "$1" ] && [ "$(divert --truename "$1")" = "$2" ]; }

# take PLACE NAME [PACKAGED]: what is there goes on as $kept/NAME, and agentsh is in its place.
take() {
    local place=$1 original=$kept/$2 package=${3-}
    note "kept $place $original $package"
    # Where upgrades come to $original already, it is newer than what is in the place.
    if ! is_ours "$place" && ! { diverts_to "$package" "$original" && [ -e "$root$original" ]; }; then
        same_file "$root$place" "$root$original"
    fi
    if [ -n "$package" ] && ! diverts_to "$package" "$original"; then
        note "file /var/lib/dpkg/diversions-new" # what dpkg-divert leaves when it is killed
        divert --divert "$original" --add "$package"
    fi
    same_file "$root$prefix/bin/agentsh" "$root$place"
}

# lead NAME TARGET: the launcher finds the real NAME by a link.
lead() {
    note "file $kept/$1"
    ln -sfn "$2" "$root$kept/$1.agentsh-new"
    mv -fT "$root$kept/$1.agentsh-new" "$root$kept/$1"
}

take_shell() { # NAME
    local place target=''
    place=$(real_place "/bin/$1")
    [ ! -L "$root$place" ] || target=$(readlink "$root$place")
    case ${target##*/} in
        bash) lead "$1" bash ;; # sh is bash here, and taken with it
        dash) take "$(real_place /bin/dash)" "$1" "$(packaged_as dash)" ;;
        ?*) # a link to busybox, say, gives way, and what it leads to stays
            [[ $target == /* ]] || target=$(dirname "$place")/$target
            lead "$1" "$target"
            take "$place" "$1.link" ;;
        '')
            if noted "kept $place $kept/$1.link "; then
                take "$place" "$1.link"
            elif [ ! -e "$root$place" ] || { is_ours "$place" && noted "added $place"; }; then
                make_dir "$(dirname "$place")" # an image without it: the carried one
                note "added $place"
                lead "$1" "$prefix/libexec/$1"
                same_file "$root$prefix/bin/agentsh" "$root$place"
            else
                take "$place" "$1" "$(packaged_as "$1")"
            fi ;;
    esac
}

# ---- and back --------------------------------------------------------------------------------------------------------

undo() {
    local what path more package
    while read -r what path more package; do
        rm -f "$root$path.agentsh-new"
        case $what in
            kept)
                rm -f "$root$more.agentsh-new"
                # What somebody else has put there since is newer than what we kept, unless it was kept from dpkg.
                if { [ -e "$root$more" ] || [ -L "$root$more" ]; } && { is_ours "$path" || diverts_to "$package" "$more"; }; then
                    same_file "$root$more" "$root$path"
                fi
                ! diverts_to "$package" "$more" || divert --divert "$more" --remove "$package" ;;
            added) ! is_ours "$path" || rm -f "$root$path" ;;
        esac
    done < <(grep -E '^(kept|added) ' "$journal")
    # The originals stand in their places again: only now may their second names, and our own files, go.
    while read -r what path more package; do
        case $what in
            kept) rm -f "$root$more" ;;
            file) rm -f "$root$path" "$root$path.agentsh-new" ;;
            cgroup) # sessions without processes go with it
                find "$path" -depth -type d -exec rmdir {} + 2>/dev/null || [ ! -d "$path" ] || say "$path is in use: it stays until the next boot" ;;
            dir) rmdir "$root$path" 2>/dev/null || true ;;
        esac
    done < <(tac "$journal")
    # The journal goes last, and with the folders that came with it in one rename: killed between the two, the next run
    # would know nothing of them. Where somebody else has put something into them, they stay.
    local top=''
    while read -r what path; do
        [[ $what != dir || -n $top || $prefix/ != "$path"/* ]] || top=$path
    done <"$journal"
    if [ -n "$top" ] && [ -z "$(find "$root$top" ! -type d ! -path "$journal" -print -quit)" ]; then
        rm -rf "$root$top.agentsh-new"
        mv -T "$root$top" "$root$top.agentsh-new"
        rm -rf "$root$top.agentsh-new"
    else
        what=$(tac "$journal")
        rm -f "$journal" "$journal.agentsh-new"
        while read -r what path; do
            [ "$what" != dir ] || rmdir "$root$path" 2>/dev/null || true
        done <<<"$what"
    fi
    say "agentsh is gone from ${root:-this machine}, and what was there before is back"
}

# ---- this machine ------------------------------------------------------------------------------------------------

cgroup_root() {
    local mount pool
    [ "$(id -u)" = 0 ] || return 0
    mount=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/self/mounts)
    [ -d "$mount/agentsh" ] || note "cgroup $mount/agentsh"
    pool=$("$prefix/libexec/agentsh-helper" root) && say "the cgroup for all sessions is $pool"
}

show() {
    local ctl=$prefix/bin/agentshctl log session=()
    export SHELL=$prefix/bin/bash
    # As an agent would have it: in a session, if one can be made here.
    ! "$ctl" run -- true 2>/dev/null || session=("$ctl" run --)
    say "what is enforced here with SHELL=$SHELL${session[0]:+, in a session of agentshctl run} (agentshctl doctor):"
    "${session[@]}" "$ctl" doctor || true
    say "a sample call, and what agentshctl log has of it:"
    log=$(mktemp -d)
    AGENTSH_LOG=$log/calls "${session[@]}" "$SHELL" -c 'echo "hello from a tool call"'
    "$ctl" log --file "$log/calls" || true
    rm -rf "$log"
    cat <<EOT

agentsh is in $prefix. To use it, one of:
  export SHELL=$prefix/bin/bash             Claude Code, opencode, aider
  export PATH=$prefix/bin:\$PATH             Gemini CLI, swe-rex and whoever looks for bash in PATH
  ./install.sh --root IMAGE_ROOTFS --as-bash     everybody in that image
  $prefix/bin/agentshctl run -- claude      an agent in a session with a budget of its own
See what it did: $prefix/bin/agentshctl log --follow. Remove it: ./install.sh --uninstall${1:+ $1}
EOT
}

main() {
    while [ $# -gt 0 ]; do
        case $1 in
            --prefix | --root | --built) [ $# -gt 1 ] || die "$1 needs a folder" 2 ;;&
            --prefix) prefix=${2%/} && shift ;;
            --root) root=$(cd "$2" && pwd) || die "$2 isn't a folder" 2
                shift ;;
            --built) built=$(cd "$2" && pwd) || die "$2 isn't a folder" 2
                shift ;;
            --as-bash) as_bash=yes ;;
            --uninstall) uninstall=yes ;;
            -h | --help) usage && exit 0 ;;
            *) usage >&2 && exit 2 ;;
        esac
        shift
    done
    [[ $prefix == /* && $prefix != *[[:space:]]* ]] || die "--prefix must be an absolute path without blanks" 2
    [ "$root" != / ] || root=''
    if [ "$uninstall" = yes ]; then
        open_journal
        undo
        return
    fi
    [ -n "$built" ] || build
    carried_shells
    open_journal
    install_tree
    if [ "$as_bash" = yes ]; then
        make_dir "$kept"
        take_shell bash
        take_shell sh
    fi
    [ -n "$root" ] || cgroup_root || say "no cgroup for sessions could be made: doctor says what that means"
    if [ -z "$root" ]; then
        show "$([ "$prefix" = /opt/agentsh ] || printf -- '--prefix %s' "$prefix")"
    else
        say "installed into $root$prefix$([ "$as_bash" = no ] || echo ', and as its /bin/bash and /bin/sh')"
    fi
}

main "$@"
exit
