-- Roles, numbers that readers follow, and the audit trail.
--
-- Whoever runs this owns the schema and needs CREATEROLE. Nobody serves as the owner: the serving login is a member of the
-- roles below and takes exactly one of them in each transaction. It must not inherit them, or every policy would hold for
-- it at once; the control plane refuses to start if it does.

do $$
declare
    role_name text;
begin
    foreach role_name in array array['attach_app', 'attach_operator', 'attach_system', 'attach_ingest'] loop
        begin
            execute format('create role %I nologin noinherit', role_name);
        exception when duplicate_object or unique_violation then
            -- Roles are the whole server's: another database of it may have brought them, this very moment too.
            null;
        end;
    end loop;
end
$$;

comment on role attach_app is 'one tenant, named by attach.tenant; all that a tenant''s own people and keys cause';
comment on role attach_operator is 'all tenants; pages and calls of the operator, audited';
comment on role attach_system is 'reads all tenants; building bundles and named jobs';
comment on role attach_ingest is 'writes usage events, and reads none';

-- What an id may be. The contract's ids (`attach_proto::id`) say the same.
create function is_id(text) returns boolean
    language sql immutable parallel safe
    return $1 ~ '^[A-Za-z0-9._:@-]{1,128}$';

-- The tenant of this transaction; null outside of one, which equals no row's.
create function current_tenant() returns text
    language sql stable parallel safe
    return nullif(current_setting('attach.tenant', true), '');

-- A number that a reader follows is taken here, in the writing transaction: whoever takes the next one waits until this
-- one has committed, so a reader that saw n has seen all before it. A sequence promises no such thing. Heads are taken
-- in the order of their ids.
create table head (
    id smallint primary key,
    name text not null unique,
    n bigint not null default 0,
    -- Of the last entry, for a chain.
    hash bytea
);
insert into head (id, name, hash) values (1, 'config', null), (2, 'audit', sha256(''));

-- Each entry holds the hash of the one before, so that none can be changed, left out or put in between unseen.
create table audit_entry (
    n bigint primary key,
    at timestamptz not null,
    -- Null for what concerns no tenant. A tenant that is gone keeps its trail, hence no reference.
    tenant_id text,
    actor_kind text not null,
    actor text not null,
    action text not null,
    target text not null,
    -- What changed, without secrets.
    detail jsonb not null,
    previous_hash bytea not null check (length(previous_hash) = 32),
    hash bytea not null check (length(hash) = 32)
);
create index audit_entry_of_tenant on audit_entry (tenant_id, n desc);

alter table head enable row level security;
alter table head force row level security;
create policy all_roles on head
    to attach_app, attach_operator, attach_system, attach_ingest using (true) with check (true);

alter table audit_entry enable row level security;
alter table audit_entry force row level security;
create policy own_tenant on audit_entry to attach_app
    using (tenant_id = current_tenant()) with check (tenant_id = current_tenant());
create policy all_tenants on audit_entry to attach_operator using (true) with check (true);
create policy read_all on audit_entry for select to attach_system using (true);

grant usage on schema public to attach_app, attach_operator, attach_system, attach_ingest;
grant select, update (n, hash) on head to attach_app, attach_operator;
grant select on head to attach_system;
-- Never updated and never deleted, by anybody who serves.
grant select, insert on audit_entry to attach_app, attach_operator;
grant select on audit_entry to attach_system;
