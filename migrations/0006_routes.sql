-- What a pool lets through beside its gateways' own table. A pool without a row opens nothing.
create table pool_routes (
    pool_id text primary key references pool,
    registries text[] not null default '{}',
    version bigint not null
);

create table allowed_route (
    pool_id text not null references pool_routes on delete cascade,
    position smallint not null check (position >= 0),
    path text not null check (path like '/%' and length(path) between 2 and 128),
    methods text[] not null check (methods <@ array['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] and methods <> '{}'),
    permission text not null check (permission in ('inference', 'read', 'admin')),
    metering text not null check (metering in ('none', 'requests', 'usage')),
    dialect text not null check (dialect in ('ollama', 'openai', 'anthropic')),
    -- An engine of that name on each host; null for whichever there is.
    upstream text check (is_id(upstream)),
    primary key (pool_id, position)
);

do $$
declare
    table_name text;
begin
    foreach table_name in array array['pool_routes', 'allowed_route'] loop
        execute format('alter table %I enable row level security', table_name);
        execute format('alter table %I force row level security', table_name);
        execute format('create policy operator on %I to attach_operator using (true) with check (true)', table_name);
        execute format('create policy read_all on %I for select to attach_system using (true)', table_name);
        execute format('grant select on %I to attach_operator, attach_system', table_name);
        execute format('grant insert, update, delete on %I to attach_operator', table_name);
    end loop;
end
$$;
