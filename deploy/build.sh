# shellcheck shell=bash disable=SC2154,SC2034 # state and root come from up, gateway and demo go there
# Builds the programs, with a line that shows how far it is. Sourced by up, which sets $root and $state.

# Looks for what building and asking need; installs what apt can give, when we may.
need_tools() {
  [ ! -d "$HOME/.cargo/bin" ] || PATH=$PATH:$HOME/.cargo/bin
  if ! command -v cargo >/dev/null; then
    fail "cargo is missing. Install Rust: curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y"
  fi
  need_package cc gcc libc6-dev
  need_package curl curl ca-certificates
}

# need_package COMMAND PACKAGE...: of apt; macOS has these with its compiler.
need_package() {
  local command=$1
  shift
  command -v "$command" >/dev/null || install_packages "$*" '' "$command"
}

# install_packages OF_APT OF_BREW WHAT: the names may be several, by spaces.
install_packages() {
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "install  $1"
    # shellcheck disable=SC2086 # the names are to be split
    apt_install $1 >"$state/apt.log" 2>&1 || { tail -n 5 "$state/apt.log" >&2; fail "apt-get install $1 failed"; }
  elif [ -n "$2" ] && command -v brew >/dev/null; then
    say "install  $2"
    # shellcheck disable=SC2086 # the names are to be split
    brew install -q $2 >"$state/brew.log" 2>&1 || { tail -n 5 "$state/brew.log" >&2; fail "brew install $2 failed"; }
  else
    fail "$3 is missing. Install it, on Debian or Ubuntu: sudo apt-get install -y $1${2:+; with Homebrew: brew install $2}"
  fi
}

# Packaged servers start with their package; we start our own, so none is to be started here.
apt_install() {
  local policy=/usr/sbin/policy-rc.d ours=no status=0
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"
    ours=yes
  fi
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"; } ||
    status=$?
  [ "$ours" = no ] || rm -f "$policy"
  return "$status"
}

# Builds, and sets gateway, control and demo to the programs.
build_programs() {
  local target=${CARGO_TARGET_DIR:-$root/target} started=$SECONDS cargo_pid status=0
  # A checkout that belongs to somebody else, such as root: build in our own cache.
  if [ -z "${CARGO_TARGET_DIR:-}" ] && ! { mkdir -p "$target" && [ -w "$target" ]; } 2>/dev/null; then
    target=${XDG_CACHE_HOME:-$HOME/.cache}/attach-gateway/target
    mkdir -p "$target"
  fi
  case $target in /*) ;; *) target=$PWD/$target ;; esac
  # From the root, for its toolchain file and cargo settings are found by the working directory.
  [ "$standalone" = yes ] || set -- -p attach-control-plane
  # A group of its own, for whoever ends cargo ends its compilers as well.
  set -m
  (cd "$root" && exec cargo build --release --locked -p attach-gateway -p attach-demo "$@" --target-dir "$target") \
    >"$state/build.log" 2>&1 </dev/null 9>&- &
  cargo_pid=$!
  set +m
  trap 'kill -- "-$cargo_pid" 2>/dev/null || true; exit 130' INT TERM
  show_progress "$cargo_pid" "$started"
  wait "$cargo_pid" || status=$?
  trap - INT TERM
  if [ "$status" != 0 ]; then
    grep -n -m 1 '^error' "$state/build.log" >/dev/null || tail -n 20 "$state/build.log" >&2
    sed -n '/^error/,$p' "$state/build.log" | head -n 40 >&2
    fail "the build failed; all of it is in $state/build.log"
  fi
  say "built    in $((SECONDS - started)) s"
  gateway=$target/release/attach-gateway
  control=$target/release/attach-control-plane
  demo=$target/release/attach-demo
}

# On a terminal one line that moves; elsewhere a line each half minute.
show_progress() {
  local pid=$1 started=$2 count name shown=0 elapsed
  while kill -0 "$pid" 2>/dev/null; do
    sleep 0.5
    elapsed=$((SECONDS - started))
    # A second run is over before there is anything to show.
    [ "$elapsed" -ge 2 ] || continue
    count=$(grep -c '^ *Compiling' "$state/build.log" || true)
    name=$(grep '^ *\(Compiling\|Downloaded\|Blocking\)' "$state/build.log" | tail -n 1 | awk '{print $2}') || true
    if [ -t 1 ]; then
      printf '\rbuilding %s crates so far, now %-28.28s %3d s ' "$count" "$name" "$elapsed"
    elif [ $((elapsed / 30)) -gt "$shown" ]; then
      shown=$((elapsed / 30))
      say "building $count crates so far, now ${name:-none}, $elapsed s"
    fi
  done
  [ ! -t 1 ] || printf '\r%70s\r' ''
}
