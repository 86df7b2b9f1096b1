-- What a token, a key and a rule may say more.

-- An identity provider as somebody said it: the message of the contract (gateway/v1/bundle.proto, proto-JSON), without id,
-- tenant, issuer and audiences, which the database itself goes by. What is not said there is for the gateway to fill in.
alter table identity_provider add column settings jsonb;
-- The policies of a forced row-level security hide all rows from the owner.
alter table identity_provider no force row level security;
update identity_provider
set settings = jsonb_strip_nulls(jsonb_build_object(
    'algorithms', to_jsonb(algorithms),
    'jwks_url', jwks_url,
    'clock_skew', case when clock_skew_ms > 0 then trim_scale(clock_skew_ms / 1000.0)::text || 's' end,
    'claims', jsonb_build_object('user', user_claim, 'groups', groups_claim, 'project', project_claim,
                                 'forwarded', to_jsonb(forwarded_claims)),
    -- They were made without a product, and shall mean what they meant.
    'product', 'IDENTITY_PRODUCT_GENERIC'));
alter table identity_provider force row level security;
alter table identity_provider
    alter column settings set not null,
    add constraint identity_provider_settings_check
        check (jsonb_typeof(settings) = 'object' and length(settings::text) <= 1200000),
    drop column algorithms, drop column jwks_url, drop column clock_skew_ms, drop column user_claim,
    drop column groups_claim, drop column project_claim, drop column forwarded_claims;

-- Tenants may share an issuer and audience when each goes by its own organisations; '' goes by none.
alter table identity_audience add column organisation text not null default '';
alter table identity_audience drop constraint identity_audience_pkey;
alter table identity_audience add primary key (tenant_id, provider_id, audience, organisation);
drop index identity_audience_leads_to_one_tenant;
-- A point on the line of integers for a text. Halved, because a range of the last point would have no end.
create function point_of(value text) returns int8range
    language sql immutable parallel safe strict
    return int8range(hashtextextended(value, 0) >> 1, hashtextextended(value, 0) >> 1, '[]');
-- An issuer and audience lead to one tenant, or each of their organisations does. Who goes by organisations has a point,
-- who does not has the whole line: two points of different organisations never meet, and the whole meets them all. Without
-- the final slash: which form counts is known only from the issuer's metadata.
alter table identity_audience add constraint identity_audience_leads_to_one_tenant exclude using gist (
    point_of(rtrim(issuer, '/') || ' ' || audience) with &&,
    (case organisation when '' then int8range(null, null) else point_of(organisation) end) with &&);

alter table api_key
    -- Empty: inference and read.
    add column scopes text[] not null default '{}'
        check (scopes <@ array['inference', 'read', 'admin', 'act_as']),
    add column models text[] not null default '{}',
    -- Of the secret that was replaced, while both are good.
    add column previous_sha256 bytea unique check (length(previous_sha256) = 32),
    add column previous_until timestamptz check ((previous_until is null) = (previous_sha256 is null));

-- Proto-JSON of the IssuerHealth that it told of.
alter table agent_state add column issuers jsonb not null default '[]';

alter table usage_limit add column keys text[] not null default '{}';

alter table access_rule
    add column roles text[] not null default '{}',
    add column scopes text[] not null default '{}',
    drop constraint access_rule_permissions_check,
    add constraint access_rule_permissions_check
        check (permissions <@ array['inference', 'read', 'admin'] and permissions <> '{}');
