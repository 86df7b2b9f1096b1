-- Agents and how they are known, models, usage, and how people sign in.

-- Who signs: certificates (of agents, and of the control plane towards them), and bundles. Private keys are sealed
-- (v1.kid.nonce.ciphertext). The id is the beginning of the SHA-256 of the certificate, or of the public key.
create table authority (
    id text primary key check (is_id(id)),
    certificate bytea not null,
    sealed_key text not null,
    not_after timestamptz not null,
    created_at timestamptz not null
);

create table signing_key (
    id text primary key check (is_id(id)),
    public_key bytea not null check (length(public_key) = 32),
    sealed_key text not null,
    created_at timestamptz not null
);

create table agent (
    id text primary key check (is_id(id)),
    pool_id text not null references pool,
    -- The host's own name for itself.
    host text not null check (length(host) between 1 and 255),
    enrolled_at timestamptz not null,
    revoked_at timestamptz,
    unique (pool_id, id)
);

create table join_token (
    id text primary key check (is_id(id)),
    pool_id text not null references pool,
    -- Of the whole token, which nobody keeps.
    sha256 bytea not null unique check (length(sha256) = 32),
    created_at timestamptz not null,
    expires_at timestamptz not null check (expires_at > created_at),
    used_at timestamptz,
    agent_id text unique references agent,
    revoked_at timestamptz,
    check ((used_at is null) = (agent_id is null))
);

-- What an agent said of itself last. Written at each heartbeat, hence apart from what is on record.
create table agent_state (
    agent_id text primary key references agent,
    program_version text not null,
    features text[] not null,
    -- Proto-JSON of the Upstreams that its host declares, and of their UpstreamHealth.
    upstreams jsonb not null default '[]',
    health jsonb not null default '[]',
    connected_at timestamptz not null,
    last_seen_at timestamptz not null,
    -- Null while it is connected.
    disconnected_at timestamptz,
    applied_revision bigint not null default 0,
    -- The last revision that it would not take, and why; null once it took one since.
    refused_revision bigint,
    refusal text,
    -- What its pool's bundle needs and it can't do: it is too old.
    missing_features text[] not null default '{}',
    clock_offset_ms bigint,
    unacknowledged_events bigint not null default 0
);

create table model (
    pool_id text not null references pool,
    name text not null check (length(name) between 1 and 256),
    aliases text[] not null default '{}',
    max_output_tokens bigint check (max_output_tokens > 0),
    -- Who may see it; empty for all. A list of which nobody is left is not empty: then nobody may.
    only_tenants text[] not null default '{}',
    version bigint not null,
    primary key (pool_id, name)
);

create table model_target (
    pool_id text not null,
    model_name text not null,
    position smallint not null check (position >= 0),
    upstream text not null check (is_id(upstream)),
    engine_model text not null check (length(engine_model) between 1 and 256),
    primary key (pool_id, model_name, position),
    foreign key (pool_id, model_name) references model on delete cascade
);

-- How far each spool (a process start of an agent) has come. Locked while a batch of it is taken.
create table usage_spool (
    spool_id uuid primary key,
    agent_id text not null references agent,
    last_seq bigint not null default 0 check (last_seq >= 0),
    first_at timestamptz not null,
    last_at timestamptz not null
);

create table usage_event (
    tenant_id text not null,
    -- The agent's clock at admission; never corrected.
    occurred_at timestamptz not null,
    event_id uuid not null,
    -- When it was first written here; what a bill goes by.
    billed_at timestamptz not null,
    pool_id text not null,
    agent_id text not null,
    spool_id uuid not null,
    seq bigint not null,
    -- Of the event as the agent encoded it.
    sha256 bytea not null check (length(sha256) = 32),
    request_id text not null,
    operation text not null,
    dialect text not null,
    model text not null,
    stream boolean not null,
    principal_kind smallint not null,
    subject text not null,
    issuer text not null,
    key_id text not null,
    -- A list of strings.
    groups jsonb not null,
    project text not null,
    -- [{"kind": …, "quantity": …, "source": …}]
    measures jsonb not null,
    outcome smallint not null,
    http_status smallint not null,
    bundle_revision bigint not null,
    attempts jsonb not null,
    time_to_first_byte_ms bigint,
    duration_ms bigint,
    primary key (tenant_id, occurred_at, event_id)
) partition by range (occurred_at);

-- Events from a time that no partition was made for; their usage counts all the same.
create table usage_event_default partition of usage_event default;

-- Sums that pages read. A request counts once, in the row of its first measure, so that `requests` can be summed over any
-- rows; `kind` is empty for those that measured nothing.
create table usage_hour (
    tenant_id text not null,
    hour timestamptz not null,
    principal_kind smallint not null,
    issuer text not null,
    subject text not null,
    model text not null,
    kind text not null,
    source smallint not null,
    quantity numeric(38, 0) not null check (quantity >= 0),
    requests bigint not null check (requests >= 0),
    primary key (tenant_id, hour, principal_kind, issuer, subject, model, kind, source)
    -- The rows of this hour are changed by each batch. With room for it on their own page no index is written then, which
    -- takes two thirds of the time.
) with (fillfactor = 50);
-- For questions about all tenants: rows come in the order of their hours, so a few pages tell where each hour is.
create index usage_hour_by_hour on usage_hour using brin (hour);

-- What an agent sent and nobody may be charged for: kept as it came, so that a person can decide.
create table usage_quarantine (
    spool_id uuid not null,
    seq bigint not null,
    agent_id text not null references agent,
    -- As the event says; it may be no tenant of the agent's pool, or none at all.
    claimed_tenant text not null,
    reason text not null,
    body bytea not null,
    received_at timestamptz not null,
    primary key (spool_id, seq)
);

-- What should not happen, and did.
create table alarm (
    id bigint generated always as identity primary key,
    at timestamptz not null,
    kind text not null,
    agent_id text,
    detail text not null
);
create index alarm_by_time on alarm (at desc);

create table operator_token (
    id text primary key check (is_id(id)),
    sha256 bytea not null unique check (length(sha256) = 32),
    created_at timestamptz not null,
    revoked_at timestamptz
);

-- Good for one sign-in.
create table sign_in_link (
    sha256 bytea primary key check (length(sha256) = 32),
    created_at timestamptz not null,
    expires_at timestamptz not null,
    used_at timestamptz
);

create table console_session (
    sha256 bytea primary key check (length(sha256) = 32),
    created_at timestamptz not null,
    expires_at timestamptz not null,
    ended_at timestamptz
);

-- Makes the partitions of the months around now. To be run by the owner, as each `migrate` does; it makes two years'.
create procedure make_usage_partitions()
    language plpgsql
as $$
declare
    first date;
    partition_name text;
begin
    for first in
        select generate_series(date_trunc('month', now() at time zone 'utc') - interval '2 months',
                               date_trunc('month', now() at time zone 'utc') + interval '24 months', interval '1 month')
    loop
        partition_name := 'usage_event_' || to_char(first, 'YYYYMM');
        continue when to_regclass(partition_name) is not null;
        -- What the default partition has of that month stands in the way, and is better there than nowhere.
        continue when exists (
            select from usage_event_default
            where occurred_at >= first at time zone 'utc' and occurred_at < (first + interval '1 month') at time zone 'utc');
        execute format('create table %I partition of usage_event for values from (%L) to (%L)', partition_name,
                       to_char(first, 'YYYY-MM-DD') || ' 00:00:00+00',
                       to_char(first + interval '1 month', 'YYYY-MM-DD') || ' 00:00:00+00');
        -- Nobody who serves may reach a partition but through the table.
        execute format('alter table %I enable row level security', partition_name);
        execute format('alter table %I force row level security', partition_name);
    end loop;
end
$$;
alter table usage_event_default enable row level security;
alter table usage_event_default force row level security;

-- The pool of the agent that sends; null outside of an ingest.
create function current_pool() returns text
    language sql stable parallel safe
    return nullif(current_setting('attach.pool', true), '');

do $$
declare
    table_name text;
begin
    foreach table_name in array array['usage_event', 'usage_hour'] loop
        execute format('alter table %I enable row level security', table_name);
        execute format('alter table %I force row level security', table_name);
        execute format('create policy own_tenant on %I to attach_app
                            using (tenant_id = current_tenant()) with check (tenant_id = current_tenant())', table_name);
        execute format('create policy all_tenants on %I to attach_operator using (true) with check (true)', table_name);
        execute format('create policy read_all on %I for select to attach_system using (true)', table_name);
        execute format('grant select on %I to attach_app, attach_operator, attach_system', table_name);
    end loop;
    -- What belongs to no tenant is the operator's.
    foreach table_name in array array['authority', 'signing_key', 'agent', 'join_token', 'agent_state', 'model',
                                      'model_target', 'usage_spool', 'usage_quarantine', 'alarm', 'operator_token',
                                      'sign_in_link', 'console_session'] loop
        execute format('alter table %I enable row level security', table_name);
        execute format('alter table %I force row level security', table_name);
        execute format('create policy operator on %I to attach_operator using (true) with check (true)', table_name);
        execute format('create policy system on %I to attach_system using (true) with check (true)', table_name);
        execute format('grant select on %I to attach_operator, attach_system', table_name);
    end loop;
end
$$;

grant insert on authority, signing_key, agent, join_token, operator_token, sign_in_link, console_session to attach_operator;
grant insert, update, delete on model, model_target to attach_operator;
grant update (revoked_at) on agent, operator_token to attach_operator;
grant update (used_at, agent_id, revoked_at) on join_token to attach_operator;
grant update (used_at) on sign_in_link to attach_operator;
grant update (ended_at, expires_at) on console_session to attach_operator;
-- Agents' own doings.
grant insert, update on agent_state to attach_system;
grant insert on alarm to attach_system;

-- The insert-only role. An event is taken from an agent when its tenant was in the agent's pool at that time, with five
-- minutes for clocks that differ: a bundle reaches an agent only after the membership began. The memberships are looked up
-- once for a statement and not for each row. Of those that last only the beginning is looked at; to read all ranges of a
-- tenant anew for each row costs an eighth of the insert.
create policy of_the_agents_pool on usage_event for insert to attach_ingest
    with check (
        occurred_at >= to_timestamp(
            ((select jsonb_object_agg(tenant_id, extract(epoch from since - interval '5 minutes'))
              from pool_membership where pool_id = current_pool() and until is null)
                -> tenant_id)::double precision)
        or ((select jsonb_object_agg(tenant_id, at)
             from (select tenant_id,
                       range_agg(tstzrange(since - interval '5 minutes', until + interval '5 minutes')) as at
                   from pool_membership where pool_id = current_pool() group by tenant_id) member)
                ->> tenant_id)::tstzmultirange @> occurred_at);
grant insert on usage_event to attach_ingest;
create policy ingest on usage_hour to attach_ingest
    using (tenant_id in (select tenant_id from pool_membership where pool_id = current_pool()))
    with check (tenant_id in (select tenant_id from pool_membership where pool_id = current_pool()));
grant select, insert, update (quantity, requests) on usage_hour to attach_ingest;
create policy of_the_agents_pool on pool_membership for select to attach_ingest using (pool_id = current_pool());
grant select on pool_membership to attach_ingest;
create policy of_the_agents_pool on agent for select to attach_ingest using (pool_id = current_pool());
grant select (id, pool_id, revoked_at) on agent to attach_ingest;
create policy ingest on usage_spool to attach_ingest
    using (agent_id in (select id from agent where pool_id = current_pool()))
    with check (agent_id in (select id from agent where pool_id = current_pool()));
grant select, insert, update (last_seq, last_at) on usage_spool to attach_ingest;
create policy ingest on usage_quarantine for insert to attach_ingest with check (true);
grant insert on usage_quarantine to attach_ingest;
create policy ingest on alarm for insert to attach_ingest with check (true);
grant insert on alarm to attach_ingest;
