-- Keys of issuers that the control plane itself asks for, by providers that want it (`key_source`). Providers of different
-- tenants that name the same source share its keys, so a row is no tenant's.
create table issuer_key_set (
    -- As the providers have it.
    issuer text not null,
    -- '' when the issuer's metadata says where.
    jwks_url text not null,
    -- The last good answer: the form in which the issuer's metadata names it, where the keys are, and the usable ones as a
    -- JSON Web Key Set. No keys without a form. None before the first answer, and once they are too old to go by.
    effective_issuer text,
    jwks_uri text,
    jwks text check (length(jwks) <= 1048576),
    keys integer not null default 0 check (keys >= 0),
    skipped_keys integer not null default 0 check (skipped_keys >= 0),
    fetched_at timestamptz,
    -- Of the configuration change that brought these keys, or took them out.
    version bigint not null default 0,
    -- When the issuer is to be asked next, and by when whoever asks now is given up.
    next_attempt_at timestamptz not null default now(),
    -- When a gateway last had it asked.
    demanded_at timestamptz,
    ended_at timestamptz,
    failures integer not null default 0 check (failures >= 0),
    -- Of the last attempt.
    problem text,
    primary key (issuer, jwks_url)
);
create index issuer_key_set_due on issuer_key_set (next_attempt_at);

-- Looked at each second.
create index identity_provider_with_our_keys on identity_provider (issuer, (coalesce(settings ->> 'jwks_url', '')))
    where settings ->> 'key_source' = 'KEY_SOURCE_CONTROL_PLANE';

alter table issuer_key_set enable row level security;
alter table issuer_key_set force row level security;
-- A tenant sees how it stands with the issuers of its own providers, which the policy of those holds it to.
create policy of_own_providers on issuer_key_set for select to attach_app
    using (exists (select from identity_provider provider
                   where provider.tenant_id = current_tenant() and provider.issuer = issuer_key_set.issuer
                       and coalesce(provider.settings ->> 'jwks_url', '') = issuer_key_set.jwks_url
                       and provider.settings ->> 'key_source' = 'KEY_SOURCE_CONTROL_PLANE'));
create policy operator on issuer_key_set to attach_operator using (true) with check (true);
create policy system on issuer_key_set to attach_system using (true) with check (true);
grant select on issuer_key_set to attach_app;
-- New keys are a change of configuration, which the operator's role makes; the rest is the job's.
grant select, update on issuer_key_set to attach_operator;
grant select, insert, update, delete on issuer_key_set to attach_system;
