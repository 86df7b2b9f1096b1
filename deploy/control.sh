# shellcheck shell=bash disable=SC2154,SC2034 # what comes from up and stores, and goes there
# The control plane, and a demo tenant in it: an identity provider, a small limit, a key. Sourced by up.

# Sets control_url and agents_url.
start_control() {
  local port agents_port print
  port=$(port_of control 8400)
  # Gateways that have joined know it.
  agents_port=$(port_of control-agents 8443 control)
  control_url=http://127.0.0.1:$port agents_url=https://127.0.0.1:$agents_port
  # In the environment and not among the arguments, which all users of the machine can see.
  DATABASE_OWNER_URL=$database_owner_url DATABASE_URL=$database_url "$control" migrate >>"$state/control.log" 2>&1 ||
    give_up control
  print=$(fingerprint "$control" "$database_url" "$port" "$agents_port")
  if ! part_is_current control "$print" || ! control_is_ready; then
    end_part control 30 || true
    : >"$state/control.log"
    (
      export DATABASE_URL=$database_url ATTACH_LISTEN=127.0.0.1:$port ATTACH_GRPC_LISTEN=127.0.0.1:$agents_port
      export ATTACH_SEAL_KEY_FILE=$state/seal-keys ATTACH_OPERATOR_TOKEN_FILE=$state/operator-token
      start_part control "$print" "$control" serve
    )
    await 20 control_is_ready_or_gone || true
    control_is_ready || give_up control
    printf '%s\n' "$port" >"$state/control.port"
    printf '%s\n' "$agents_port" >"$state/control-agents.port"
  fi
  say "control  $control_url, for gateways $agents_url"
}

control_is_ready() { part_pid control >/dev/null && curl -fsS -m 2 -o /dev/null "$control_url/readyz" 2>/dev/null; }
control_is_ready_or_gone() { ! part_pid control >/dev/null || control_is_ready; }

# api METHOD PATH [BODY]: the answer's body, and its status in the last line. Secrets, which a body may have, go by files: all
# users see a process's arguments.
api() {
  local body=${3:-}
  body=${body//\\/\\\\}
  body=${body//\"/\\\"}
  {
    printf 'header = "Authorization: Bearer %s"\n' "$(cat "$state/operator-token")"
    [ -z "$body" ] || printf 'header = "content-type: application/json"\ndata = "%s"\n' "$body"
  } | curl -sS -m 20 -K - -X "$1" -w '\n%{http_code}' "$control_url/api/v1$2"
}

# set_once PATH BODY: what an operator has changed meanwhile stays.
set_once() {
  local answer
  answer=$(api GET "$1") || fail "the control plane did not answer; see $state/control.log"
  [ "${answer##*$'\n'}" = 200 ] || make PUT "$1" "$2"
}

# make METHOD PATH BODY: what is there already may stay. Sets made to the answer, '' when it was there.
make() {
  local answer status
  answer=$(api "$@") || fail "the control plane did not answer; see $state/control.log"
  status=${answer##*$'\n'}
  made=''
  case $status in
    200 | 201 | 204) made=${answer%$'\n'*} ;;
    409) ;;
    *) fail "$1 $2 was answered with $status: ${answer%$'\n'*}" ;;
  esac
}

# field NAME: a text of the last answer.
field() { printf '%s' "$made" | grep -o "\"$1\":\"[^\"]*\"" | head -n 1 | cut -d '"' -f 4; }

make_demo_tenant() {
  [ -s "$state/operator-token" ] ||
    (umask 077; DATABASE_URL=$database_url "$control" operator-token >"$state/operator-token")
  make POST /quota-stores "{\"id\":\"redis\",\"kind\":\"redis\",\"url\":\"$redis_url\"}"
  make POST /pools '{"id":"demo","name":"Demo hosts"}'
  make POST /tenants '{"id":"demo","name":"Demo","quota_store":"redis","pool":"demo"}'
  make PUT /tenants/demo/identity-providers/issuer "{\"issuer\":\"$issuer\",\"audiences\":[\"demo\"]}"
  set_once /tenants/demo/limits/tokens \
    '{"counter":"each_principal","measure":"total_tokens","amount":2000,"window_seconds":60}'
  if [ ! -s "$state/demo-key" ]; then
    make POST /tenants/demo/api-keys '{"name":"demo","owner":"bob"}'
    (umask 077; field secret >"$state/demo-key")
  fi
  say "tenant   demo: tokens of the demo issuer, an API key, 2000 tokens a minute for each user"
}

# What a gateway joins with, once.
join_line() {
  make POST /join-tokens '{"pool":"demo"}'
  printf '%s@%s\n' "$(field secret)" "$agents_url"
}

# The sums by user and model that the console shows, once they have arrived.
show_control_usage() {
  local answer
  await 20 usage_has_arrived || fail "the usage did not reach the control plane; see $state/gateway.log and $state/control.log"
  answer=$(api GET '/tenants/demo/usage?by=user,model')
  say
  printf '%-8s  %-6s  %-24s  %8s  %12s  %13s\n' USER KIND MODEL REQUESTS 'INPUT TOKENS' 'OUTPUT TOKENS'
  while IFS= read -r made; do
    printf '%-8s  %-6s  %-24s  %8s  %12s  %13s\n' "$(field subject)" "$(field kind)" "$(field model)" \
      "$(number '"requests":')" "$(number '"input_tokens","quantity":')" "$(number '"output_tokens","quantity":')"
  done < <(printf '%s' "$answer" | tr -d '\n' | awk -F '{"user":' '{ for (i = 2; i <= NF; i++) print $i }')
}

# All requests of the demo tenant that the control plane has taken in.
requests_taken() {
  made=$(api GET /tenants/demo/usage)
  number '"requests":'
}

# More than before the first request.
usage_has_arrived() { [ "$(requests_taken)" -gt "$taken_before" ]; }

# number BEFORE: the one that stands behind it in the last answer; 0 when there is none.
number() {
  local found=${made#*"$1"}
  if [ "$found" = "$made" ]; then echo 0; else printf '%s\n' "${found%%[!0-9]*}"; fi
}
