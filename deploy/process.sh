# shellcheck shell=bash disable=SC2154 # state comes from up and down
# The running parts of a state folder: started, recognised, ended. Sourced by up and down, which set $state.
#
# $state/NAME.pid has three lines: the process id; the identity of that very process, so that a number which another
# process got since is never taken for ours; and a fingerprint of what was started, so that a part whose program or
# settings changed is restarted.

# When a process started, counted from its boot: with its id it names one process and no other.
process_identity() {
  local pid=$1 stat
  if [ -r "/proc/$pid/stat" ]; then
    # The name in parentheses may hold spaces and parentheses: count the fields after its end.
    { read -r stat <"/proc/$pid/stat"; } 2>/dev/null || return 1
    # shellcheck disable=SC2086 # the fields are to be split
    set -- ${stat##*) }
    # A zombie is no longer running; it only waits for its parent.
    [ "$1" != Z ] || return 1
    printf '%s/%s\n' "$(cat /proc/sys/kernel/random/boot_id)" "${20}"
  else
    ps -o lstart= -p "$pid" 2>/dev/null | grep .
  fi
}

# Prints the pid of a part that is running and ours.
part_pid() {
  local pid identity
  { read -r pid && read -r identity; } 2>/dev/null <"$state/$1.pid" || return 1
  case $pid in '' | *[!0-9]*) return 1 ;; esac
  # One that ended before it could be known is nobody.
  [ -n "$identity" ] || return 1
  [ "$(process_identity "$pid")" = "$identity" ] && printf '%s\n' "$pid"
}

# Whether a part runs and was started with this fingerprint.
part_is_current() {
  part_pid "$1" >/dev/null && [ "$(sed -n 3p "$state/$1.pid")" = "$2" ]
}

# fingerprint PROGRAM ARGUMENT...: changes with the program's file and with each argument.
fingerprint() {
  { cksum <"$1"; printf '%s\n' "$@"; } | cksum | tr ' ' -
}

# start_part NAME FINGERPRINT COMMAND...: in the background, in a process group of its own, so that a Ctrl-C at the
# terminal reaches us alone; its output goes to $state/NAME.log.
start_part() {
  local name=$1 print=$2 pid
  shift 2
  set -m
  nohup "$@" >>"$state/$name.log" 2>&1 </dev/null 9>&- &
  pid=$!
  set +m
  disown "$pid" 2>/dev/null || true
  printf '%s\n%s\n%s\n' "$pid" "$(process_identity "$pid")" "$print" >"$state/$name.pid"
}

# end_part NAME SECONDS: asks it to end, and kills it when it has not ended after so many seconds.
end_part() {
  local name=$1 tenths=$(($2 * 10)) pid
  if ! pid=$(part_pid "$name"); then
    rm -f "$state/$name.pid"
    return 1
  fi
  kill -TERM "$pid" 2>/dev/null || true
  while part_pid "$name" >/dev/null; do
    if [ "$tenths" -le 0 ]; then
      echo "  $name did not end in $2 s: killed" >&2
      kill -KILL "$pid" 2>/dev/null || true
      break
    fi
    sleep 0.1
    tenths=$((tenths - 1))
  done
  rm -f "$state/$name.pid"
}

# In the order in which they are ended, with the seconds that each is given: the gateway first, for its streams finish while
# the engine is still there, and its last usage is taken in. It has as long as a long answer may take.
parts='gateway:30 control:30 issuer:5 engine:5 redis:10 postgres:30'

# A line for each part that runs: its name and its process id.
running_parts() {
  local part pid
  for part in $parts; do
    if pid=$(part_pid "${part%:*}"); then printf '%s %s\n' "${part%:*}" "$pid"; fi
  done
}

# Prints which it ended.
end_all_parts() { end_parts_but ''; }

# end_parts_but SPARED: those in these lines of running_parts go on, unless they were started anew since. Prints which it
# ended.
end_parts_but() {
  local ended='' part name pid
  for part in $parts; do
    name=${part%:*}
    if pid=$(part_pid "$name") && printf '%s\n' "$1" | grep -qx "$name $pid"; then continue; fi
    end_part "$name" "${part#*:}" && ended="${ended:+$ended, }$name"
  done
  # What it tells is no longer true.
  part_pid gateway >/dev/null || rm -f "$state/env"
  echo "${ended:-nothing}"
}

# One up or down at a time for a state folder. The lock is held by descriptor 9 until the script ends.
lock_state() {
  : >>"$state/lock"
  command -v flock >/dev/null || return 0
  exec 9>"$state/lock"
  flock -w 60 9 || { echo "another ./deploy/up or ./deploy/down works on $state" >&2; exit 1; }
}

unlock_state() { exec 9>&-; }
