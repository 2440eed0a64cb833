#!/bin/sh
# Installs edge-agent as a systemd service on a bare Debian 12 or 13. Run it again to update or repair.
# Every version lives in a directory of its own; `current` points to the one that runs, so that a failed
# installation leaves the running one alone and a rollback is one symlink.
set -eu

PREFIX=/opt/edge-agent
ETC=/etc/edge-agent
STATE=/var/lib/edge-agent
UNIT=/etc/systemd/system/edge-agent.service
DROPINS=$UNIT.d
COMMAND=/usr/local/bin/edge-agent
OWNER=edge-agent
NEEDED_MB=700

SOURCE=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
WHEELS=
CONFIG=
ALLOW=
START=yes
PURGE=no
ACTION=install

usage() {
    cat <<END
Usage: install.sh [options]            install, update or repair
       install.sh --uninstall [--purge]

  --source DIR     the source tree to install from (default: the one this script is in)
  --wheels DIR     install offline from DIR, made by installer/make-wheels.sh; needs no network
  --config FILE    put FILE in place as $ETC/edge-agent.toml
  --allow ADDRESS  let the service reach this address or network too (the command centre's broker, a DNS
                   server outside the shop's network); may be given several times
  --no-start       install and enable, but do not start
  --uninstall      stop and remove the program; keeps configuration, keys and footage
  --purge          with --uninstall: remove those too, for ever
  --help           this text
END
}

say() { echo "edge-agent: $*"; }
fail() {
    echo "edge-agent: $*" >&2
    exit 1
}

parse_arguments() {
    while [ $# -gt 0 ]; do
        case $1 in
        --source | --wheels | --config | --allow)
            [ $# -ge 2 ] && [ -n "$2" ] || fail "$1 needs a value; see --help"
            take_value "$1" "$2"
            shift
            ;;
        --no-start) START=no ;;
        --uninstall) ACTION=uninstall ;;
        --purge) PURGE=yes ;;
        --help | -h) usage && exit 0 ;;
        *) fail "unknown option $1; see --help" ;;
        esac
        shift
    done
    [ "$PURGE" = no ] || [ $ACTION = uninstall ] || fail "--purge goes with --uninstall"
}

take_value() {
    case $1 in
    --source) SOURCE=$2 ;;
    --wheels) WHEELS=$2 ;;
    --config) CONFIG=$2 ;;
    --allow) ALLOW="$ALLOW $2" ;;
    esac
}

# -- what the machine must bring ------------------------------------------------------------------------

check_machine() {
    [ "$(id -u)" = 0 ] || fail "must run as root: sudo $0"
    command -v systemctl >/dev/null || fail "this machine has no systemd; edge-agent runs as its service"
    case $(uname -m) in
    x86_64 | aarch64) ;;
    *) fail "no packages for $(uname -m); needs x86_64 or aarch64 (a 64-bit Raspberry Pi OS)" ;;
    esac
    [ -z "$CONFIG" ] || [ -r "$CONFIG" ] || fail "cannot read $CONFIG"
    for address in $ALLOW; do
        case $address in
        *[!0-9a-fA-F.:/]*) fail "--allow takes an address or network such as 203.0.113.5 or 2001:db8::/32" ;;
        esac
    done
    mkdir -p "$PREFIX"
    free_mb=$(df -Pm "$PREFIX" | awk 'NR == 2 { print $4 }')
    [ "$free_mb" -ge $NEEDED_MB ] || fail "only $free_mb MB free on $PREFIX, $NEEDED_MB needed"
}

check_python() {
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        [ -z "$WHEELS" ] || fail "Python cannot make virtual environments: apt-get install python3-venv"
        say "installing python3-venv"
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
            --no-install-recommends python3-venv >/dev/null ||
            fail "apt-get could not install python3-venv"
    fi
    python3 -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' ||
        fail "$(python3 --version) does not fit; needs 3.11 to 3.13 (Debian 12 or 13)"
}

# -- the program ----------------------------------------------------------------------------------------

install_program() {
    digest=$(fingerprint)
    target=$PREFIX/versions/$(version)-$digest
    if [ -f "$target/.complete" ]; then
        say "$(basename "$target") is already there"
    else
        say "building $(basename "$target")"
        rm -rf "$target"
        mkdir -p "$PREFIX/versions"
        python3 -m venv "$target"
        if [ -n "$WHEELS" ]; then install_from_wheels; else install_from_source; fi
        "$target/bin/edge-agent" --help >/dev/null || fail "the new version does not start; the old one stays"
        touch "$target/.complete"
    fi
    ln -sfn "$target" "$PREFIX/current.new"
    mv -T "$PREFIX/current.new" "$PREFIX/current" # atomic: there is a `current` at every moment
    ln -sfn "$PREFIX/current/bin/edge-agent" "$COMMAND"
    forget_old_versions
}

version() {
    if [ -n "$WHEELS" ]; then
        find "$WHEELS" -maxdepth 1 -name 'edge_agent-*.whl' | sed -n 's/.*edge_agent-\([^-]*\)-.*/\1/p' | head -n 1
    else
        sed -n 's/^version = "\(.*\)"/\1/p' "$SOURCE/pyproject.toml"
    fi
}

# The same input gives the same directory: a second run finds its work done.
fingerprint() {
    if [ -n "$WHEELS" ]; then
        [ -f "$WHEELS/SHA256SUMS" ] || fail "$WHEELS has no SHA256SUMS; make it with installer/make-wheels.sh"
        (cd "$WHEELS" && sha256sum --check --quiet --strict SHA256SUMS) >&2 || fail "$WHEELS is damaged"
        sha256sum <"$WHEELS/SHA256SUMS" | cut -c 1-12
    else
        [ -f "$SOURCE/pyproject.toml" ] || fail "$SOURCE is not the edge-agent source; see --source"
        (cd "$SOURCE" && find edge_agent pyproject.toml requirements docs -type f ! -name '*.pyc' \
            -exec sha256sum {} + | sort -k 2 | sha256sum | cut -c 1-12)
    fi
}

install_from_source() {
    pip_install --require-hashes -r "$SOURCE/requirements/build.lock"
    pip_install --no-build-isolation --require-hashes -r "$SOURCE/requirements/agent.lock"
    build=$(mktemp -d)
    (cd "$SOURCE" && cp -r edge_agent pyproject.toml README.md LICENSE "$build") # the source may be read-only
    pip_install --no-build-isolation --no-deps "$build"
    rm -rf "$build"
    cp -r "$SOURCE/docs" "$target/docs"
}

install_from_wheels() {
    pip_install --no-index --find-links "$WHEELS" edge-agent
    [ ! -d "$WHEELS/docs" ] || cp -r "$WHEELS/docs" "$target/docs"
}

pip_install() {
    PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore "$target/bin/pip" install --quiet "$@" ||
        fail "pip could not install; the running version was not touched. Without network use --wheels"
}

forget_old_versions() { # keeps the running one and the one before
    find "$PREFIX/versions" -mindepth 1 -maxdepth 1 -type d -printf '%T@ %p\n' | sort -rn | cut -d ' ' -f 2- |
        grep -Fxv "$target" | tail -n +2 | xargs -r rm -rf
}

# -- user, configuration, unit --------------------------------------------------------------------------

install_user() {
    getent passwd $OWNER >/dev/null ||
        useradd --system --user-group --home-dir $STATE --no-create-home --shell /usr/sbin/nologin $OWNER
}

install_config() {
    install -d -m 0750 -o root -g $OWNER $ETC
    if [ -n "$CONFIG" ]; then
        place "$CONFIG"
    elif [ ! -e $ETC/edge-agent.toml ]; then
        place "$(sample)"
    fi
}

sample() {
    for candidate in "$(dirname -- "$0")/edge-agent.toml" "$SOURCE/installer/edge-agent.toml"; do
        [ ! -f "$candidate" ] || { echo "$candidate" && return; }
    done
    fail "the sample configuration edge-agent.toml is not beside this script"
}

place() {
    install -m 0640 -o root -g $OWNER "$1" $ETC/edge-agent.toml.new
    mv $ETC/edge-agent.toml.new $ETC/edge-agent.toml
}

configured() { ! grep -q '"change-me"' $ETC/edge-agent.toml; }

install_unit() {
    install -m 0644 "$(unit_file)" $UNIT
    mkdir -p $DROPINS
    if [ -n "$ALLOW" ]; then
        { echo "[Service]" && for address in $ALLOW; do echo "IPAddressAllow=$address"; done; } >$DROPINS/uplink.conf
    fi
    if systemctl --quiet is-enabled chrony.service chronyd.service ntpsec.service 2>/dev/null; then
        # These leave no mark that says "synchronized"; the kernel must be asked.
        printf '[Service]\nProtectClock=no\nSystemCallFilter=adjtimex clock_adjtime\n' >$DROPINS/clock.conf
    else
        rm -f $DROPINS/clock.conf
    fi
}

unit_file() {
    for candidate in "$(dirname -- "$0")/edge-agent.service" "$SOURCE/systemd/edge-agent.service"; do
        [ ! -f "$candidate" ] || { echo "$candidate" && return; }
    done
    fail "edge-agent.service is not beside this script"
}

start_service() {
    systemctl --quiet enable edge-agent.service
    if [ ! -d /run/systemd/system ]; then
        say "installed and enabled; systemd does not run here, so the next boot starts it"
    elif ! configured; then
        systemctl daemon-reload
        say "installed and enabled, not started: name the site in $ETC/edge-agent.toml, then"
        say "  edge-agent config check && systemctl start edge-agent"
    elif [ $START = no ]; then
        systemctl daemon-reload
        say "installed and enabled, not started (--no-start)"
    else
        systemctl daemon-reload
        "$PREFIX/current/bin/edge-agent" --config $ETC/edge-agent.toml config check ||
            fail "the configuration is wrong, see above; installed, but not started"
        systemctl restart edge-agent.service ||
            fail "the service does not start: journalctl -u edge-agent -n 50"
        say "running; see: edge-agent status"
    fi
    [ -f $DROPINS/uplink.conf ] ||
        say "note: outside the shop's own network the service reaches nothing yet; see --allow"
}

uninstall() {
    [ "$(id -u)" = 0 ] || fail "must run as root: sudo $0"
    if [ -f $UNIT ]; then
        systemctl --quiet disable --now edge-agent.service 2>/dev/null || true
        rm -rf $UNIT $DROPINS
        systemctl daemon-reload 2>/dev/null || true
    fi
    rm -f $COMMAND
    rm -rf $PREFIX
    if [ "$PURGE" = yes ]; then
        rm -rf $ETC $STATE
        ! getent passwd $OWNER >/dev/null || userdel $OWNER
        say "removed, with configuration, keys and footage"
    else
        say "removed; kept: $ETC, $STATE (configuration, keys, footage; --purge removes them)"
    fi
}

parse_arguments "$@"
if [ $ACTION = uninstall ]; then
    uninstall
    exit 0
fi
check_machine
check_python
install_user
install_program
install_config
install_unit
start_service
