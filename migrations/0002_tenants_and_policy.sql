-- Tenants, pools, and what a bundle is made of. `version` is the number of the configuration change that wrote the row
-- last; an agent that holds (kind, id, version) holds the row.

-- The authority for the limits of its tenants. The address may hold a password, so it is sealed (v1.kid.nonce.ciphertext).
create table quota_store (
    id text primary key check (is_id(id)),
    kind text not null check (kind in ('local', 'redis')),
    sealed_url text check ((kind = 'redis') = (sealed_url is not null)),
    call_budget_ms integer check (call_budget_ms between 1 and 60000),
    version bigint not null
);

create table tenant (
    tenant_id text primary key check (is_id(tenant_id)),
    name text not null check (length(name) between 1 and 200),
    quota_store_id text not null references quota_store,
    on_quota_outage text not null default 'deny' check (on_quota_outage in ('deny', 'allow')),
    durability text not null default 'strict' check (durability in ('strict', 'relaxed')),
    created_at timestamptz not null,
    version bigint not null
);

create table pool (
    id text primary key check (is_id(id)),
    name text not null check (length(name) between 1 and 200),
    -- Of the last configuration change that touched what its agents serve.
    revision bigint not null,
    created_at timestamptz not null
);

-- Which tenants a pool serves, and served: a usage event is taken from an agent when its tenant was in the agent's pool
-- at that time.
create table pool_membership (
    tenant_id text not null references tenant,
    pool_id text not null references pool,
    since timestamptz not null,
    until timestamptz check (until > since),
    primary key (tenant_id, pool_id, since)
);
create unique index pool_membership_now on pool_membership (tenant_id, pool_id) where until is null;
create index pool_membership_of_pool on pool_membership (pool_id, tenant_id);

create table identity_provider (
    tenant_id text not null references tenant,
    id text not null check (is_id(id)),
    issuer text not null,
    algorithms text[] not null,
    jwks_url text,
    clock_skew_ms integer not null check (clock_skew_ms between 0 and 600000),
    user_claim text not null default '',
    groups_claim text not null default '',
    project_claim text not null default '',
    forwarded_claims text[] not null default '{}',
    version bigint not null,
    primary key (tenant_id, id),
    unique (tenant_id, id, issuer)
);

-- Apart, because one issuer and audience must lead to exactly one tenant, in whatever pool.
create table identity_audience (
    tenant_id text not null,
    provider_id text not null,
    issuer text not null,
    audience text not null check (audience <> ''),
    primary key (tenant_id, provider_id, audience),
    -- The provider's own issuer: under another name an audience would slip past the index below.
    foreign key (tenant_id, provider_id, issuer) references identity_provider (tenant_id, id, issuer)
        on update cascade on delete cascade
);
-- Without the final slash: which form counts is known only from the issuer's metadata.
create unique index identity_audience_leads_to_one_tenant on identity_audience (rtrim(issuer, '/'), audience);

create table api_key (
    tenant_id text not null references tenant,
    id text not null check (is_id(id)),
    name text not null check (length(name) between 1 and 200),
    -- Of the whole key, which nobody keeps.
    sha256 bytea not null unique check (length(sha256) = 32),
    owner text not null check (length(owner) between 1 and 200),
    groups text[] not null default '{}',
    expires_at timestamptz,
    created_at timestamptz not null,
    revoked_at timestamptz,
    version bigint not null,
    primary key (tenant_id, id)
);

create table usage_limit (
    tenant_id text not null references tenant,
    id text not null check (is_id(id)),
    counter text not null
        check (counter in ('shared', 'each_principal', 'each_model', 'each_principal_and_model')),
    measure text not null check (measure in ('requests', 'input_tokens', 'output_tokens', 'total_tokens')),
    window_ms bigint not null check (window_ms between 1000 and 31622400000),
    amount bigint not null check (amount > 0),
    principals text[] not null default '{}',
    groups text[] not null default '{}',
    models text[] not null default '{}',
    version bigint not null,
    primary key (tenant_id, id)
);

create table access_rule (
    tenant_id text not null references tenant,
    id text not null check (is_id(id)),
    principals text[] not null default '{}',
    groups text[] not null default '{}',
    models text[] not null default '{}',
    permissions text[] not null check (permissions <@ array['inference', 'read'] and permissions <> '{}'),
    version bigint not null,
    primary key (tenant_id, id)
);

do $$
declare
    table_name text;
begin
    foreach table_name in array array['tenant', 'pool_membership', 'identity_provider', 'identity_audience', 'api_key',
                                      'usage_limit', 'access_rule'] loop
        execute format('alter table %I enable row level security', table_name);
        execute format('alter table %I force row level security', table_name);
        execute format('create policy own_tenant on %I to attach_app
                            using (tenant_id = current_tenant()) with check (tenant_id = current_tenant())', table_name);
        execute format('create policy all_tenants on %I to attach_operator using (true) with check (true)', table_name);
        execute format('create policy read_all on %I for select to attach_system using (true)', table_name);
        execute format('grant select on %I to attach_app, attach_operator, attach_system', table_name);
    end loop;
    -- What belongs to no tenant is the operator's.
    foreach table_name in array array['quota_store', 'pool'] loop
        execute format('alter table %I enable row level security', table_name);
        execute format('alter table %I force row level security', table_name);
        execute format('create policy operator on %I to attach_operator using (true) with check (true)', table_name);
        execute format('create policy read_all on %I for select to attach_system using (true)', table_name);
        execute format('grant select on %I to attach_operator, attach_system', table_name);
    end loop;
end
$$;

-- A tenant's own people change its policy; the tenant itself, its pools and its stores are the operator's.
grant insert, update, delete on identity_provider, identity_audience, api_key, usage_limit, access_rule
    to attach_app, attach_operator;
grant insert, update on tenant, pool_membership, quota_store, pool to attach_operator;
-- A change of a tenant's policy is a change of the pools that serve it.
create policy touch_own_pools on pool to attach_app
    using (exists (select from pool_membership member where member.pool_id = pool.id and member.until is null))
    with check (true);
grant select (id, revision), update (revision) on pool to attach_app;
