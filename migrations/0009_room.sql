-- How much of what a gateway holds a tenant's configuration takes. A gateway refuses a pool's configuration as a whole when
-- it is too much, so one tenant's must leave room for the others': what would make it grow beyond that is refused here, with
-- the name of a constraint (`tenant_has_room`, `pool_has_room`), and what makes it smaller never is.
alter table tenant add column bytes bigint not null default 0;
-- Of all the tenants that it serves now.
alter table pool add column bytes bigint not null default 0;

-- What a row of a tenant's configuration takes: its length as text, a little more than on the wire. Keys that the control
-- plane asks an issuer for come later, and are reckoned at the most there can be of them.
create function room_of(source text, resource jsonb, length integer) returns bigint
    language sql immutable parallel safe
    return case
        when source = 'api_key' and resource ->> 'revoked_at' is not null then 0
        when source = 'identity_provider' and resource #>> '{settings,key_source}' = 'KEY_SOURCE_CONTROL_PLANE'
            then length + 131072
        else length
    end;

create function take_room() returns trigger language plpgsql as $$
declare
    -- Each tenant has a quarter of a gateway's 64 MiB, some 45,000 keys, and a pool the half of them.
    room_of_tenant constant bigint := 16 * 1048576;
    growth bigint := 0;
    whose text;
    taken bigint;
begin
    if tg_op <> 'INSERT' then
        growth := growth - room_of(tg_table_name, to_jsonb(old), octet_length(old::text));
        whose := old.tenant_id;
    end if;
    if tg_op <> 'DELETE' then
        growth := growth + room_of(tg_table_name, to_jsonb(new), octet_length(new::text));
        whose := new.tenant_id;
    end if;
    if growth = 0 then
        return null;
    end if;
    update tenant set bytes = bytes + growth where tenant_id = whose returning bytes into taken;
    if growth > 0 and taken > room_of_tenant then
        raise exception 'the configuration of % is larger than % bytes', whose, room_of_tenant
            using errcode = 'check_violation', constraint = 'tenant_has_room';
    end if;
    return null;
end
$$;

create function take_room_of_pools() returns trigger language plpgsql as $$
begin
    update pool set bytes = bytes + new.bytes - old.bytes
    where id in (select pool_id from pool_membership where tenant_id = new.tenant_id and until is null);
    return null;
end
$$;

create function take_room_of_member() returns trigger language plpgsql as $$
declare
    growth bigint := 0;
begin
    if tg_op = 'UPDATE' and old.until is null then
        growth := growth - (select bytes from tenant where tenant_id = old.tenant_id);
    end if;
    if new.until is null then
        growth := growth + (select bytes from tenant where tenant_id = new.tenant_id);
    end if;
    update pool set bytes = bytes + growth where id = new.pool_id;
    return null;
end
$$;

create function hold_pool_to_its_room() returns trigger language plpgsql as $$
declare
    room_of_pool constant bigint := 32 * 1048576;
begin
    if new.bytes > old.bytes and new.bytes > room_of_pool then
        raise exception 'the configuration of the pool % is larger than % bytes', new.id, room_of_pool
            using errcode = 'check_violation', constraint = 'pool_has_room';
    end if;
    return null;
end
$$;

do $$
declare
    table_name text;
begin
    -- The policies of a forced row-level security hide all rows from the owner.
    foreach table_name in array array['tenant', 'pool', 'pool_membership', 'identity_provider', 'identity_audience',
                                      'api_key', 'usage_limit', 'access_rule'] loop
        execute format('alter table %I no force row level security', table_name);
    end loop;
    foreach table_name in array array['identity_provider', 'identity_audience', 'api_key', 'usage_limit', 'access_rule'] loop
        execute format('update tenant set bytes = bytes + (
                            select coalesce(sum(room_of(%1$L, to_jsonb(it), octet_length(it::text))), 0)
                            from %1$I it where it.tenant_id = tenant.tenant_id)', table_name);
        execute format('create trigger take_room after insert or update or delete on %I
                            for each row execute function take_room()', table_name);
    end loop;
    update pool set bytes = (select coalesce(sum(tenant.bytes), 0) from pool_membership join tenant using (tenant_id)
                             where pool_id = pool.id and until is null);
    foreach table_name in array array['tenant', 'pool', 'pool_membership', 'identity_provider', 'identity_audience',
                                      'api_key', 'usage_limit', 'access_rule'] loop
        execute format('alter table %I force row level security', table_name);
    end loop;
end
$$;
create trigger take_room_of_pools after update of bytes on tenant
    for each row when (new.bytes <> old.bytes) execute function take_room_of_pools();
create trigger take_room_of_member after insert or update on pool_membership
    for each row execute function take_room_of_member();
create trigger hold_pool_to_its_room after update of bytes on pool
    for each row execute function hold_pool_to_its_room();

grant update (bytes) on tenant to attach_app;
grant select (bytes), update (bytes) on pool to attach_app;
