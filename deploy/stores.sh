# shellcheck shell=bash disable=SC2154,SC2034 # state comes from up; the URLs go there
# A private Postgres and a private Redis below the state folder, on loopback, each with passwords of their own. Sourced by
# up.
#
# Postgres refuses to run as root, so under root both run as an unprivileged user, in a folder that it can reach.

# Sets stores and store_user ('' when we are not root).
choose_store_folder() {
  local user first=''
  stores=$state/stores store_user=''
  if [ "$(id -u)" != 0 ]; then
    (umask 077; mkdir -p "$stores")
    return
  fi
  # Others may pass through and see nothing: what is in it is readable by us alone.
  chmod 711 "$state"
  for user in postgres "$(owner_of "$root")" nobody; do
    if [ "$user" != root ] && id "$user" >/dev/null 2>&1; then
      store_user=$user
      first=${first:-$user}
      if as_store_user test -x "$state"; then
        make_stores
        return
      fi
    fi
  done
  store_user=$first
  [ -n "$store_user" ] || fail "Postgres does not run as root, and there is no user postgres or nobody to run it as"
  # A folder above is closed to everybody else, as root's home is.
  stores=/var/lib/attach-gateway-$(printf '%s' "$state" | cksum | cut -d ' ' -f 1)
  say "stores   $stores, for $store_user cannot reach $state"
  make_stores
}

make_stores() {
  mkdir -p "$stores"
  chmod 700 "$stores"
  chown -R "$store_user" "$stores"
}

owner_of() { stat -c %U "$1" 2>/dev/null || stat -f %Su "$1"; }

# From a folder that the user can be in.
as_store_user() {
  if [ -n "$store_user" ]; then
    (cd / && exec setpriv --reuid="$store_user" --regid="$(id -g "$store_user")" --clear-groups "$@")
  else
    "$@"
  fi
}

# start_store NAME FINGERPRINT COMMAND...: a part that runs as that user.
start_store() {
  local name=$1 print=$2
  shift 2
  if [ -n "$store_user" ]; then
    set -- env -C / setpriv --reuid="$store_user" --regid="$(id -g "$store_user")" --clear-groups "$@"
  fi
  start_part "$name" "$print" "$@"
}

# secret NAME: made once.
secret() {
  local file=$state/$1.secret
  if [ ! -s "$file" ]; then
    (umask 077; head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$file")
  fi
  cat "$file"
}

# Debian keeps the server's programs off the path, by version.
postgres_programs() {
  local folder found=''
  if command -v initdb >/dev/null; then
    dirname "$(readlink -f "$(command -v initdb)")"
    return
  fi
  for folder in /usr/lib/postgresql/*/bin /opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin; do
    [ ! -x "$folder/initdb" ] || found=$folder
  done
  [ -n "$found" ] && printf '%s\n' "$found"
}

need_stores() {
  postgres_programs >/dev/null || install_packages postgresql postgresql@17 "Postgres"
  command -v redis-server >/dev/null || install_packages redis-server redis "Redis"
  postgres_programs >/dev/null || fail "Postgres was installed, and initdb is nowhere to be found"
}

# Sets database_url and database_owner_url.
start_postgres() {
  local programs port print
  programs=$(postgres_programs)
  port=$(port_of postgres 5433)
  if ! as_store_user test -s "$stores/postgres/PG_VERSION"; then
    init_postgres "$programs"
  fi
  print=$(fingerprint "$programs/postgres" "$stores" "$port")
  if ! part_is_current postgres "$print"; then
    end_part postgres 20 || true
    start_store postgres "$print" "$programs/postgres" -D "$stores/postgres" -p "$port" \
      -c listen_addresses=127.0.0.1 -c "unix_socket_directories=$stores"
    await 30 postgres_answers "$programs" "$port" || give_up postgres
    printf '%s\n' "$port" >"$state/postgres.port"
  fi
  database_owner_url=postgres://attach_owner:$(secret postgres-owner)@127.0.0.1:$port/attach
  database_url=postgres://attach_serving:$(secret postgres-serving)@127.0.0.1:$port/attach
  prepare_database "$programs" "$port"
  say "postgres 127.0.0.1:$port, data in $stores/postgres"
}

init_postgres() {
  local file=$stores/superuser
  secret postgres-superuser >"$file"
  [ -z "$store_user" ] || chown "$store_user" "$file"
  as_store_user "$1/initdb" --auth=scram-sha-256 --username=postgres --pwfile="$file" --encoding=UTF8 \
    --pgdata="$stores/postgres" >"$state/postgres.log" 2>&1 || give_up postgres
  rm -f "$file"
}

# run_sql PROGRAMS PORT DATABASE: statements on standard input, as the superuser.
run_sql() {
  PGPASSWORD=$(secret postgres-superuser) "$1/psql" -XAtq -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$2" -U postgres -d "$3"
}

postgres_answers() {
  part_pid postgres >/dev/null || return 0
  echo 'select 1' | run_sql "$1" "$2" postgres >/dev/null 2>&1
}

# Two logins: the owner makes the schema, the other one serves and can see no more than each transaction's role.
prepare_database() {
  local found
  found=$(echo "select count(*) from pg_database where datname = 'attach'" | run_sql "$1" "$2" postgres) ||
    fail "the Postgres on port $2 refuses its own superuser; see $state/postgres.log"
  [ "$found" = 0 ] || return 0
  run_sql "$1" "$2" postgres <<END
create role attach_owner login createrole password '$(secret postgres-owner)';
create role attach_serving login noinherit password '$(secret postgres-serving)';
create database attach owner attach_owner;
\connect attach
alter schema public owner to attach_owner;
END
}

# Sets redis_url.
start_redis() {
  local port print
  port=$(port_of redis 6380)
  (
    umask 077
    # As the file quotes: a path may have spaces and quotation marks.
    folder=${stores//\\/\\\\}
    folder=${folder//\"/\\\"}
    cat >"$stores/redis.conf" <<END
bind 127.0.0.1
port $port
dir "$folder"
requirepass $(secret redis)
appendonly yes
save ""
END
  )
  [ -z "$store_user" ] || chown "$store_user" "$stores/redis.conf"
  print=$(fingerprint "$stores/redis.conf" "$port")
  if ! part_is_current redis "$print"; then
    end_part redis 10 || true
    start_store redis "$print" "$(command -v redis-server)" "$stores/redis.conf"
    await 10 is_listening "$port" || give_up redis
    printf '%s\n' "$port" >"$state/redis.port"
  fi
  redis_url=redis://default:$(secret redis)@127.0.0.1:$port
  say "redis    127.0.0.1:$port"
}

# port_of NAME FIRST [PART]: that of the last run where the part (NAME, without a word) still runs or the port is free, else
# the next free one.
port_of() {
  local last='' number
  if [ -r "$state/$1.port" ]; then read -r last <"$state/$1.port" || true; fi
  if [ -n "$last" ] && { part_pid "${3:-$1}" >/dev/null || ! is_listening "$last"; }; then
    printf '%s\n' "$last"
    return
  fi
  for number in $(seq "$2" $(($2 + 50))); do
    if ! is_listening "$number"; then
      printf '%s\n' "$number"
      return
    fi
  done
  fail "no free port from $2 on for $1"
}
