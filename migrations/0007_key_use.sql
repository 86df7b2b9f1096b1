-- When each API key was used last: apart from what is on record of it, because usage writes it. At most once a minute for a
-- key, by the agent's clock. No foreign key: an event counts whether its key is known here or not.
create table key_use (
    tenant_id text not null,
    key_id text not null check (is_id(key_id)),
    last_used_at timestamptz not null,
    primary key (tenant_id, key_id)
    -- With room for the next time on the same page no index is written then.
) with (fillfactor = 50);

alter table key_use enable row level security;
alter table key_use force row level security;
create policy own_tenant on key_use to attach_app
    using (tenant_id = current_tenant()) with check (tenant_id = current_tenant());
create policy all_tenants on key_use to attach_operator using (true) with check (true);
create policy read_all on key_use for select to attach_system using (true);
create policy ingest on key_use to attach_ingest
    using (tenant_id in (select tenant_id from pool_membership where pool_id = current_pool()))
    with check (tenant_id in (select tenant_id from pool_membership where pool_id = current_pool()));
grant select on key_use to attach_app, attach_operator, attach_system;
grant select, insert, update (last_used_at) on key_use to attach_ingest;
